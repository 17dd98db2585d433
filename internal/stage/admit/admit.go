// Package admit says, right before the first step of a run, whether it may start:
// what was decided may not hold any more.
//
//	go     nothing stands in the way
//	wait   something does that passes: the change window, the circuit breaker,
//	       another run, evidence that has not come yet
//	end    something does that does not: the run ends in the state that says why
//
// All gates are looked at every time. Pure: the same input, the same answer.
package admit

import (
	"slices"
	"time"

	"grace"
	"grace/internal/gate"
)

const (
	// Retry is how soon a run asks again by itself that waits for what nobody can tell
	// the end of. It is told when that changes.
	Retry = time.Minute
	// Patience is how long a run waits for evidence, and for the other members of its
	// group. What lasts longer is decided anew, or told to a person.
	Patience = 10 * time.Minute
)

// Input is all that is looked at.
type Input struct {
	Now  time.Time
	Mode grace.Mode
	Run  grace.Run
	// Verdict is what the trust core says now of what was decided, Trust its gates.
	Verdict grace.Verdict
	Trust   []grace.Reason
	// Evidence of what began the run, and since when evidence counts: the start of the
	// process, or the last change of its configuration. A run by hand needs none.
	Evidence                                                       gate.Evidence
	Since                                                          time.Time
	Declared, Person, Redundancy, Window, Storm, Cone, Concurrency grace.Reason
}

// Answer is what Admit says: go, when both End and Wait are zero.
type Answer struct {
	End     grace.RunStatus `json:"end,omitempty"`
	Wait    time.Time       `json:"wait,omitzero"` // ask again then
	Reasons []grace.Reason  `json:"reasons,omitempty"`
}

// rule judges one thing: it gives the "no"s, and what they mean.
type rule func(in *Input) Answer

// rules in the order in which they are told. Of several that end a run the first
// says how.
func rules() []rule {
	return []rule{mode, trust, declared, person, evidence, redundancy, window, storm, cone, concurrency}
}

// Admit tells whether the run may start.
func Admit(in Input) Answer {
	var ends, waits Answer
	for _, judge := range rules() {
		a := judge(&in)
		switch {
		case a.End != "":
			if ends.End == "" {
				ends.End = a.End
			}
			for _, r := range a.Reasons { // the mode is a gate of the trust core, too
				if !slices.ContainsFunc(ends.Reasons, func(said grace.Reason) bool { return said.Gate == r.Gate }) {
					ends.Reasons = append(ends.Reasons, r)
				}
			}
		case !a.Wait.IsZero():
			if a.Wait.After(waits.Wait) {
				waits.Wait = a.Wait
			}
			waits.Reasons = append(waits.Reasons, a.Reasons...)
		}
	}
	if ends.End != "" {
		return ends
	}
	return waits
}

func mode(in *Input) Answer {
	no := func(end grace.RunStatus, code grace.ReasonCode) Answer {
		r := gate.New("mode", false, code, string(in.Mode), []string{string(grace.ModeAutonomous), string(grace.ModeAskAlways)})
		return Answer{End: end, Reasons: []grace.Reason{r}}
	}
	switch in.Mode {
	case grace.ModeAutonomous:
		return Answer{}
	case grace.ModeAskAlways:
		if in.Run.Auto {
			return no(grace.RunCancelled, grace.ReasonModeAsk)
		}
		return Answer{}
	case grace.ModeStopped:
		return no(grace.RunDenied, grace.ReasonModeStopped)
	case grace.ModeObserveOnly:
	}
	return no(grace.RunObservedOnly, grace.ReasonModeObserve)
}

func trust(in *Input) Answer { return Trust(in.Verdict, in.Trust, in.Run.Auto) }

// Trust holds that the trust core lets the run be done now: the configuration may
// have become stricter. What it denies or only observes is not done, whoever
// approved it, and what it wants a person to approve is not done unless one has. A
// closed change window is waited for.
func Trust(v grace.Verdict, gates []grace.Reason, auto bool) Answer {
	var a Answer
	switch v {
	case grace.VerdictAllow:
		return a
	case grace.VerdictRequireApproval:
		if !auto || onlyWindow(gates) {
			return a
		}
		a.End = grace.RunCancelled
	case grace.VerdictObserve:
		a.End = grace.RunObservedOnly
	case grace.VerdictDeny, grace.VerdictNone:
		a.End = grace.RunDenied
	default:
		a.End = grace.RunDenied
	}
	forbids := []grace.ReasonCode{grace.ReasonModeObserve, grace.ReasonExecuteOff, grace.ReasonShadow, grace.ReasonPolicyDeny}
	for _, r := range gates {
		if slices.Contains(forbids, r.Code) || a.End == grace.RunCancelled && !r.OK {
			a.Reasons = append(a.Reasons, r)
		}
	}
	return a
}

// onlyWindow tells whether the change window is all that stands in the way.
func onlyWindow(gates []grace.Reason) bool {
	closed := false
	for _, r := range gates {
		switch {
		case r.OK:
		case r.Code == grace.ReasonOutsideWindow:
			closed = true
		case r.Code != grace.ReasonNoPolicy && r.Code != grace.ReasonPolicyApproval:
			return false
		}
	}
	return closed
}

func declared(in *Input) Answer { return cancel(in.Declared) }

// person ends what was decided, or approved, before something was left half done.
func person(in *Input) Answer { return cancel(in.Person) }

func cancel(r grace.Reason) Answer {
	if r.OK {
		return Answer{}
	}
	return Answer{End: grace.RunCancelled, Reasons: []grace.Reason{r}}
}

func evidence(in *Input) Answer {
	if in.Run.Kind == grace.TriggerManual || in.Evidence.State == gate.EvidenceFresh {
		return Answer{}
	}
	reasons := []grace.Reason{in.Evidence.Reason()}
	late := in.Now.Sub(in.Run.CreatedAt) >= Patience && in.Now.Sub(in.Since) >= Patience
	if in.Evidence.State == gate.EvidenceCleared || in.Evidence.State == gate.EvidenceSilenced || late {
		return Answer{End: grace.RunCancelled, Reasons: reasons}
	}
	return Answer{Wait: in.Now.Add(Retry), Reasons: reasons}
}

func redundancy(in *Input) Answer {
	a := retry(in, in.Redundancy)
	if !in.Redundancy.OK && in.Now.Sub(in.Run.CreatedAt) >= Patience {
		a.End = grace.RunCancelled
	}
	return a
}

func window(in *Input) Answer {
	a := retry(in, in.Window)
	if !in.Window.OK && in.Window.Until != nil {
		a.Wait = *in.Window.Until
	}
	return a
}

// storm does not hold what a person wanted or approved.
func storm(in *Input) Answer {
	if !in.Run.Auto || in.Run.Asked != nil {
		return Answer{}
	}
	return retry(in, in.Storm)
}

func cone(in *Input) Answer { return retry(in, in.Cone) }

func concurrency(in *Input) Answer { return retry(in, in.Concurrency) }

func retry(in *Input, r grace.Reason) Answer {
	if r.OK {
		return Answer{}
	}
	return Answer{Wait: in.Now.Add(Retry), Reasons: []grace.Reason{r}}
}
