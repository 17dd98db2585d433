package main

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"grace"
)

// series is one series of numbers of one source, in the order of its times. What is
// missing is missing: no row is made up.
type series struct {
	source, name string
	// group is what must stay together: series of one pod or of one trace know
	// each other, so that one half of them would say what the other does.
	group    string
	service  string
	role     grace.Role
	at       []int64 // unix ms, each later than the one before
	values   []float64
	labelled bool
	windows  []window // of a labelled one: its anomalies
	history  int      // rows that are given before the live part begins
	quantile float64  // of the history, that is its limit
	limit    float64
}

// half is which half of the series is looked at. Constants are chosen on one and
// figures are reported of the other; no run sees both.
type half string

const (
	choose half = "choose"
	report half = "report"
)

func halfOf(name string) (half, error) {
	switch h := half(name); h {
	case choose, report:
		return h, nil
	}
	return "", fmt.Errorf("no half %q; there are %s and %s", name, choose, report)
}

// title names a table of this half.
func (h half) title(what string) string {
	if h == choose {
		return what + " (the half to choose by)"
	}
	return what
}

// has tells whether a group of a source is in this half. It hangs on the names
// alone, so that no figure can move a series.
func (h half) has(source, group string) bool {
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(source + "/" + group)) // never fails
	// No bit of FNV alone knows all of a short name; those of a product do.
	mixed := sum.Sum64()
	mixed = (mixed ^ mixed>>33) * 0xff51afd7ed558ccd
	return (mixed>>63 == 0) == (h == choose)
}

const (
	// given is the share of a series that is history, and gives the limit.
	given        = 0.4
	usualLimit   = 0.95
	hourlyLimit  = 0.98 // of M4 Hourly, as in the table of its blocks
	hourlyWarmup = 4 * 7 * 24
)

// prepare sets what is history, and the limit that it gives.
func (s *series) prepare() {
	s.history, s.quantile = int(given*float64(len(s.at))), usualLimit
	if s.source == "m4hourly" && len(s.at) > hourlyWarmup {
		s.history, s.quantile = hourlyWarmup, hourlyLimit
	}
	s.limit = quantile(s.values[:s.history], s.quantile)
}

// step is the usual time between two rows.
func (s *series) step() time.Duration {
	var steps []int64
	for i := 1; i < len(s.at); i++ {
		steps = append(steps, s.at[i]-s.at[i-1])
	}
	if len(steps) == 0 {
		return 0
	}
	slices.Sort(steps)
	return time.Duration(steps[len(steps)/2]) * time.Millisecond
}

// hourly series are too slow for a horizon of minutes.
func (s *series) hourly() bool { return s.step() >= 30*time.Minute }

// roleOf is what a series says of its service, by the words in its name, as whoever
// writes the configuration would say it. What says nothing has no role.
func roleOf(name string) grace.Role {
	name = strings.ToLower(name)
	for _, r := range []struct {
		role  grace.Role
		words []string
	}{
		{grace.RoleLatency, []string{"latency", "delay", "traveltime"}},
		{grace.RoleErrors, []string{"crash", "error"}},
		{grace.RoleTraffic, []string{"rps", "ingress", "purchase", "network", "write_bytes", "volume"}},
		{grace.RoleCapacity, []string{"memory", "mem_", "heap", "jfsfile"}},
		{grace.RoleSaturation, []string{"cpu", "gpu", "disk", "occupancy", "unprocessed"}},
	} {
		if slices.ContainsFunc(r.words, func(w string) bool { return strings.Contains(name, w) }) {
			return r.role
		}
	}
	return grace.RoleNone
}

// codeOf is what a breach would be a symptom of.
func codeOf(r grace.Role) grace.Code {
	switch r {
	case grace.RoleLatency:
		return grace.CodeLatencySpike
	case grace.RoleErrors:
		return grace.CodeElevatedErrors
	case grace.RoleSaturation, grace.RoleCapacity:
		return grace.CodeCapacity
	case grace.RoleTraffic, grace.RoleNone:
	}
	return grace.CodeDegradation
}

func quantile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := share * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-2)
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
