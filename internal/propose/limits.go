package propose

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"grace"
)

// limits judges everything that does not depend on the playbook.
func (a *Agent) limits(in Input, cone []grace.ServiceID, known bool) []grace.Reason {
	storm, _ := a.Storm(in.State)
	return []grace.Reason{
		in.Evidence.Reason(),
		Declared(in.Diagnosis.Cause, known),
		Redundancy(a.graph, in.Diagnosis.Cause, in.Diagnosis.Code, in.State.Well, busy(in.State.Open)),
		storm,
		a.concurrency(in.State.Open),
		coneFree(in.Diagnosis.Cause, cone, in.State.Open),
		a.rate(in),
		notOpen(in),
		a.crashLoop(in, in.same),
	}
}

// gate makes a reason; code is what a failure is called.
func gate(name string, ok bool, code grace.ReasonCode, actual, required, hint string) grace.Reason {
	if ok {
		code = grace.ReasonPassed
	}
	return grace.Reason{Gate: name, Code: code, OK: ok, Actual: actual, Required: required, Hint: hint}
}

// Declared holds that nothing is done to a service that nobody described.
func Declared(id grace.ServiceID, known bool) grace.Reason {
	return gate("declared", known, grace.ReasonUndeclared, string(id), "a service of the configuration",
		"describe it under services; GRACE shows what others send about it, and never acts on it")
}

// busy gives the services that runs may be changing.
func busy(open []Open) map[grace.ServiceID]bool {
	out := map[grace.ServiceID]bool{}
	for _, o := range open {
		if o.State.Mutating() {
			out[o.Service] = true
		}
	}
	return out
}

// Redundancy holds that nothing is done to a member of a group while fewer of
// the others than the group needs are shown to be well, and left alone: on a
// busy one another run acts. What is down serves nobody, so that a remedy takes
// nothing away.
func Redundancy(g Graph, id grace.ServiceID, code grace.Code, well, busy map[grace.ServiceID]bool) grace.Reason {
	const hint = "heal or bring back the other members first, or run the remedy yourself when they are"
	down := ""
	for _, m := range g.Memberships(id) {
		n := 0
		for _, other := range m.Others {
			if well[other] && !busy[other] {
				n++
			}
		}
		if n >= m.Need {
			continue
		}
		short := fmt.Sprintf("%d other members of the group that %s needs are well and left alone", n, m.Dependent)
		if code != grace.CodeServiceDown {
			return gate("redundancy", false, grace.ReasonRedundancy, short, "at least "+strconv.Itoa(m.Need), hint)
		}
		down = short + "; it is down itself"
	}
	if down != "" {
		return gate("redundancy", true, "", down, "enough that are well, or that it is down", hint)
	}
	return gate("redundancy", true, "", "no group would be left with too few", "enough other members of its groups are well", hint)
}

func (a *Agent) concurrency(open []Open) grace.Reason {
	n := 0
	for _, o := range open {
		if o.State.Mutating() {
			n++
		}
	}
	return gate("concurrency", n < a.cfg.MaxConcurrent, grace.ReasonConcurrency, strconv.Itoa(n)+" runs are acting",
		"< "+strconv.Itoa(a.cfg.MaxConcurrent), "it is tried again when a run ends; propose.max_concurrent is the limit")
}

// coneFree holds that two runs never change a service and something it hangs
// together with at once. The cones as a whole may overlap: two services that
// share a database, but do not depend on each other, can be healed at once.
func coneFree(target grace.ServiceID, cone []grace.ServiceID, open []Open) grace.Reason {
	const required, hint = "no acting run on a service the target depends on or that depends on it", "it is tried again when that run ends"
	for _, o := range open {
		if o.State.Mutating() && (o.Service == target || slices.Contains(cone, o.Service) || slices.Contains(o.Cone, target)) {
			return gate("cone", false, grace.ReasonConeBusy, fmt.Sprintf("run %s on %s is %s", o.Run, o.Service, o.State), required, hint)
		}
	}
	return gate("cone", true, "", "free", required, hint)
}

func (a *Agent) rate(in Input) grace.Reason {
	var within []time.Time
	for _, p := range in.State.Past {
		if p.Service == in.Diagnosis.Cause && p.At.After(in.Now.Add(-time.Hour)) && !p.At.After(in.Now.Add(Ahead)) {
			within = append(within, p.At)
		}
	}
	limit := a.cfg.RatePerHour
	hint := "propose.rate_per_hour is the limit"
	if len(within) >= limit {
		slices.SortFunc(within, time.Time.Compare)
		next := within[len(within)-limit].Add(time.Hour)
		hint = "the next is possible at " + next.UTC().Format(time.RFC3339) + "; something that breaks this often needs a person; " + hint
	}
	return gate("rate", len(within) < limit, grace.ReasonRateLimited,
		fmt.Sprintf("%d proposals for %s in the last hour", len(within), in.Diagnosis.Cause), "< "+strconv.Itoa(limit), hint)
}

// same tells whether a run was about the trouble that is looked at.
func (in Input) same(p Past) bool {
	return p.Service == in.Diagnosis.Cause && p.Code == in.Diagnosis.Code
}

// again tells whether a run's trouble is looked at once more, perhaps under
// another name: what is left of a slow queue is first a latency and then a lack
// of capacity. So counts what began before the run ended, and what is foretold,
// because a forecast right after a remedy rests on what was before it.
func (in Input) again(p Past) bool {
	d := &in.Diagnosis
	return in.same(p) || p.Service == d.Cause && (d.Kind == grace.TriggerProactive || p.EndedAt == nil || !d.Since.After(*p.EndedAt))
}

// settled tells whether a run does not stand in the way of another one for the
// same condition: what was healed has come back since, or what it was about
// passed before it began.
func (in Input) settled(p Past) bool {
	if p.EndedAt == nil || in.Diagnosis.Kind == grace.TriggerProactive {
		return false
	}
	switch p.State {
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
func (in Input) personal(p Past) bool {
	return p.Kind == grace.TriggerManual && in.Diagnosis.Kind != grace.TriggerManual
}

func notOpen(in Input) grace.Reason {
	const required, hint = "no open run for the same condition", "decide on the open run (grace runs list), or wait until it ends"
	for _, p := range in.State.Past {
		if in.same(p) && p.EndedAt == nil && !p.State.Terminal() {
			return gate(GateOpen, false, grace.ReasonDuplicate,
				fmt.Sprintf("%s, proposed at %s, is %s", p.Playbook, p.At.UTC().Format(time.RFC3339), p.State), required, hint)
		}
	}
	return gate(GateOpen, true, "", "none", required, hint)
}

// Ahead is how far the clocks of two replicas may be apart. What is dated later
// is from before the clock was set back: it counts for no limit of time, unless
// who gives it can tell how long ago it was.
const Ahead = time.Minute

// crashLoop counts how often in a row the same condition came back after it
// had been healed. The first time the remedy may be used again at once; then
// the waits grow, as after failures. BackoffMax without it ends the row.
func (a *Agent) crashLoop(in Input, healedBy func(Past) bool) grace.Reason {
	const hint = "something that breaks this often needs a person; propose.backoff_base and propose.backoff_max are the limits"
	ended := in.ended(func(p Past) bool { return healedBy(p) && p.Result == grace.ResultSuccess })
	healed, last := a.row(ended, in.Diagnosis.Since)
	if healed < 2 {
		return gate("crash_loop", true, "", "not healed again and again", "no wait", hint)
	}
	until := last.Add(Backoff(a.cfg, healed-1, in.jitterSeed(healed, last)))
	at := until.UTC().Format(time.RFC3339)
	return gate("crash_loop", !in.Now.Before(until), grace.ReasonBackoff,
		fmt.Sprintf("it came back after %d remedies that had helped, the last at %s", healed, last.UTC().Format(time.RFC3339)),
		"not before "+at, hint)
}

// backoff counts how often in a row a playbook failed on the service, whatever
// the condition was called. Another playbook may be tried at once. A person may
// have run it where nothing was wrong: that says nothing of an outage after it.
func (a *Agent) backoff(in Input, playbook grace.PlaybookID) grace.Reason {
	const hint = "a success resets it; propose.backoff_base and propose.backoff_max are the limits"
	ended := in.ended(func(p Past) bool {
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
	if failures == 0 {
		return gate("backoff", true, "", "no failure since the last success", "no wait after failures", hint)
	}
	last := ended[len(ended)-1].end()
	until := last.Add(Backoff(a.cfg, failures, in.jitterSeed(failures, last)))
	at := until.UTC().Format(time.RFC3339)
	return gate("backoff", !in.Now.Before(until), grace.ReasonBackoff,
		fmt.Sprintf("%s failed %s in a row, the last at %s", playbook, times(failures), last.UTC().Format(time.RFC3339)),
		"not before "+at, "the next try is possible at "+at+"; "+hint)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// ended gives the past runs that match, by the time they ended. Of two that
// ended together the failure counts as the later one.
func (in Input) ended(match func(Past) bool) []Past {
	var out []Past
	for _, p := range in.State.Past {
		if match(p) && !p.end().After(in.Now.Add(Ahead)) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(x, y Past) int {
		return cmp.Or(x.end().Compare(y.end()), cmp.Compare(y.Result, x.Result))
	})
	return out
}

// row counts back from since the runs after each of which the trouble came back
// within BackoffMax.
func (a *Agent) row(ended []Past, since time.Time) (n int, last time.Time) {
	for _, p := range slices.Backward(ended) {
		if since.Sub(p.end()) > a.cfg.BackoffMax.D() {
			break
		}
		if n == 0 {
			last = p.end()
		}
		n++
		since = p.Since
	}
	return n, last
}

func (p Past) end() time.Time {
	if p.EndedAt != nil {
		return *p.EndedAt
	}
	return p.At
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
