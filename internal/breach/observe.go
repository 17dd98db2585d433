package breach

import "math"

// Quantities is the number of quantities of the regression, the constant among
// them.
const Quantities = 14

const (
	one        = iota // the constant
	farMid            // distance of the mean over two horizons from the threshold, in spreads
	farHours          // the same over twelve horizons
	rising            // the short mean above the longer one, in spreads
	jumped            // the last value above the short mean, in spreads
	over              // 1: the last value is beyond
	overLately        // share of time beyond over four horizons
	overWeek          // root of the share over a week
	dayAhead          // share of time beyond in the hours to come, on all days
	dayNow            // in this hour, on all days
	weekAhead         // on this day of the week
	weekNow           // in this hour of the week
	again             // share of the past intervals between breaches, of those not yet over, that end now
	near              // 1 at the threshold and beyond, falling with the distance
)

// Prior gives the weights before a series taught its own: fitted to the open half
// of the evaluation's series by ridge regression, as the evaluation does again
// for its cross-validated figures.
func Prior() [Quantities]float64 {
	return [Quantities]float64{
		one: -3.73, farMid: -0.41, farHours: 0.23, rising: 0.02, jumped: 0.05, over: 1.12,
		overLately: 1.79, overWeek: 0.49, dayAhead: 0.90, dayNow: 0.27, weekAhead: 2.25, weekNow: 0.77,
		again: 2.57, near: 0.64,
	}
}

// observe gives the quantities of the last step.
func (m *Model) observe(s *State, limit float64) [Quantities]float64 {
	// A constant series has no spread; a part of the level keeps the quotient
	// in bounds, and the smallest float in being.
	spread := s.spread + 1e-12*math.Abs(limit) + math.SmallestNonzeroFloat32
	var x [Quantities]float64
	x[one] = 1
	x[farMid] = within((limit-s.mid)/spread, 5)
	x[farHours] = within((limit-s.hours)/spread, 5)
	x[rising] = within((s.short-s.mid)/spread, 3)
	x[jumped] = within((s.value-s.short)/spread, 3)
	if s.beyond&1 != 0 {
		x[over] = 1
	}
	x[overLately] = float64(s.lately)
	x[overWeek] = math.Sqrt(float64(s.week))
	m.lookAhead(s, &x)
	x[again] = m.renewal(s)
	x[near] = math.Exp(-within(max(0, (limit-s.value)/spread), 20))
	return x
}

func within(x, bound float64) float64 { return max(-bound, min(bound, x)) }

// lookAhead reads the profile for the hours that begin within two horizons. It
// changes with the half-hour only.
func (m *Model) lookAhead(s *State, x *[Quantities]float64) {
	if half := uint16(s.local(s.at)/int64(hourMillis/2)%336 + 337); half != s.seasonOf {
		s.seasonOf = half
		m.readProfile(s)
	}
	x[dayAhead], x[dayNow], x[weekAhead], x[weekNow] = float64(s.ahead[0]), float64(s.ahead[1]), float64(s.ahead[2]), float64(s.ahead[3])
	if s.ahead[0] < 0 {
		x[dayAhead] = float64(s.week)
	}
	if s.ahead[2] < 0 {
		x[weekAhead], x[weekNow] = x[dayAhead], x[dayNow]
	}
}

func (m *Model) readProfile(s *State) {
	now := s.hourOfWeek(s.at)
	day, week := -1.0, -1.0
	last := now
	for ahead := hourMillis / 2; ahead <= max(m.reach, hourMillis); ahead += hourMillis / 2 {
		h := s.hourOfWeek(s.at + int64(ahead))
		if h == last {
			continue
		}
		last = h
		if p, ok := s.daily(h); ok {
			day = max(day, p)
		}
		if s.profile[h]&3 != 0 {
			week = max(week, s.share(h))
		}
	}
	dayNow, _ := s.daily(now)
	s.ahead = [4]float32{float32(day), float32(dayNow), float32(week), float32(s.share(now))}
}

// renewal is the chance, by the past intervals between breaches alone, that the
// current one ends within two horizons.
func (m *Model) renewal(s *State) float64 {
	if s.began == 0 {
		return 0
	}
	age := float64(s.at - s.began)
	perReach := float64(s.breaches) * m.reach / weekMillis
	ended, open := 0.3*min(1, perReach), 1.0
	for _, minutes := range s.between {
		if interval := float64(minutes) * 60e3; interval > age {
			open++
			if interval <= age+m.reach {
				ended++
			}
		}
	}
	return ended / open
}

// local is what the clock of the series shows.
func (s *State) local(at int64) int64 { return at + int64(s.Ahead)*int64(hourMillis) }

func (s *State) hourOfWeek(at int64) uint8 {
	h := s.local(at) / int64(hourMillis) % 168
	if h < 0 {
		h += 168
	}
	return uint8(h)
}

// season counts a step in its hour, and closes the hour before.
func (s *State) season(at int64, over bool) {
	if h := s.hourOfWeek(at); h != s.hour {
		s.closeHour()
		s.hour = h
	}
	if s.hourSteps < math.MaxUint16 {
		s.hourSteps++
		if over {
			s.hourOver++
		}
	}
}

func (s *State) closeHour() {
	if s.hourSteps == 0 {
		return
	}
	const levels = 63
	got := float64(s.hourOver) / float64(s.hourSteps) * levels
	s.hourSteps, s.hourOver = 0, 0
	old, seen := s.profile[s.hour]>>2, s.profile[s.hour]&3
	share := float64(old) + (got-float64(old))/float64(seen+1)
	// Away from the old level, so that small differences count, too.
	if share > float64(old) {
		share = math.Ceil(share)
	}
	s.profile[s.hour] = uint8(share)<<2 | min(seen+1, 3)
}

// share of an hour of the week in which the series was beyond.
func (s *State) share(h uint8) float64 { return float64(s.profile[h]>>2) * (1.0 / 63) }

// daily is the share of the same hour on all days that were seen.
func (s *State) daily(h uint8) (share float64, ok bool) {
	days := 0.0
	for d := h % 24; d < 168; d += 24 {
		if s.profile[d]&3 != 0 {
			share += s.share(d)
			days++
		}
	}
	return share / max(1, days), days > 0
}
