package admit

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/internal/gate"
)

var (
	now  = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	soon = now.Add(Retry)
)

// asked is a run that the trust core has allowed, of which nothing stands in the way.
func asked() Input {
	yes := func(name string) grace.Reason { return gate.New(name, true, "", nil, nil) }
	return Input{
		Now: now, Mode: grace.ModeAutonomous, Verdict: grace.VerdictAllow, Since: now.Add(-time.Hour),
		Run:      grace.Run{Kind: grace.TriggerReactive, Auto: true, CreatedAt: now.Add(-time.Second)},
		Evidence: gate.Evidence{State: gate.EvidenceFresh},
		Declared: yes("declared"), Person: yes("person"), Redundancy: yes("redundancy"), Window: yes("change_window"), Storm: yes("storm"), Cone: yes("cone"), Concurrency: yes("concurrency"),
	}
}

func no(name string, code grace.ReasonCode) grace.Reason {
	return gate.New(name, false, code, nil, nil)
}

func TestAdmit(t *testing.T) {
	night := now.Add(12 * time.Hour)
	approved := func(in *Input) { in.Run.Auto = false }
	byHand := func(in *Input) {
		in.Run.Kind, in.Run.Asked, in.Evidence = grace.TriggerManual, &grace.Note{Actor: "ann"}, gate.Evidence{}
	}
	old := func(in *Input) { in.Run.CreatedAt = now.Add(-Patience) }
	outside := func(in *Input) {
		in.Window = no("change_window", grace.ReasonOutsideWindow)
		in.Window.Until = &night
	}
	require := func(codes ...grace.ReasonCode) func(*Input) {
		return func(in *Input) {
			in.Verdict = grace.VerdictRequireApproval
			for _, c := range codes {
				in.Trust = append(in.Trust, no("trust/"+string(c), c))
			}
		}
	}
	evidence := func(s gate.EvidenceState) func(*Input) {
		return func(in *Input) { in.Evidence = gate.Evidence{State: s} }
	}
	codes := func(c ...grace.ReasonCode) []grace.ReasonCode { return c }
	for _, tc := range []struct {
		name  string
		edits []func(*Input)
		end   grace.RunStatus
		wait  time.Time
		want  []grace.ReasonCode
	}{
		{"nothing stands in the way", nil, "", time.Time{}, nil},
		{"stopped", []func(*Input){func(in *Input) { in.Mode = grace.ModeStopped }}, grace.RunDenied, time.Time{}, codes(grace.ReasonModeStopped)},
		{"only observing", []func(*Input){func(in *Input) { in.Mode = grace.ModeObserveOnly }}, grace.RunObservedOnly, time.Time{}, codes(grace.ReasonModeObserve)},
		{"an unknown mode", []func(*Input){func(in *Input) { in.Mode = "x" }}, grace.RunObservedOnly, time.Time{}, codes(grace.ReasonModeObserve)},
		{"asking, and nobody was asked", []func(*Input){func(in *Input) { in.Mode = grace.ModeAskAlways }}, grace.RunCancelled, time.Time{}, codes(grace.ReasonModeAsk)},
		{"asking, and somebody approved", []func(*Input){approved, func(in *Input) { in.Mode = grace.ModeAskAlways }}, "", time.Time{}, nil},
		{"denied by now", []func(*Input){approved, func(in *Input) {
			in.Verdict, in.Trust = grace.VerdictDeny, []grace.Reason{no("policy", grace.ReasonPolicyDeny)}
		}}, grace.RunDenied, time.Time{}, codes(grace.ReasonPolicyDeny)},
		{"an unknown verdict", []func(*Input){func(in *Input) { in.Verdict = "x" }}, grace.RunDenied, time.Time{}, nil},
		{"a person is needed by now", []func(*Input){require(grace.ReasonRisk, grace.ReasonImpact)}, grace.RunCancelled, time.Time{}, codes(grace.ReasonRisk, grace.ReasonImpact)},
		{"a person is needed, and has approved", []func(*Input){approved, require(grace.ReasonRisk)}, "", time.Time{}, nil},
		{"only the window is closed", []func(*Input){outside, require(grace.ReasonOutsideWindow, grace.ReasonNoPolicy)}, "", night, codes(grace.ReasonOutsideWindow)},
		{"not the window alone", []func(*Input){outside, require(grace.ReasonOutsideWindow, grace.ReasonRisk)}, grace.RunCancelled, time.Time{}, codes(grace.ReasonOutsideWindow, grace.ReasonRisk)},
		{"no window opens any more", []func(*Input){func(in *Input) { in.Window = no("change_window", grace.ReasonOutsideWindow) }}, "", soon, codes(grace.ReasonOutsideWindow)},
		{"nobody describes it any more", []func(*Input){func(in *Input) { in.Declared = no("declared", grace.ReasonUndeclared) }}, grace.RunCancelled, time.Time{}, codes(grace.ReasonUndeclared)},
		{"something was left half done meanwhile, though somebody had approved", []func(*Input){approved, func(in *Input) { in.Person = gate.Person("i-1", "") }}, grace.RunCancelled, time.Time{}, codes(grace.ReasonHalfDone)},
		{"it is over", []func(*Input){evidence(gate.EvidenceCleared)}, grace.RunCancelled, time.Time{}, codes(grace.ReasonCleared)},
		{"it is silenced", []func(*Input){evidence(gate.EvidenceSilenced)}, grace.RunCancelled, time.Time{}, codes(grace.ReasonSilenced)},
		{"it passes", []func(*Input){evidence(gate.EvidencePassing)}, "", soon, codes(grace.ReasonUnstable)},
		{"it passes for long", []func(*Input){old, evidence(gate.EvidencePassing)}, grace.RunCancelled, time.Time{}, codes(grace.ReasonUnstable)},
		{"a process that has just begun", []func(*Input){old, evidence(gate.EvidenceUnconfirmed), func(in *Input) { in.Since = now }}, "", soon, codes(grace.ReasonUnconfirmed)},
		{"by hand, without evidence", []func(*Input){byHand}, "", time.Time{}, nil},
		{"another member is needed", []func(*Input){func(in *Input) { in.Redundancy = no("redundancy", grace.ReasonRedundancy) }}, "", soon, codes(grace.ReasonRedundancy)},
		{"another member is needed for long", []func(*Input){old, func(in *Input) { in.Redundancy = no("redundancy", grace.ReasonRedundancy) }}, grace.RunCancelled, time.Time{}, codes(grace.ReasonRedundancy)},
		{"a storm", []func(*Input){func(in *Input) { in.Storm = no("storm", grace.ReasonStorm) }}, "", soon, codes(grace.ReasonStorm)},
		{"a storm, and somebody approved", []func(*Input){approved, func(in *Input) { in.Storm = no("storm", grace.ReasonStorm) }}, "", time.Time{}, nil},
		{"all that it waits for", []func(*Input){outside, func(in *Input) {
			in.Storm, in.Cone, in.Concurrency = no("storm", grace.ReasonStorm), no("cone", grace.ReasonConeBusy), no("concurrency", grace.ReasonConcurrency)
		}}, "", night, codes(grace.ReasonOutsideWindow, grace.ReasonStorm, grace.ReasonConeBusy, grace.ReasonConcurrency)},
		{"what ends it, not what it would wait for", []func(*Input){evidence(gate.EvidenceCleared), outside, func(in *Input) {
			in.Mode = grace.ModeStopped
		}}, grace.RunDenied, time.Time{}, codes(grace.ReasonModeStopped, grace.ReasonCleared)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := asked()
			for _, edit := range tc.edits {
				edit(&in)
			}
			a := Admit(in)
			var got []grace.ReasonCode
			for _, r := range a.Reasons {
				got = append(got, r.Code)
			}
			if a.End != tc.end || !a.Wait.Equal(tc.wait) {
				t.Errorf("ends %q, waits until %s; want %q, %s", a.End, a.Wait, tc.end, tc.wait)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}
