package loop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/event"
	"grace/internal/explain"
	"grace/internal/store"
)

// lasting is a condition, with those that are victims of it, that somebody is
// to be told of.
type lasting struct {
	service  grace.ServiceID
	itself   bool // it has lasted too long itself, not only its victims have
	victims  []grace.ServiceID
	soon     []grace.ServiceID // other victims, which have not lasted too long yet
	since    time.Time
	severity grace.Severity
	text     string
	kinds    []kindOf // what it is called itself
	// undecided: it is diagnosed, and what is done about it not decided yet.
	undecided bool
}

// escalate keeps the second promise: what is wrong for longer than
// EscalateAfter, while nothing that helps is being done, is told to a person
// with the reason why GRACE does not act. It resolves incidents whose services
// are well again.
func (d *decider) escalate(ctx context.Context, st *stages, diagnoses []grace.Diagnosis, signals []grace.Signal, now time.Time) error {
	d.watchConditions(st, signals, now)
	// An error about one keeps nothing from the others.
	failed := errors.Join(d.holdSilenced(ctx, st, now), d.keepLost(ctx, now))
	incidents, err := d.Store.OpenIncidents(ctx, d.Store.Q())
	if err != nil {
		return errors.Join(failed, fmt.Errorf("read the open incidents: %w", err))
	}
	failed = errors.Join(failed, d.noteTold(ctx, incidents, now))
	maps.DeleteFunc(d.reworded, func(id grace.IncidentID, _ time.Time) bool {
		return !slices.ContainsFunc(incidents, func(i grace.Incident) bool { return i.ID == id })
	})
	due := d.overdue(st, diagnoses, now)
	blind := d.blindness(st, signals, now)
	if slices.ContainsFunc(incidents, isStorm) {
		failed = errors.Join(failed, d.widenStorm(ctx, st, incidents, due, now))
	} else {
		for _, c := range due {
			if covered(incidents, c) {
				failed = errors.Join(failed, d.reword(ctx, st, c, incidents, now))
				continue
			}
			if err := d.openUnhealed(ctx, st, c, now); err != nil {
				failed = errors.Join(failed, err)
			}
		}
	}
	for _, b := range blind {
		told := func(i grace.Incident) bool {
			return i.Kind == grace.IncidentBlind && i.Sensor == b.Sensor && len(unseen(i, b)) == 0
		}
		if slices.ContainsFunc(incidents, told) {
			continue
		}
		if err := d.openIncident(ctx, st, b, now); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return errors.Join(failed, d.resolveIncidents(ctx, st, incidents, blind, signals, now))
}

// about tells whether an open incident is about a condition that began at a
// time, not about an earlier one that only a person resolves.
func about(i *grace.Incident, since time.Time) bool {
	switch i.Kind {
	case grace.IncidentUnhealed, grace.IncidentRun:
		// A flicker opens no second one. But whoever looks after one for long may not
		// know of what comes later, and of one that is a person's nobody else hears.
		return !i.NeedsPerson() && !looked(*i) || !i.OpenedAt.Before(since)
	case grace.IncidentBlind, grace.IncidentStorm:
	}
	return false
}

// covered tells whether an open incident is about a condition and all its
// victims, and people were told how bad it is, and what it is called.
func covered(incidents []grace.Incident, c lasting) bool {
	if own := c.own(incidents); len(own) > 0 && (c.worse(own) || len(c.unknown(own)) > 0) {
		return false
	}
	// A cause that was found a moment ago has its time; its victims have been told.
	ids := c.victims
	if c.itself || len(ids) == 0 {
		ids = append([]grace.ServiceID{c.service}, ids...)
	}
	for _, id := range ids {
		if !slices.ContainsFunc(incidents, func(i grace.Incident) bool { return about(&i, c.since) && i.Covers(id) }) {
			return false
		}
	}
	return true
}

// confirmGrace is how long what is only known from before a start may take to be
// confirmed or cleared before somebody is told of it. It is short: restarts must
// not put telling off.
const confirmGrace = 10 * time.Second

// overdue gives the conditions that have lasted too long, each under the
// service that causes it.
func (d *decider) overdue(st *stages, diagnoses []grace.Diagnosis, now time.Time) []lasting {
	causeOf := map[grace.ServiceID]grace.ServiceID{}
	for _, dia := range diagnoses {
		for _, v := range dia.Victims {
			causeOf[v] = dia.Cause
		}
	}
	by, began := map[grace.ServiceID]*lasting{}, time.UnixMilli(d.epoch.Load())
	for _, id := range slices.Sorted(maps.Keys(d.conditions)) {
		c := d.conditions[id]
		if !c.clear.IsZero() || now.Sub(c.since) < st.escalateAfter(id) || !c.confirmed && now.Sub(began) < confirmGrace {
			continue
		}
		cause := cmp.Or(causeOf[id], id)
		one := by[cause]
		if one == nil {
			one = &lasting{service: cause, since: c.since}
			by[cause] = one
		}
		one.since = earlier(one.since, c.since)
		if c.worst.Severity.Rank() > one.severity.Rank() || id == cause {
			one.severity = c.worst.Severity
		}
		if id == cause {
			one.text, one.itself, one.kinds = d.in.says(c.worst), true, c.lasting(st.escalateAfter(id), now)
		} else {
			one.victims = append(one.victims, id)
			one.text = cmp.Or(one.text, string(id)+": "+d.in.says(c.worst))
		}
	}
	for _, dia := range diagnoses {
		one := by[dia.Cause]
		if one == nil {
			continue
		}
		one.undecided = d.lastSaid(dia.Cause).at.IsZero()
		for _, v := range dia.Victims {
			if c := d.conditions[v]; c != nil && c.clear.IsZero() && v != dia.Cause && !slices.Contains(one.victims, v) {
				one.soon = append(one.soon, v)
			}
		}
	}
	out := make([]lasting, 0, len(by))
	for _, id := range slices.Sorted(maps.Keys(by)) {
		out = append(out, *by[id])
	}
	return out
}

// openUnhealed opens an incident about a condition, unless a run is acting on
// it, a silence holds, or another replica was faster.
func (d *decider) openUnhealed(ctx context.Context, st *stages, c lasting, now time.Time) error {
	err := d.deciding(ctx, func(ctx context.Context, tx store.Tx) error {
		silences, err := d.Store.Silences(ctx, tx, now)
		if err != nil {
			return fmt.Errorf("read the silences: %w", err)
		}
		c, silenced := c.unsilenced(st, silences, now)
		if c.service == "" {
			return nil
		}
		incidents, err := d.Store.OpenIncidents(ctx, tx)
		if err != nil {
			return fmt.Errorf("read the open incidents: %w", err)
		}
		if covered(incidents, c) {
			return nil
		}
		why, acting, err := d.whyLasting(ctx, tx, c, silenced, now)
		if err != nil || acting {
			return err
		}
		return d.Store.Append(ctx, tx, c.change(incidents, why, now))
	})
	if err != nil {
		return fmt.Errorf("tell of %s, which lasts: %w", c.service, err)
	}
	return nil
}

// whyLasting tells why GRACE does not act on a condition, unless a run acts on it, or
// is about to.
func (d *decider) whyLasting(ctx context.Context, tx store.Tx, c lasting, silenced grace.ServiceID, now time.Time) (why string, acting bool, err error) {
	open, err := d.Store.OpenRunHeads(ctx, tx)
	if err != nil {
		return "", false, fmt.Errorf("read open runs: %w", err)
	}
	i := slices.IndexFunc(open, func(h store.RunHead) bool { return h.Service == c.service && h.Code != grace.CodeManual })
	if i >= 0 {
		h := open[i]
		if h.State.Acting() || h.State == grace.RunApproved && now.Sub(h.CreatedAt).Abs() < startGrace {
			return "", true, nil
		}
		run, err := d.Store.Run(ctx, tx, h.ID)
		return whyWaiting(run), false, err
	}
	switch why = d.whyNot(c.service); {
	case silenced != "":
		why = string(silenced) + ", which causes it, is silenced"
	case c.undecided && !d.changing(c.service):
		why = "it has just been diagnosed, and what is done about it is decided in a moment"
	case d.blockedByOwnRun(c.service):
		why, err = d.whyNotDone(ctx, tx, c.service, why, now)
	}
	return why, false, err
}

// changing tells whether a service keeps changing, of which nothing is decided.
func (d *decider) changing(id grace.ServiceID) bool {
	c := d.conditions[id]
	return c != nil && (c.worst.State == grace.SignalUnstable || c.worst.Flapping)
}

// startGrace is how long a run that needs no answer may take to begin before somebody
// is told that nothing is done.
const startGrace = 10 * time.Second

// rewordEvery is how often the reason of an open incident is brought up to date, which
// its reminders give.
const rewordEvery = time.Minute

// reword has an incident that is told say why GRACE does not act now.
func (d *decider) reword(ctx context.Context, st *stages, c lasting, incidents []grace.Incident, now time.Time) error {
	own := slices.DeleteFunc(c.own(incidents), func(i grace.Incident) bool { return i.Kind != grace.IncidentUnhealed })
	if len(own) == 0 || len(c.kinds) == 0 {
		return nil
	}
	id := own[len(own)-1].ID
	if now.Sub(later(d.reworded[id], own[len(own)-1].OpenedAt)).Abs() < rewordEvery {
		return nil
	}
	d.reworded[id] = now
	err := d.whileOpen(ctx, id, func(ctx context.Context, tx store.Tx, inc grace.Incident) error {
		if inc.Manual { // which says what was left
			return nil
		}
		why, acting, err := d.whyLasting(ctx, tx, c, "", now)
		if err != nil || acting {
			return err
		}
		detail := unhealedDetail(texts(c.kinds), why, inc.Services)
		if detail == inc.Detail {
			return nil
		}
		inc.Detail = detail
		return d.Store.Append(ctx, tx, incidentChange(inc, event.IncidentRefreshed, grace.Self, "", now))
	})
	if err != nil {
		return fmt.Errorf("bring incident %s up to date: %w", id, err)
	}
	return nil
}

// unsilenced leaves out what is silenced. When that is the cause, its name is
// given, and what is left is told of its victims; without any no service is.
func (c lasting) unsilenced(st *stages, silences []grace.Silence, now time.Time) (lasting, grace.ServiceID) {
	silenced := func(id grace.ServiceID) bool {
		_, is := st.rules.SilencedBy(id, silences, now)
		return is
	}
	c.victims = slices.DeleteFunc(slices.Clone(c.victims), silenced)
	c.soon = slices.DeleteFunc(slices.Clone(c.soon), silenced)
	if !silenced(c.service) {
		return c, ""
	}
	cause := c.service
	c.service, c.text = "", string(cause)+": "+c.text
	if len(c.victims) > 0 {
		c.service, c.victims, c.itself = c.victims[0], c.victims[1:], true
	}
	return c, cause
}

// isOf tells whether an open incident is the condition's own.
func (c lasting) isOf(i grace.Incident) bool {
	return i.Service == c.service && about(&i, c.since) && i.Covers(c.service)
}

// own gives the open incidents that are about the condition, the oldest first.
func (c lasting) own(incidents []grace.Incident) []grace.Incident {
	return slices.DeleteFunc(slices.Clone(incidents), func(i grace.Incident) bool { return !c.isOf(i) })
}

// worse tells whether all that people were told is milder than it is.
func (c lasting) worse(own []grace.Incident) bool {
	return !slices.ContainsFunc(own, func(i grace.Incident) bool { return i.Severity.Rank() >= c.severity.Rank() })
}

// unknown gives what the condition is called for long, and has been since people
// were told of it.
func (c lasting) unknown(own []grace.Incident) []kindOf {
	return slices.DeleteFunc(slices.Clone(c.kinds), func(k kindOf) bool {
		told := func(i grace.Incident) bool { return slices.Contains(i.Faults, k.fault) || !k.since.After(i.OpenedAt) }
		return !k.lasts || slices.ContainsFunc(own, told)
	})
}

// looked tells whether somebody looks after an incident.
func looked(i grace.Incident) bool { return i.Acknowledged != nil }

// change opens the incident, or adds to one that is open for the cause what is new.
// Who looks after one as something else has heard nothing of another kind: that is
// an incident of its own.
func (c lasting) change(incidents []grace.Incident, why string, now time.Time) event.IncidentChanged {
	own := c.own(incidents)
	more := c.unknown(own)
	if len(own) > 0 && (len(more) == 0 || !looked(own[len(own)-1])) {
		inc := own[len(own)-1]
		var news []string
		if len(more) > 0 {
			news = append(news, "it has another fault, too: "+texts(more))
			inc.Faults = append(slices.Clone(inc.Faults), faults(more)...)
			if inc.Kind == grace.IncidentUnhealed {
				inc.Detail = unhealedDetail(texts(c.kinds), why, nil)
			}
		}
		if c.severity.Rank() > inc.Severity.Rank() {
			inc.Severity = c.severity
			if inc.Kind == grace.IncidentUnhealed {
				inc.Detail = unhealedDetail(cmp.Or(texts(c.kinds), c.text), why, nil)
			}
			news = append(news, "it is "+string(c.severity)+" now")
		}
		if hurt := slices.DeleteFunc(slices.Clone(c.victims), inc.Covers); len(hurt) > 0 {
			inc = covering(inc, hurt)
			news = append(news, "it also hurts "+explain.List(hurt))
		}
		inc.News = strings.Join(news, "; ")
		return incidentChange(inc, event.IncidentUpdated, grace.Self, inc.News, now)
	}
	// At once: else each of them was told a moment later.
	hurt := append(slices.Clone(c.victims), c.soon...)
	inc := grace.Incident{
		ID: grace.IncidentID("i-" + content.ID("unhealed", c.service, now)), Kind: grace.IncidentUnhealed, State: grace.IncidentOpen,
		Service: c.service, Services: hurt, Severity: c.severity, Since: c.since, OpenedAt: now, Faults: faults(c.kinds),
		Title: string(c.service) + " is sick, and nothing that helps is being done",
	}
	if len(own) > 0 {
		c.text, inc.Since = texts(more), more[0].since
		inc.Title = string(c.service) + " has another fault, too, and nothing that helps is being done"
	}
	inc.Detail = unhealedDetail(c.text, why, hurt)
	return incidentChange(inc, event.IncidentOpened, grace.Self, inc.Detail, now)
}

// unhealedDetail says what is wrong, why GRACE does not act, and whom it hurts.
func unhealedDetail(text, why string, hurt []grace.ServiceID) string {
	detail := text + "; GRACE does not act: " + why
	if len(hurt) > 0 {
		detail += "; it hurts " + explain.List(hurt)
	}
	return detail
}

func texts(kinds []kindOf) string {
	said := make([]string, len(kinds))
	for i, k := range kinds {
		said[i] = k.text
	}
	return strings.Join(said, "; ")
}

func faults(kinds []kindOf) (list []string) {
	for _, k := range kinds {
		list = append(list, k.fault)
	}
	return list
}
