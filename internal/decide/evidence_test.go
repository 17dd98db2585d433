package decide

import (
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/gate"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/propose"
)

// TestSilencedAtItsSource: nothing is done to a service one of whose alerts is
// silenced by its sender, whatever else says that it is sick.
func TestSilencedAtItsSource(t *testing.T) {
	t.Parallel()
	fresh := gate.Evidence{State: gate.EvidenceFresh}
	quiet := grace.Signal{Key: "web/am/Down", Kind: grace.SignalAlert, State: grace.SignalFiring, Silenced: "silence 1 (ann: new disk)"}
	if e := unlessSilenced(fresh, []grace.Signal{{State: grace.SignalFiring}, quiet}); e.State != gate.EvidenceSilenced || !strings.Contains(e.Text, "ann") {
		t.Errorf("%+v", e)
	}
	quiet.State = grace.SignalOK // it was silenced, and is over
	if e := unlessSilenced(fresh, []grace.Signal{quiet}); e.State != gate.EvidenceFresh {
		t.Errorf("%+v", e)
	}
}

// TestSentAgainSinceTheLastRun: an alert that nobody has sent again since a run ended may
// be what that run has healed.
func TestSentAgainSinceTheLastRun(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	past := []grace.PastRun{{Status: grace.RunIneffective, EndedAt: new(now)}, {Status: grace.RunDenied, EndedAt: new(now.Add(time.Hour))}}
	for _, tc := range []struct {
		repeated time.Time
		want     gate.EvidenceState
	}{
		{now.Add(-time.Second), gate.EvidenceUnconfirmed},
		{now, gate.EvidenceUnconfirmed},
		{now.Add(time.Second), gate.EvidenceFresh},
		{time.Time{}, gate.EvidenceFresh}, // no list holds it
	} {
		signals := []grace.Signal{{Key: "web/am/Down", Kind: grace.SignalAlert, State: grace.SignalFiring, Listed: true, Repeated: tc.repeated}}
		if e := Evidence([]grace.SignalKey{"web/am/Down"}, sinceLastRun(signals, past)); e.State != tc.want {
			t.Errorf("sent at %s: %s, want %s", tc.repeated, e.State, tc.want)
		}
		if signals[0].Unconfirmed {
			t.Error("what is known was changed")
		}
	}
}

// TestForeseen: what is foreseen is evidence while it is made anew and at least as
// likely as its gate asks for; several predictions of the same make it likelier.
func TestForeseen(t *testing.T) {
	r, err := NewRules(Config{Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig()})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	said := func(likelihoods ...float64) (list []grace.Prediction) {
		for _, l := range likelihoods {
			list = append(list, grace.Prediction{Service: "db", Code: grace.CodeCapacity, Likelihood: l, At: now, Title: "the disk fills"})
		}
		return list
	}
	for _, tt := range []struct {
		name  string
		list  []grace.Prediction
		after time.Duration
		want  gate.EvidenceState
	}{
		{"likely", said(0.9), 0, gate.EvidenceFresh},
		{"made anew not long ago", said(0.9), r.PredictionsFresh(), gate.EvidenceFresh},
		{"not made anew", said(0.9), r.PredictionsFresh() + 1, gate.EvidenceCleared},
		{"below the gate", said(0.5), 0, gate.EvidenceCleared},
		{"together above it", said(0.6, 0.6), 0, gate.EvidenceFresh},
		{"none", nil, 0, gate.EvidenceCleared},
	} {
		if e := r.Foreseen(now.Add(tt.after), now.Add(-time.Hour), tt.list, "db", grace.CodeCapacity, 0.8); e.State != tt.want {
			t.Errorf("%s: %+v, want %q", tt.name, e, tt.want)
		}
	}
	if e := r.Foreseen(now, now, nil, "db", grace.CodeCapacity, 0.8); e.State != gate.EvidenceUnconfirmed {
		t.Errorf("right after a start: %+v", e)
	}
}

// TestWellOrSilenced: a member of a group whose alert fires is not there for another
// one, though its sender keeps it silent; for what people are told it is well.
func TestWellOrSilenced(t *testing.T) {
	t.Parallel()
	signals := []grace.Signal{
		{Key: "web/am/Down", Service: "web", Kind: grace.SignalAlert, State: grace.SignalFiring, Severity: grace.SeverityCritical, Silenced: "silence 1 (ann: new disk)"},
		{Key: "web/probe/up", Service: "web", Kind: grace.SignalProbe, State: grace.SignalOK, Severity: grace.SeverityCritical},
	}
	if ShownWell(signals)["web"] || !WellOrSilenced(signals)["web"] {
		t.Errorf("%v, %v", ShownWell(signals), WellOrSilenced(signals))
	}
	signals[0].Silenced = ""
	if ShownWell(signals)["web"] || WellOrSilenced(signals)["web"] {
		t.Errorf("not silenced: %v, %v", ShownWell(signals), WellOrSilenced(signals))
	}
	if signals = signals[1:]; !ShownWell(signals)["web"] || !WellOrSilenced(signals)["web"] {
		t.Errorf("it is over: %v, %v", ShownWell(signals), WellOrSilenced(signals))
	}
}

// TestAlertThatWasOver: that an alert is over nobody repeats: one from before a start
// says nothing against a service that is shown to be well, and nothing for it where
// something is to be done; people wait for no more.
func TestAlertThatWasOver(t *testing.T) {
	t.Parallel()
	over := grace.Signal{Key: "web/am/Down", Service: "web", Kind: grace.SignalAlert, State: grace.SignalOK, Severity: grace.SeverityCritical, Unconfirmed: true}
	passes := grace.Signal{Key: "web/probe/up", Service: "web", Kind: grace.SignalProbe, State: grace.SignalOK, Severity: grace.SeverityCritical}
	fails, notYet := passes, passes
	fails.State, notYet.Unconfirmed = grace.SignalFiring, true
	for name, tt := range map[string]struct {
		signals        []grace.Signal
		well, resolves bool
	}{
		"and a probe passes":                 {[]grace.Signal{over, passes}, true, true},
		"alone":                              {[]grace.Signal{over}, false, true},
		"and a probe fails":                  {[]grace.Signal{over, fails}, false, false},
		"and a probe has not been heard yet": {[]grace.Signal{over, notYet}, false, false},
	} {
		if got := ShownWell(tt.signals)["web"]; got != tt.well {
			t.Errorf("%s: well: %v", name, got)
		}
		if got := WellOrSilenced(tt.signals)["web"]; got != tt.resolves {
			t.Errorf("%s: well enough to resolve an incident: %v", name, got)
		}
	}
}
