package predict

import (
	"math"
	"sort"
)

// finePoints is how many of its newest points a series keeps as they came.
const finePoints = 64

// ring holds the newest points of a series in 8 bytes each: values as the
// distance from one of them, so that a small movement of a large value is not
// lost, and times as milliseconds after one of them.
type ring struct {
	values [finePoints]float32 // less base
	times  [finePoints]uint32  // ms after origin
	base   float64
	origin int64 // unix ms
	count  uint32
	step   float32 // usual ms between two points
}

// append takes a point that is newer than the last one.
func (r *ring) append(at int64, v float64) {
	slot := r.count % finePoints
	switch {
	case r.count == 0 || at-r.origin > math.MaxUint32:
		*r = ring{base: v, origin: at}
		slot = 0
	default:
		r.measure(float32(at - r.last()))
		if slot == 0 {
			r.rebase(r.usual(v))
		}
	}
	r.values[slot] = narrow(v - r.base)
	r.times[slot] = uint32(at - r.origin)
	r.count++
}

// measure follows the usual step; a gap moves it little.
func (r *ring) measure(step float32) {
	if r.step == 0 {
		r.step = step
		return
	}
	r.step += (min(step, 3*r.step) - r.step) / 8
}

// usual is the middle of a point and the two before it: were an absurd one the base, what
// is small would be lost beside it.
func (r *ring) usual(v float64) float64 {
	a, b := r.newest(), r.base+float64(r.values[(r.count-2)%finePoints])
	return max(min(a, b), min(max(a, b), v))
}

// rebase moves base and origin to where the series is now. It comes once in
// finePoints points.
func (r *ring) rebase(v float64) {
	by, shift := r.base-v, r.times[0]
	for i := range r.values {
		r.values[i] = narrow(float64(r.values[i]) + by)
		r.times[i] -= shift
	}
	r.base = v
	r.origin += int64(shift)
}

// narrow keeps what float32 cannot hold at its edge.
func narrow(v float64) float32 {
	return float32(min(max(v, -math.MaxFloat32), math.MaxFloat32))
}

// len counts the points that are held.
func (r *ring) len() int { return int(min(r.count, finePoints)) }

// last is the time of the newest point; of a ring without any its origin.
func (r *ring) last() int64 { return r.origin + int64(r.times[(r.count-1)%finePoints]) }

// newest is the value of the newest point.
func (r *ring) newest() float64 {
	return r.base + float64(r.values[(r.count-1)%finePoints])
}

// point gives one of the points that are held, 0 the oldest.
func (r *ring) point(i int) (v float64, at int64) {
	slot := (r.count - uint32(r.len()) + uint32(i)) % finePoints
	return r.base + float64(r.values[slot]), r.origin + int64(r.times[slot])
}

// upTo counts the points that are held and not newer than a time.
func (r *ring) upTo(at int64) int {
	return sort.Search(r.len(), func(i int) bool {
		_, measured := r.point(i)
		return measured > at
	})
}

// unpack gives the newest n points, oldest first: times in seconds, 0 for the
// newest. Both slices have room for finePoints.
func (r *ring) unpack(n int, times, values []float64) (t, v []float64) {
	n = min(n, r.len())
	t, v = times[:n], values[:n]
	end := float64(r.times[(r.count-1)%finePoints])
	for i := range n {
		slot := (r.count - uint32(n) + uint32(i)) % finePoints
		t[i] = (float64(r.times[slot]) - end) / 1000
		v[i] = r.base + float64(r.values[slot])
	}
	return t, v
}
