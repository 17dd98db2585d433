package sim

import (
	"slices"
	"time"

	"grace"
)

// wellSpell is since when nothing is wrong with a service, and whether that is noted.
type wellSpell struct {
	since time.Time
	noted bool
}

// noteCalm notes which services of open incidents have been well for longer than
// the hold-down, as measured and as stored: an incident speaks of a later condition
// only when it says something new. What was while nobody looked, before began,
// does not count.
func (s *Sim) noteCalm(began time.Time) {
	for _, n := range s.story.Services {
		c := s.calms[n.ID]
		switch {
		case !s.isCalm(n.ID):
			delete(s.calms, n.ID)
		case c == nil:
			s.calms[n.ID] = &wellSpell{since: s.now}
		case !c.noted && s.now.Sub(later(c.since, began)) > holdDown+attention:
			c.noted = s.coverEnds(n.ID)
		}
	}
}

// isCalm tells whether everything that is measured of a service passes.
func (s *Sim) isCalm(id grace.ServiceID) bool {
	for _, key := range s.seriesOf(id) {
		if v := s.seen[key]; v != nil && (v.bad || !s.silentSince(key, v).IsZero()) {
			return false
		}
	}
	return true
}

// coverEnds notes for all open incidents of a service that they are about what is
// over. It gives false while what is stored says otherwise, or one is so young that
// it may speak of what comes next: then it goes on.
func (s *Sim) coverEnds(id grace.ServiceID) bool {
	rows, err := s.store.Signals(s.ctx, s.store.Q(), id)
	s.fail(err)
	notOK := func(r grace.Signal) bool { return r.Severity.Serious() && r.State != grace.SignalOK }
	if err != nil || slices.ContainsFunc(rows, notOK) {
		return false
	}
	incidents, err := s.store.OpenIncidents(s.ctx, s.store.Q())
	s.fail(err)
	young := false
	for _, inc := range incidents {
		if inc.Covers(id) && s.now.Add(s.wall).Sub(inc.OpenedAt) <= holdDown+attention {
			young = true
			continue
		}
		if inc.Kind == grace.IncidentBlind || !inc.Covers(id) { // GRACE has noted it: covered later, it was told anew
			continue
		}
		if s.over[inc.ID] == nil {
			s.over[inc.ID] = map[grace.ServiceID]string{}
		}
		s.over[inc.ID][id] = inc.News
	}
	return err == nil && !young
}

// speaksOf tells whether an incident is about a service as it is now.
func (s *Sim) speaksOf(inc *grace.Incident, id grace.ServiceID) bool {
	news, over := s.over[inc.ID][id]
	return inc.Covers(id) && (!over || news != inc.News)
}
