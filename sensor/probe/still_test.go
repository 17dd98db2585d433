package probe

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"grace"
)

// TestStoodStill: a check during which this process stood still has neither passed
// nor failed, whatever came of it; one that was slow has. All are dated when they
// began.
func TestStoodStill(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	for _, target := range []Target{
		{Type: HTTP, URL: srv.URL},
		{Type: HTTP, URL: srv.URL, Status: http.StatusNotFound},
		{Type: TCP, Address: strings.TrimPrefix(srv.URL, "http://")},
		{Type: Command, Argv: []string{"true"}},
		{Type: Command, Argv: []string{"false"}},
	} {
		for took, fault := range map[time.Duration]bool{2 * time.Second: false, 6 * time.Second: false, 8 * time.Second: true, time.Hour: true} {
			p, err := New(Config{Name: "web", Service: "shop", Target: target})
			if err != nil {
				t.Fatal(err)
			}
			p.checker.since = func(time.Time) time.Duration { return took }
			before := time.Now()
			r := p.Check(context.Background())
			samples := p.samples(r)
			if r.Fault != fault || fault != (samples[0].Kind == grace.SampleSensorError) || fault && (r.OK || len(samples) > 1) {
				t.Errorf("%s took %s: %+v", target.Type, took, samples)
			}
			if at := samples[0].At; at.Before(before) || at.After(time.Now()) {
				t.Errorf("%s took %s: dated %s, began %s", target.Type, took, at, before)
			}
		}
	}
}

// TestDatedByItsBegin: what took long to fail is no evidence of anything later than
// its begin.
func TestDatedByItsBegin(t *testing.T) {
	p, err := New(Config{Name: "slow", Service: "shop", Target: Target{Type: Command, Argv: []string{"sleep", "9"}, Timeout: grace.Duration(200 * time.Millisecond)}})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r := p.Check(context.Background())
	if r.OK || r.Fault || r.At.Before(began) || time.Since(r.At) < 200*time.Millisecond {
		t.Errorf("dated %s after its begin: %+v", r.At.Sub(began), r)
	}
}
