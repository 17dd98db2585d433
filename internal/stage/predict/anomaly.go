package predict

import (
	"slices"
	"time"

	"grace"
	"grace/internal/detect"
	"grace/internal/explain"
)

// oddness is what the detectors know of a series whose threshold is learned, and
// their newest detection towards the side on which it gets worse.
type oddness struct {
	detect.State

	at        int64 // unix ms of that detection; 0: there was none
	score     float32
	low, high float32 // what the series had been until then
}

// append takes the next sample.
func (o *oddness) append(at int64, v float64, falls bool) {
	low, high := o.Band()
	if d := o.Observe(at, v); d.Fired && d.Up != falls {
		o.at, o.score, o.low, o.high = at, float32(d.Score), narrow(low), narrow(high)
	}
}

// learns tells whether a threshold is to be learned for a series.
func (a *Agent) learns(s *series) bool {
	learnt := []grace.Role{grace.RoleLatency, grace.RoleErrors, grace.RoleSaturation}
	return a.cfg.Learn && slices.Contains(learnt, s.name().Role) && (len(s.watches) == 0 || s.watches[0].learned)
}

// attend gives a series the detectors, or takes them away when somebody has set
// a threshold: then there is a limit, and what is merely odd says less than how
// near it is.
func (a *Agent) attend(s *series) {
	switch {
	case !a.learns(s):
		if s.odd != nil {
			s.odd, s.fitted = nil, 0
		}
	case s.odd == nil:
		s.odd = &oddness{}
	}
}

// lookAnomaly claims, for one horizon after a detection, that what is odd now
// goes on to where it is beyond what nearly no hour was beyond. The band is what
// the series has been.
func lookAnomaly(v *view) (raw, bool) {
	horizon := v.cfg.Horizon.D()
	if v.odd == nil || v.odd.at == 0 || v.now-v.odd.at >= horizon.Milliseconds() {
		return raw{}, false
	}
	low, high := float64(v.odd.low), float64(v.odd.high)
	since := time.Duration(v.now-v.odd.at) * time.Millisecond
	return raw{
		score: float64(v.odd.score), until: horizon, breach: max(horizon/2-since, 0), low: low, high: high,
		note: "odd at " + instant(v.odd.at).Format(time.DateTime) + " UTC; until then it was within " + explain.Quantity(low, v.target.Unit) + " and " + explain.Quantity(high, v.target.Unit),
	}, true
}
