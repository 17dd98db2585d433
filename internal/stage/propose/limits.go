package propose

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"

	"grace"
	"grace/internal/gate"
)

// limits judges everything that does not depend on the playbook.
func (a *Agent) limits(in Input, cone []grace.ServiceID, known bool) []grace.Reason {
	storm, _ := a.Storm(in.State)
	return []grace.Reason{
		in.Evidence.Reason(),
		gate.Declared(in.Diagnosis.Cause, known),
		in.person(),
		gate.Redundancy(a.graph, in.Diagnosis.Cause, in.Diagnosis.Code, in.Diagnosis.Kind, in.State.Well, gate.Busy(in.State.Open)),
		storm,
		a.concurrency(in.State.Open),
		gate.Cone(in.Diagnosis.Cause, cone, in.State.Open),
		a.rate(in),
		notOpen(in),
		a.crashLoop(in, in.same),
	}
}

func (a *Agent) concurrency(open []grace.OpenRun) grace.Reason {
	n := 0
	for _, o := range open {
		if o.Status.Mutating() {
			n++
		}
	}
	return gate.Concurrency(n, a.cfg.MaxConcurrent)
}

func (a *Agent) rate(in Input) grace.Reason {
	var within []time.Time
	for _, p := range in.State.Past {
		if p.Service == in.Diagnosis.Cause && p.At.After(in.Now.Add(-time.Hour)) && !p.At.After(in.Now.Add(Ahead)) {
			within = append(within, p.At)
		}
	}
	limit := a.cfg.RatePerHour
	r := gate.New("rate", len(within) < limit, grace.ReasonRateLimited, float64(len(within)), float64(limit))
	if !r.OK {
		slices.SortFunc(within, time.Time.Compare)
		next := within[len(within)-limit].Add(time.Hour)
		r.Until = &next
	}
	return r
}

// same tells whether a run was about the condition that is looked at.
func (in Input) same(p grace.PastRun) bool {
	return p.Service == in.Diagnosis.Cause && p.Code == in.Diagnosis.Code
}

// again tells whether a run's condition is looked at once more, perhaps under
// another name: what is left of a slow queue is first a latency and then a lack
// of capacity. So counts what began before the run ended, and what is foretold,
// because a forecast right after a remedy rests on what was before it.
func (in Input) again(p grace.PastRun) bool {
	d := &in.Diagnosis
	return in.same(p) || p.Service == d.Cause && (d.Kind == grace.TriggerProactive || p.EndedAt == nil || !d.Since.After(*p.EndedAt))
}

// settled tells whether a run does not stand in the way of another one for the
// same condition: what was healed has come back since, or what it was about
// passed before it began.
func (in Input) settled(p grace.PastRun) bool {
	if p.EndedAt == nil || in.Diagnosis.Kind == grace.TriggerProactive {
		return false
	}
	switch p.Status {
	case grace.RunSucceeded:
		return in.Diagnosis.Since.After(*p.EndedAt)
	case grace.RunCancelled:
		return !p.Aborted
	default:
		return false
	}
}

// personal tells whether a run was a person's own, which what GRACE proposes by
// itself does not wait for; it counts for the rate all the same.
func (in Input) personal(p grace.PastRun) bool {
	return p.Kind == grace.TriggerManual && in.Diagnosis.Kind != grace.TriggerManual
}

// stoppedFor is how long nothing is done about what is foreseen once a person has
// stopped that: a forecast never ends as a condition does.
const stoppedFor = time.Hour

// person holds that GRACE does nothing by itself where a person is to look first, and
// goes on with nothing that a person has stopped.
func (in Input) person() grace.Reason {
	switch in.Diagnosis.Kind {
	case grace.TriggerManual:
		return gate.Person("", "")
	case grace.TriggerProactive:
		for _, p := range in.State.Past {
			if p.Aborted && p.Kind == grace.TriggerProactive && p.Service == in.Diagnosis.Cause && in.Now.Sub(p.End()) < stoppedFor {
				r := gate.New("person", false, grace.ReasonAborted, nil, nil)
				until := p.End().Add(stoppedFor)
				r.Source, r.Until = "run/"+string(p.Run), &until
				return r
			}
		}
	case grace.TriggerReactive:
	}
	return gate.Person(in.State.Manual, in.State.Stopped)
}

func notOpen(in Input) grace.Reason {
	for _, p := range in.State.Past {
		if in.same(p) && p.EndedAt == nil && !p.Status.Terminal() {
			r := gate.New(GateOpen, false, grace.ReasonDuplicate, string(p.Status), nil)
			r.Source = "run/" + string(p.Run)
			return r
		}
	}
	return gate.New(GateOpen, true, "", nil, nil)
}

// Ahead is how far the clocks of two replicas may be apart. What is dated later
// is from before the clock was set back: it counts for no limit of time, unless
// who gives it can tell how long ago it was.
const Ahead = time.Minute

// crashLoop counts how often in a row the same condition came back after it
// had been healed. The first time the remedy may be used again at once; then
// the waits grow, as after failures. BackoffMax without it ends the row.
func (a *Agent) crashLoop(in Input, healedBy func(grace.PastRun) bool) grace.Reason {
	ended := in.ended(func(p grace.PastRun) bool { return healedBy(p) && p.Result == grace.ResultSuccess })
	healed, last := a.row(ended, in.Diagnosis.Since)
	if healed < 2 {
		return gate.New("crash_loop", true, "", float64(healed), nil)
	}
	until := last.Add(Backoff(a.cfg, healed-1, in.jitterSeed(healed, last)))
	r := gate.New("crash_loop", !in.Now.Before(until), grace.ReasonBackoff, float64(healed), nil)
	r.Until = &until
	return r
}

// backoff counts how often in a row a playbook failed on the service, whatever
// the condition was called. Another playbook may be tried at once. A person may
// have run it where nothing was wrong: that says nothing of an outage after it.
func (a *Agent) backoff(in Input, playbook grace.PlaybookID) grace.Reason {
	ended := in.ended(func(p grace.PastRun) bool {
		return p.Service == in.Diagnosis.Cause && p.Playbook == playbook && !in.personal(p) &&
			(p.Result == grace.ResultSuccess || p.Result == grace.ResultFailure)
	})
	failures := 0
	for _, p := range slices.Backward(ended) {
		if p.Result == grace.ResultSuccess {
			break
		}
		failures++
	}
	r := gate.New("backoff", true, grace.ReasonBackoff, float64(failures), nil)
	r.Source = "playbook/" + string(playbook)
	if failures > 0 {
		last := ended[len(ended)-1].End()
		until := last.Add(Backoff(a.cfg, failures, in.jitterSeed(failures, last)))
		r.Until = &until
		if in.Now.Before(until) {
			r.OK, r.Code = false, grace.ReasonBackoff
		}
	}
	return r
}

// ended gives the past runs that match, by the time they ended. Of two that
// ended together the failure counts as the later one.
func (in Input) ended(match func(grace.PastRun) bool) []grace.PastRun {
	var out []grace.PastRun
	for _, p := range in.State.Past {
		if match(p) && !p.End().After(in.Now.Add(Ahead)) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(x, y grace.PastRun) int {
		return cmp.Or(x.End().Compare(y.End()), cmp.Compare(y.Result, x.Result))
	})
	return out
}

// row counts back from since the runs after each of which the condition came back
// within BackoffMax.
func (a *Agent) row(ended []grace.PastRun, since time.Time) (n int, last time.Time) {
	for _, p := range slices.Backward(ended) {
		if since.Sub(p.End()) > a.cfg.BackoffMax.D() {
			break
		}
		if n == 0 {
			last = p.End()
		}
		n++
		since = p.Since
	}
	return n, last
}

// jitterSeed ties the jitter to the failure that is waited out, so that it is
// another one for each service and each time.
func (in Input) jitterSeed(failures int, last time.Time) uint64 {
	h := fnv.New64a()
	var b []byte
	b = binary.BigEndian.AppendUint64(b, in.Seed)
	b = binary.BigEndian.AppendUint64(b, uint64(failures))
	b = binary.BigEndian.AppendUint64(b, uint64(last.UnixMilli()))
	b = append(b, in.Diagnosis.Cause...)
	b = append(b, 0)
	b = append(b, in.Diagnosis.Code...)
	_, _ = h.Write(b) // a hash never fails
	return h.Sum64()
}
