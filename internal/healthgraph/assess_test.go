package healthgraph

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
)

func TestAssess(t *testing.T) {
	now := time.Date(2026, 3, 1, 14, 15, 0, 0, time.UTC)
	signal := func(state grace.SignalState, severity grace.Severity, message string) grace.Signal {
		return grace.Signal{
			Key: grace.SignalKey("cart/" + message), Service: "cart", State: state, Severity: severity,
			Message: message, Since: now.Add(-90 * time.Second),
		}
	}
	const (
		ok, firing, stale, unknown = grace.SignalOK, grace.SignalFiring, grace.SignalStale, grace.SignalUnknown
		info, warning, critical    = grace.SeverityInfo, grace.SeverityWarning, grace.SeverityCritical
	)
	pending := func(s grace.Signal) grace.Signal {
		s.FailingSince = s.Since
		return s
	}
	other := signal(firing, critical, "of another")
	other.Service = "store"
	tests := []struct {
		name       string
		signals    []grace.Signal
		status     grace.Health
		confidence float64
		symptoms   []string
	}{
		{name: "no signals", status: grace.HealthUnknown},
		{name: "another service's signals", signals: []grace.Signal{other}, status: grace.HealthUnknown},
		{name: "all ok", signals: []grace.Signal{signal(ok, critical, "a"), signal(ok, warning, "b")}, status: grace.HealthHealthy, confidence: 1},
		{
			name: "info is told only", signals: []grace.Signal{signal(firing, info, "a"), signal(ok, warning, "b")},
			status: grace.HealthHealthy, confidence: 1, symptoms: []string{"a (since 1m30s)"},
		},
		{
			name: "warning", signals: []grace.Signal{signal(firing, warning, "a"), signal(ok, critical, "b")},
			status: grace.HealthDegraded, confidence: 1, symptoms: []string{"a (since 1m30s)"},
		},
		{
			name:    "worst first",
			signals: []grace.Signal{signal(stale, critical, "d"), signal(firing, warning, "a"), signal(unknown, warning, "e"), signal(firing, critical, "b")},
			status:  grace.HealthCritical, confidence: 0.5,
			symptoms: []string{"b (since 1m30s)", "a (since 1m30s)", "d (since 1m30s)", "e (since 1m30s)"},
		},
		{
			name: "all stale", signals: []grace.Signal{signal(stale, critical, "a"), signal(unknown, critical, "b")},
			status: grace.HealthUnknown, symptoms: []string{"a (since 1m30s)", "b (since 1m30s)"},
		},
		{
			name: "some stale", signals: []grace.Signal{signal(stale, warning, "a"), signal(ok, critical, "b")},
			status: grace.HealthUnknown, confidence: 0.5, symptoms: []string{"a (since 1m30s)"},
		},
		{
			name: "one never had data", signals: []grace.Signal{signal(unknown, warning, "a"), signal(ok, critical, "b")},
			status: grace.HealthUnknown, confidence: 0.5, symptoms: []string{"a (since 1m30s)"},
		},
		{
			name: "one fails, not yet for long enough", signals: []grace.Signal{pending(signal(unknown, critical, "a")), signal(ok, critical, "b")},
			status: grace.HealthHealthy, confidence: 1, symptoms: []string{"a (since 1m30s)"},
		},
		{
			name: "one unstable", signals: []grace.Signal{signal(grace.SignalUnstable, critical, "a"), signal(ok, critical, "b")},
			status: grace.HealthDegraded, confidence: 1, symptoms: []string{"a (since 1m30s)"},
		},
		{
			name: "five symptoms",
			signals: []grace.Signal{
				signal(firing, warning, "f"), signal(firing, warning, "e"), signal(firing, warning, "d"),
				signal(firing, warning, "c"), signal(firing, warning, "b"), signal(firing, warning, "a"),
			},
			status: grace.HealthDegraded, confidence: 1,
			symptoms: []string{"a (since 1m30s)", "b (since 1m30s)", "c (since 1m30s)", "d (since 1m30s)", "e (since 1m30s)"},
		},
		{
			name:    "no message",
			signals: []grace.Signal{{Service: "cart", Code: grace.CodeServiceDown, State: firing, Severity: critical}},
			status:  grace.HealthCritical, confidence: 1, symptoms: []string{"service_down firing"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := grace.HealthState{Service: "cart", Status: tt.status, Confidence: tt.confidence, TopSymptoms: tt.symptoms}
			if want.TopSymptoms == nil {
				want.TopSymptoms = []string{} // an array in JSON, never null
			}
			if diff := cmp.Diff(want, Assess("cart", tt.signals, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
