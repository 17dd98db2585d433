package loop

import (
	"context"
	"fmt"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/event"
	"grace/internal/store"
)

// DecidedError says that an approval is no longer open because somebody
// decided it, or the run went away.
type DecidedError struct{ Approval grace.Approval }

func (e *DecidedError) Error() string {
	return fmt.Sprintf("already %s by %s at %s", e.Approval.State, e.Approval.Actor, e.At().UTC().Format(time.RFC3339))
}

// At gives when it was decided, or, where that is not known, asked.
func (e *DecidedError) At() time.Time {
	if e.Approval.DecidedAt != nil {
		return *e.Approval.DecidedAt
	}
	return e.Approval.At
}

// ExpiredError says that nobody decided in time.
type ExpiredError struct{ Approval grace.Approval }

func (e *ExpiredError) Error() string {
	return "expired at " + e.Approval.Expires.UTC().Format(time.RFC3339)
}

// EndedError says that a run has ended already.
type EndedError struct{ Run grace.Run }

func (e *EndedError) Error() string {
	text := fmt.Sprintf("the run has ended (%s)", e.Run.Status)
	if e.Run.EndedAt != nil {
		text += " at " + e.Run.EndedAt.UTC().Format(time.RFC3339)
	}
	return text
}

// InvalidError says what is wrong with what a person asked for.
type InvalidError struct{ Err error }

func (e *InvalidError) Error() string { return e.Err.Error() }

// Unwrap gives what is wrong.
func (e *InvalidError) Unwrap() error { return e.Err }

// commands is what people and the configuration ask for.
type commands struct{ *basis }

// DecideApproval records a person's answer and tells the run, in one
// transaction. revision 0 means any.
func (c *commands) DecideApproval(ctx context.Context, id grace.ApprovalID, approve bool, reason, actor string, revision int) (grace.Approval, error) {
	var a grace.Approval
	err := c.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		now := c.Now()
		var err error
		if a, err = c.Store.Approval(ctx, tx, id); err != nil {
			return err
		}
		switch {
		case a.State == grace.ApprovalExpired, a.State == grace.ApprovalPending && !now.Before(a.Expires):
			return &ExpiredError{a}
		case a.State != grace.ApprovalPending:
			return &DecidedError{a}
		case revision != 0 && revision != a.Revision:
			return fmt.Errorf("approval %s is at revision %d, not %d: %w", id, a.Revision, revision, store.ErrConflict)
		}
		kind := grace.ControlReject
		a.State = grace.ApprovalDenied
		if approve {
			kind, a.State = grace.ControlApprove, grace.ApprovalApproved
		}
		a.Revision++
		a.Actor, a.Reason, a.DecidedAt = actor, reason, &now
		m := grace.ControlMessage{Kind: kind, Actor: actor, Reason: reason, At: now}
		if err := c.Engine.Send(ctx, tx, a.Run, "approval/"+string(id), m); err != nil {
			return err
		}
		return c.Store.Append(ctx, tx, event.ApprovalAnswered{Approval: a, At: now})
	})
	return a, err
}

// Abort asks a run to stop and undo. It is recorded when this returns.
func (c *commands) Abort(ctx context.Context, id grace.RunID, actor, reason string) error {
	err := c.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		now := c.Now()
		run, err := c.Store.Run(ctx, tx, id)
		if err != nil {
			return err
		}
		if run.Status.Terminal() {
			return &EndedError{run}
		}
		m := grace.ControlMessage{Kind: grace.ControlAbort, Actor: actor, Reason: reason, At: now}
		if err := c.Engine.Send(ctx, tx, id, "abort/"+string(id), m); err != nil {
			return err
		}
		return c.Store.Append(ctx, tx, event.AbortRequested{
			Request: grace.AbortRequest{Run: id, Actor: actor, Reason: reason, At: now}, Service: run.Service,
		})
	})
	if err == nil {
		c.Runner.Interrupt(id)
	}
	return err
}

// SetMode puts a mode in force. Admit asks for it before a run begins, and permit
// before every try of every step: what has begun stops where it is when the mode
// does not let it act any more.
func (c *commands) SetMode(ctx context.Context, set grace.ModeSetting, actor string) (grace.ModeSetting, error) {
	err := c.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		now := c.Now()
		old, err := c.Store.Mode(ctx, tx)
		if err != nil {
			return fmt.Errorf("read the mode: %w", err)
		}
		if set.Revision != 0 && set.Revision != old.Revision {
			return fmt.Errorf("the mode is at revision %d, not %d: %w", old.Revision, set.Revision, store.ErrConflict)
		}
		set.Actor, set.Since, set.Revision = actor, now, old.Revision+1
		if set.Expires != nil && set.Fallback == "" {
			set.Fallback = old.At(now)
		}
		return c.putMode(ctx, tx, set)
	})
	c.wakeDecider()
	return set, err
}

// endMode puts the mode in force that follows one whose time is over, for all to
// see: what GRACE may do has changed.
func (d *decider) endMode(ctx context.Context) error {
	over := func(set grace.ModeSetting) bool { return set.Expires != nil && !d.Now().Before(*set.Expires) }
	set, err := d.Store.Mode(ctx, d.Store.Q())
	if err != nil {
		return fmt.Errorf("read the mode: %w", err)
	}
	if !over(set) {
		return nil
	}
	return d.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		old, err := d.Store.Mode(ctx, tx)
		if err != nil {
			return fmt.Errorf("read the mode: %w", err)
		}
		if !over(old) { // another replica was faster
			return nil
		}
		now := d.Now()
		next := grace.ModeSetting{
			Mode: old.At(now), Actor: grace.Self, Since: now, Revision: old.Revision + 1,
			Reason: fmt.Sprintf("the time of %s is over, which %s had set: %s", old.Mode, old.Actor, old.Reason),
		}
		return d.putMode(ctx, tx, next)
	})
}

// putMode writes a mode and has the runs that wait look at it.
func (co *common) putMode(ctx context.Context, tx store.Tx, set grace.ModeSetting) error {
	if err := co.wakeWaiting(ctx, tx, "mode "+string(set.Mode), set.Since); err != nil {
		return err
	}
	return co.Store.Append(ctx, tx, event.ModeSet{Mode: set})
}

// ResolveIncident closes an incident.
func (c *commands) ResolveIncident(ctx context.Context, id grace.IncidentID, actor, reason string) (grace.Incident, error) {
	return c.changeIncident(ctx, id, actor, event.IncidentResolved, reason, func(inc *grace.Incident, now time.Time) {
		inc.State, inc.ResolvedAt, inc.ResolvedBy = grace.IncidentResolved, &now, actor
		inc.Resolution = "resolved by " + actor
		if reason != "" {
			inc.Resolution += ": " + reason
		}
	})
}

// AcknowledgeIncident records that a person looks after an incident.
func (c *commands) AcknowledgeIncident(ctx context.Context, id grace.IncidentID, actor, reason string) (grace.Incident, error) {
	return c.changeIncident(ctx, id, actor, event.IncidentAcknowledged, reason, func(inc *grace.Incident, now time.Time) {
		inc.Acknowledged = &grace.Note{Actor: actor, Text: reason, At: now}
	})
}

// NoteIncident records what a person says of an incident.
func (c *commands) NoteIncident(ctx context.Context, id grace.IncidentID, actor, text string) (grace.Incident, error) {
	return c.changeIncident(ctx, id, actor, event.IncidentNoted, text, func(inc *grace.Incident, now time.Time) {
		inc.Notes = append(inc.Notes, grace.Note{Actor: actor, Text: text, At: now})
	})
}

func (c *commands) changeIncident(ctx context.Context, id grace.IncidentID, actor, what, reason string, change func(*grace.Incident, time.Time)) (grace.Incident, error) {
	var inc grace.Incident
	err := c.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		var err error
		if inc, err = c.Store.Incident(ctx, tx, id); err != nil {
			return err
		}
		if inc.State == grace.IncidentResolved {
			return fmt.Errorf("incident %s is resolved already: %w", id, store.ErrConflict)
		}
		now := c.Now()
		change(&inc, now)
		return c.Store.Append(ctx, tx, event.IncidentChanged{Incident: inc, What: what, Actor: actor, Reason: reason, At: now})
	})
	return inc, err
}

// AddSilence puts a silence in force.
func (c *commands) AddSilence(ctx context.Context, s grace.Silence, actor string) (grace.Silence, error) {
	now := c.Now()
	s.Actor, s.At, s.Ended = actor, now, nil
	if s.Starts.IsZero() {
		s.Starts = now
	}
	if err := s.Validate(); err != nil {
		return s, &InvalidError{err}
	}
	if !s.Ends.After(now) {
		return s, &InvalidError{fmt.Errorf("ends: %s is over already", s.Ends.UTC().Format(time.RFC3339))}
	}
	s.ID = grace.SilenceID("s-" + content.ID(s.Service, s.Regex, s.Labels, actor, s.Ends, now))
	err := c.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		return c.Store.Append(ctx, tx, event.SilenceChanged{Silence: s, Actor: actor, Reason: s.Reason, At: now})
	})
	c.wakeDecider()
	return s, err
}

// EndSilence ends a silence before its time.
func (c *commands) EndSilence(ctx context.Context, id grace.SilenceID, actor, reason string) (grace.Silence, error) {
	var s grace.Silence
	err := c.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		var err error
		if s, err = c.Store.Silence(ctx, tx, id); err != nil {
			return err
		}
		now := c.Now()
		if s.Ended != nil || !now.Before(s.Ends) {
			return fmt.Errorf("silence %s has ended already: %w", id, store.ErrConflict)
		}
		s.Ended = &grace.Note{Actor: actor, Text: reason, At: now}
		return c.Store.Append(ctx, tx, event.SilenceChanged{Silence: s, Ended: true, Actor: actor, Reason: reason, At: now})
	})
	c.wakeDecider()
	return s, err
}

// ForgetSignal drops a signal that means nothing any more.
func (c *commands) ForgetSignal(ctx context.Context, key grace.SignalKey, actor, reason string) error {
	s, found := c.in.forget(key)
	if !found {
		return fmt.Errorf("signal %s: %w", key, store.ErrNotFound)
	}
	if err := c.in.flush(ctx); err != nil {
		return err
	}
	c.mirror.signals([]grace.Signal{s})
	return c.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		return c.Store.Append(ctx, tx, event.SignalForgotten{Key: key, Service: s.Service, Actor: actor, Reason: reason, At: c.Now()})
	})
}

// wakeWaiting has the runs that wait to start ask again: what they wait for may
// not be there any more.
func (co *common) wakeWaiting(ctx context.Context, tx store.Tx, why string, now time.Time) error {
	open, err := co.Store.OpenRunHeads(ctx, tx)
	if err != nil {
		return fmt.Errorf("read open runs: %w", err)
	}
	for _, h := range open {
		if h.State != grace.RunApproved {
			continue
		}
		m := grace.ControlMessage{Kind: grace.ControlLook, Actor: grace.Self, Reason: why, At: now}
		if err := co.Engine.Send(ctx, tx, h.ID, "look/"+content.ID(why, now), m); err != nil {
			return err
		}
	}
	return nil
}

// firstMode makes the mode of a store that has none.
func (c *commands) firstMode(ctx context.Context) error {
	return c.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		mode, err := c.Store.Mode(ctx, tx)
		if err != nil {
			return fmt.Errorf("read the mode: %w", err)
		}
		if mode.Revision > 0 {
			return nil
		}
		set := grace.ModeSetting{
			Mode: c.stages.Load().Mode, Reason: "first start, from the configuration", Actor: grace.Self, Since: c.Now(), Revision: 1,
		}
		return c.Store.Append(ctx, tx, event.ModeSet{Mode: set})
	})
}
