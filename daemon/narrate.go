package daemon

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"

	"grace"
	"grace/internal/event"
)

const (
	// followBuffer bounds the events that wait for a follower.
	followBuffer = 4096
	// maxNarrated bounds the signals whose last state is remembered.
	maxNarrated = 100_000
)

// narrator writes one line a signal transition, run state, approval, incident,
// silence and change of mode. Decisions are logged where they are made, and
// notifications where they are sent.
type narrator struct {
	log    *slog.Logger
	states map[grace.SignalKey]grace.SignalState
}

// narrate logs what the mesh tells of until ctx is done. Each replica tells of
// all of them.
func (d *Daemon) narrate(ctx context.Context, n *narrator) {
	d.follow(ctx, "lines of this log", func(e grace.Event) { n.tell(ctx, e) }, event.TypeSignal, "self_heal.*", "incident.*")
}

// follow calls f with every event of the topics until ctx is done, and logs
// what is missing when there were more than f could take.
func (d *Daemon) follow(ctx context.Context, missing string, f func(grace.Event), topics ...string) {
	for ctx.Err() == nil {
		sub := d.bus.Subscribe(followBuffer, topics...)
		for open := true; open; {
			select {
			case <-ctx.Done():
				open = false
			case e, ok := <-sub.C():
				if open = ok; ok {
					f(e)
				}
			}
		}
		sub.Close()
		if ctx.Err() == nil {
			d.log.Warn("there were too many events at once; the audit log has them all", "missing", missing)
		}
	}
}

func newNarrator(log *slog.Logger) *narrator {
	return &narrator{log: log, states: map[grace.SignalKey]grace.SignalState{}}
}

func (n *narrator) tell(ctx context.Context, e grace.Event) {
	switch kind, rest, _ := strings.Cut(strings.TrimPrefix(e.Type, "self_heal."), "."); {
	case e.Type == event.TypeSignal:
		n.signal(ctx, e)
	case kind == "run":
		n.run(ctx, e, rest)
	case kind == "approval":
		n.approval(ctx, e, rest)
	case kind == "incident":
		n.incident(ctx, e, rest)
	case kind == "silence":
		n.silence(ctx, e, rest)
	case kind == "storm":
		n.log.WarnContext(ctx, "circuit breaker", "is", rest, "incident", object(e))
	case e.Type == "self_heal.mode":
		var m grace.ModeSetting
		if json.Unmarshal(e.Payload, &m) == nil {
			n.log.WarnContext(ctx, "mode", "mode", m.Mode, "by", e.Actor, "reason", m.Reason)
		}
	}
}

// object is the id of what an event is about.
func object(e grace.Event) string {
	_, id, _ := strings.Cut(e.Resource, "/")
	return grace.Printable(id)
}

func (n *narrator) signal(ctx context.Context, e grace.Event) {
	var s grace.Signal
	if json.Unmarshal(e.Payload, &s) != nil {
		return
	}
	before, known := n.states[s.Key]
	if s.Gone {
		delete(n.states, s.Key)
		n.log.InfoContext(ctx, "signal", "service", s.Service, "signal", s.Key, "state", "gone", "code", s.Code)
		return
	}
	if before == s.State {
		return
	}
	if len(n.states) < maxNarrated || known {
		n.states[s.Key] = s.State
	}
	level := slog.LevelInfo
	switch {
	case s.Sick():
		level = slog.LevelWarn
	case !known && s.State == grace.SignalOK:
		level = slog.LevelDebug // the first sample of a signal that is well is no news
	}
	n.log.Log(ctx, level, "signal", "service", s.Service, "signal", s.Key, "state", s.State, "before", before, "code", s.Code,
		"severity", s.Severity, "value", s.Value, "unit", s.Unit, "message", grace.Printable(s.Message))
}

func (n *narrator) run(ctx context.Context, e grace.Event, state string) {
	var r struct {
		Service  grace.ServiceID  `json:"service"`
		Playbook grace.PlaybookID `json:"playbook"`
		Code     grace.Code       `json:"code"`
		Reason   string           `json:"reason"`
	}
	if json.Unmarshal(e.Payload, &r) != nil {
		return
	}
	level := slog.LevelInfo
	switch grace.RunStatus(state) {
	case grace.RunEscalated, grace.RunAborted, grace.RunIneffective, grace.RunRolledBack, grace.RunRollingBack:
		level = slog.LevelWarn
	default:
	}
	n.log.Log(ctx, level, "run", "run", object(e), "status", state, "service", r.Service, "playbook", r.Playbook, "code", r.Code,
		"by", e.Actor, "reason", grace.Printable(r.Reason))
}

func (n *narrator) approval(ctx context.Context, e grace.Event, state string) {
	var a grace.Approval
	if json.Unmarshal(e.Payload, &a) == nil {
		n.log.InfoContext(ctx, "approval", "run", a.Run, "state", state, "service", a.Service, "playbook", a.Playbook, "by", e.Actor, "reason", grace.Printable(a.Reason))
	}
}

func (n *narrator) incident(ctx context.Context, e grace.Event, what string) {
	var i grace.Incident
	if json.Unmarshal(e.Payload, &i) != nil {
		return
	}
	level := slog.LevelInfo
	if what == "opened" || what == "escalated" {
		level = slog.LevelWarn
	}
	n.log.Log(ctx, level, "incident", "incident", i.ID, "state", what, "service", i.Service, "severity", i.Severity, "by", e.Actor,
		"title", grace.Printable(i.Title), "run", i.Run, "resolution", grace.Printable(i.Resolution))
}

func (n *narrator) silence(ctx context.Context, e grace.Event, what string) {
	var s grace.Silence
	if json.Unmarshal(e.Payload, &s) == nil {
		n.log.InfoContext(ctx, "silence", "silence", s.ID, "state", what, "service", s.Service, "ends", s.Ends, "by", e.Actor, "reason", grace.Printable(s.Reason))
	}
}
