package alertmanager_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"grace"
	"grace/gracetest"
	"grace/internal/patience"
	"grace/sensor/alertmanager"
)

// reader runs a reader and gives the samples of its newest reading.
func reader(t *testing.T, url string, known func() []grace.Signal) (next func() []grace.Sample) {
	t.Helper()
	return readings(t, alertmanager.ReaderConfig{URL: url, Every: grace.Duration(50 * time.Millisecond), Resend: 1, Known: known})
}

func readings(t *testing.T, cfg alertmanager.ReaderConfig) (next func() []grace.Sample) {
	t.Helper()
	r, err := alertmanager.NewReader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	news := make(chan []grace.Sample)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- r.Run(ctx, grace.SinkFunc(func(ctx context.Context, samples ...grace.Sample) error {
			select {
			case news <- samples:
			case <-ctx.Done():
			}
			return nil
		}))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return func() []grace.Sample { return <-news }
}

// until waits for a reading of which a condition holds.
func until(t *testing.T, next func() []grace.Sample, what string, holds func([]grace.Sample) bool) []grace.Sample {
	t.Helper()
	var samples []grace.Sample
	patience.Until(t, func() error {
		if samples = next(); !holds(samples) {
			return errors.New("never: " + what)
		}
		return nil
	})
	return samples
}

func alertOf(samples []grace.Sample, metric string) (grace.Sample, bool) {
	i := slices.IndexFunc(samples, func(s grace.Sample) bool { return s.Metric == metric })
	if i < 0 {
		return grace.Sample{}, false
	}
	return samples[i], true
}

// An unmodified Alertmanager lists its alerts, its silences and what it
// inhibits; what it does not list any more is over.
func TestReaderOfRealAlertmanager(t *testing.T) {
	bin, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		t.Skip("Alertmanager is missing; install it with: apt-get install prometheus-alertmanager")
	}
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer hook.Close()
	url := startAlertmanager(t, bin, hook.URL)
	post := func(path string, v any) (answer map[string]string) {
		t.Helper()
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(url+path, "application/json", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", path, resp.Status)
		}
		_ = json.NewDecoder(resp.Body).Decode(&answer) // alerts are answered with nothing
		return answer
	}
	started := time.Now().Add(-time.Minute).Truncate(time.Second)
	alert := func(name string, ends any) map[string]any {
		return map[string]any{"labels": map[string]string{"alertname": name, "service": "shop", "code": "service_down"}, "startsAt": started, "endsAt": ends}
	}
	soon := time.Now().Add(time.Hour)
	post("/api/v2/alerts", []any{alert("Down", soon), alert("Slow", soon)})

	var mu sync.Mutex
	var known []grace.Signal
	next := reader(t, url, func() []grace.Signal {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(known)
	})
	first := until(t, next, "both alerts are listed", func(s []grace.Sample) bool { return len(s) == 3 })
	down, _ := alertOf(first, "Down")
	if down.Resolved || down.Silenced != "" || down.Service != "shop" || !down.StartsAt.Equal(started) || down.Fingerprint == "" {
		t.Errorf("%+v", down)
	}
	if age := down.At.Sub(down.Repeated); down.Repeated.IsZero() || age < 0 || age > 30*time.Second {
		t.Errorf("it was sent last at %s, by a list read at %s", down.Repeated, down.At)
	}
	again := until(t, next, "the list is read again", func(s []grace.Sample) bool { d, _ := alertOf(s, "Down"); return d.At.Sub(down.At) > 2*time.Second })
	if d, _ := alertOf(again, "Down"); d.Repeated.Sub(down.Repeated).Abs() > 1100*time.Millisecond {
		t.Errorf("nobody sent it again, and it was sent at %s and %s", down.Repeated, d.Repeated)
	}
	if l, _ := alertOf(first[2:], alertmanager.ListMetric); !l.Listed || l.Kind != grace.SampleMetric || l.Expires.Sub(l.At) != 10150*time.Millisecond {
		t.Errorf("the last of a reading, after all alerts, is %+v", l)
	}
	if d := down.Expires.Sub(down.At); d <= 0 || d > 2*time.Minute {
		t.Errorf("what is listed shows something for %s", d)
	}
	b, err := alertmanager.ReadAlerts(strings.NewReader(`[{"labels":{"alertname":"Down","service":"shop","code":"service_down"}}]`), 1000, alertmanager.Mapping{}, time.Now())
	if err != nil || b.Samples[0].Fingerprint != down.Fingerprint {
		t.Errorf("a fingerprint that is made is %s, Alertmanager's %s (%v)", b.Samples[0].Fingerprint, down.Fingerprint, err)
	}

	id := post("/api/v2/silences", map[string]any{
		"matchers": []any{map[string]any{"name": "alertname", "value": "Down", "isRegex": false, "isEqual": true}}, "createdBy": "ops", "comment": "planned work",
		"startsAt": time.Now(), "endsAt": soon,
	})["silenceID"]
	silenced := until(t, next, "the silence is seen", func(s []grace.Sample) bool { d, _ := alertOf(s, "Down"); return d.Silenced != "" })
	down, _ = alertOf(silenced, "Down")
	slow, _ := alertOf(silenced, "Slow")
	if down.Silenced != "silence "+id+" (ops: planned work)" || slow.Silenced != "" || down.Resolved {
		t.Errorf("silenced by %q and %q", down.Silenced, slow.Silenced)
	}

	mu.Lock()
	for _, m := range []string{"Down", "Gone"} {
		known = append(known, grace.Signal{
			Key: grace.SignalKey("shop/alertmanager/" + m + "/" + down.Fingerprint), Service: "shop", Sensor: alertmanager.Sensor, Metric: m, State: grace.SignalFiring, Listed: true,
		})
	}
	// What came by the webhook from elsewhere was never listed.
	known = append(known, grace.Signal{Key: "shop/alertmanager/Grafana/x", Service: "shop", Sensor: alertmanager.Sensor, Metric: "Grafana", State: grace.SignalFiring})
	known = append(known, grace.Signal{Key: "shop/prometheus-alerts/Down/x", Service: "shop", Sensor: alertmanager.SensorPrometheus, Metric: "Down", State: grace.SignalFiring})
	mu.Unlock()
	over := until(t, next, "what is not listed is over", func(s []grace.Sample) bool { _, ok := alertOf(s, "Gone"); return ok })
	gone, _ := alertOf(over, "Gone")
	if !gone.Resolved || gone.Fingerprint != down.Fingerprint || len(over) != 4 {
		t.Errorf("%+v in %d samples", gone, len(over))
	}
	post("/api/v2/alerts", []any{alert("Slow", time.Now())})
	until(t, next, "the ended alert is not listed", func(s []grace.Sample) bool { _, ok := alertOf(s, "Slow"); return !ok })
}

// What a webhook brought is read soon, however rarely the rest is.
func TestReaderFollowsAWebhook(t *testing.T) {
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") }))
	t.Cleanup(empty.Close)
	came := make(chan struct{}, 1)
	next := readings(t, alertmanager.ReaderConfig{URL: empty.URL, Every: grace.Duration(24 * time.Hour), Came: came})
	next()
	came <- struct{}{}
	next()
}

// A reading that fails ends nothing, and says why.
func TestReaderFails(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	moved := httptest.NewServer(http.RedirectHandler("http://elsewhere.invalid/", http.StatusFound))
	t.Cleanup(moved.Close)
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	t.Cleanup(html.Close)
	known := func() []grace.Signal {
		return []grace.Signal{{Key: "shop/alertmanager/Down/f", Service: "shop", Sensor: alertmanager.Sensor, Metric: "Down", State: grace.SignalFiring, Listed: true}}
	}
	for url, want := range map[string]string{closed.URL: "refused", moved.URL: "points to http://elsewhere.invalid/", html.URL: "read the answer"} {
		got := reader(t, url, known)()
		if len(got) != 1 || got[0].Kind != grace.SampleSensorError || !got[0].Listed || !strings.Contains(got[0].Message, want) {
			t.Errorf("%+v, want one sensor error with %q", got, want)
		}
	}
}

// An Alertmanager that has just begun has not been sent yet what lasts: that it does not
// list an alert shows nothing.
func TestReaderOfOneThatHasJustBegun(t *testing.T) {
	for ran, shows := range map[time.Duration]bool{10 * time.Second: false, time.Hour: true} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/status") {
				fmt.Fprintf(w, `{"uptime": %q}`, time.Now().Add(-ran).UTC().Format(time.RFC3339Nano))
				return
			}
			fmt.Fprint(w, "[]")
		}))
		t.Cleanup(srv.Close)
		next := readings(t, alertmanager.ReaderConfig{URL: srv.URL, Every: grace.Duration(50 * time.Millisecond), Known: func() []grace.Signal { return nil }})
		got := next()
		if l, ok := alertOf(got, alertmanager.ListMetric); !ok || l.Listed != shows {
			t.Errorf("it has run for %s: %+v", ran, got)
		}
	}
}

// An alert that leads nowhere is said once, for as long as it is listed.
func TestReaderSaysWhatLeadsNowhere(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, `[{"labels":{"alertname":"NoSvc"},"fingerprint":"f1","startsAt":"2026-03-01T12:00:00Z","status":{"state":"active"}}]`)
	}))
	t.Cleanup(srv.Close)
	var said []alertmanager.Skipped
	r, err := alertmanager.NewReader(alertmanager.ReaderConfig{
		URL: srv.URL, Every: grace.Duration(time.Millisecond), Skipped: func(p []alertmanager.Skipped) { said = append(said, p...) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	sink := grace.SinkFunc(func(context.Context, ...grace.Sample) error {
		if asked.Load() >= 3 {
			cancel()
		}
		return nil
	})
	if err := r.Run(ctx, sink); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || said[0].Alert != "NoSvc" || said[0].Kind != alertmanager.KindNoService {
		t.Errorf("%+v", said)
	}
}

func TestReaderConformance(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") }))
	t.Cleanup(srv.Close)
	gracetest.Sensor(t, func(t *testing.T) grace.Sensor {
		r, err := alertmanager.NewReader(alertmanager.ReaderConfig{URL: srv.URL, Every: grace.Duration(10 * time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}, gracetest.SensorCase{Service: grace.CoreService, Metrics: []string{alertmanager.ListMetric}})
}
