package alertmanager

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
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

// TestSeveralBehindOneAddress: of two Alertmanagers behind one address each reading may
// ask another one. What none of them lists any more is over; what one of them lists is
// not, though the other one does not, or has just begun.
func TestSeveralBehindOneAddress(t *testing.T) {
	const down = `[{"labels":{"alertname":"Down","service":"shop"},"fingerprint":"f1","startsAt":"2026-03-01T12:00:00Z","status":{"state":"active"}}]`
	const other = `[{"labels":{"alertname":"Slow","service":"cart"},"fingerprint":"f2","startsAt":"2026-03-01T12:00:00Z","status":{"state":"active"}}]`
	type reading struct{ list, uptime string }
	turns := func(n int, of ...reading) (all []reading) {
		for i := range n {
			all = append(all, of[i%len(of)])
		}
		return all
	}
	began := turns(4, reading{down, "a"}, reading{down, "b"})
	fed := slices.Concat(turns(2, reading{down, "a"}), turns(2, reading{down, "b"})) // they may take turns more slowly
	for name, tt := range map[string]struct {
		readings []reading
		over     int // the reading, from 1, by which it is over; 0 for none
	}{
		"listed by none":               {slices.Concat(began, turns(10, reading{other, "a"}, reading{other, "b"})), 11},
		"listed by none, as they came": {turns(10, reading{other, "a"}, reading{other, "b"}), 8},
		"listed by one":                {slices.Concat(fed, turns(80, reading{down, "a"}, reading{other, "b"})), 0},
		"one was never sent anything":  {slices.Concat(began, turns(80, reading{down, "a"}, reading{"[]", "b"})), 0},
		"one begins":                   {slices.Concat(fed, turns(80, reading{"[]", "c"}, reading{down, "a"})), 0},
		"one begins, and nobody lists": {slices.Concat(fed, turns(10, reading{other, "c"}, reading{other, "a"})), 11},
		"all is over":                  {slices.Concat(fed, fed, turns(20, reading{"[]", "a"}, reading{"[]", "b"})), 15},
		"one is left, and alone":       {slices.Concat(fed, turns(40, reading{down, "a"}), turns(1, reading{"[]", "a"})), 45},
	} {
		t.Run(name, func(t *testing.T) {
			var now reading
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/v2/alerts" {
					fmt.Fprint(w, now.list)
					return
				}
				fmt.Fprintf(w, `{"uptime":%q}`, now.uptime)
			}))
			t.Cleanup(srv.Close)
			r, err := NewReader(ReaderConfig{URL: srv.URL, Known: func() []grace.Signal {
				return []grace.Signal{{Key: "shop/alertmanager/Down/f1", Service: "shop", Sensor: Sensor, Metric: "Down", State: grace.SignalFiring, Listed: true}}
			}})
			if err != nil {
				t.Fatal(err)
			}
			over := 0
			for i, one := range tt.readings {
				now = one
				samples, err := r.read(t.Context(), time.Date(2026, 3, 1, 12, 0, 30*i, 0, time.UTC))
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range samples {
					if over == 0 && s.Metric == "Down" && s.Resolved {
						over = i + 1
					}
				}
			}
			if over != tt.over {
				t.Errorf("over by reading %d, want %d", over, tt.over)
			}
			if len(r.peers) > 3 {
				t.Errorf("%d are remembered", len(r.peers))
			}
		})
	}
}
