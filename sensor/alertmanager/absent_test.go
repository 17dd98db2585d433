package alertmanager

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"grace"
)

// TestAlertmanagerBegins: what an Alertmanager does not list is over, but not while
// it may not have been sent it again since it began.
func TestAlertmanagerBegins(t *testing.T) {
	const down = `[{"labels":{"alertname":"Down","service":"shop"},"fingerprint":"f1","startsAt":"2026-03-01T12:00:00Z","status":{"state":"active"}}]`
	const other = `[{"labels":{"alertname":"Slow","service":"cart"},"fingerprint":"f2","startsAt":"2026-03-01T12:00:00Z","status":{"state":"active"}}]`
	list, uptime := down, "10:00"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/v2/alerts":
			fmt.Fprint(w, list)
		case uptime == "":
			http.NotFound(w, r)
		default:
			fmt.Fprintf(w, `{"uptime":%q}`, uptime)
		}
	}))
	t.Cleanup(srv.Close)
	r, err := NewReader(ReaderConfig{URL: srv.URL, Known: func() []grace.Signal {
		return []grace.Signal{{Key: "shop/alertmanager/Down/f1", Service: "shop", Sensor: Sensor, Metric: "Down", State: grace.SignalFiring, Listed: true}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		after        time.Duration
		list, uptime string
		want         string
	}{
		{0, "[]", "10:00", "nothing"}, // GRACE has just begun, too
		{time.Minute, down, "10:00", "fires"},
		{10 * time.Minute, "[]", "10:00", "over"},
		{11 * time.Minute, down, "10:00", "fires"},
		{12 * time.Minute, "[]", "12:12", "nothing"}, // it has begun anew
		{14 * time.Minute, "[]", "12:12", "nothing"},
		{16 * time.Minute, "[]", "12:12", "nothing"}, // and was sent nothing: Prometheus may be away
		{26 * time.Minute, "[]", "12:12", "nothing"},
		{27 * time.Minute, "[]", "12:12", "over"}, // nobody sends for so long that nothing is to be sent
		{30 * time.Minute, down, "12:12", "fires"},
		{34 * time.Minute, "[]", "12:12", "over"},
		{40 * time.Minute, down, "12:12", "fires"},
		{41 * time.Minute, other, "12:41", "nothing"}, // anew; the list may be of the one before
		{42 * time.Minute, "[]", "12:41", "nothing"},
		{50 * time.Minute, other, "12:41", "nothing"}, // it is sent something
		{52 * time.Minute, other, "12:41", "nothing"},
		{53 * time.Minute, other, "12:41", "over"},
		{54 * time.Minute, down, "12:41", "fires"},
		{55 * time.Minute, "[]", "12:55", "nothing"},
		{56 * time.Minute, down, "12:55", "fires"}, // sent again
		{58 * time.Minute, "[]", "12:55", "over"},  // this one had listed it
		{66 * time.Minute, down, "", "fires"},      // one that does not say when it began
		{67 * time.Minute, other, "", "nothing"},
		{69 * time.Minute, other, "", "nothing"},
		{70 * time.Minute, other, "", "over"},
		{71 * time.Minute, down, "", "fires"},
		{72 * time.Minute, "[]", "", "nothing"},
		{86 * time.Minute, "[]", "", "nothing"},
		{87 * time.Minute, "[]", "", "over"},
	} {
		list, uptime = step.list, step.uptime
		samples, err := r.read(t.Context(), began.Add(step.after))
		if err != nil {
			t.Fatal(err)
		}
		got := "nothing"
		for _, s := range samples {
			switch {
			case s.Metric != "Down":
			case s.Resolved:
				got = "over"
			default:
				got = "fires"
			}
		}
		if got != step.want {
			t.Errorf("after %s: %s, want %s", step.after, got, step.want)
		}
	}
}
