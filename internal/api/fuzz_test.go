package api

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/mesh"
)

// refusal wants an error to be an answer to the client that says where and why.
func refusal(t *testing.T, err error) {
	t.Helper()
	var p *Problem
	if !errors.As(err, &p) || p.Status < 400 || p.Status >= 500 || p.Detail == "" {
		t.Fatalf("not an answer to the client: %v", err)
	}
}

// FuzzIngest: a body is refused with a reason, or every sample of it is whole.
func FuzzIngest(f *testing.F) {
	for _, s := range []string{
		`{"service":"cart","metric":"m","value":1}`, `[{"service":"cart","kind":"alert","code":"service_down"},{"service":"","metric":"m"}]`,
		`[]`, `[1]`, `{"value":1e999}`, `{"at":"2026-13-01T00:00:00Z"}`, "[", `{"service":"\u0000","metric":"m","value":0,"kind":"probe"}`, `{} {}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		inputs, err := decodeBatch[SignalInput](data)
		if err != nil {
			refusal(t, err)
			return
		}
		var bad findings
		for i, in := range inputs {
			s := in.sample(&bad, place(i, len(inputs)), testNow)
			if len(bad) == 0 && (s.Service == "" || s.Metric == "" || s.At.IsZero() || s.At.After(testNow.Add(maxAhead)) ||
				s.Kind == grace.SampleAlert && (s.Code == "" || s.Fingerprint == "" || s.Severity == "")) {
				t.Fatalf("taken though not whole: %+v", s)
			}
		}
		if err := bad.problem("no signal was taken"); err != nil {
			refusal(t, err)
		}
	})
}

// FuzzEvents: an event is refused with a reason, or is nobody's but the
// sender's, and what it says is whole.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{
		`{"event_type":"deploy.finished","source":"ci"}`, `{"event_type":"self_heal.run.approved","source":"x"}`,
		`{"event_type":"health.signal","source":"x","resource":"cart","payload":{"metric":"m","value":2}}`,
		`{"event_type":"self_heal.prediction","source":"x","payload":{"service":"cart","metric":"m","code":"c","likelihood":0.9,"breach_at":"2100-01-01T00:00:00Z"}}`,
		`[{"event_type":"a","source":"b","payload":null}]`, `{"event_type":"self_heal.prediction","source":"x","payload":"p"}`, `[[]]`,
	} {
		f.Add([]byte(s))
	}
	s := &server{cfg: Config{}.filled(), now: func() time.Time { return testNow }}
	f.Fuzz(func(t *testing.T, data []byte) {
		inputs, err := decodeBatch[EventInput](data)
		if err != nil {
			refusal(t, err)
			return
		}
		var bad findings
		var out post
		for i, in := range inputs {
			s.readEvent(t.Context(), in, place(i, len(inputs)), &out, &bad)
		}
		if err := bad.problem("no event was taken"); err != nil {
			refusal(t, err)
			return
		}
		if n := len(out.events) + len(out.predictions) + out.shadow; n != len(inputs) {
			t.Fatalf("%d events became %d", len(inputs), n)
		}
		for _, e := range out.events {
			if e.Type == "" || e.Source == "" || strings.HasPrefix(e.Type, "self_heal.") {
				t.Errorf("taken: %+v", e)
			}
		}
		for _, p := range out.predictions {
			if p.Service == "" || p.Likelihood < 0 || p.Likelihood > 1 || !p.BreachAt.IsZero() && p.BreachAt.Before(testNow) {
				t.Errorf("taken: %+v", p)
			}
		}
	})
}

// FuzzStreamQuery: where a stream begins is refused with a reason, or is an
// event's id; its patterns are never empty and match what the mesh matches.
func FuzzStreamQuery(f *testing.F) {
	f.Add("self_heal.*, health.signal", "7", "")
	f.Add("", "", "18446744073709551616")
	f.Add(",,*,", "-1", "5")
	f.Add("\x00.*", "7 ", "0x7")
	f.Fuzz(func(t *testing.T, types, last, after string) {
		patterns := splitTypes(types)
		if len(patterns) == 0 {
			t.Fatal("no patterns")
		}
		for _, p := range patterns {
			if p == "" || strings.TrimSpace(p) != p {
				t.Errorf("pattern %q", p)
			}
			if p != "*" && mesh.Match(p, "") {
				t.Errorf("pattern %q matches an event without a type", p)
			}
		}
		id, given, err := (&streamInput{LastEventID: last, After: after}).from()
		if err != nil {
			refusal(t, err)
			return
		}
		if id < 0 || given != (last != "" || after != "") {
			t.Errorf("begins after %d, given %v", id, given)
		}
	})
}

func TestIntakeIsBounded(t *testing.T) {
	s := &server{intake: make(chan struct{}, 1)}
	leave, err := s.admitIntake()
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.admitIntake()
	if err == nil {
		t.Fatal("the second is let in")
	}
	p := (&server{log: slog.New(slog.DiscardHandler)}).answer(t.Context(), "the alerts", err)
	if p.Status != http.StatusServiceUnavailable || p.GetHeaders().Get("Retry-After") != "1" {
		t.Errorf("%d %v", p.Status, p.GetHeaders())
	}
	leave()
	if _, err := s.admitIntake(); err != nil {
		t.Error(err)
	}
}
