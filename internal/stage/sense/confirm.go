package sense

import (
	"slices"
	"time"

	"grace"
)

// Unconfirm takes back that the signals which match were confirmed: a sample
// that is newer than now must show anew what they say. match is given the sensors
// that a signal rests on. It gives those that it changed, sorted by key: also those
// that have no data yet, or waited for such a sample already, which must be newer now.
func (a *Agent) Unconfirm(match func(s grace.Signal, sensors []string) bool, now time.Time) []grace.Signal {
	a.since = now
	var changed []grace.Signal
	for _, e := range a.entries {
		if !match(e.sig, a.sensorsOf(e)) || e.unconfirmed && e.since.Equal(now) {
			continue
		}
		e.unconfirm(now)
		changed = append(changed, e.signal(&a.cfg))
	}
	slices.SortFunc(changed, compareKeys)
	return changed
}

// After tells after when a sample must have been seen to confirm a signal; zero when
// none need be.
func (a *Agent) After(key grace.SignalKey) time.Time {
	if e := a.entries[key]; e != nil {
		return e.since
	}
	return time.Time{}
}

// sensorsOf gives the sensors that an entry rests on: of an objective all that have
// measured what its expression looks at.
func (a *Agent) sensorsOf(e *entry) []string {
	if e.kind != kindObjective {
		return []string{e.sig.Sensor}
	}
	names := slices.Clone(e.sensors)
	for _, metric := range e.objective.metrics {
		for sensor := range a.measures[metricID{e.sig.Service, metric}] {
			names = append(names, sensor)
		}
	}
	return names
}
