package api

import (
	"grace"
	"grace/domain/core"
	"grace/internal/healthgraph"
)

// ServiceView is a service with its state and its place in the graph.
type ServiceView struct {
	grace.Service

	Health      grace.HealthState `json:"health"`
	Dependents  []grace.ServiceID `json:"dependents" doc:"services that depend on it directly"`
	Transitive  int               `json:"transitive_dependents" doc:"services that depend on it, directly or through others"`
	BlastRadius int               `json:"blast_radius" minimum:"0" maximum:"10"`
	Silenced    []SilencedBy      `json:"silenced,omitempty" doc:"by what it is silenced now"`
}

// placed are the services of a graph without their health.
type placed struct {
	graph *healthgraph.Graph
	views []ServiceView
}

// places gives the services with their place in a graph, which takes long to find
// out for thousands and changes with the configuration only.
func (s *server) places(g *healthgraph.Graph) []ServiceView {
	if p := s.placed.Load(); p != nil && p.graph == g {
		return p.views
	}
	p := &placed{graph: g}
	for _, svc := range g.Services() {
		p.views = append(p.views, ServiceView{
			Service: svc, Dependents: g.Direct(svc.ID), Transitive: g.Needed(svc.ID), BlastRadius: g.BlastRadius(svc.ID, nil),
		})
	}
	s.placed.Store(p)
	return p.views
}

// states gives the state of every service. Where GRACE was not ready when that was
// asked last, its database and GRACE as a whole say so: the very samples that would
// are not written.
func (s *server) states() []grace.HealthState {
	health := s.core.Health()
	text := s.process.Unready()
	if text == "" {
		return health
	}
	for i := range health {
		if h := &health[i]; h.Service == core.Database || h.Service == grace.CoreService {
			h.Status, h.Confidence, h.TopSymptoms = grace.HealthCritical, 1, []string{text}
		}
	}
	return health
}

// graph gives the health graph: all services with their state, sorted by id.
func (s *server) graph() []ServiceView {
	health := map[grace.ServiceID]grace.HealthState{}
	for _, h := range s.states() {
		health[h.Service] = h
	}
	places := s.places(s.core.Graph())
	out := make([]ServiceView, len(places))
	for i, v := range places {
		v.Health = health[v.ID]
		out[i] = v
	}
	return out
}
