package sim

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"grace"
)

// action is one simulated action of one process.
type action struct {
	p    *process
	name string
}

// Name meets grace.Action.
func (a action) Name() string { return a.name }

// Validate meets grace.Action.
func (a action) Validate(map[string]any) error { return nil }

// call is one call of an action that changes the world, as the world saw it.
type call struct {
	At      time.Time
	Seq     int64 // of the newest audit entry then
	Run     grace.RunID
	Service grace.ServiceID
	Phase   grace.Phase
	Step    string
	Action  string
	Key     string
	Applied bool // it came through, if only in part
	Changed bool // what its undo puts back is another now
	Quirk   Kind // what went wrong with it
	Needed  bool // something ailed the service
	Missing bool // an undo: what it puts back was not there
}

// Do meets grace.Action: it takes a moment, and then does what it should, or
// what the story says.
func (a action) Do(ctx context.Context, req grace.ActionRequest) grace.Outcome {
	sim, c := a.p.sim, clock{a.p}
	if a.name == actRead {
		c.Sleep(ctx, 200*time.Millisecond)
		of, _ := req.With["of"].(string)
		return grace.Outcome{Status: grace.OutcomeSucceeded, Data: map[string]string{"value": sim.world.read(req.Service, of)}}
	}
	i := sim.called(a.p, req, a.name)
	quirk := sim.quirk(req.Service)
	sim.calls[i].Quirk = quirk
	if quirk == Hang {
		c.Sleep(ctx, time.Hour)
		return grace.Outcome{Status: grace.OutcomeUnknown, Error: "no answer"}
	}
	c.Sleep(ctx, time.Second+time.Duration(draw(sim.story.Seed, "takes", req.IdempotencyKey)*float64(2*time.Second)))
	if ctx.Err() != nil {
		return grace.Outcome{Status: grace.OutcomeUnknown, Error: "cut off"}
	}
	switch quirk {
	case Fail:
		return grace.Outcome{Status: grace.OutcomeFailed, Error: "refused", Retryable: draw(sim.story.Seed, "retry", req.IdempotencyKey) < 0.5}
	case Lie:
		return grace.Outcome{Status: grace.OutcomeSucceeded, Output: "done"}
	default:
	}
	sim.calls[i].Applied = true
	to, undo := req.With["to"].(string)
	sim.calls[i].Missing = undo && sim.world.read(req.Service, a.name) != to
	// It checks, then acts: the same key again changes nothing.
	if !sim.applied[req.IdempotencyKey] {
		sim.applied[req.IdempotencyKey] = true
		before := sim.world.read(req.Service, a.name)
		sim.world.apply(req.Service, a.name, req.With, quirk == HalfApply, sim.now)
		sim.calls[i].Changed = sim.world.read(req.Service, a.name) != before
	}
	if quirk == HalfApply || quirk == LoseAnswer {
		return grace.Outcome{Status: grace.OutcomeUnknown, Error: "the connection broke"}
	}
	return grace.Outcome{Status: grace.OutcomeSucceeded}
}

// read gives what an undo puts back.
func (w *world) read(id grace.ServiceID, of string) string {
	s := w.service(id)
	switch of {
	case actScale:
		return strconv.Itoa(s.instances)
	case actFlag:
		return strconv.FormatBool(s.flagOn)
	case actBreaker:
		return strconv.FormatBool(s.breaker)
	case actLog:
		return strconv.FormatBool(s.logging)
	}
	return ""
}

// apply changes the world. half is a change that stops on the way.
func (w *world) apply(id grace.ServiceID, name string, with map[string]any, half bool, now time.Time) {
	s := w.service(id)
	to, undo := with["to"].(string)
	switch name {
	case actRestart:
		if half {
			s.downUntil = now.Add(restartTime) // it goes down and comes back as it was
			return
		}
		s.crashed, s.slow, s.leaking, s.memory, s.queue = false, false, false, 0.4, 0
		s.downUntil = now.Add(restartTime)
		if s.Cache {
			s.warmth = min(s.warmth, 0.8)
		}
	case actFlag:
		s.flagOn = undo && to == "true"
	case actScale:
		if undo {
			if n, err := strconv.Atoi(to); err == nil {
				s.instances = n
			}
			return
		}
		delta, err := strconv.Atoi(strings.TrimSuffix(fmt.Sprint(with["delta"]), ".0"))
		if err == nil && !half {
			s.instances += delta
		}
		s.queue /= 2 // the new instance takes what waits
	case actWarm:
		s.warmth = 1
		if half {
			s.warmth = 0.4
		}
	case actBreaker:
		s.breaker = undo && to == "true"
	case actLog:
		s.logging = !undo || to == "true"
	}
}

// prober is what verification looks through. Its readings are the world's.
type prober struct{ p *process }

// Probe meets grace.Prober.
func (p prober) Probe(ctx context.Context, id grace.ServiceID, c grace.Check, since time.Time) grace.Reading {
	sim := p.p.sim
	s := sim.world.service(id)
	if s == nil {
		return grace.Reading{Detail: "no such service"}
	}
	if sim.mutations.BlindVerify {
		return grace.Reading{At: p.p.now(), Value: pass(c), OK: true}
	}
	if c.Type == grace.CheckHTTPHealth {
		v, _ := s.value(metricUp, sim.now)
		return grace.Reading{At: p.p.now(), Value: v, OK: true}
	}
	// As in production: what sensors measured, and not before since.
	return p.p.loop.Measure(ctx, c, since)
}

// pass gives a value that every check of the plan holds for.
func pass(c grace.Check) float64 {
	if c.Type == grace.CheckCapacity {
		return 1000
	}
	return 1
}
