package sim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"grace"
	"grace/internal/store"
)

// proof notes a run whose first step begins without fresh evidence: since its
// process started and its configuration last changed, a sample must have shown
// what the run is about, and the newest must not say otherwise: the newest of
// all, or, where replicas measure each for itself, its own.
func (s *Sim) proof(p *process, c call) {
	if c.Phase != grace.PhaseDo || slices.ContainsFunc(s.calls, func(o call) bool { return o.Run == c.Run && o.Phase == grace.PhaseDo }) {
		return
	}
	run, err := s.store.Run(s.ctx, s.store.Q(), c.Run)
	s.fail(err)
	if err != nil || run.Kind == grace.TriggerManual {
		return
	}
	since := p.began
	if t := p.changed[run.Service]; t.After(since) {
		since = t
	}
	if p.woke.After(since) {
		since = p.woke
	}
	condition := run.Condition
	if run.Kind == grace.TriggerProactive {
		if s.foretold(run, since) {
			return
		}
		for _, o := range s.limits[run.Service] { // or what was foreseen has come
			if o.Code == run.Code {
				condition = append(condition, grace.SignalKey(string(o.Service)+"/objective/"+o.Name))
			}
		}
	}
	var said []string
	for _, key := range condition {
		_, sensor, _ := splitKey(key)
		switch v := s.seenOf(key); {
		case v == nil:
			said = append(said, fmt.Sprintf("%s was never seen", key))
		case v.by[p].bad && !v.by[p].last.Before(since) && s.now.Sub(v.by[p].last) < blindAfter/2:
			return
		case v.last.Before(since):
			said = append(said, fmt.Sprintf("%s was last seen at %s", key, s.since(v.last)))
		case !v.bad:
			said = append(said, fmt.Sprintf("%s passed at %s", key, s.since(v.last)))
		case v.expired(s.now.Add(s.wall - sampleEvery)):
			said = append(said, fmt.Sprintf("%s was last repeated at %s", key, s.since(v.last)))
		case sensor != alertSensor && s.now.Sub(v.last) > blindAfter+sampleEvery:
			said = append(said, fmt.Sprintf("%s was last measured at %s", key, s.since(v.last)))
		default:
			return
		}
	}
	s.unproven = append(s.unproven, fmt.Sprintf("%s of run %s (%s, %s) on %s at %s by %s, for which evidence counts since %s: %v",
		c.Action, c.Run, run.Code, run.Kind, c.Service, s.since(c.At), p.owner(), s.since(since), said))
}

// foretold tells whether what a run rests on was predicted anew since then.
func (s *Sim) foretold(run grace.Run, since time.Time) bool {
	for after := int64(0); ; {
		events, err := s.store.Events(s.ctx, s.store.Q(), after, []string{"self_heal.prediction"}, 500)
		s.fail(err)
		if err != nil || len(events) == 0 {
			return false
		}
		for _, e := range events {
			after = e.ID
			var p grace.Prediction
			s.fail(json.Unmarshal(e.Payload, &p))
			if p.Service == run.Service && p.Code == run.Code && e.Timestamp.Add(-s.wall).After(since.Add(-s.maxSkew())) && s.now.Sub(e.Timestamp.Add(-s.wall)) < 2*time.Minute+s.maxSkew() {
				return true
			}
		}
	}
}

const (
	// attention is how long telling may take when it is due: group wait, ticks,
	// a slow sample.
	attention = 25 * time.Second
	// blindAfter is how long a series may be without data before that is known.
	blindAfter = 60 * time.Second
	// justHelped is how long a run that succeeded speaks for the services that
	// depend on its own.
	justHelped = 60 * time.Second
)

// listen looks for services that are sick for too long while nobody acts or
// says so.
func (s *Sim) listen() {
	if s.operator != nil || s.err != nil {
		return
	}
	began, living := s.attentive()
	if !living {
		clear(s.hush)
		clear(s.calms)
		return
	}
	s.noteCalm(began)
	var late []grace.ServiceID
	why, blind := map[grace.ServiceID]string{}, map[grace.ServiceID]bool{}
	for _, n := range s.story.Services {
		if why[n.ID], blind[n.ID] = s.overdue(n, began); why[n.ID] != "" {
			late = append(late, n.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.hush)) {
		if why[id] == "" {
			delete(s.hush, id)
		}
	}
	if len(late) == 0 {
		return
	}
	incidents, runs := s.told()
	for _, id := range late {
		if s.published(id, blind[id], incidents, runs) {
			delete(s.hush, id)
			continue
		}
		since, hushed := s.hush[id]
		if !hushed {
			s.hush[id], since = s.now, s.now
		}
		if d := s.now.Sub(since); d >= attention && d < attention+sampleEvery {
			s.silent = append(s.silent, fmt.Sprintf("%s at %s: %s, nothing that helps is being done, and no incident covers it", id, s.since(s.now), why[id]))
		}
	}
}

// attentive tells whether a process has been awake for a while, and since when
// the oldest counts evidence.
func (s *Sim) attentive() (began time.Time, living bool) {
	for _, p := range s.replicas {
		if !s.awake(p) || s.now.Sub(p.began) < attention || s.now.Sub(p.frozen) < attention {
			continue
		}
		since := later(later(p.began, p.reload), p.woke)
		if !living || since.Before(began) {
			began, living = since, true
		}
	}
	return began, living
}

// overdue says what is wrong with a service for longer than people may be left
// in the dark, empty when nothing is. blind: nothing is known of it.
func (s *Sim) overdue(n Node, began time.Time) (why string, blind bool) {
	patience := escalateAfter
	if n.Criticality == grace.CriticalityCritical {
		patience = escalateCritical
	}
	over := func(since time.Time) bool { return !since.IsZero() && s.now.Sub(since) > patience }
	for _, key := range s.seriesOf(n.ID) {
		v := s.seen[key]
		if v == nil {
			continue
		}
		silent := s.silentSince(key, v)
		unseen := !silent.IsZero()
		switch {
		case (v.last.Before(began) || v.at.Before(began)) && !over(later(v.known, began)):
			// Stored, or measured before and late: nobody has said since the start that it
			// lasts.
		case !unseen && over(v.known):
			return fmt.Sprintf("%s has been bad since %s", key.metric, s.since(v.known)), false
		case unseen && over(later(silent, began)):
			why, blind = fmt.Sprintf("%s was last seen at %s", key.metric, s.since(v.last)), true
		}
	}
	if since := s.flapping[n.ID]; !since.IsZero() && s.steady() && over(later(since, began).Add(90*second)) {
		return fmt.Sprintf("its probe flaps since %s", s.since(since)), false
	}
	return why, blind
}

// steady tells whether every sample of the story arrives.
func (s *Sim) steady() bool {
	return !slices.ContainsFunc(s.story.Events, func(e Event) bool {
		return slices.Contains([]Kind{LoseSamples, LateSamples, TwiceSamples, SplitSamples, SensorError, SilentSource, FrozenSource, RemoveSensor, RenameSensor, Restart, KillReplica, KillAtStep, Freeze, ClockStep}, e.Kind)
	})
}

// seriesOf gives what is measured of a service as it is configured now.
func (s *Sim) seriesOf(id grace.ServiceID) []series {
	out := []series{{id, alertSensor, alertMetric}}
	if name := s.probe(id); name != "" {
		out = append(out, series{id, name, metricUp})
	}
	for _, o := range s.limits[id] {
		out = append(out, series{service: id, metric: o.metric})
	}
	return out
}

// told gives the open incidents, and the runs that act or have just helped.
func (s *Sim) told() ([]grace.Incident, []store.RunHead) {
	incidents, err := s.store.OpenIncidents(s.ctx, s.store.Q())
	s.fail(err)
	if s.mutations.ForgetVictims {
		for i := range incidents {
			incidents[i].Services = nil
		}
	}
	for i := range incidents {
		if inc := &incidents[i]; s.mutations.NarrowStorm && inc.Kind == grace.IncidentStorm {
			if _, seen := s.storms[inc.ID]; !seen {
				s.storms[inc.ID] = inc.Services
			}
			inc.Services = s.storms[inc.ID]
		}
	}
	open, err := s.store.OpenRunHeads(s.ctx, s.store.Q())
	s.fail(err)
	recent, err := s.store.RunHeadsActive(s.ctx, s.store.Q(), s.now.Add(s.wall-justHelped))
	s.fail(err)
	return incidents, append(open, recent...)
}

// published tells whether an incident says what is wrong with a service, or a run
// acts on it or on what it depends on or what depends on it, or has just helped.
func (s *Sim) published(id grace.ServiceID, blind bool, incidents []grace.Incident, runs []store.RunHead) bool {
	covers := func(i grace.Incident) bool {
		return s.speaksOf(&i, id) && ((i.Kind == grace.IncidentBlind) == blind || s.unseen(i))
	}
	if slices.ContainsFunc(incidents, covers) {
		return true
	}
	causes := slices.Concat([]grace.ServiceID{id}, s.reach(id, false), s.reach(id, true))
	return slices.ContainsFunc(runs, func(h store.RunHead) bool {
		acting := h.State.Acting() || h.State == grace.RunSucceeded
		return acting && slices.Contains(causes, h.Service)
	})
}

// unseen tells whether an incident says, before the data of a service is missed
// here, that nothing is seen of it: no process can look, or its alerts expire when
// the clock is set.
func (s *Sim) unseen(i grace.Incident) bool {
	if i.Kind != grace.IncidentBlind {
		return false
	}
	if i.Sensor == alertSensor {
		return slices.ContainsFunc(s.plumbing, func(e Event) bool { return e.Kind == SenderDies && i.Covers(grace.ServiceID(e.Target)) })
	}
	for r, p := range s.replicas {
		e, on := s.befalling(SensorError, strconv.Itoa(r))
		missed := e.Amount != 0 || s.now.Sub(s.epoch.Add(e.At)) >= blindAfter // it says so, or has sent nothing for as long
		if s.awake(p) && (!on || !missed) {
			return false
		}
	}
	return true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
