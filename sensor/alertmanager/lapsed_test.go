package alertmanager

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"grace"
)

// TestLapsed: an alert that has gone from the list because nobody had sent it again is
// not over: Prometheus may be away. It expires when the Alertmanager lets it go, by
// whatever clock that has. One that has gone before is over.
func TestLapsed(t *testing.T) {
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, skew := range []time.Duration{0, -time.Hour, time.Hour} {
		var list string
		var theirs time.Time
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", theirs.Format(http.TimeFormat))
			if r.URL.Path == "/api/v2/alerts" {
				fmt.Fprint(w, list)
				return
			}
			fmt.Fprint(w, `{"uptime":"11:00"}`)
		}))
		t.Cleanup(srv.Close)
		signal := grace.Signal{Key: "shop/alertmanager/Down/f1", Service: "shop", Sensor: Sensor, Metric: "Down", State: grace.SignalFiring, Listed: true}
		r, err := NewReader(ReaderConfig{URL: srv.URL, Known: func() []grace.Signal { return []grace.Signal{signal} }})
		if err != nil {
			t.Fatal(err)
		}
		read := func(after time.Duration, listedUntil time.Duration) grace.Sample {
			list, theirs = "[]", began.Add(after+skew)
			if listedUntil != 0 {
				list = fmt.Sprintf(`[{"labels":{"alertname":"Down","service":"shop"},"fingerprint":"f1","startsAt":"2026-03-01T11:00:00Z","endsAt":%q,"status":{"state":"active"}}]`,
					began.Add(listedUntil+skew).Format(time.RFC3339))
			}
			samples, err := r.read(t.Context(), began.Add(after))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range samples {
				if s.Metric == "Down" {
					return s
				}
			}
			return grace.Sample{}
		}
		for i := range 10 { // it is sent again and again
			after := time.Duration(i) * 30 * time.Second
			if s := read(after, after+4*time.Minute); s.Resolved || !s.Expires.Equal(began.Add(after+missed*DefaultEvery+defaultTimeout)) {
				t.Fatalf("skew %s: listed: %+v", skew, s)
			}
		}
		last := 9*30*time.Second + 4*time.Minute // until when it is listed
		if s := read(last-30*time.Second, last); !s.Expires.Equal(began.Add(last)) {
			t.Errorf("skew %s: nobody has sent it again: %+v", skew, s)
		}
		down := grace.Sample{Service: "shop", Sensor: Sensor, Metric: "Down", Fingerprint: "f1"}
		if at := began.Add(last); !r.Decides(down, at) || r.Decides(down, at.Add(time.Minute)) {
			t.Errorf("skew %s: the list does not say when it is over, or does when it cannot be read", skew)
		}
		for i := range 60 {
			if s := read(last+time.Duration(i)*30*time.Second, 0); s.Resolved {
				t.Fatalf("skew %s: it is over %d readings after nobody had sent it again: %+v", skew, i, s)
			}
		}
		now := last + time.Hour
		read(now, now+4*time.Minute)
		if s := read(now+30*time.Second, 0); !s.Resolved {
			t.Errorf("skew %s: it is over: %+v", skew, s)
		}
	}
}
