package promql

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// Right after a Prometheus could not be asked its answers may rest on what it
// scraped before: an instant query looks back for 5 minutes. That shows nothing of a
// service now.

const (
	// lookback is how old a sample may be that an instant query answers with.
	lookback = 5 * time.Minute
	// noTime is how long ago a sample must be dated not to be believed to be one.
	noTime = time.Hour
)

// doubt is what a query's answers are held against since it failed.
type doubt struct {
	failed   time.Time // the last time; zero when its answers are not doubted
	answered time.Time // the first time since then
}

// fail notes that a query failed.
func (d *doubt) fail(at time.Time) { *d = doubt{failed: at} }

// settled tells whether an answer rests on samples that are newer than the last
// failure, as far as can be told.
func (s *Sensor) settled(ctx context.Context, q Query, d *doubt, now time.Time) (bool, *failure) {
	if d.failed.IsZero() {
		return true, nil
	}
	if d.answered.IsZero() {
		d.answered = now
	}
	if now.Sub(d.answered) <= lookback {
		for _, selector := range selectors(q.Query) {
			at, known, fail := s.newest(ctx, selector, now)
			if fail != nil {
				return false, fail
			}
			if known && !at.After(d.failed) {
				return false, nil
			}
		}
	}
	*d = doubt{}
	return true, nil
}

// newest gives the time of the newest sample of every series that a selector finds:
// that of the one whose is the oldest. Of some that is not known.
func (s *Sensor) newest(ctx context.Context, selector string, now time.Time) (at time.Time, known bool, fail *failure) {
	found, _, fail := s.instant(ctx, Query{Query: "min(timestamp(" + selector + "))"}, now)
	if fail != nil || len(found) != 1 || len(found[0].points) != 1 {
		return at, false, fail
	}
	at = time.UnixMilli(int64(found[0].points[0].value * 1000))
	return at, now.Sub(at).Abs() < noTime, nil
}

// selectors gives the series that an instant query looks at, as they are now.
func selectors(query string) (list []string) {
	expr, err := expression(query)
	if err != nil || expr.Type() == parser.ValueTypeMatrix { // whose values say when they are of
		return nil
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, is := node.(*parser.VectorSelector); is {
			now := *v
			now.OriginalOffset, now.Offset, now.Timestamp, now.StartOrEnd = 0, 0, nil, 0
			list = append(list, now.String())
		}
		return nil
	})
	return list
}

// before words why an answer is not taken.
func (d *doubt) before() string {
	return fmt.Sprintf("the answer rests on samples from before the last failure, at %s", d.failed.UTC().Format("15:04:05 MST"))
}
