package promql

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	// maxPoints is what Prometheus gives of one series in one answer.
	maxPoints = 11_000
	// warmTries is how often a part of the history is asked for.
	warmTries = 3
	// warmPause is the first wait between two of these.
	warmPause = time.Second
	// awayFor is how long a server may be away that is asked for the history: it
	// may have been started together with us.
	awayFor = 20 * time.Second
	// awayPause is the longest wait until it is asked again.
	awayPause = 4 * time.Second
)

// WarmUp reads the history of every query from since until now, a value every step, and
// appends it, of each query the oldest first; of what expressions ask whose source the sensor
// is, from the newest on that is there from before a reload. Observe is told of each time, once what a
// metric had then is there. It gives the number of values.
//
// The history is asked for in parts, smaller ones where the server or our own
// limits refuse a part for its size. A part that cannot be read is left out
// after some tries: the error names the query, the part and the reason, and all
// other parts are still read. It returns early only when ctx is done.
func (s *Sensor) WarmUp(ctx context.Context, since time.Time, step time.Duration, observe func(ctx context.Context, metric string, at time.Time) error) (int, error) {
	step = step.Truncate(time.Millisecond)
	if step <= 0 {
		return 0, fmt.Errorf("promql sensor %s: warm up: step %s: want at least 1ms", s.cfg.Name, step)
	}
	reported := map[*poll]string{}
	from := func(p *poll) time.Time {
		if p.Remote == nil {
			return since
		}
		if at := p.db.Newest(p.Name); at.After(since) {
			return at.Add(1)
		}
		return since
	}
	return s.past(ctx, from, time.Now(), step, awayFor, func(p *poll, found []row, n notes) (int, *failure) {
		taken := 0
		for at, rows := range rounds(found) {
			taken += p.append(rows, nil, at, &n)
			if err := observe(ctx, p.Name, at); err != nil {
				return taken, &failure{err: err}
			}
		}
		if message := n.text(nil); message != reported[p] {
			s.cfg.Report(p.Query, message)
			reported[p] = message
		}
		return taken, nil
	})
}

// rounds gives what an answer has at each time, the oldest first.
func rounds(found []row) iter.Seq2[time.Time, []row] {
	byTime := map[int64][]row{}
	for _, f := range found {
		for i := range f.points {
			at := f.points[i].at
			byTime[at] = append(byTime[at], row{f.labels, f.points[i : i+1]})
		}
	}
	return func(yield func(time.Time, []row) bool) {
		for _, at := range slices.Sorted(maps.Keys(byTime)) {
			if !yield(time.UnixMilli(at), byTime[at]) {
				return
			}
		}
	}
}

// History is WarmUp for whom the labels matter and not the configured service:
// take gets every series of a part with its points, oldest first. Labels and
// points must not be kept. It gives the number of points.
func (s *Sensor) History(ctx context.Context, since time.Time, step time.Duration, take func(labels map[string]string, points []Point)) (int, error) {
	return s.history(ctx, since, time.Now(), step, awayFor, take)
}

// Between is History until a given time, inclusive. A server that is away is not waited
// for: the error wraps ErrAway.
func (s *Sensor) Between(ctx context.Context, since, until time.Time, step time.Duration, take func(labels map[string]string, points []Point)) (int, error) {
	return s.history(ctx, since, until, step, 0, take)
}

// ErrAway says that there was no server to ask.
var ErrAway = errors.New("nobody was there")

func (s *Sensor) history(ctx context.Context, since, until time.Time, step, away time.Duration, take func(labels map[string]string, points []Point)) (int, error) {
	from := func(*poll) time.Time { return since }
	return s.past(ctx, from, until, step, away, func(_ *poll, found []row, _ notes) (int, *failure) {
		n := 0
		for _, f := range found {
			points := make([]Point, len(f.points))
			for i, p := range f.points {
				points[i] = Point{At: p.at, Value: p.value}
			}
			take(f.labels, points)
			n += len(points)
		}
		return n, nil
	})
}

// Point is a value at a time, in milliseconds since 1970.
type Point struct {
	At    int64
	Value float64
}

// hand takes what was found in one part.
type hand func(p *poll, found []row, n notes) (int, *failure)

func (s *Sensor) past(ctx context.Context, since func(*poll) time.Time, until time.Time, step, away time.Duration, hand hand) (int, error) {
	taken := 0
	var errs []error
	p := patience{lasts: away}
	for _, q := range s.polls {
		if q.Remote != nil && !q.Past {
			continue
		}
		w := warmUp{s: s, q: q, hand: hand, step: step, chunk: s.cfg.Part, patience: &p, rnd: s.random(&q.Query, "/history")}
		n, err := w.read(ctx, since(q), until)
		taken += n
		if err != nil {
			errs = append(errs, fmt.Errorf("promql sensor %s: warm up %s: %w", s.cfg.Name, q.Query, err))
		}
		if ctx.Err() != nil || p.over() {
			break
		}
	}
	return taken, errors.Join(errs...)
}

// patience with a server that is away.
type patience struct {
	lasts time.Duration
	until time.Time // zero while it answers
}

// away begins, or goes on.
func (p *patience) away() {
	if p.until.IsZero() {
		p.until = time.Now().Add(p.lasts)
	}
}

func (p *patience) over() bool { return !p.until.IsZero() && !time.Now().Before(p.until) }

// warmUp of one query.
type warmUp struct {
	s        *Sensor
	q        *poll
	hand     hand
	step     time.Duration
	chunk    int // points of one question
	rnd      *rand.Rand
	patience *patience
}

// read goes from since to until on a grid that is the same whenever it begins,
// so that a second warm-up has the same points.
func (w *warmUp) read(ctx context.Context, since, until time.Time) (taken int, err error) {
	// Truncate counts from the year 1, which is a whole number of seconds, but
	// not of every step, before 1970: only that it is always the same matters.
	next := since.Truncate(w.step)
	if next.Before(since) {
		next = next.Add(w.step)
	}
	lost := 0
	for !next.After(until) && !w.patience.over() {
		points := min(w.chunk, int(until.Sub(next)/w.step)+1)
		last := next.Add(time.Duration(points-1) * w.step)
		n, fail := w.part(ctx, next, last)
		taken += n
		switch {
		case ctx.Err() != nil:
			return taken, errors.Join(err, ctx.Err())
		case fail != nil && fail.tooMuch && points > 1:
			w.chunk = points / 2
			continue // the same beginning again
		case fail != nil && lost == 0:
			lost++
			err = fmt.Errorf("from %s to %s: %w", next.UTC().Format(time.RFC3339), last.UTC().Format(time.RFC3339), fail.err)
		case fail != nil:
			lost++
		}
		next = last.Add(w.step)
	}
	switch {
	case err != nil && w.patience.over() && w.patience.lasts == 0:
		err = fmt.Errorf("%w: %w", ErrAway, err)
	case err != nil && w.patience.over():
		err = fmt.Errorf("%w for %s, so it is not asked for more: %w", ErrAway, w.patience.lasts, err)
	case lost > 1:
		err = fmt.Errorf("%d parts are missing, the first %w", lost, err)
	}
	return taken, err
}

// part reads one part, trying again where that may help.
func (w *warmUp) part(ctx context.Context, first, last time.Time) (int, *failure) {
	for try := 1; ; try++ {
		found, n, fail := w.s.between(ctx, w.q.Query.Query, first, last, w.step)
		if fail == nil {
			w.patience.until = time.Time{}
			return w.hand(w.q, found, n)
		}
		limit, enough := longestWait(w.q.Interval.D()), try >= warmTries
		if fail.away {
			w.patience.away()
			limit, enough = min(limit, awayPause), w.patience.over()
		}
		if fail.tooMuch || fail.final || enough || ctx.Err() != nil {
			return 0, fail
		}
		pause := time.NewTimer(backoff(try, warmPause, limit, fail.retryAfter, w.rnd.Float64()))
		select {
		case <-ctx.Done():
			pause.Stop()
			return 0, fail
		case <-pause.C:
		}
	}
}
