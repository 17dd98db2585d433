package grace_test

import (
	"testing"
	"time"

	"grace"
)

func TestDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "1h30m": 90 * time.Minute, "1d": day, "2w": 14 * day, "1w2d3h": 9*day + 3*time.Hour, "1d12h": 36 * time.Hour,
		"0s": 0, "1.5d": 36 * time.Hour, "500ms": 500 * time.Millisecond,
	} {
		var d grace.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.D() != want {
			t.Errorf("%q: %s, %v; want %s", text, d, err, want)
		}
	}
	for _, text := range []string{"", "5", "d", "1d2w", "xd", "1e300w", "1d5", "9999999999w", "NaNd", "1dd"} {
		var d grace.Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %s", text, d)
		}
	}
}

func TestSilence(t *testing.T) {
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	service := grace.Service{ID: "web-1", Labels: map[string]string{"team": "shop"}}
	for _, tt := range []struct {
		name    string
		silence grace.Silence
		matches bool
		invalid bool
	}{
		{"glob", grace.Silence{Service: "web*"}, true, false},
		{"other glob", grace.Silence{Service: "db*"}, false, false},
		{"regex", grace.Silence{Regex: "web-[0-9]"}, true, false},
		{"regex matches whole", grace.Silence{Regex: "web"}, false, false},
		{"label", grace.Silence{Labels: map[string]string{"team": "sh*"}}, true, false},
		{"label and glob", grace.Silence{Service: "web*", Labels: map[string]string{"team": "ops"}}, false, false},
		{"a label it has not", grace.Silence{Labels: map[string]string{"zone": "*"}}, false, false},
		{"nothing", grace.Silence{}, false, true},
		{"both", grace.Silence{Service: "web*", Regex: "web.*"}, true, true},
		{"bad glob", grace.Silence{Service: "web["}, false, true},
		{"bad regex", grace.Silence{Regex: "web("}, false, true},
	} {
		s := tt.silence
		s.Reason, s.Starts, s.Ends = "why", now, now.Add(time.Hour)
		if got := s.Matches(service); got != tt.matches {
			t.Errorf("%s: matches %t", tt.name, got)
		}
		if err := s.Validate(); (err != nil) != tt.invalid {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !s.Active(now) || s.Active(now.Add(time.Hour)) || s.Active(now.Add(-1)) {
			t.Errorf("%s: not active from its start to its end", tt.name)
		}
	}
}

// TestSilenceLasts: one that lasts longer than a year is a slip or is forgotten.
func TestSilenceLasts(t *testing.T) {
	starts := time.Date(2030, 3, 2, 10, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		grace.MaxSilence:     "",
		grace.MaxSilence + 1: "ends: it would last 367 days, and a silence lasts at most 366; give an earlier end, it can be silenced again then",
		500 * 24 * time.Hour: "ends: it would last 500 days, and a silence lasts at most 366; give an earlier end, it can be silenced again then",
		0:                    "ends: 2030-03-02T10:00:00Z is not after the start 2030-03-02T10:00:00Z",
	} {
		s := grace.Silence{Service: "web", Reason: "why", Starts: starts, Ends: starts.Add(d)}
		got := ""
		if err := s.Validate(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}

// TestWorseThan: worse is what was not wrong before, is so more severely, or does
// not answer any more.
func TestWorseThan(t *testing.T) {
	before := []grace.Symptom{
		{Signal: "api/http/health", Code: grace.CodeElevatedErrors, Severity: grace.SeverityCritical},
		{Signal: "api/alerts/slow", Code: grace.CodeLatencySpike, Severity: grace.SeverityWarning},
	}
	for _, tc := range []struct {
		name   string
		signal grace.Signal
		want   bool
	}{
		{"as before", grace.Signal{Key: "api/http/health", Code: grace.CodeElevatedErrors, Severity: grace.SeverityCritical}, false},
		{"by another name", grace.Signal{Key: "api/http/health", Code: grace.CodeDegradation, Severity: grace.SeverityCritical}, false},
		{"down", grace.Signal{Key: "api/http/health", Code: grace.CodeServiceDown, Severity: grace.SeverityCritical}, true},
		{"milder", grace.Signal{Key: "api/http/health", Code: grace.CodeElevatedErrors, Severity: grace.SeverityWarning}, false},
		{"more severe", grace.Signal{Key: "api/alerts/slow", Code: grace.CodeLatencySpike, Severity: grace.SeverityCritical}, true},
		{"another thing", grace.Signal{Key: "api/http/memory", Code: grace.CodeLatencySpike, Severity: grace.SeverityCritical}, true},
	} {
		if got := tc.signal.WorseThan(before); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}
