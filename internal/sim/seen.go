package sim

import (
	"slices"
	"time"

	"grace"
)

// series is what is measured of a service, and by what. Of a metric that an
// objective is held against the sensor is empty.
type series struct {
	service        grace.ServiceID
	sensor, metric string
}

// seen is what processes were told of a series.
type seen struct {
	word  // of all processes
	by    map[*process]word
	fails map[*process]int // in a row
	known time.Time        // since when a process must take it for sick, zero when it need not
	// until is when an alert is silent unless it is said again, by the clock of all
	// hosts; zero: it never is.
	until time.Time
}

// word is what the newest sample of a series says.
type word struct {
	at   time.Time // when it was taken, by the clock of its host before that was set
	last time.Time // when it was delivered
	bad  bool
	date time.Time // that it has
}

// expired tells whether an alert was not said again in time.
func (v *seen) expired(wall time.Time) bool {
	return v.bad && !v.until.IsZero() && wall.After(v.until)
}

// take lets a newer sample speak. The clock may have been set back.
func (w word) take(n word) word {
	if n.date.Equal(w.date) && n.bad == w.bad { // it is the same
		return w
	}
	if n.at.Before(w.at) && n.last.Sub(w.last) <= 2*sampleEvery {
		return w
	}
	return n
}

// notice notes what a process is told, and holds it to the limits itself.
func (s *Sim) notice(p *process, samples []grace.Sample) {
	for _, m := range samples {
		key, bad, serious := s.judge(m)
		if !serious {
			continue
		}
		v := s.seen[key]
		if v == nil {
			v = &seen{by: map[*process]word{}, fails: map[*process]int{}}
			s.seen[key] = v
		}
		if since := s.silentSince(key, v); !since.IsZero() { // what was before is not known to have lasted
			clear(v.fails)
			v.known = time.Time{}
		}
		v.until = m.Expires
		w := word{at: m.At.Add(-s.wall), last: s.now, bad: bad, date: m.At}
		if w.at.After(s.now) { // it was on its way while the clock was set back
			w.at = s.now
		}
		twice := w.date.Equal(v.by[p].date) && w.bad == v.by[p].bad
		v.word, v.by[p] = v.take(w), v.by[p].take(w)
		if twice {
			continue
		}
		if !bad {
			v.fails[p], v.known = 0, time.Time{}
			continue
		}
		v.fails[p]++
		if v.known.IsZero() && (v.fails[p] >= s.config.Sense.FailAfter || m.Kind == grace.SampleAlert) {
			v.known = s.now
		}
	}
}

// publishedIn is how soon a process has told the others what it knows.
const publishedIn = 2 * time.Second

// unlearn takes back what only a process knew that ends before it told the others.
func (s *Sim) unlearn(p *process) {
	for key, v := range s.seen {
		knows := func(o *process) bool {
			return o != nil && o != p && !o.dead && v.by[o].bad && (v.fails[o] >= s.config.Sense.FailAfter || key.sensor == alertSensor)
		}
		if s.now.Sub(v.known) < publishedIn && !slices.ContainsFunc(s.replicas, knows) {
			v.known = time.Time{}
		}
		delete(v.fails, p)
	}
}

// silentSince tells since when it must be known that nothing is heard of a
// series, zero when something is.
func (s *Sim) silentSince(key series, v *seen) time.Time {
	at := v.last.Add(blindAfter)
	if key.sensor == alertSensor {
		if !v.expired(s.now.Add(s.wall)) {
			return time.Time{}
		}
		at = v.until.Add(-s.wall)
	}
	if !s.now.After(at) {
		return time.Time{}
	}
	return at
}

// judge holds a sample to its limit. serious is false where nobody set one.
func (s *Sim) judge(m grace.Sample) (key series, bad, serious bool) {
	switch m.Kind {
	case grace.SampleProbe:
		return series{m.Service, m.Sensor, m.Metric}, m.Value == 0, true
	case grace.SampleAlert:
		return series{m.Service, m.Sensor, m.Metric}, !m.Resolved, true
	case grace.SampleSensorError:
		return key, false, false
	case grace.SampleMetric, grace.SampleSeries:
	}
	for _, o := range s.limits[m.Service] {
		if o.metric == m.Metric {
			return series{service: m.Service, metric: m.Metric}, o.breached(m.Value), true
		}
	}
	return key, false, false
}

// seenOf gives what was told of a signal.
func (s *Sim) seenOf(key grace.SignalKey) *seen {
	service, sensor, metric := splitKey(key)
	if sensor == "objective" {
		sensor = ""
		for _, l := range s.limits[service] {
			if l.Name == metric {
				metric = l.metric
				break
			}
		}
	}
	return s.seen[series{service, sensor, metric}]
}
