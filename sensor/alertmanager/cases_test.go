package alertmanager_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/sensor/alertmanager"
)

func read(t *testing.T, name string) alertmanager.Batch {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := alertmanager.ReadWebhook(bytes.NewReader(data), 16<<20, alertmanager.Mapping{}, received)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What senders really send: nothing is refused whole.
func TestBodies(t *testing.T) {
	for name, want := range map[string]struct {
		samples, skipped int
		holds            func(*testing.T, []grace.Sample)
	}{
		"grafana":        {samples: 1},
		"version_number": {samples: 1},
		"no_fingerprint": {samples: 2, holds: func(t *testing.T, s []grace.Sample) {
			if s[0].Fingerprint == "" || s[0].Fingerprint == s[1].Fingerprint || len(s[0].Fingerprint) != 16 {
				t.Errorf("fingerprints %q and %q", s[0].Fingerprint, s[1].Fingerprint)
			}
		}},
		"several_services":      {samples: 3},
		"resolved_without_end":  {samples: 1, holds: isResolved},
		"resolved_before_start": {samples: 1, holds: isResolved},
		"truncated":             {samples: 1, skipped: 1},
		"no_service":            {skipped: 2},
		"no_code": {samples: 1, holds: func(t *testing.T, s []grace.Sample) {
			if s[0].Code != grace.CodeInvestigation {
				t.Errorf("code %s: nobody said what it means", s[0].Code)
			}
		}},
		"unicode": {samples: 1, holds: func(t *testing.T, s []grace.Sample) {
			if s[0].Service != "café" || s[0].Message != `a\u0000b\u202ec\u001b[31md e` {
				t.Errorf("%q %q", s[0].Service, s[0].Message)
			}
		}},
		"long": {samples: 1, skipped: 1, holds: func(t *testing.T, s []grace.Sample) {
			if len([]rune(s[0].Metric)) != 200 || len(s[0].Fingerprint) > 200 {
				t.Errorf("%d and %d characters", len(s[0].Metric), len(s[0].Fingerprint))
			}
		}},
		"replica": {samples: 2, holds: func(t *testing.T, s []grace.Sample) {
			if s[0].Fingerprint != s[1].Fingerprint {
				t.Errorf("a pair's alert is two: %s and %s", s[0].Fingerprint, s[1].Fingerprint)
			}
		}},
		"odd_times": {samples: 3, skipped: 1, holds: func(t *testing.T, s []grace.Sample) {
			if !s[0].StartsAt.IsZero() || !s[1].StartsAt.Equal(received) || !s[2].StartsAt.IsZero() {
				t.Errorf("%s, %s, %s", s[0].StartsAt, s[1].StartsAt, s[2].StartsAt)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := read(t, name)
			if len(b.Samples) != want.samples || len(b.Skipped) != want.skipped {
				t.Fatalf("%d samples, skipped %v; want %d and %d", len(b.Samples), b.Skipped, want.samples, want.skipped)
			}
			if want.holds != nil {
				want.holds(t, b.Samples)
			}
		})
	}
}

func isResolved(t *testing.T, s []grace.Sample) {
	t.Helper()
	if !s[0].Resolved || s[0].Value != 0 {
		t.Errorf("%+v is not resolved", s[0])
	}
}

func TestSeverityWords(t *testing.T) {
	var got []string
	for _, s := range read(t, "severities").Samples {
		got = append(got, s.Labels["severity"]+"="+string(s.Severity))
	}
	want := "CRITICAL=critical Fatal=critical  critical =critical P1=critical page=critical HIGH=critical ERROR=critical emerg=critical " +
		"warn=warning Warning=warning moderate=warning P3=warning whatever=warning =warning Info=info none=info P5=info low=info notice=info"
	if text := strings.Join(got, " "); text != want {
		t.Errorf("%s\nwant\n%s", text, want)
	}
}

func group(n int) []byte {
	alerts := make([]string, n)
	for i := range alerts {
		alerts[i] = fmt.Sprintf(`{"status":"firing","labels":{"alertname":"A%d","service":"shop","code":"x","pad":"%s"},"startsAt":"2026-03-01T14:10:00Z","fingerprint":"f%d"}`, i, strings.Repeat("p", 100), i)
	}
	return body(alerts...)
}

// A group of any size is taken as far as the limit goes, and what is beyond is
// said to be lost.
func TestLargeGroup(t *testing.T) {
	data := group(20_000)
	b, err := alertmanager.ReadWebhook(bytes.NewReader(data), 16<<20, alertmanager.Mapping{}, received)
	if err != nil || len(b.Samples) != 20_000 || len(b.Skipped) != 0 {
		t.Fatalf("%d samples of a body of %d bytes, skipped %v: %v", len(b.Samples), len(data), b.Skipped, err)
	}
	b, err = alertmanager.ReadWebhook(bytes.NewReader(data), int64(len(data)/2), alertmanager.Mapping{}, received)
	if err != nil || len(b.Samples) < 9_000 || len(b.Skipped) != 1 || b.Skipped[0].Kind != alertmanager.KindTruncated {
		t.Fatalf("%d samples, skipped %v: %v", len(b.Samples), b.Skipped, err)
	}
}

// Prometheus' own format: endsAt says until when an alert fires that is not
// repeated.
func TestReadAlerts(t *testing.T) {
	list := `[
 {"labels":{"alertname":"A","service":"shop","code":"x"},"annotations":{"summary":"s"},"startsAt":"2026-03-01T14:10:00Z","endsAt":"2026-03-01T14:19:00Z","generatorURL":"http://p/g"},
 {"labels":{"alertname":"B","service":"shop","code":"x"},"startsAt":"2026-03-01T14:10:00Z","endsAt":"2026-03-01T14:14:00Z"},
 {"labels":{"alertname":"C","service":"shop","code":"x"}},
 {"labels":{"alertname":"D","service":"shop","code":"x"},"endsAt":"2999-01-01T00:00:00Z"}]`
	b, err := alertmanager.ReadAlerts(strings.NewReader(list), 1<<20, alertmanager.Mapping{}, received)
	if err != nil || len(b.Samples) != 4 || len(b.Skipped) != 0 {
		t.Fatalf("%v %v", b, err)
	}
	for i, want := range []struct {
		resolved bool
		expires  time.Time
	}{{false, received.Add(4 * time.Minute)}, {true, time.Time{}}, {false, received.Add(5 * time.Minute)}, {false, received.Add(24 * time.Hour)}} {
		if s := b.Samples[i]; s.Resolved != want.resolved || !s.Expires.Equal(want.expires) || s.Sensor != alertmanager.SensorPrometheus || s.Fingerprint == "" {
			t.Errorf("%s: %+v, want %+v", s.Metric, s, want)
		}
	}
	if b, err := alertmanager.ReadAlerts(strings.NewReader("[]"), 1<<20, alertmanager.Mapping{}, received); err != nil || len(b.Samples) != 0 {
		t.Errorf("an empty list: %v %v", b, err)
	}
	for _, bad := range []string{"", "7", `{"a":1}`, "[{]", "[] []"} {
		if _, err := alertmanager.ReadAlerts(strings.NewReader(bad), 1<<20, alertmanager.Mapping{}, received); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
