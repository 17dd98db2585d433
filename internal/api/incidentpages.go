package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/console"
	"grace/internal/explain"
	"grace/internal/store"
)

// showIncidents draws the incidents; form is what was refused about one of them.
func (s *server) showIncidents(v visit, status int, id grace.IncidentID, form console.Form) {
	s.show(v, status, "the incidents", func(ctx context.Context, v visit) (console.Page, error) {
		page, err := s.incidentsView(ctx, v)
		// Where the form is gone from the page, the complaint must not be.
		page.Error = form.Error
		for i := range page.Open {
			if id != "" && page.Open[i].ID == string(id) {
				page.Open[i].Form, page.Error = form, ""
			}
		}
		return page, err
	})
}

func (s *server) incidentsView(ctx context.Context, v visit) (console.Incidents, error) {
	f, err := s.frame(ctx, v, "Incidents", "incidents")
	if err != nil {
		return console.Incidents{}, err
	}
	page := console.Incidents{Frame: f, CanAct: callerOf(ctx).Role >= roleOperator}
	if !page.CanAct {
		page.Refresh = refreshEvery
	}
	open, err := s.store.OpenIncidents(ctx, s.store.Q())
	if err != nil {
		return console.Incidents{}, stored(err)
	}
	slices.SortStableFunc(open, func(a, b grace.Incident) int {
		return cmp.Or(b.Severity.Rank()-a.Severity.Rank(), b.OpenedAt.Compare(a.OpenedAt))
	})
	page.More = max(0, len(open)-shownHands)
	for _, i := range open[:len(open)-page.More] {
		page.Open = append(page.Open, incidentRow(i))
	}
	// They come by when they were opened; what was resolved last is among the newest.
	resolved, _, err := s.store.Incidents(ctx, s.store.Q(), store.IncidentFilter{State: grace.IncidentResolved}, store.Page{Limit: store.MaxLimit})
	if err != nil {
		return console.Incidents{}, stored(err)
	}
	slices.SortStableFunc(resolved, func(a, b grace.Incident) int { return deref(b.ResolvedAt).Compare(deref(a.ResolvedAt)) })
	for _, i := range resolved[:min(len(resolved), shownResolved)] {
		page.Resolved = append(page.Resolved, resolvedRow(i))
	}
	return page, nil
}

func incidentRow(i grace.Incident) console.IncidentRow {
	row := console.IncidentRow{
		ID: string(i.ID), State: severityState(i.Severity), Title: i.Title, Kind: incidentWords(i.Kind), Sensor: i.Sensor, Detail: i.Detail,
		Since: began(i), Run: incidentRun(i), Held: explain.Held(i),
	}
	if i.Service != "" {
		row.Service = serviceLink(i.Service)
	}
	row.MoreOthers = max(0, len(i.Services)-shownHeld)
	for _, id := range i.Services[:len(i.Services)-row.MoreOthers] {
		row.Others = append(row.Others, serviceLink(id))
	}
	if i.Acknowledged != nil {
		row.Acknowledged = new(remark(*i.Acknowledged))
	}
	for _, n := range i.Notes {
		row.Notes = append(row.Notes, remark(n))
	}
	return row
}

func remark(n grace.Note) console.Remark {
	return console.Remark{Actor: n.Actor, Text: n.Text, At: n.At}
}

// began is when the condition of an incident began, as far as it is known.
func began(i grace.Incident) time.Time {
	if i.Since.IsZero() {
		return i.OpenedAt
	}
	return i.Since
}

func incidentRun(i grace.Incident) console.Link {
	if i.Run == "" {
		return console.Link{}
	}
	return console.Link{Text: "The run", Path: "lite/runs/" + string(i.Run)}
}

func resolvedRow(i grace.Incident) console.ResolvedRow {
	row := console.ResolvedRow{
		ID: string(i.ID), Title: i.Title, Opened: i.OpenedAt, Resolved: deref(i.ResolvedAt), Resolution: orDash(i.Resolution), Run: incidentRun(i),
	}
	if i.Service != "" {
		row.Service = serviceLink(i.Service)
	}
	if i.ResolvedAt != nil {
		row.Took = span(max(0, i.ResolvedAt.Sub(i.OpenedAt)))
	}
	return row
}

func severityState(severity grace.Severity) console.State {
	st := console.State{Tone: console.ToneNoData, Label: orDash(string(severity))}
	switch severity {
	case grace.SeverityCritical:
		st.Tone = console.ToneFailing
	case grace.SeverityWarning:
		st.Tone = console.ToneDegraded
	case grace.SeverityInfo:
	}
	return st
}

func incidentWords(kind grace.IncidentKind) string {
	switch kind {
	case grace.IncidentRun:
		return "a run did not help"
	case grace.IncidentUnhealed:
		return "not healed"
	case grace.IncidentBlind:
		return "no data"
	case grace.IncidentStorm:
		return "too much is sick at once"
	}
	return humanize(string(kind))
}

func (s *server) incidentForm(v visit) {
	id := grace.IncidentID(v.r.PathValue("id"))
	form := console.Form{Reason: strings.TrimSpace(v.r.PostFormValue("reason"))}
	verb := v.r.PostFormValue("do")
	err := reasonGiven(form.Reason)
	if s.incidentHands()[verb] == nil {
		err = problem(http.StatusUnprocessableEntity, "neither acknowledge, note nor resolve was chosen")
	}
	if err == nil {
		_, err = s.changeIncident(v.r.Context(), verb, id, form.Reason)
	}
	if err != nil {
		p := s.answer(v.r.Context(), "the incident", err)
		form.Error = complaint(p)
		s.showIncidents(v, p.Status, id, form)
		return
	}
	s.goToItem(v, "incidents")
}
