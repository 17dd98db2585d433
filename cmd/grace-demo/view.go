package main

import (
	"context"
	"fmt"
	"time"

	"grace/examples/shop"
	"grace/internal/cli"
)

// How the story judges that the shop is well, from the platform's own view and
// not from GRACE's: every replica serves, no fault is at work, and for calmFor
// no customer got an error or waited long.
const (
	calmFor     = 3 * time.Second
	slowSeconds = 0.6 // of the 95th percentile of one service in one second
)

// shopView is what the platform tells of itself.
type shopView interface {
	Statuses(ctx context.Context) ([]shop.Status, error)
	Load(ctx context.Context) (shop.LoadStatus, error)
	Faults(ctx context.Context) ([]shop.Fault, error)
}

// wellness follows the shop's health over time.
type wellness struct {
	shop    shopView
	now     func() time.Time
	lastBad time.Time // zero: nothing bad was seen since reset
	what    string    // what was bad then
	loadAt  time.Time // of the newest report

	// limit is what must not be reached meanwhile, peak how near it came.
	limit *limit
	peak  float64
}

// limit is a level of one service that is to be foreseen.
type limit struct {
	service string
	what    string // with its unit in place of %s
	at      float64
	level   func(shop.Status) float64
}

func (l *limit) text(v float64) string { return fmt.Sprintf(l.what, cli.Number(v)) }

// track begins to follow how near a limit comes; nil for none.
func (v *wellness) track(l *limit) { v.limit, v.peak = l, 0 }

func (v *wellness) measure(statuses []shop.Status) {
	for _, s := range statuses {
		if v.limit != nil && s.Name == v.limit.service {
			v.peak = max(v.peak, v.limit.level(s))
		}
	}
}

// reset forgets what was bad: a new chapter begins.
func (v *wellness) reset() { v.lastBad, v.what = time.Time{}, "" }

// well looks at the shop and tells whether it has been well for calmFor; if
// not, detail says what is wrong.
func (v *wellness) well(ctx context.Context) (ok bool, detail string, err error) {
	statuses, err := v.shop.Statuses(ctx)
	if err != nil {
		return false, "", err
	}
	load, err := v.shop.Load(ctx)
	if err != nil {
		return false, "", err
	}
	faults, err := v.shop.Faults(ctx)
	if err != nil {
		return false, "", err
	}
	v.measure(statuses)
	now := v.now()
	if what := badNow(statuses, faults); what != "" {
		v.lastBad, v.what = now, what
	}
	if load.Factor > 0 {
		v.readLoad(load)
		if now.Sub(v.loadAt) > calmFor {
			return false, "no customer's report for " + cli.Short(calmFor), nil
		}
	}
	if now.Sub(v.lastBad) < calmFor {
		return false, v.what, nil
	}
	return true, "", nil
}

// readLoad takes the seconds that came since the last look.
func (v *wellness) readLoad(load shop.LoadStatus) {
	for _, second := range load.Seconds {
		if !second.At.After(v.loadAt) {
			continue
		}
		v.loadAt = second.At
		for _, s := range second.Services {
			what := ""
			switch {
			case s.Errors > 0:
				what = fmt.Sprintf("%d of %d customers of %s got errors", s.Errors, s.OK+s.Errors, s.Service)
			case s.P95 > slowSeconds:
				what = fmt.Sprintf("customers of %s wait %.1f s", s.Service, s.P95)
			}
			if what != "" && second.At.After(v.lastBad) {
				v.lastBad, v.what = second.At, what
			}
		}
	}
}

// badNow names what the platform itself finds wrong.
func badNow(statuses []shop.Status, faults []shop.Fault) string {
	for _, s := range statuses {
		if s.Serving < s.Instances || s.Serving == 0 {
			return fmt.Sprintf("%d of %d replicas of %s serve", s.Serving, s.Instances, s.Name)
		}
	}
	for _, f := range faults {
		if f.CuredAt == nil && !f.Relieved {
			return fmt.Sprintf("%s of %s is still there", f.Kind, f.Service)
		}
	}
	return ""
}
