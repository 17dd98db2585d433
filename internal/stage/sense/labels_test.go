package sense

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"grace"
)

// TestLabels: a signal has those of its newest sample, and of an objective those of the
// element that it tells of. That they alone change, as where two of a pair send by turns,
// is nothing to publish: it goes with what is.
func TestLabels(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{slow()})
	with := func(s grace.Sample, host string) grace.Sample {
		s.Labels = map[string]string{"host": host}
		return s
	}
	var published []string
	see := func(s grace.Sample) {
		for _, p := range a.Observe(s) {
			published = append(published, fmt.Sprintf("%d %s %s %s", int(p.At.Sub(start).Seconds()), p.Metric, p.State, p.Labels["host"]))
		}
		for _, now := range a.Signals() {
			if s.Kind == grace.SampleMetric {
				s.Labels = map[string]string{"host": "b", "job": "prom", "service": "cart"}
				if s.At.Equal(at(0)) {
					s.Labels["host"] = "a"
				}
			}
			if now.Metric == s.Metric && !maps.Equal(now.Labels, s.Labels) {
				t.Errorf("at %s: labels of %s are %v, want %v", s.At, s.Metric, now.Labels, s.Labels)
			}
		}
	}
	for i, host := range []string{"a", "b", "a", "b", "a"} {
		see(with(alertAt(10*i, "f", false), host))
		see(with(metricAt(10*i, 100+float64(10*(i%2))), host))
		see(with(probeAt(10*i, 1), host))
	}
	late := with(alertAt(15, "f", false), "late")
	if a.Observe(late); maps.Equal(a.Signals()[0].Labels, late.Labels) {
		t.Error("a late sample's labels are taken")
	}
	see(with(alertAt(60, "f", true), "b"))
	see(alertAt(70, "f", false))
	see(with(probeAt(60, 0), "b"))
	see(with(probeAt(70, 0), "c"))
	want := []string{
		"0 HighLatency firing a", "0 latency_p99_ms ok a", "0 http_health ok a",
		"60 HighLatency ok b", "70 HighLatency firing ", "70 http_health firing c",
	}
	if diff := gocmp.Diff(want, published); diff != "" {
		t.Error(diff)
	}
	again := newHouse(DefaultConfig(), []Objective{slow()})
	again.Restore(a.Signals(), at(100))
	if key := probeKey("cart", "http", "http_health"); again.entries[key].sig.Labels["host"] != "c" {
		t.Error("lost by a restart")
	}
}

// TestLabelsAreBounded, the same ones each time, and are not their sender's map.
func TestLabelsAreBounded(t *testing.T) {
	many := map[string]string{}
	for i := range 100 {
		many[fmt.Sprintf("l%02d", i)] = "x"
	}
	for name, tt := range map[string]struct {
		given map[string]string
		want  string
	}{
		"none":                      {nil, ""},
		"too many":                  {many, "l00 l63 64"},
		"too long":                  {map[string]string{"a": "x", "b": strings.Repeat("x", maxLabelBytes), "c": "x"}, "a c 2"},
		"just long enough":          {map[string]string{"a": strings.Repeat("x", maxLabelBytes-1)}, "a a 1"},
		"long ones leave room last": {map[string]string{"a": strings.Repeat("x", maxLabelBytes-3), "b": "x", "c": "x"}, "a b 2"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				s := alertAt(0, "f", false)
				s.Labels = maps.Clone(tt.given)
				published := newHouse(DefaultConfig(), nil).Observe(s)[0]
				clear(s.Labels)
				names, got := slices.Sorted(maps.Keys(published.Labels)), ""
				if n := len(names); n > 0 {
					got = fmt.Sprint(names[0], " ", names[n-1], " ", n)
				}
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
}
