package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/console"
	"grace/internal/explain"
	"grace/internal/loop"
)

const (
	// shownHands bounds the silences and the open incidents of a page.
	shownHands = 100
	// shownResolved bounds the resolved incidents of a page.
	shownResolved = 20
	// shownHeld bounds the services that one silence or incident names.
	shownHeld = 10
	// counted bounds what the navigation counts.
	counted = 99
)

func (s *server) registerHandsPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /lite/silences", s.page(roleViewer, func(v visit) {
		s.showSilences(v, http.StatusOK, refusedSilence{form: console.SilenceForm{For: "1h"}})
	}))
	mux.HandleFunc("POST /lite/silences", s.page(roleOperator, s.silenceForm))
	mux.HandleFunc("POST /lite/silences/{id}", s.page(roleOperator, s.endSilenceForm))
	mux.HandleFunc("GET /lite/incidents", s.page(roleViewer, func(v visit) { s.showIncidents(v, http.StatusOK, "", console.Form{}) }))
	mux.HandleFunc("POST /lite/incidents/{id}", s.page(roleOperator, s.incidentForm))
	// A login on the way to a form leads to its address.
	for _, list := range []string{"silences", "incidents"} {
		mux.HandleFunc("GET /lite/"+list+"/{id}", s.page(roleViewer, func(v visit) { s.goToItem(v, list) }))
	}
}

// goToItem leads to one entry of a list.
func (s *server) goToItem(v visit, list string) {
	s.goTo(v, "lite/"+list+"#"+url.PathEscape(v.r.PathValue("id")))
}

// tally words what the navigation counts beside an entry.
func tally(n int, more bool) string {
	switch {
	case n == 0:
		return ""
	case more:
		return fmt.Sprintf("%d+", n)
	}
	return fmt.Sprint(n)
}

// inForce gives the silences that are in force.
func (s *server) inForce(ctx context.Context, now time.Time) ([]grace.Silence, error) {
	all, err := s.silences(ctx, false)
	if err != nil {
		return nil, stored(err)
	}
	return slices.DeleteFunc(all, func(one grace.Silence) bool { return !one.Active(now) }), nil
}

// silencedNow words what is silenced, for the status page.
func silencedNow(list []grace.Silence) string {
	const named = 3
	slices.SortStableFunc(list, func(a, b grace.Silence) int { return a.Ends.Compare(b.Ends) })
	var parts []string
	for i, one := range list {
		if i == named {
			parts = append(parts, fmt.Sprintf("and %d more", len(list)-named))
			break
		}
		parts = append(parts, fmt.Sprintf("%s until %s by %s: %s", one.What(), until(one.Ends), one.Actor, one.Reason))
	}
	return strings.Join(parts, "; ")
}

// refusedSilence is what the page of silences gives back of a refused form.
type refusedSilence struct {
	form console.SilenceForm // of adding one
	id   grace.SilenceID     // of ending this one
	end  console.Form
}

func (s *server) showSilences(v visit, status int, refused refusedSilence) {
	s.show(v, status, "the silences", func(ctx context.Context, v visit) (console.Page, error) {
		page, err := s.silencesView(ctx, v)
		page.Form, page.Error = refused.form, refused.end.Error
		for i := range page.Rows {
			if refused.id != "" && page.Rows[i].ID == string(refused.id) {
				page.Rows[i].Form, page.Error = refused.end, ""
			}
		}
		return page, err
	})
}

func (s *server) silencesView(ctx context.Context, v visit) (console.Silences, error) {
	f, err := s.frame(ctx, v, "Silences", "silences")
	if err != nil {
		return console.Silences{}, err
	}
	page := console.Silences{Frame: f, CanAct: callerOf(ctx).Role >= roleOperator}
	list, err := s.silences(ctx, false)
	if err != nil {
		return console.Silences{}, stored(err)
	}
	slices.SortStableFunc(list, func(a, b grace.Silence) int {
		return cmp.Or(later(a, f.Now)-later(b, f.Now), a.Ends.Compare(b.Ends))
	})
	known, symptoms := s.silenceable(ctx)
	for i, one := range list {
		if i == shownHands {
			page.More = len(list) - i
			break
		}
		row := console.SilenceRow{
			ID: string(one.ID), State: console.State{Tone: console.ToneSilenced, Label: "in force"}, What: one.What(),
			Reason: one.Reason, Actor: one.Actor, Starts: one.Starts, Ends: one.Ends,
		}
		if !one.Active(f.Now) {
			row.State = console.State{Tone: console.ToneNoData, Label: "to come"}
		}
		if i < explained {
			row.Covers, row.Nothing = covered(matching(one, known))
			if one.Active(f.Now) {
				holds(&row, one, known, symptoms)
			}
		}
		page.Rows = append(page.Rows, row)
	}
	return page, nil
}

// later puts what is to come behind what is in force.
func later(one grace.Silence, now time.Time) int {
	if one.Active(now) {
		return 0
	}
	return 1
}

// covered names the services that a silence is about, and tells whether there is
// none.
func covered(ids []grace.ServiceID) (text string, nothing bool) {
	if len(ids) == 0 {
		return "Matches no service that GRACE knows: look at the name.", true
	}
	return "Matches " + count(len(ids), "service", "services") + ": " + explain.Some(ids, shownHeld) + ".", false
}

// holds says what a silence in force holds back now.
func holds(row *console.SilenceRow, one grace.Silence, known []ServiceView, symptoms map[grace.ServiceID]loop.Symptoms) {
	matches := one.Matcher()
	for _, view := range known {
		ill := symptoms[view.ID]
		if !matches(view.Service) || ill.Count == 0 && view.Health.Status != grace.HealthCritical && view.Health.Status != grace.HealthDegraded {
			continue
		}
		if len(row.Holds) == shownHeld {
			row.More++
			continue
		}
		held := console.Held{Service: serviceLink(view.ID), What: strings.Join(view.Health.TopSymptoms, ", ")}
		if ill.Count > 0 {
			held.What, _, _ = conditionOf(ill.Worst, ill.Count)
		}
		row.Holds = append(row.Holds, held)
	}
	if !row.Nothing && len(row.Holds) == 0 {
		row.Covers += " Nothing is wrong there now."
	}
}

func (s *server) silenceForm(v visit) {
	form := console.SilenceForm{}
	for name, to := range map[string]*string{"service": &form.Service, "labels": &form.Labels, "for": &form.For, "reason": &form.Reason} {
		*to = strings.TrimSpace(v.r.PostFormValue(name))
	}
	want, err := s.wantedSilence(form)
	var made grace.Silence
	if err == nil {
		made, err = s.addSilence(v.r.Context(), want)
	}
	if err != nil {
		p := s.answer(v.r.Context(), "the silence", err)
		form.Error = complaint(p)
		s.showSilences(v, p.Status, refusedSilence{form: form})
		return
	}
	s.goTo(v, "lite/silences#"+url.PathEscape(string(made.ID))) // it says what it matches
}

// wantedSilence reads the form of a silence as the API's body.
func (s *server) wantedSilence(form console.SilenceForm) (SilenceBody, error) {
	var bad findings
	want := SilenceBody{Service: form.Service, Reason: form.Reason, Labels: map[string]string{}}
	optional(&bad, "services", form.Service, maxName)
	for part := range strings.SplitSeq(form.Labels, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		key, value, found := strings.Cut(part, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !found || key == "" || value == "" {
			bad.add("labels", nil, "for example team=shop, tier=web", "%.80q is not name=value", part)
			continue
		}
		want.Labels[key] = value
	}
	labels(&bad, "labels", want.Labels)
	var lasts grace.Duration
	if err := lasts.UnmarshalText([]byte(form.For)); err != nil {
		bad.add("for how long", nil, "for example 30m, 1h or 1d", "%.80q is not a duration", form.For)
	} else if lasts <= 0 || lasts.D() > grace.MaxSilence {
		bad.add("for how long", nil, "more than nothing, at most 366 days", "%.80q is no time to silence for", form.For)
	}
	if err := bad.problem("nothing was silenced"); err != nil {
		return want, err
	}
	want.Ends = s.now().Add(lasts.D())
	return want, reasonGiven(form.Reason)
}

// complaint is a problem as a form shows it: each thing that is wrong, if they
// are told apart.
func complaint(p *Problem) string {
	if len(p.Errors) == 0 {
		return sentence(p)
	}
	var parts []string
	for _, d := range p.Errors {
		text := d.Error()
		if d.Hint != "" {
			text += " (" + d.Hint + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ") + "."
}

func (s *server) endSilenceForm(v visit) {
	id := grace.SilenceID(v.r.PathValue("id"))
	reason := strings.TrimSpace(v.r.PostFormValue("reason"))
	err := reasonGiven(reason)
	if err == nil {
		_, err = s.core.EndSilence(v.r.Context(), id, callerOf(v.r.Context()).actor(), reason)
	}
	if err != nil {
		p := s.answer(v.r.Context(), "ending the silence", err)
		s.showSilences(v, p.Status, refusedSilence{id: id, end: console.Form{Error: complaint(p), Reason: reason}, form: console.SilenceForm{For: "1h"}})
		return
	}
	s.goTo(v, "lite/silences")
}
