package verify

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"grace"
)

var start = time.Date(2026, 3, 2, 9, 31, 0, 0, time.UTC)

// points makes samples a second apart; NaN stands for no data.
func points(values ...float64) []Sample {
	out := make([]Sample, len(values))
	for i, v := range values {
		out[i] = Sample{At: start.Add(time.Duration(i) * time.Second), Value: v, OK: !math.IsNaN(v)}
		if math.IsNaN(v) {
			out[i].Value = 0
		}
	}
	return out
}

func TestJudge(t *testing.T) {
	gap := math.NaN()
	health := grace.Check{Type: grace.CheckHTTPHealth, URL: "http://x/health"}
	command := grace.Check{Type: grace.CheckCommand, Argv: []string{"true"}}
	below := grace.Check{Type: grace.CheckExpr, Expr: "p99_ms < 200"}
	trendTo := func(direction string) grace.Check {
		return grace.Check{Type: grace.CheckTrend, Expr: "p99_ms", Direction: direction}
	}
	capacity := grace.Check{Type: grace.CheckCapacity, Expr: "instances"}
	with := func(c grace.Check, edit func(*grace.Check)) grace.Check { edit(&c); return c }
	tolerant := func(c grace.Check, share float64) grace.Check {
		return with(c, func(c *grace.Check) { c.Tolerate = share })
	}
	tests := []struct {
		name     string
		check    grace.Check
		samples  []Sample
		baseline *float64
		want     bool
	}{
		{"health", health, points(1, 1, 1), nil, true},
		{"health fails once", health, points(1, 0, 1), nil, false},
		{"health is not half", health, points(1, 1, 0.5), nil, false},
		{"command", command, points(1, 1, 1, 1), nil, true},
		{"command fails at last", command, points(1, 1, 1, 0), nil, false},
		{"no samples", health, nil, nil, false},
		{"no data", health, points(gap, gap, gap, gap), nil, false},
		{"too few", health, points(1, 1), nil, false},
		{"too few with data", tolerant(health, 1), points(gap, 1, 1), nil, false},
		{"one is enough when said so", with(health, func(c *grace.Check) { c.MinSamples = 1 }), points(1), nil, true},
		{"a gap is a failure", health, points(1, gap, 1, 1), nil, false},
		{"a value that is no number", health, append(points(1, 1, 1), Sample{At: start.Add(time.Hour), Value: math.NaN(), OK: true}), nil, false},
		{"tolerated", tolerant(health, 0.25), points(0, 1, 1, 1), nil, true},
		{"tolerated gap", tolerant(health, 0.25), points(gap, 1, 1, 1), nil, true},
		{"more than tolerated", tolerant(health, 0.25), points(0, 0, 1, 1, 1), nil, false},
		{"the newest is never tolerated", tolerant(health, 1), points(1, 1, 1, 0), nil, false},
		{"a gap at last is never tolerated", tolerant(health, 1), points(1, 1, 1, gap), nil, false},
		{"a gap at last is not a small value", tolerant(below, 1), points(1, 1, 1, gap), nil, false},
		{"the newest by time", health, []Sample{{At: start.Add(3), Value: 1, OK: true}, {At: start, OK: false}, {At: start.Add(1), Value: 1, OK: true}}, nil, false},

		{"holds", below, points(1, 1, 1), nil, true},
		{"does not hold at last", below, points(1, 1, 0), nil, false},
		{"a value is no verdict", below, points(1, 1, 150), nil, false},

		{"falling", trendTo("falling"), points(400, 350, 300, 250), nil, true},
		{"falling with an outlier", trendTo("falling"), points(400, 350, 900, 300, 280, 250), nil, true},
		{"flat is not falling", trendTo("falling"), points(300, 301, 299, 300), nil, false},
		{"a slope that the halves do not bear out", trendTo("falling"), points(1, 4, 2, 3, 2, 1), nil, false},
		{"rising is not falling", trendTo("falling"), points(250, 300, 350, 400), nil, false},
		{"has fallen before", trendTo("falling"), points(200, 201, 199, 200), new(400.0), true},
		{"has fallen before, but turns", trendTo("falling"), points(200, 220, 240, 260), new(400.0), false},
		{"has not fallen", trendTo("falling"), points(400, 401, 399, 400), new(400.0), false},
		{"falling, as high as before", trendTo("falling"), points(500, 450, 420, 400), new(400.0), true},
		{"falling takes three", with(trendTo("falling"), func(c *grace.Check) { c.MinSamples = 1 }), points(400, 300), nil, false},
		{"all at one time", trendTo("falling"), []Sample{{start, 3, true, ""}, {start, 2, true, ""}, {start, 1, true, ""}}, nil, false},
		{"rising", trendTo("rising"), points(10, 20, 30, 40), nil, true},
		{"rising below zero", trendTo("rising"), points(-40, -30, -20, -10), nil, true},
		{"has risen before", trendTo("rising"), points(80, 80, 80), new(40.0), true},
		{"falling is not rising", trendTo("rising"), points(40, 30, 20), nil, false},
		{"steady", trendTo("steady"), points(100, 103, 98, 101), nil, true},
		{"steady at zero", trendTo("steady"), points(0, 0, 0), nil, true},
		{"moving is not steady", trendTo("steady"), points(100, 110, 120, 130), nil, false},
		{"trend with a gap", trendTo("falling"), points(400, gap, 300, 250), nil, false},

		{"capacity", capacity, points(3, 3, 3), new(3.0), true},
		{"capacity has grown", capacity, points(3, 3, 4), new(3.0), true},
		{"capacity shrank", capacity, points(3, 3, 2), new(3.0), false},
		{"capacity came back", capacity, points(3, 2, 3), new(3.0), true},
		{"capacity before is not known", capacity, points(3, 3, 3), nil, false},
		{"capacity before is no number", capacity, points(3, 3, 3), new(gap), false},

		{"unknown type", grace.Check{Type: "vibes"}, points(1, 1, 1), nil, false},
		{"no type", grace.Check{}, points(1, 1, 1), nil, false},
		{"bad check", with(below, func(c *grace.Check) { c.Expr = "p99_ms ~ 5" }), points(1, 1, 1), nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Judge(tt.check, tt.samples, tt.baseline)
			if r.Passed != tt.want {
				t.Errorf("got %+v", r)
			}
			if r.Name == "" || r.Wanted == "" || r.Actual == "" || r.Samples != len(tt.samples) || r.Failed > r.Samples {
				t.Errorf("incomplete result %+v", r)
			}
		})
	}
}

func TestResultReads(t *testing.T) {
	c := grace.Check{Name: "fast again", Type: grace.CheckExpr, Expr: "p99_ms\n  < 200", Tolerate: 0.5}
	samples := points(1, 0, 1)
	samples[2].Detail = `180 < 200 {pod="a"}`
	want := grace.CheckResult{
		Name: "fast again", Type: grace.CheckExpr, Passed: true, Samples: 3, Failed: 1,
		Wanted: "p99_ms < 200, at least 3 samples, at most 50 % failed",
		Actual: `180 < 200 {pod="a"}, 1 of 3 samples failed`,
	}
	if diff := cmp.Diff(want, Judge(c, samples, nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPassed(t *testing.T) {
	yes, no := grace.CheckResult{Passed: true}, grace.CheckResult{}
	for _, tt := range []struct {
		results []grace.CheckResult
		want    bool
	}{
		{nil, false},
		{[]grace.CheckResult{yes}, true},
		{[]grace.CheckResult{yes, yes}, true},
		{[]grace.CheckResult{yes, no}, false},
	} {
		if got := Passed(tt.results); got != tt.want {
			t.Errorf("%v: got %v", tt.results, got)
		}
	}
}

func TestValidateCheck(t *testing.T) {
	tests := []struct {
		key   string
		check grace.Check
	}{
		{"", grace.Check{Type: grace.CheckHTTPHealth, URL: "${url}/health", Status: 204}},
		{"url", grace.Check{Type: grace.CheckHTTPHealth}},
		{"status", grace.Check{Type: grace.CheckHTTPHealth, URL: "http://x", Status: 42}},
		{"argv", grace.Check{Type: grace.CheckCommand, Argv: []string{""}}},
		{"", grace.Check{Type: grace.CheckExpr, Expr: `max_over_time(m{service="${service}"}[${window}]) < ${limit}`}},
		{"expr", grace.Check{Type: grace.CheckExpr}},
		{"expr", grace.Check{Type: grace.CheckExpr, Expr: "m <"}},
		{"expr", grace.Check{Type: grace.CheckExpr, Expr: "m"}},
		{"expr", grace.Check{Type: grace.CheckExpr, Expr: "m == bool 1"}},
		{"expr", grace.Check{Type: grace.CheckExpr, Expr: "vector(1) > 0"}},
		{"expr", grace.Check{Type: grace.CheckExpr, Expr: "m offset 1h > 0"}},
		{"expr", grace.Check{Type: grace.CheckTrend, Expr: "m > 0", Direction: falling}},
		{"direction", grace.Check{Type: grace.CheckTrend, Expr: "m", Direction: "down"}},
		{"expr", grace.Check{Type: grace.CheckCapacity}},
		{"expr", grace.Check{Type: grace.CheckCapacity, Expr: "up == 1"}},
		{"", grace.Check{Type: grace.CheckCapacity, Expr: "count(up == 1)"}},
		{"type", grace.Check{Type: "vibes"}},
		{"min_samples", grace.Check{Type: grace.CheckCapacity, Expr: "m", MinSamples: -1}},
		{"interval", grace.Check{Type: grace.CheckCapacity, Expr: "m", Interval: -1}},
		{"tolerate", grace.Check{Type: grace.CheckCapacity, Expr: "m", Tolerate: math.NaN()}},
	}
	for _, tt := range tests {
		err := ValidateCheck(tt.check)
		if tt.key == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt.check, err)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), tt.key+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", tt.key, err)
		}
	}
}

func drawCheck(t *rapid.T) grace.Check {
	return grace.Check{
		Type: rapid.SampledFrom([]grace.CheckType{
			grace.CheckHTTPHealth, grace.CheckCommand, grace.CheckExpr, grace.CheckTrend, grace.CheckCapacity, "other",
		}).Draw(t, "type"),
		URL: "http://x", Argv: []string{"true"},
		Expr:       rapid.SampledFrom([]string{"m", "m > 1"}).Draw(t, "expr"),
		Direction:  rapid.SampledFrom([]string{falling, rising, steady}).Draw(t, "direction"),
		MinSamples: rapid.IntRange(0, 5).Draw(t, "min"),
		Tolerate:   rapid.Float64Range(0, 1).Draw(t, "tolerate"),
	}
}

// Less data never turns a failure into a pass, and the order does not matter.
func TestFailsClosed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCheck(t)
		samples := points(rapid.SliceOfN(rapid.SampledFrom([]float64{0, 1, 1, 1, 2, -1, 1e308, math.NaN()}), 0, 8).Draw(t, "values")...)
		baseline := rapid.SampledFrom([]*float64{nil, new(0.0), new(1.0), new(5.0)}).Draw(t, "baseline")
		r := Judge(c, samples, baseline)

		turned := slices.Clone(samples)
		slices.Reverse(turned)
		if diff := cmp.Diff(r, Judge(c, turned, baseline)); diff != "" {
			t.Fatalf("another order gave another result: %s", diff)
		}
		if !r.Passed {
			return
		}
		if n := len(samples); n == 0 || !samples[n-1].OK {
			t.Fatalf("passed without fresh data: %+v", r)
		}
		for i := range turned {
			turned[i].OK = false
		}
		if r := Judge(c, turned, baseline); r.Passed {
			t.Fatalf("passed without data: %+v", r)
		}
	})
}

// A series and its mirror image have mirrored trends.
func TestTrendIsSymmetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(-1000, 1000), 3, 20).Draw(t, "values")
		mirrored := make([]float64, len(values))
		for i, v := range values {
			mirrored[i] = -v
		}
		var baseline, mirror *float64
		if rapid.Bool().Draw(t, "with baseline") {
			v := rapid.Float64Range(-1000, 1000).Draw(t, "baseline")
			baseline, mirror = new(v), new(-v)
		}
		down, _ := trend(falling, points(values...), baseline)
		up, _ := trend(rising, points(mirrored...), mirror)
		if down != up {
			t.Fatalf("falling %v, its mirror image rising %v", down, up)
		}
	})
}

func TestLongSeries(t *testing.T) {
	values := make([]float64, 20_000)
	for i := range values {
		values[i] = 1000 - float64(i)/100
	}
	began := points(values...)
	if moves, text := trend(falling, began, nil); !moves {
		t.Errorf("not falling: %s", text)
	}
	if thinned := thin(began); len(thinned) != maxTrendPoints || thinned[0] != began[0] || thinned[len(thinned)-1] != began[len(began)-1] {
		t.Errorf("thinned to %d points", len(thinned))
	}
}
