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
	"grace/internal/loop"
	"grace/internal/stage/predict"
	"grace/internal/store"
)

// refreshEvery is how often a status page loads itself again. Pages with a
// form that somebody may be filling in do not.
const refreshEvery = 15

func (s *server) registerPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /lite", s.page(roleViewer, s.homePage))
	mux.HandleFunc("GET /lite/services", s.page(roleViewer, s.servicesPage))
	mux.HandleFunc("GET /lite/runs/{id}", s.page(roleViewer, s.runPage))
	mux.HandleFunc("POST /lite/runs/{id}/abort", s.page(roleApprover, s.abortForm))
	mux.HandleFunc("GET /lite/approvals/{id}", s.page(roleViewer, s.approvalPage))
	mux.HandleFunc("POST /lite/approvals/{id}", s.page(roleApprover, s.decideForm))
	s.registerHandsPages(mux)
	mux.HandleFunc("GET /lite/login", s.loginPage)
	// The session's own token guards every other form; the login has no
	// session yet, so the browser's word on where it comes from must do.
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		problem(http.StatusForbidden, "the login was sent from another site").write(w)
	}))
	mux.Handle("POST /lite/login", origin.Handler(http.HandlerFunc(s.login)))
	mux.HandleFunc("POST /lite/logout", s.page(roleViewer, s.logout))
	mux.HandleFunc("GET /lite/style.css", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/css; charset=utf-8")
		w.Header().Set("Cache-Control", "max-age=300")
		_, _ = w.Write(s.pages.Style()) // the peer is gone if this fails
	})
}

// show draws what view gives, which has as long as any request.
func (s *server) show(v visit, status int, what string, view func(context.Context, visit) (console.Page, error)) {
	ctx, cancel := context.WithTimeout(v.r.Context(), s.cfg.Timeout)
	defer cancel()
	page, err := view(ctx, v)
	if err != nil {
		s.fail(v, what, err)
		return
	}
	s.draw(v.w, status, page)
}

// fail shows an error of a page.
func (s *server) fail(v visit, what string, err error) {
	s.notice(v, s.answer(v.r.Context(), what, err))
}

func (s *server) frame(ctx context.Context, v visit, title, current string) (console.Frame, error) {
	f, _, err := s.frameAndSilences(ctx, v, title, current)
	return f, err
}

// frameAndSilences gives besides the silences in force, which the navigation
// counts.
func (s *server) frameAndSilences(ctx context.Context, v visit, title, current string) (console.Frame, []grace.Silence, error) {
	m, err := s.store.Mode(ctx, s.store.Q())
	if err != nil {
		return console.Frame{}, nil, stored(err)
	}
	who := callerOf(ctx)
	now := s.now()
	inForce := m.At(now)
	mode := &console.Mode{Name: string(inForce), Label: modeLabel(inForce), Actor: orDash(m.Actor), Reason: m.Reason, Since: m.Since}
	if m.Expires != nil {
		if now.Before(*m.Expires) {
			mode.Expires, mode.Then = *m.Expires, modeLabel(m.Fallback)
		} else {
			mode.Since, mode.Reason = *m.Expires, modeLabel(m.Mode)+" ended as planned"
		}
	}
	f := console.Frame{
		Title: title, Root: v.root, Current: current, Now: now, User: who.Token, Role: who.Role.String(),
		CSRF: v.csrf, Mode: mode, Request: who.Request,
	}
	open, next, err := s.store.Incidents(ctx, s.store.Q(), store.IncidentFilter{State: grace.IncidentOpen}, store.Page{Limit: counted})
	if err != nil {
		return f, nil, stored(err)
	}
	silences, err := s.inForce(ctx, now)
	if err != nil {
		return f, nil, err
	}
	f.Incidents, f.Silences = tally(len(open), next != ""), tally(min(len(silences), counted), len(silences) > counted)
	return f, silences, nil
}

func modeLabel(m grace.Mode) string {
	switch m {
	case grace.ModeAutonomous:
		return "Autonomous"
	case grace.ModeAskAlways:
		return "Ask always"
	case grace.ModeStopped:
		return "Stopped"
	case grace.ModeObserveOnly:
		return "Observe only"
	}
	return "Observe only"
}

func (s *server) servicesPage(v visit) {
	s.show(v, http.StatusOK, "the services", func(ctx context.Context, v visit) (console.Page, error) { return s.servicesView(ctx, v) })
}

const (
	// explained bounds how many sick services of a page are explained one by one.
	explained = 30
	// shownServices bounds the rows of a page: nobody reads a thousand, and
	// what is looked for is found by its name.
	shownServices = 200
)

func (s *server) servicesView(ctx context.Context, v visit) (console.Services, error) {
	f, silences, err := s.frameAndSilences(ctx, v, "Services", "services")
	if err != nil {
		return console.Services{}, err
	}
	query := v.r.URL.Query()
	page := console.Services{Frame: f, Filter: strings.TrimSpace(query.Get("q")), All: query.Get("all") == "1"}
	page.Refresh = refreshEvery * 2
	q := s.silencerOf(ctx, silences)
	services := s.services(ctx, q)
	slices.SortStableFunc(services, func(a, b ServiceView) int {
		return cmp.Or(rank(a.Health.Status)-rank(b.Health.Status), strings.Compare(string(a.ID), string(b.ID)))
	})
	open, err := s.store.OpenRuns(ctx, s.store.Q())
	if err != nil {
		return console.Services{}, stored(err)
	}
	g, err := s.glance(ctx, open, services)
	if err != nil {
		return console.Services{}, err
	}
	want := strings.ToLower(page.Filter)
	page.Astray = astray(s.alertsView(ctx, q), want)
	for _, view := range services {
		if want != "" && !strings.Contains(strings.ToLower(string(view.ID)+" "+view.Owner), want) {
			continue
		}
		if view.Health.Status == grace.HealthHealthy && !page.All && want == "" {
			page.Healthy++
			if len(view.Silenced) > 0 {
				page.Quiet++
			}
			continue
		}
		if len(page.Rows) == shownServices {
			page.More++
			continue
		}
		row := console.ServiceRow{
			ID: string(view.ID), State: healthState(view.Health.Status), Criticality: orDash(string(view.Criticality)), Owner: view.Owner,
			Confidence: percent(view.Health.Confidence), Direct: len(view.Dependents), Transitive: view.Transitive,
			Symptoms: view.Health.TopSymptoms, Why: "nothing to do", Silenced: silencedLines(view.Silenced),
		}
		if view.Health.Status != grace.HealthHealthy && len(page.Rows) < explained {
			if row.Doing, err = s.doingLink(ctx, view, g); err != nil {
				return console.Services{}, err
			}
			row.Why = row.Doing.Text
		}
		if len(view.Silenced) > 0 {
			row.Why = "" // the silences say it
		}
		page.Rows = append(page.Rows, row)
	}
	return page, nil
}

// glance is what a page says of many services from, read once for all of them.
type glance struct {
	open     map[grace.ServiceID]grace.Run
	recent   []grace.Decision
	services []ServiceView
}

// silenced tells by what a service is silenced.
func (g glance) silenced(id grace.ServiceID) []SilencedBy {
	for i := range g.services {
		if g.services[i].ID == id {
			return g.services[i].Silenced
		}
	}
	return nil
}

func (s *server) glance(ctx context.Context, open []grace.Run, services []ServiceView) (g glance, err error) {
	g.open, g.services = map[grace.ServiceID]grace.Run{}, services
	for _, r := range open {
		if newer, ok := g.open[r.Service]; !ok || newer.CreatedAt.Before(r.CreatedAt) {
			g.open[r.Service] = r
		}
	}
	g.recent, err = s.recentDecisions(ctx)
	return g, err
}

// doingLink says in a few words what is done about a service, with a link if
// there is a run or a question to look at.
func (s *server) doingLink(ctx context.Context, view ServiceView, g glance) (console.Link, error) {
	if run, ok := g.open[view.ID]; ok {
		if run.Status == grace.RunAwaitingApproval {
			return console.Link{Text: string(run.Playbook.ID) + ": needs you", Path: "lite/approvals/" + string(run.ID)}, nil
		}
		return console.Link{Text: string(run.Playbook.ID) + ": " + runNow(run), Path: "lite/runs/" + string(run.ID)}, nil
	}
	c, err := s.lastOf(ctx, view.ID, g.recent)
	if err != nil {
		return console.Link{}, err
	}
	_, notes := doing(view, c, g.recent, g.silenced)
	if len(notes) == 0 {
		return console.Link{}, nil
	}
	return console.Link{Text: notes[0]}, nil
}

// lastOf is the last decision about a service with the run it led to, without
// what else belongs to them.
func (s *server) lastOf(ctx context.Context, id grace.ServiceID, recent []grace.Decision) (c chain, err error) {
	if i := slices.IndexFunc(recent, func(d grace.Decision) bool { return d.Service == id && d.Diagnosis.Kind != grace.TriggerManual }); i >= 0 {
		c.decision = &recent[i]
	} else if c.decision, err = s.ownDecision(ctx, id, time.Time{}); err != nil || c.decision == nil {
		return chain{}, err
	}
	if c.decision.Run != "" {
		c.run, err = maybe(s.store.Run(ctx, s.store.Q(), c.decision.Run))
	}
	return c, err
}

func (s *server) runPage(v visit) { s.showRun(v, http.StatusOK, console.Form{}) }

func (s *server) showRun(v visit, status int, form console.Form) {
	s.show(v, status, "the run", func(ctx context.Context, v visit) (console.Page, error) {
		page, err := s.runView(ctx, v)
		page.Form = form
		return page, err
	})
}

func (s *server) abortForm(v visit) {
	reason := strings.TrimSpace(v.r.PostFormValue("reason"))
	err := reasonGiven(reason)
	if err == nil {
		err = s.abort(v.r.Context(), grace.RunID(v.r.PathValue("id")), reason)
	}
	if err != nil {
		p := s.answer(v.r.Context(), "aborting the run", err)
		s.showRun(v, p.Status, console.Form{Error: sentence(p), Reason: reason})
		return
	}
	s.goTo(v, "lite/runs/"+v.r.PathValue("id"))
}

func (s *server) approvalPage(v visit) { s.showApproval(v, http.StatusOK, console.Form{}) }

func (s *server) showApproval(v visit, status int, form console.Form) {
	s.show(v, status, "the approval", func(ctx context.Context, v visit) (console.Page, error) {
		page, err := s.approvalView(ctx, v)
		page.Form = form
		if form.Error != "" && !page.Pending {
			// The form is gone from the page: the complaint must not be.
			page.Settled = form.Error + " " + page.Settled
		}
		return page, err
	})
}

func (s *server) decideForm(v visit) {
	in := DecisionInput{Reason: strings.TrimSpace(v.r.PostFormValue("reason")), Actor: callerOf(v.r.Context()).actor()}
	var err error
	switch choice := v.r.PostFormValue("decision"); choice {
	case "approve", "deny":
		in.Approve = choice == "approve"
		in.Revision = atoi(v.r.PostFormValue("revision"))
		_, err = s.decide(v.r.Context(), grace.ApprovalID(v.r.PathValue("id")), in)
	default:
		err = problem(http.StatusUnprocessableEntity, "neither approve nor deny was chosen")
	}
	if err != nil {
		p := s.answer(v.r.Context(), "the decision", err)
		s.showApproval(v, p.Status, console.Form{Error: sentence(p), Reason: in.Reason})
		return
	}
	s.goTo(v, "lite/approvals/"+v.r.PathValue("id"))
}

// goTo ends a form: the browser loads the page anew, so that reloading it
// does not send the form again.
func (s *server) goTo(v visit, path string) {
	v.w.Header().Set("Location", v.root+path)
	v.w.WriteHeader(http.StatusSeeOther)
}

func (s *server) homePage(v visit) {
	s.show(v, http.StatusOK, "the overview", func(ctx context.Context, v visit) (console.Page, error) { return s.homeView(ctx, v) })
}

// shownRuns and shownEntries bound the lists of the status page.
const (
	shownRuns       = 12
	shownEntries    = 20
	shownNeeds      = 20
	shownConditions = 100
	// predictionLife is how long a prediction counts that nobody repeated.
	predictionLife = 15 * time.Minute
)

// now is what the status page is made of.
type overview struct {
	services    []ServiceView
	symptoms    map[grace.ServiceID]loop.Symptoms
	open        []grace.Run
	recent      []grace.Run
	more        bool
	approvals   []grace.Approval
	incidents   []grace.Incident
	entries     []grace.AuditEntry
	predictions []grace.Prediction
	unready     string // why GRACE cannot work; empty when it can
}

func (s *server) overview(ctx context.Context, silenced silencer) (o overview, err error) {
	q := s.store.Q()
	if err := s.process.Ready(ctx); err != nil {
		o.unready = NotReady(err)
	}
	o.services, o.symptoms = s.services(ctx, silenced), silenced.symptoms
	if o.open, err = s.store.OpenRuns(ctx, q); err != nil {
		return o, stored(err)
	}
	var next string
	if o.recent, next, err = s.store.Runs(ctx, q, store.RunFilter{}, store.Page{Limit: shownRuns}); err != nil {
		return o, stored(err)
	}
	o.more = next != ""
	if o.approvals, _, err = s.store.Approvals(ctx, q, grace.ApprovalPending, store.Page{Limit: shownNeeds}); err != nil {
		return o, stored(err)
	}
	if o.incidents, _, err = s.store.Incidents(ctx, q, store.IncidentFilter{State: grace.IncidentOpen}, store.Page{Limit: shownNeeds}); err != nil {
		return o, stored(err)
	}
	if o.entries, _, err = s.store.AuditEntries(ctx, q, store.AuditFilter{}, store.Page{Limit: shownEntries}); err != nil {
		return o, stored(err)
	}
	o.predictions, err = s.foreseen(ctx, store.PredictionFilter{})
	return o, err
}

// foreseen gives what is still to come of what a filter selects, published or advice: the
// newest one of every series, the next breach first.
func (s *server) foreseen(ctx context.Context, only store.PredictionFilter) ([]grace.Prediction, error) {
	now := s.now()
	recently := now.Add(-predictionLife)
	seen := map[grace.SignalKey]bool{}
	var out []grace.Prediction
	told := []store.Told{store.ToldToAct, store.ToldAdvice}
	for _, f := range []store.PredictionFilter{
		{Service: only.Service, Rule: only.Rule, Told: told, Outcome: grace.PredictionOpen},
		{Service: only.Service, Rule: predict.RuleExternal, From: recently}, // of what nobody measures
	} {
		if only.Rule != "" && f.Rule != only.Rule {
			continue
		}
		all, _, err := s.store.Predictions(ctx, s.store.Q(), f, store.Page{Limit: store.MaxLimit})
		if err != nil {
			return nil, stored(err)
		}
		for _, p := range all {
			if seen[p.Key] || p.Resolved != nil || p.Ended != nil || p.At.Before(recently) || !p.BreachAt.After(now) ||
				len(only.Told) > 0 && !slices.Contains(only.Told, store.ToldOf(&p)) {
				continue
			}
			seen[p.Key] = true
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b grace.Prediction) int { return a.BreachAt.Compare(b.BreachAt) })
	return out, nil
}
