package sense

import (
	"testing"

	"grace"
)

// TestLatest: a published signal is shown with what was seen since, where that says
// the same; another replica's newer word, and another state, stand.
func TestLatest(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{slow()})
	var probe, metric grace.Signal // as published
	for sec := range 30 {
		for _, s := range append(a.Observe(probeAt(sec, 0)), a.Observe(metricAt(sec, float64(600+sec)))...) {
			if s.Kind == grace.SignalProbe {
				probe = s
			} else {
				metric = s
			}
		}
	}
	if got := a.Latest(metric); metric.Value == 629 || got.Value != 629 || got.Message != "latency_p99_ms 629 ms > 500 ms" || !got.At.Equal(at(29)) || !got.Since.Equal(metric.Since) {
		t.Errorf("metric: %+v, published %+v", got, metric)
	}
	if got := a.Latest(probe); got.Message != "http_health failed 30 times: connection refused" || !got.SeenFailing() {
		t.Errorf("probe: %+v", got)
	}
	heard, ok, foreign := probe, probe, probe
	heard.At, ok.State, foreign.Key = at(40), grace.SignalOK, "cart/other/up"
	for name, s := range map[string]grace.Signal{"heard later": heard, "another state": ok, "not seen here": foreign} {
		if got := a.Latest(s); got.Message != s.Message || !got.At.Equal(s.At) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
