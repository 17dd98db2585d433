package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/loop"
)

// SilencedBy is what keeps GRACE's hands off a service: a silence here, which keeps
// its voice off too, or one of an alert about the service at the alert's source.
type SilencedBy struct {
	Silence grace.SilenceID `json:"silence,omitempty" doc:"a silence of the whole service; absent for an alert"`
	Actor   string          `json:"actor,omitempty" doc:"who made the silence"`
	Reason  string          `json:"reason,omitempty" doc:"why"`
	Ends    time.Time       `json:"ends,omitzero" doc:"when it ends"`
	Alert   string          `json:"alert,omitempty" doc:"an alert that its source keeps silent"`
	Source  string          `json:"source,omitempty" doc:"by what its source does so"`
}

// Words says it for a reader. at words a time.
func (b SilencedBy) Words(at func(time.Time) string) string {
	if b.Silence == "" {
		return "the alert " + b.Alert + " is silenced at its source: " + b.Source
	}
	return "silenced until " + at(b.Ends) + " by " + b.Actor + ": " + b.Reason
}

// SilencedMark says in a word or two what is silenced of a service, for a list;
// it is empty when nothing is.
func SilencedMark(list []SilencedBy) string {
	switch {
	case len(list) == 0:
		return ""
	case wholly(list):
		return "silenced"
	}
	return "alert silenced at its source"
}

// wholly tells whether one of them silences the whole service.
func wholly(list []SilencedBy) bool {
	return slices.ContainsFunc(list, func(b SilencedBy) bool { return b.Silence != "" })
}

// HealthView is the health of a service, with what silences it.
type HealthView struct {
	grace.HealthState

	Silenced []SilencedBy `json:"silenced,omitempty" doc:"by what it is silenced now"`
}

// AddedSilence is a new silence, with what it is about.
type AddedSilence struct {
	grace.Silence

	Matching []grace.ServiceID `json:"matching" doc:"the services that it matches now"`
	Warning  string            `json:"warning,omitempty" doc:"why it may not do what was meant"`
}

// matchesNothing warns of a silence that may have a name spelled wrong.
const matchesNothing = "it matches no service that GRACE knows now"

// silencer tells what is silenced now. It is made once for an answer or a page.
type silencer struct {
	inForce  []inForce
	symptoms map[grace.ServiceID]loop.Symptoms
}

type inForce struct {
	grace.Silence

	matches func(grace.Service) bool
}

func (s *server) silencer(ctx context.Context) (silencer, error) {
	list, err := s.inForce(ctx, s.now())
	if err != nil {
		return silencer{}, err
	}
	return s.silencerOf(ctx, list), nil
}

// silencerOf makes one of the silences in force.
func (s *server) silencerOf(ctx context.Context, list []grace.Silence) silencer {
	q := silencer{symptoms: s.core.Symptoms()}
	for _, one := range list {
		q.inForce = append(q.inForce, inForce{one, one.Matcher()})
	}
	return q
}

// of gives by what a service is silenced.
func (q silencer) of(service grace.Service) []SilencedBy {
	return append(q.silences(service), atSource(q.symptoms[service.ID].Silenced...)...)
}

func (q silencer) silences(service grace.Service) (out []SilencedBy) {
	for _, one := range q.inForce {
		if one.matches(service) {
			out = append(out, SilencedBy{Silence: one.ID, Actor: one.Actor, Reason: one.Reason, Ends: one.Ends})
		}
	}
	return out
}

// atSource gives the alerts among signals that their source keeps silent.
func atSource(signals ...grace.Signal) (out []SilencedBy) {
	for _, sig := range signals {
		if sig.Silenced != "" {
			out = append(out, SilencedBy{Alert: sig.Metric, Source: sig.Silenced})
		}
	}
	return out
}

// services gives all services with what silences them.
func (s *server) services(ctx context.Context, q silencer) []ServiceView {
	views := s.graph()
	for i := range views {
		views[i].Silenced = q.of(views[i].Service)
	}
	return views
}

// health gives the state of every service with what silences it.
func (s *server) health(ctx context.Context) ([]HealthView, error) {
	q, err := s.silencer(ctx)
	if err != nil {
		return nil, err
	}
	described := map[grace.ServiceID]grace.Service{}
	for _, v := range s.graph() {
		described[v.ID] = v.Service
	}
	states := s.states()
	out := make([]HealthView, 0, len(states))
	for _, h := range states {
		service := described[h.Service]
		service.ID = h.Service // a domain is no service
		out = append(out, HealthView{HealthState: h, Silenced: q.of(service)})
	}
	return out, nil
}

// alertsView gives what leads to no action, with what silences it.
func (s *server) alertsView(ctx context.Context, q silencer) AlertsView {
	v := s.unused()
	for i := range v.Undeclared {
		u := &v.Undeclared[i]
		u.Silenced = append(q.silences(grace.Service{ID: u.Service}), atSource(u.Worst)...)
	}
	return v
}

// silenceable gives all services that a silence may be about, with what they suffer
// from: also those that only alerts speak of, which have nothing but a name.
func (s *server) silenceable(ctx context.Context) ([]ServiceView, map[grace.ServiceID]loop.Symptoms) {
	views, symptoms := s.graph(), s.core.Symptoms()
	for _, u := range s.unused().Undeclared {
		views = append(views, ServiceView{Service: grace.Service{ID: u.Service}})
		symptoms[u.Service] = loop.Symptoms{Worst: u.Worst, Count: u.Signals}
	}
	return views, symptoms
}

// matching names the services that a silence is about.
func matching(one grace.Silence, known []ServiceView) []grace.ServiceID {
	out := []grace.ServiceID{}
	matches := one.Matcher()
	for _, view := range known {
		if matches(view.Service) {
			out = append(out, view.ID)
		}
	}
	return out
}

// until words the end of a silence as the console does.
func until(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// silencedLines words each thing that silences a service, for the console.
func silencedLines(list []SilencedBy) (out []string) {
	for _, b := range list {
		out = append(out, grace.Printable(strings.TrimSpace(b.Words(until))))
	}
	return out
}
