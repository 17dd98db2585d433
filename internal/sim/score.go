package sim

import (
	"time"

	"grace"
)

// incident is one fault, from when it struck until nothing of it is left.
type incident struct {
	Service   grace.ServiceID
	Kind      Kind
	At        time.Time
	Hurt      bool // users have seen it
	Detected  time.Time
	Mitigated time.Time
	open      bool
}

// strike makes a service sick. What strikes a sick one is the same incident.
func (s *Sim) strike(e Event) {
	s.world.strike(e, s.now)
	id := grace.ServiceID(e.Target)
	if s.world.service(id) == nil {
		return
	}
	for _, i := range s.incidents {
		if i.open && i.Service == id {
			return
		}
	}
	s.incidents = append(s.incidents, &incident{Service: id, Kind: e.Kind, At: s.now, open: true})
}

// watchIncidents closes what has passed.
func (s *Sim) watchIncidents() {
	for _, i := range s.incidents {
		if !i.open {
			continue
		}
		svc := s.world.service(i.Service)
		i.Hurt = i.Hurt || svc.sick
		if !svc.ill(s.now) && svc.up(s.now) {
			i.open, i.Mitigated = false, s.now
		}
	}
}

func (s *Sim) closeIncidents() {
	for _, i := range s.incidents {
		i.open = false
	}
}
