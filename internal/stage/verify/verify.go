// Package verify judges whether a remedy has helped: it turns the probes taken
// during a run's soak into a verdict on each check.
//
// It fails closed. A check passes only when everything below holds; whatever
// is unknown or missing fails, and the result says what was wanted and what
// was found.
//
//   - The check is valid (see [ValidateCheck]); an unknown type is not.
//   - At least MinSamples probes brought data (3 unless the check says more or
//     less). A probe without data, or with a value that is no number, counts
//     as a failed one: no data is not a pass.
//   - The newest probe passed.
//   - The share of failed probes is at most Tolerate (0 unless said).
//
// # Types
//
//	http_health  a probe passes with value 1
//	command      a probe passes with value 1
//	expr         a probe passes with value 1: see [Read]
//	trend        the series as a whole moves in Direction; at least 3 probes
//	             with data, whatever MinSamples says
//	capacity     the newest value is not below the one from before the run
//	             (the baseline); without a baseline it fails. Only the newest
//	             counts: a rolling restart may dip in between
//
// # Expressions
//
// [Read] turns what an expression gives into a probe. All that it gives must rest
// on samples that were measured since the remedy: one element that does not, or
// is no number, leaves the probe without data, as an expression does that gives
// nothing, or cannot be evaluated. But one element that fails is a failure,
// whatever the others are.
//
//   - A comparison passes when it holds of every element.
//   - Another expression of what holds (and, or, unless, absent) passes when it
//     gives an element, and fails when it gives none although what it looks at
//     was measured.
//   - A trend and a capacity are of one value: of several nobody could tell which.
//
// # Trend
//
// The change of a series is the slope of Theil and Sen (the median slope of
// all pairs, which a few outliers do not move) times the span of the series.
// It is measured against the level, the median of the absolute values. Falling
// means that the change is below -2 % of the level and that the median of the
// later half is below that of the earlier half; rising is its mirror image;
// steady means that the change is within 10 % of the level.
//
// With a baseline, falling also holds when the median is more than 2 % below
// the baseline and the series is not rising again (and rising mirrored): the
// remedy may have worked before the soak began, and what has fallen already
// falls no further.
//
// The package is pure; the same samples give the same result, in any order.
package verify

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace/internal/explain"

	"grace"
)

// defaultMinSamples is how many probes with data a check wants unless it says
// otherwise.
const defaultMinSamples = 3

// Sample is one probe of a check.
type Sample struct {
	At     time.Time
	Value  float64
	OK     bool   // there was fresh data
	Detail string // what the probe had to say, for example an HTTP status
}

func (s Sample) hasData() bool {
	return s.OK && !math.IsNaN(s.Value) && !math.IsInf(s.Value, 0)
}

// Passed tells whether the checks agree that the remedy has helped. Without
// any result nothing was verified: false.
func Passed(results []grace.CheckResult) bool {
	return len(results) > 0 && !slices.ContainsFunc(results, func(r grace.CheckResult) bool { return !r.Passed })
}

// Judge gives the verdict on one check. baseline is the value from before the
// run, where there is one. In the result, Samples counts all probes and Failed
// those that failed or had no data.
func Judge(c grace.Check, samples []Sample, baseline *float64) grace.CheckResult {
	r := grace.CheckResult{
		Name: cmp.Or(c.Name, string(c.Type), "unnamed"), Type: c.Type, Samples: len(samples), Wanted: wanted(c, baseline),
	}
	if err := ValidateCheck(c); err != nil {
		r.Actual, r.Failed = err.Error(), len(samples)
		return r
	}
	samples = slices.Clone(samples)
	slices.SortStableFunc(samples, func(a, b Sample) int { return a.At.Compare(b.At) })
	var data []Sample
	for _, s := range samples {
		if s.hasData() {
			data = append(data, s)
		}
	}
	passes := passesOf(c, baseline)
	for _, s := range samples {
		if !s.hasData() || !passes(s.Value) {
			r.Failed++
		}
	}
	r.Passed, r.Actual = judge(c, samples, data, r.Failed, baseline)
	return r
}

// passesOf tells which single values pass.
func passesOf(c grace.Check, baseline *float64) func(float64) bool {
	switch c.Type {
	case grace.CheckHTTPHealth, grace.CheckCommand, grace.CheckExpr:
		return func(v float64) bool { return v == 1 }
	case grace.CheckCapacity:
		return func(v float64) bool { return baseline != nil && v >= *baseline }
	case grace.CheckTrend:
		return func(float64) bool { return true } // a single value has no trend
	}
	return func(float64) bool { return false }
}

func judge(c grace.Check, samples, data []Sample, failed int, baseline *float64) (passed bool, actual string) {
	if len(data) == 0 {
		return false, noData(samples)
	}
	newest := samples[len(samples)-1]
	if !newest.hasData() {
		return false, "the newest sample has no data" + detail(newest)
	}
	found := "newest " + number(newest.Value) + detail(newest)
	if c.Type == grace.CheckExpr && newest.Detail != "" {
		found = newest.Detail // it has the numbers
	}
	found += fmt.Sprintf(", %d of %d samples failed", failed, len(samples))
	if need := minSamples(c); len(data) < need {
		return false, fmt.Sprintf("%s, and fewer than %d have data", found, need)
	}
	switch c.Type {
	case grace.CheckHTTPHealth, grace.CheckCommand, grace.CheckExpr:
		return passesOf(c, baseline)(newest.Value) && tolerated(c, failed, len(samples)), found
	case grace.CheckTrend:
		moves, text := trend(c.Direction, data, baseline)
		return moves && tolerated(c, failed, len(samples)), text + ", " + found
	case grace.CheckCapacity:
		if baseline == nil {
			return false, found + ", and it is not known what was there before the run"
		}
		return newest.Value >= *baseline, found
	}
	return false, found
}

func tolerated(c grace.Check, failed, all int) bool {
	return float64(failed) <= c.Tolerate*float64(all)
}

func minSamples(c grace.Check) int {
	n := c.MinSamples
	if n == 0 {
		n = defaultMinSamples
	}
	if c.Type == grace.CheckTrend {
		n = max(n, 3) // two points are a line, not a trend
	}
	return n
}

func noData(samples []Sample) string {
	if len(samples) == 0 {
		return "no samples"
	}
	return "no data" + detail(samples[len(samples)-1])
}

func detail(s Sample) string {
	if s.Detail == "" {
		return ""
	}
	return " (" + s.Detail + ")"
}

func number(v float64) string { return explain.Quantity(v, "") }

// wanted says what would pass.
func wanted(c grace.Check, baseline *float64) string {
	what := Wanted(c)
	if c.Type == grace.CheckCapacity && baseline != nil {
		what += " (" + number(*baseline) + ")"
	}
	what += fmt.Sprintf(", at least %d samples", minSamples(c))
	if c.Tolerate > 0 && c.Type != grace.CheckCapacity {
		what += fmt.Sprintf(", at most %s %% failed", number(c.Tolerate*100))
	}
	return what
}

// Wanted says what a check is to show.
func Wanted(c grace.Check) string {
	expr := strings.Join(strings.Fields(c.Expr), " ")
	switch c.Type {
	case grace.CheckHTTPHealth:
		if c.Status != 0 {
			return c.URL + " answers with " + strconv.Itoa(c.Status)
		}
		return c.URL + " answers with 2xx"
	case grace.CheckCommand:
		return strings.Join(c.Argv, " ") + " exits with 0"
	case grace.CheckExpr:
		return expr
	case grace.CheckTrend:
		return expr + " " + c.Direction
	case grace.CheckCapacity:
		return expr + " not less than before the run"
	}
	return "a known type of check"
}

// ValidateCheck judges a check before anything starts. The error joins every
// fault; each is a [grace.FieldError].
func ValidateCheck(c grace.Check) error {
	var errs []error
	fault := func(bad bool, key, format string, args ...any) {
		if bad {
			errs = append(errs, grace.Field(key, format, args...))
		}
	}
	fault(c.Source != "" && c.Expr == "", "source", "only expr, trend and capacity have one")
	switch c.Type {
	case grace.CheckHTTPHealth:
		fault(c.URL == "", "url", "missing; an http_health check asks one")
		fault(c.Status != 0 && (c.Status < 100 || c.Status > 599), "status", "%d: want an HTTP status, or none for any 2xx", c.Status)
	case grace.CheckCommand:
		fault(len(c.Argv) == 0 || c.Argv[0] == "", "argv", "missing; a command check runs it without a shell")
	case grace.CheckExpr, grace.CheckTrend, grace.CheckCapacity:
		errs = append(errs, validateExpr(c))
		fault(c.Type == grace.CheckTrend && !slices.Contains([]string{falling, rising, steady}, c.Direction), "direction", "%q: want falling, rising or steady", c.Direction)
	default:
		fault(true, "type", "%q: want http_health, command, expr, trend or capacity", c.Type)
	}
	fault(c.MinSamples < 0, "min_samples", "%d: want 1 or more, or none for %d", c.MinSamples, defaultMinSamples)
	fault(c.Interval < 0, "interval", "%s: want more than 0s, or none for 1s", c.Interval)
	fault(!(c.Tolerate >= 0 && c.Tolerate <= 1), "tolerate", "%v: want a share from 0 to 1", c.Tolerate)
	return errors.Join(errs...)
}
