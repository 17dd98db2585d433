package promql_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"grace"
	"grace/gracetest"
	"grace/sensor/promql"
)

// Failures: what is said of the services, and when the next question comes.
func TestBackoff(t *testing.T) {
	const interval = 10 * time.Second
	bad := `{"status":"error","errorType":"bad_data","error":"parse error"}`
	for name, tt := range map[string]struct {
		status    int
		header    http.Header
		body      string
		message   string
		low, high []time.Duration // of the waits
	}{
		"refused": {
			status: -1, message: "connection refused",
			low: []time.Duration{interval, 15 * time.Second, 15 * time.Second}, high: []time.Duration{20 * time.Second, 30 * time.Second, 30 * time.Second},
		},
		"no answer":   {status: 0, message: "no whole answer within 5s", low: []time.Duration{interval}, high: []time.Duration{25 * time.Second}},
		"gateway":     {status: 502, body: "<html>", message: "answered 502", low: []time.Duration{interval}, high: []time.Duration{20 * time.Second}},
		"wrong query": {status: 400, body: bad, message: "bad_data: parse error", low: []time.Duration{interval}, high: []time.Duration{20 * time.Second}},
		"asked to wait": {
			status: 429, header: http.Header{"Retry-After": {"25"}}, message: "answered 429",
			low: []time.Duration{25 * time.Second}, high: []time.Duration{25 * time.Second},
		},
		"asked to wait for ever": {
			status: 503, header: http.Header{"Retry-After": {"Fri, 31 Dec 9999 23:59:59 GMT"}}, message: "answered 503",
			low: []time.Duration{30 * time.Second}, high: []time.Duration{30 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := len(tt.low)
				w := &wire{give: func(n int, _ *http.Request, _ url.Values) (int, http.Header, string) {
					if n > tries {
						return 200, nil, result("scalar", `[1000,"7"]`)
					}
					return tt.status, tt.header, tt.body
				}}
				rec, told := &gracetest.Recorder{}, &problems{}
				s := newSensor(t, promql.Config{
					Queries: []promql.Query{query("m")}, Transport: w, Report: told.report,
					Interval: grace.Duration(interval), Timeout: grace.Duration(5 * time.Second),
				})
				run(t, s, rec, 15*time.Minute)
				for i := range tries {
					if wait := w.at[i+1].Sub(w.at[i]); wait < tt.low[i] || wait > tt.high[i] {
						t.Errorf("wait %d is %s, want %s to %s", i, wait, tt.low[i], tt.high[i])
					}
				}
				if wait := w.at[tries+2].Sub(w.at[tries+1]); wait != interval {
					t.Errorf("well again, it waits %s", wait)
				}
				first := rec.Samples()[0]
				if first.Metric != "m" || first.Kind != grace.SampleSensorError || !strings.Contains(first.Message, tt.message) || first.Service != "shop" {
					t.Errorf("%+v, want a sensor error with %q", first, tt.message)
				}
				if len(told.list) != 2 || told.list[1] != "m: " {
					t.Errorf("reported %q, want the failure once and its end once", told.list)
				}
			})
		})
	}
}

// However long the API was away, it is asked again soon after it is back.
func TestBackSoon(t *testing.T) {
	for interval, most := range map[time.Duration]time.Duration{
		time.Second: 5 * time.Second, 2 * time.Second: 6 * time.Second, 15 * time.Second: 30 * time.Second, time.Minute: time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{give: func(int, *http.Request, url.Values) (int, http.Header, string) { return -1, nil, "" }}
			s := newSensor(t, promql.Config{Queries: []promql.Query{query("m")}, Transport: w, Interval: grace.Duration(interval)})
			run(t, s, &gracetest.Recorder{}, time.Hour)
			for i := range w.at[1:] {
				if wait := w.at[i+1].Sub(w.at[i]); wait > most {
					t.Fatalf("every %s: wait %d is %s, want %s at most", interval, i, wait, most)
				}
			}
		})
	}
}
