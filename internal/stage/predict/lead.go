package predict

import (
	"math"
	"time"

	"gonum.org/v1/gonum/mathext"

	"grace/internal/explain"
)

const (
	// leadLags are looked at: 2, 4, 8, 16 and 32 steps of the follower.
	leadLags = 5
	// leadHalfLife in ms: values that are a week old count half.
	leadHalfLife = 7 * 24 * hourLength
	// leadValues are seen before a line is drawn through them.
	leadValues = 60
	// leadBlock in ms, or eight times the longest lag: what is left of the values about the
	// line is alike within it, so that a block is one observation. What two series have in
	// common in a day that is busier than usual is one, not one an hour.
	leadBlock = 24 * hourLength
	// leadBlocks are seen, with as much to tell as that many equal ones, before a line counts.
	leadBlocks = 5
	// leadChance that any line of a follower counts, were there nothing to be seen.
	leadChance = 0.001
	// leadWorth is the least partial correlation: what is surely there and explains next to
	// nothing foretells nothing.
	leadWorth = 0.3
	// leadShare of the way to the threshold is the leader's at least: the rest is the
	// follower's own, which the other rules follow.
	leadShare = 0.5
	// leadOdd is the least share of its usual swing in a day that a leader must be away: the
	// means of hours tell no less of what is usual.
	leadOdd = 0.05
	// leadOwn is the share of a leader's variance that the follower does not show itself.
	leadOwn = 1e-4
	// leadLeast is the least share of what is left that a line is taken to leave.
	leadLeast = 1e-3
)

// leadLag is a lag in steps.
func leadLag(i int) int64 { return 2 << i }

// relation is what a leader said, a lag before, of the change of its follower since, beside
// what the follower said itself:
//
//	y = level + slope·x + own·o    x  the leader, at t - lag
//	                               o  the follower, at t - lag
//	                               y  the follower, at t, less o
//
// all less what is usual at that time of the day. Its sums decay.
type relation struct {
	at                                 int64 // unix ms of the newest values
	n, x, o, y, xx, xo, oo, xy, oy, yy float64
	blocks                             blocks
}

// blocks tell how sure a slope is: sums over blocks of what the line leaves, times what of x
// the follower does not show itself. They hold for values that are alike from one to the
// next, as those of series are.
type blocks struct {
	began         int64 // of the one under way, unix ms; 0: there is none
	score, energy float64
	any           bool // one is over; it does not count, for its line was new

	before            float64 // score of the last one
	scores, neighbors float64 // sums of squares, and of products of neighbors
	energies, squared float64
	left              float64 // what the line leaves, squared, by energy

	sure   float64 // the slope in standard errors; 0: it is not known yet
	chance float64 // of that, were there no slope
}

// relationLine is what the sums say.
type relationLine struct {
	level, slope, own float64
	x, o, like        float64 // means, and how much of x is o
	r                 float64 // partial correlation of x and y
	sigma             float64 // of what is left
}

func (l *relationLine) at(x, o float64) float64 { return l.level + l.slope*x + l.own*o }

// line draws the line by least squares; false where x shows nothing of its own.
func (r *relation) line() (l relationLine, ok bool) {
	if r.n < leadValues {
		return l, false
	}
	l.x, l.o = r.x/r.n, r.o/r.n
	y := r.y / r.n
	xx, xo, oo := r.xx/r.n-l.x*l.x, r.xo/r.n-l.x*l.o, r.oo/r.n-l.o*l.o
	xy, oy, yy := r.xy/r.n-l.x*y, r.oy/r.n-l.o*y, r.yy/r.n-y*y
	byOwn := 0.0
	if oo > 0 {
		l.like, byOwn = xo/oo, oy/oo
	}
	xx, xy, yy = xx-l.like*xo, xy-l.like*oy, yy-byOwn*oy // without what o says
	if !(xx > leadOwn*r.xx/r.n && yy > leadOwn*r.yy/r.n) {
		return l, false
	}
	l.slope = xy / xx
	l.own = byOwn - l.slope*l.like
	l.level = y - l.slope*l.x - l.own*l.o
	l.r = xy / math.Sqrt(xx*yy)
	l.sigma = math.Sqrt(yy * max(1-l.r*l.r, leadLeast))
	if b := &r.blocks; b.energies > 0 { // when the leader is far from usual more may be left
		l.sigma = max(l.sigma, math.Sqrt(b.left/b.energies))
	}
	return l, true
}

// add takes the next values, once. length is that of a block, in ms.
func (r *relation) add(at, length int64, x, o, y float64) {
	if at <= r.at {
		return // the series is looked at anew
	}
	if l, ok := r.line(); ok {
		if b := &r.blocks; b.began != 0 && at-b.began >= length {
			b.close(at, l.slope)
		}
		r.blocks.add(at, x-l.x-l.like*(o-l.o), y-l.at(x, o))
	}
	keep := leadKeep(at - r.at)
	r.n, r.x, r.o, r.y = keep*r.n+1, keep*r.x+x, keep*r.o+o, keep*r.y+y
	r.xx, r.xo, r.oo = keep*r.xx+x*x, keep*r.xo+x*o, keep*r.oo+o*o
	r.xy, r.oy, r.yy = keep*r.xy+x*y, keep*r.oy+o*y, keep*r.yy+y*y
	r.at = at
}

// leadKeep is what is left of a sum after a time in ms.
func leadKeep(ms int64) float64 { return math.Exp2(-float64(ms) / float64(leadHalfLife)) }

func (b *blocks) add(at int64, x, left float64) {
	if b.began == 0 {
		b.began = at
	}
	b.score += x * left
	b.energy += x * x
	b.left += x * x * left * left
}

// close ends the block under way.
func (b *blocks) close(at int64, slope float64) {
	keep := leadKeep(at - b.began)
	if b.any {
		b.scores = keep*keep*b.scores + b.score*b.score
		b.neighbors = keep*keep*b.neighbors + b.score*b.before
		b.squared = keep*keep*b.squared + b.energy*b.energy
		b.energies = keep*b.energies + b.energy
		b.judge(slope)
	} else {
		b.left = 0
	}
	b.left *= keep
	b.before = b.score
	b.any, b.began, b.score, b.energy = true, 0, 0, 0
}

// judge tells how sure the slope is: by Student's t, with as many observations as there are
// blocks, of which those count in which the leader moved, and neighbors that are alike less.
func (b *blocks) judge(slope float64) {
	free := b.energies*b.energies/b.squared - 1
	if !(free >= leadBlocks-1) {
		b.sure, b.chance = 0, 1
		return
	}
	alike := 0.0
	if b.scores > 0 {
		alike = min(max(b.neighbors/b.scores, 0), mostAlike)
	}
	b.sure = math.Abs(slope) * b.energies / math.Sqrt(b.scores*(1+alike)/(1-alike))
	b.sure = min(b.sure, 1/leadLeast)
	b.chance = mathext.RegIncBeta(free/2, 0.5, free/(free+b.sure*b.sure))
}

// counts tells whether the relation is one, and gives its line. looks are the relations
// that were looked at beside it.
func (r *relation) counts(looks int) (l relationLine, ok bool) {
	if b := &r.blocks; b.sure == 0 || b.chance*float64(looks) >= leadChance {
		return l, false
	}
	l, ok = r.line()
	return l, ok && math.Abs(l.r) >= leadWorth
}

// learnLeads takes the newest point of a follower for what its leaders said before.
func (a *Agent) learnLeads(f *follower) {
	s, at := f.series, f.series.ring.last()
	f.refresh(&a.work)
	if step := int64(s.ring.step); f.step == 0 || step > 3*f.step || 3*step < f.step {
		f.step = step // it comes at another pace: the lags are other ones
		for i := range f.leaders {
			f.leaders[i].relations = [leadLags]relation{}
		}
	}
	for i := range f.leaders {
		f.leaders[i].refresh(&a.work)
	}
	y := f.away(s.ring.newest(), at)
	length := max(leadBlock, 8*leadLag(leadLags-1)*f.step)
	for lag := range leadLags {
		then := at - leadLag(lag)*f.step
		o := f.recent(then, a.cfg.stale(&s.ring))
		if math.IsNaN(y-o) || leadLag(lag)*f.step < a.cfg.Every.D().Milliseconds() {
			continue
		}
		for i := range f.leaders {
			l := &f.leaders[i]
			if x := l.recent(then, a.cfg.stale(&l.series.ring)); !math.IsNaN(x) {
				l.relations[lag].add(at, length, x, o, y-o)
			}
		}
	}
}

// lookLead says where a leader that is away from its usual takes the series.
func lookLead(v *view) (raw, bool) {
	f := v.follower
	if f == nil || f.step == 0 {
		return raw{}, false
	}
	var best raw
	surest, found, lost := 0.0, false, false
	at := v.ring.last()
	own := f.recent(at, v.cfg.stale(v.ring))
	way := max((v.threshold-own-f.usualAt(at))*v.toward(), 0)
	for i := range f.leaders {
		l := &f.leaders[i]
		patience := v.cfg.stale(&l.series.ring)
		x := l.recent(at, patience)
		lag, line, ok := l.best(leadLags * len(f.leaders))
		after := leadLag(lag) * f.step
		push := line.slope * (x - line.x)
		switch {
		case !ok, at+after <= v.now:
			continue
		case v.now-l.series.ring.last() > patience, math.IsNaN(x):
			lost = true
			continue
		case math.Abs(x-line.x) < leadOdd*l.swing, !(push*v.toward() > leadShare*way): // also where something is not known
			continue
		}
		value := f.usualAt(at+after) + own + line.at(x, own)
		sigma := math.Hypot(line.sigma, push/l.relations[lag].blocks.sure)
		margin := (value - v.threshold) * v.toward() / sigma
		score := phi(margin)
		if !(score >= v.cfg.MinLikelihood) || found && margin <= surest {
			continue
		}
		surest, found = margin, true
		best = raw{
			score: min(score, maxLikelihood), until: until(at+after+f.step, v.now), breach: until(at+after, v.now),
			low: value - band80*sigma, high: value + band80*sigma, would: score >= wouldBreach,
			n: int(l.relations[lag].n), note: l.text(time.Duration(after)*time.Millisecond, line.r), old: l.series.ring.last() <= v.since,
		}
	}
	best.lost = lost && !found
	return best, found
}

// best gives the lag at which the leader tells most. looks are the relations that were looked
// at with these.
func (l *leader) best(looks int) (lag int, line relationLine, found bool) {
	for i := range l.relations {
		if one, ok := l.relations[i].counts(looks); ok && math.Abs(one.r) > math.Abs(line.r) {
			lag, line, found = i, one, true
		}
	}
	return lag, line, found
}

func (l *leader) text(lag time.Duration, r float64) string {
	n := l.series.name()
	return n.Metric + n.Labels + " of " + string(n.Service) + " leads by " + explain.Quantity(lag.Seconds(), "s") +
		": r = " + explain.Quantity(r, "") + "; it is " + explain.Quantity(l.series.ring.newest(), n.Unit) +
		" where " + explain.Quantity(l.usualAt(l.series.ring.last()), n.Unit) + " is usual"
}
