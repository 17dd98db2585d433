package sense

import (
	"time"

	"grace"
)

// metricID is what a sensor measures.
type metricID struct {
	service grace.ServiceID
	metric  string
}

// sources has when each sensor measured a metric last.
type sources map[string]time.Time

// measured notes a sample, and tells whether it is newer than those of its sensor
// before, and there is room for it.
func (a *Agent) measured(s *grace.Sample) bool {
	id := metricID{s.Service, s.Metric}
	from := a.measures[id]
	last, known := from[s.Sensor]
	switch {
	case known && !s.At.After(last):
		return false
	case !known && a.measuring >= a.cfg.MaxSeries:
		a.dropped++
		return false
	case from == nil:
		from = sources{}
		a.measures[id] = from
	}
	if !known {
		a.measuring++
	}
	from[s.Sensor] = s.At
	return true
}

// beside tells whether another sensor has measured the same since a time.
func (a *Agent) beside(s *grace.Sample, since time.Time) bool {
	for sensor, last := range a.measures[metricID{s.Service, s.Metric}] {
		if sensor != s.Sensor && last.After(since) {
			return true
		}
	}
	return false
}

// sweepSources forgets what is not measured any more.
func (a *Agent) sweepSources(now time.Time) {
	for id, from := range a.measures {
		for sensor, last := range from {
			if now.Sub(last) > a.cfg.Retain.D() {
				delete(from, sensor)
				a.measuring--
			}
		}
		if len(from) == 0 {
			delete(a.measures, id)
		}
	}
}
