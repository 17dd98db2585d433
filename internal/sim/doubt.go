package sim

import (
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/stage/sense"
)

const (
	probeSensor = "probe"
	alertSensor = "alerts"
	alertMetric = "alert"
)

// befalling gives the fault of a kind that a target is under.
func (s *Sim) befalling(k Kind, target string) (Event, bool) {
	i := slices.IndexFunc(s.plumbing, func(e Event) bool { return e.Kind == k && e.Target == target })
	if i < 0 {
		return Event{}, false
	}
	return s.plumbing[i], true
}

func (s *Sim) befalls(k Kind, target string) bool {
	_, on := s.befalling(k, target)
	return on
}

// probe is how the probe of a service is called, empty when there is none.
func (s *Sim) probe(id grace.ServiceID) string {
	if name, changed := s.sensors[id]; changed {
		return name
	}
	return probeSensor
}

// flap has a probe say what is not.
func (s *Sim) flap(e Event, until time.Time) {
	if id := grace.ServiceID(e.Target); s.flapping[id].IsZero() {
		s.flapping[id] = s.now
	}
	s.plumbing = append(s.plumbing, e)
	s.at(until, func() {
		s.plumbing = slices.DeleteFunc(s.plumbing, func(o Event) bool { return o == e })
		delete(s.flapping, grace.ServiceID(e.Target))
	})
}

// change changes the configuration of all processes: by a reload, or, where the
// story says so, by a restart.
func (s *Sim) change(e Event) {
	id := grace.ServiceID(e.Target)
	cfg := s.config
	same := e.Kind == RemoveSensor && s.probe(id) == "" // a reload that changes nothing takes no evidence back
	switch e.Kind {
	case Reload:
		cfg.Services = slices.Clone(cfg.Services)
		for i := range cfg.Services {
			if cfg.Services[i].ID == id {
				cfg.Services[i].Owner += "'"
			}
		}
	case RenameSensor:
		if s.probe(id) == "" {
			return
		}
		s.sensors[id] = s.probe(id) + "2"
	default:
		s.sensors[id] = ""
	}
	cfg.Probes = nil
	for _, svc := range cfg.Services {
		if name := s.probe(svc.ID); name != "" {
			cfg.Probes = append(cfg.Probes, sense.Probe{Service: svc.ID, Sensor: name, Metric: metricUp})
		}
	}
	s.config = cfg
	for k := range s.seen {
		if k.service == id && k.metric == metricUp && k.sensor != s.probe(id) && k.sensor != alertSensor {
			delete(s.seen, k)
		}
	}
	for _, p := range s.replicas {
		switch {
		case p == nil:
		case e.Amount != 0 && e.Kind != Reload:
			s.end(p, 0, 2*second)
		default:
			s.fail(p.loop.Reconfigure(s.ctx, s.mutations.config(cfg), "sim"))
			if !same {
				p.reload, p.changed[id] = s.now, s.now
			}
		}
	}
}

// reread has all processes read the configuration again as it is, until a time.
func (s *Sim) reread(e Event, until time.Time) {
	for _, p := range s.replicas {
		if s.awake(p) {
			s.fail(p.loop.Reconfigure(s.ctx, s.mutations.config(s.config), "sim"))
		}
	}
	if next := s.now.Add(e.interval()); next.Before(until) && next.Sub(s.epoch) < s.story.Length {
		s.at(next, func() { s.reread(e, until) })
	}
}

// setClock sets the wall clocks of all hosts. What was silent before is so for as
// long as it was, and what falls silent by it is so from now on.
func (s *Sim) setClock(step time.Duration) {
	for _, v := range s.seen {
		switch before := s.now.Add(s.wall); {
		case v.until.IsZero():
		case v.expired(before):
			v.until = v.until.Add(step)
		case v.expired(before.Add(step)):
			v.until = before.Add(step)
		}
	}
	s.wall += step
	s.lastStep = step
	if !slices.ContainsFunc(s.replicas, func(p *process) bool { return p != nil }) {
		s.setUnseen += step
	}
}

// unknowable takes away, when a process starts over a clock that was set back
// meanwhile, the time that nobody can know of: since the newest record, or as much as
// it was set by when it is later than that record still.
func (s *Sim) unknowable() {
	newest, err := s.store.LastEntryAt(s.ctx, s.store.Q())
	s.fail(err)
	gap := -s.setUnseen
	s.setUnseen = 0
	if s.lastStep < 0 && newest.After(s.now.Add(s.wall)) {
		gap = s.now.Sub(newest.Add(s.lastStep - s.wall))
	}
	for _, v := range s.seen {
		if !v.known.IsZero() {
			v.known = v.known.Add(max(0, gap))
		}
	}
}

// alert has an alert fire at its source.
func (s *Sim) alert(e Event) {
	id := grace.ServiceID(e.Target)
	if s.alerts[id] || s.now.Sub(s.epoch) >= s.story.Length {
		return
	}
	s.alerts[id] = true
	every := e.interval()
	s.say(id, every, false)
	if every > 0 {
		var again func()
		again = func() {
			if !s.alerts[id] {
				return
			}
			if !s.befalls(SenderDies, string(id)) {
				s.say(id, every, false)
			}
			s.after(every, again)
		}
		s.after(every, again)
	}
}

// resolveAlerts has a person see to the sources at the end.
func (s *Sim) resolveAlerts() {
	for _, n := range s.story.Services {
		if s.alerts[n.ID] {
			delete(s.alerts, n.ID)
			s.say(n.ID, 0, true)
		}
	}
}

// say sends an alert to whichever process takes it. One that is repeated is
// silent when it misses two repeats.
func (s *Sim) say(id grace.ServiceID, every time.Duration, resolved bool) {
	if s.operator != nil {
		return
	}
	p := s.alive("alert", string(id), s.now.String())
	if p == nil {
		s.after(second, func() {
			if s.alerts[id] != resolved {
				s.say(id, every, resolved)
			}
		})
		return
	}
	samples := []grace.Sample{{
		Service: id, Sensor: alertSensor, Metric: alertMetric, Kind: grace.SampleAlert, Code: grace.CodeServiceDown,
		Severity: grace.SeverityWarning, Resolved: resolved, Fingerprint: "stuck", At: s.now.Add(s.wall), Message: "it does not answer",
	}}
	if every > 0 && !resolved {
		samples[0].Expires = samples[0].At.Add(2 * every)
	}
	s.notice(p, samples)
	if s.mutations.KeepAlerts {
		samples[0].Expires = time.Time{}
	}
	s.fail(p.loop.Observe(s.ctx, samples...))
}

// splitKey takes a signal's key apart.
func splitKey(key grace.SignalKey) (service grace.ServiceID, sensor, metric string) {
	parts := strings.SplitN(string(key), "/", 4)
	if len(parts) < 3 {
		return "", "", ""
	}
	return grace.ServiceID(parts[0]), parts[1], parts[2]
}
