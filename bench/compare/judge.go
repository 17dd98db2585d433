package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"grace/examples/shop"
)

// What customers are promised, and how long it must hold to be believed.
const (
	maxErrorShare = 0.05
	maxP95        = 400 * time.Millisecond
	normalFor     = 5 // seconds in a row
)

// second is one second of all customers, which ended at At.
type second struct {
	At     time.Time
	Breach string // why it was one; empty is a good second
}

// judgeSecond holds a report of the load generator against the promise.
func judgeSecond(r shop.LoadReport) second {
	s := second{At: r.At}
	for _, svc := range r.Services {
		total := svc.OK + svc.Errors
		switch {
		case total == 0:
			s.Breach = svc.Service + ": no answer"
		case float64(svc.Errors) > maxErrorShare*float64(total):
			s.Breach = fmt.Sprintf("%s: %d of %d failed", svc.Service, svc.Errors, total)
		case svc.P95 > maxP95.Seconds():
			s.Breach = fmt.Sprintf("%s: p95 %.0f ms", svc.Service, svc.P95*1000)
		default:
			continue
		}
		return s
	}
	return s
}

// recovery gives the beginning of the first normalFor good seconds in a row of
// which none ended before over, the moment the fault was cured or relieved; and
// over itself if that lies within the first of them.
func recovery(seconds []second, over time.Time) (time.Time, bool) {
	good, from := 0, time.Time{}
	last := time.Time{}
	for _, s := range seconds {
		// A lost report says nothing, and nothing is not good.
		gap := !last.IsZero() && s.At.Sub(last) > 1500*time.Millisecond
		last = s.At
		if s.Breach != "" || !s.At.After(over) {
			good = 0
			continue
		}
		if good == 0 || gap {
			good, from = 0, s.At.Add(-time.Second)
		}
		if good++; good == normalFor {
			if from.Before(over) {
				from = over
			}
			return from, true
		}
	}
	return time.Time{}, false
}

// breaches counts the bad seconds that ended within (from, to].
func breaches(seconds []second, from, to time.Time) int {
	n := 0
	for _, s := range seconds {
		if s.Breach != "" && s.At.After(from) && !s.At.After(to) {
			n++
		}
	}
	return n
}

// content tells whether the last n seconds were good, and are recent.
func content(seconds []second, n int, now time.Time) bool {
	if len(seconds) < n || now.Sub(seconds[len(seconds)-1].At) > 3*time.Second {
		return false
	}
	return !slices.ContainsFunc(seconds[len(seconds)-n:], func(s second) bool { return s.Breach != "" })
}

// quantile is the nearest rank: of ten values, the 95th percentile is the
// largest. NaN when there are none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
