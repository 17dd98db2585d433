// Package gate holds the gates that more than one stage asks: what is looked at
// when a remedy is proposed is looked at again, in the same way, right before its
// first step.
package gate

import (
	"slices"

	"grace"
)

// Groups knows to which redundant groups a service belongs.
type Groups interface {
	Memberships(id grace.ServiceID) []grace.Membership
}

// New makes a gate's reason; code is what a failure is called.
func New(name string, ok bool, code grace.ReasonCode, actual, required any) grace.Reason {
	if ok {
		code = grace.ReasonPassed
	}
	return grace.Reason{Gate: name, Code: code, OK: ok, Actual: actual, Required: required}
}

// Declared holds that nothing is done to a service that nobody described.
func Declared(id grace.ServiceID, known bool) grace.Reason {
	return New("declared", known, grace.ReasonUndeclared, string(id), nil)
}

// Person holds that nothing is done while an incident is open, if any, because
// something may have been left half done, or because a person aborted what was done
// and it lasts.
func Person(manual, stopped grace.IncidentID) grace.Reason {
	id, code := manual, grace.ReasonHalfDone
	if id == "" {
		id, code = stopped, grace.ReasonAborted
	}
	r := New("person", id == "", code, nil, nil)
	if id != "" {
		r.Source = "incident/" + string(id)
	}
	return r
}

// Redundancy holds that nothing is done to a member of a group while fewer of
// the others than the group needs are shown to be well, and left alone: on a
// busy one another run acts. What is down serves nobody, so that a remedy takes
// nothing away; what is only foreseen to be down serves still.
func Redundancy(g Groups, id grace.ServiceID, code grace.Code, kind grace.TriggerKind, well, busy map[grace.ServiceID]bool) grace.Reason {
	passed := New("redundancy", true, "", nil, nil)
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
		down := code == grace.CodeServiceDown && kind != grace.TriggerProactive
		short := New("redundancy", down, grace.ReasonRedundancy, float64(n), float64(m.Need))
		short.Source = "service/" + string(m.Dependent)
		if !down {
			return short
		}
		passed = short
	}
	return passed
}

// Concurrency holds that fewer runs than a limit act at once.
func Concurrency(acting, limit int) grace.Reason {
	return New("concurrency", acting < limit, grace.ReasonConcurrency, float64(acting), float64(limit))
}

// Busy gives the services that runs may be changing.
func Busy(open []grace.OpenRun) map[grace.ServiceID]bool {
	busy := map[grace.ServiceID]bool{}
	for _, o := range open {
		if o.Status.Mutating() {
			busy[o.Service] = true
		}
	}
	return busy
}

// Cone holds that two runs never change a service and something that it depends on,
// or that depends on it, at once. The cones as a whole may overlap: two services that
// share a database, but do not depend on each other, can be healed at once.
func Cone(target grace.ServiceID, cone []grace.ServiceID, open []grace.OpenRun) grace.Reason {
	for _, o := range open {
		// Either's cone: they may be of two configurations.
		if o.Status.Mutating() && (o.Service == target || slices.Contains(cone, o.Service) || slices.Contains(o.Cone, target)) {
			r := New("cone", false, grace.ReasonConeBusy, string(o.Service), nil)
			r.Source = "run/" + string(o.Run)
			return r
		}
	}
	return New("cone", true, "", nil, nil)
}
