package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"grace/internal/series"
)

// The log says at once that samples are refused, then once a minute with what
// came since, and nothing of what is as it should be.
func TestRefusalsAreTold(t *testing.T) {
	var out bytes.Buffer
	r := refusals{log: slog.New(slog.NewTextHandler(&out, nil))}
	start := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		at          time.Duration
		full, taken uint64
		want        string // "" is silence
	}{
		{at: 0, taken: 7},
		{at: 5 * time.Second, taken: 9, full: 3, want: "series_per_source=3"},
		{at: 10 * time.Second, taken: 9, full: 9},
		{at: 70 * time.Second, taken: 12, full: 9, want: "series_per_source=6"},
		{at: 140 * time.Second, taken: 20, full: 9},
		{at: 145 * time.Second, taken: 20, full: 10, want: "series_per_source=1"},
	} {
		out.Reset()
		r.look([]series.ReasonCount{{Reason: series.Taken, Count: step.taken}, {Reason: series.SourceFull, Count: step.full}}, start.Add(step.at))
		got := out.String()
		if (step.want == "") != (got == "") || !strings.Contains(got, step.want) || strings.Contains(got, "taken=") {
			t.Errorf("after %s: %q, want %q", step.at, got, step.want)
		}
	}
}
