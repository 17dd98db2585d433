package sense

import (
	"cmp"
	"slices"
	"time"

	"grace"
)

// Point is one value of a series.
type Point struct {
	At    time.Time
	Value float64
}

type seriesID struct {
	service grace.ServiceID
	metric  string
}

// series holds the points of one metric of one service. Every sensor has a
// feed of its own, so that a counter read by two of them is not taken for one
// that jumps to and fro.
type series struct {
	feeds      []*feed
	objectives []*entry
	totals     []*entry      // error budgets whose events this counts
	retain     time.Duration // covers the longest window of the objectives
}

func (s *series) feed(sensor string) *feed {
	for _, f := range s.feeds { // almost always one
		if f.sensor == sensor {
			return f
		}
	}
	return nil
}

func (s *series) newest() time.Time {
	var t time.Time
	for _, f := range s.feeds {
		if p := f.points(); len(p) > 0 && p[len(p)-1].At.After(t) {
			t = p[len(p)-1].At
		}
	}
	return t
}

// seenBeside tells whether another sensor has had data since a time.
func (s *series) seenBeside(sensor string, since time.Time) bool {
	return slices.ContainsFunc(s.feeds, func(f *feed) bool {
		p := f.points()
		return f.sensor != sensor && len(p) > 0 && p[len(p)-1].At.After(since)
	})
}

// merged gives the points of all feeds from since on, oldest first.
func (s *series) merged(since time.Time) []Point {
	var out []Point
	for _, f := range s.feeds {
		p := f.points()
		out = append(out, p[firstAt(p, since):]...)
	}
	if len(s.feeds) > 1 {
		slices.SortStableFunc(out, func(a, b Point) int { return a.At.Compare(b.At) })
	}
	return out
}

// feed holds the points that one sensor saw, oldest first, one per time. The
// dropped points at the head are overwritten once they are half of it, so a
// full feed takes points without allocating.
type feed struct {
	sensor string
	buf    []Point
	head   int
	probe  *entry
}

func (f *feed) points() []Point { return f.buf[f.head:] }

// insertion says what became of a point.
type insertion int

const (
	inserted insertion = iota
	insertedLate
	notInserted // the time is there already, or older than all that is kept
)

func (f *feed) insert(p Point, retain time.Duration, limit int) insertion {
	points := f.points()
	n := len(points)
	if n == 0 || p.At.After(points[n-1].At) {
		f.buf = append(f.buf, p)
		f.trim(p.At.Add(-retain), limit)
		return inserted
	}
	if p.At.Before(points[n-1].At.Add(-retain)) || (n >= limit && p.At.Before(points[0].At)) {
		return notInserted
	}
	i := firstAt(points, p.At)
	if points[i].At.Equal(p.At) {
		return notInserted
	}
	f.buf = slices.Insert(f.buf, f.head+i, p)
	f.trim(time.Time{}, limit)
	return insertedLate
}

func (f *feed) trim(oldest time.Time, limit int) {
	points := f.points()
	f.head += max(firstAt(points, oldest), len(points)-limit)
	if f.head > len(f.buf)/2 {
		n := copy(f.buf, f.buf[f.head:])
		f.buf, f.head = f.buf[:n], 0
	}
}

// cut drops the points that are later than now.
func (f *feed) cut(now time.Time) {
	points := f.points()
	f.buf = f.buf[:f.head+firstAt(points, now.Add(1))]
}

// firstAt gives the index of the first point at or after t.
func firstAt(points []Point, t time.Time) int {
	if len(points) == 0 || !points[0].At.Before(t) {
		return 0
	}
	i, _ := slices.BinarySearchFunc(points, t, func(p Point, t time.Time) int { return p.At.Compare(t) })
	return i
}

func compareKeys(a, b grace.Signal) int { return cmp.Compare(a.Key, b.Key) }
