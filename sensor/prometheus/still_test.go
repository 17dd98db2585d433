package prometheus

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"grace"
	"grace/gracetest"
)

// TestStoodStill: a scrape during which this process stood still is no failure of
// the target, nor a success; one that was slow is what it is.
func TestStoodStill(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusInternalServerError} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintln(w, "up 1")
		}))
		defer srv.Close()
		s, err := New(Config{Name: "shop", Service: "shop", URL: srv.URL}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for took, own := range map[time.Duration]bool{time.Second: false, 6 * time.Second: false, 8 * time.Second: true, time.Hour: true} {
			s.since = func(time.Time) time.Duration { return took }
			now, fail := s.scrape(context.Background(), time.Now())
			if (fail != nil && fail.own) != own || !own && (fail == nil) != (status == http.StatusOK) {
				t.Errorf("status %d, took %s: %+v, %v", status, took, now, fail)
			}
		}
	}
}

// TestFailureIsDatedByItsBegin: what took long to fail is no evidence of anything
// later than its begin.
func TestFailureIsDatedByItsBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Name: "shop", Service: "shop", URL: "http://127.0.0.1:1/metrics", Interval: grace.Duration(10 * time.Second)}, newScraped(t).db)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now().Add(s.offset())
		s.since = func(time.Time) time.Duration { time.Sleep(3 * time.Second); return 3 * time.Second }
		ctx, cancel := context.WithTimeout(t.Context(), 14*time.Second)
		defer cancel()
		rec := &gracetest.Recorder{}
		if err := s.Run(ctx, rec); err != nil {
			t.Fatal(err)
		}
		if got := rec.Samples(); len(got) == 0 || got[0].Value != 0 || !got[0].At.Equal(began) {
			t.Errorf("%+v, want the first at %s", got, began)
		}
	})
}
