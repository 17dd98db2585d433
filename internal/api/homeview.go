package api

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/console"
	"grace/internal/stage/learn"
	"grace/internal/store"
)

func (s *server) homeView(ctx context.Context, v visit) (console.Home, error) {
	f, silences, err := s.frameAndSilences(ctx, v, "Now", "now")
	if err != nil {
		return console.Home{}, err
	}
	f.Refresh = refreshEvery
	q := s.silencerOf(ctx, silences)
	o, err := s.overview(ctx, q)
	if err != nil {
		return console.Home{}, err
	}
	kpis, err := s.core.KPIs(ctx)
	if err != nil {
		return console.Home{}, err
	}
	page := console.Home{Frame: f, Needs: o.needs(), MoreRuns: o.more, KPIs: kpiTiles(kpis)}
	told, err := s.notifications(ctx)
	if err != nil {
		return console.Home{}, stored(err)
	}
	if !told.Told {
		page.Untold, page.UntoldHint = told.Reason, told.Hint
	}
	for _, r := range told.Receivers {
		if what := r.Ails(f.Now, until); what != "" {
			page.Ailing = append(page.Ailing, "Receiver "+r.Name+": "+what)
		}
	}
	page.Silenced = silencedNow(silences)
	page.Astray = astray(s.alertsView(ctx, q), "")
	if page.Conditions, page.MoreConditions, err = s.conditions(ctx, o); err != nil {
		return console.Home{}, err
	}
	page.Headline, page.Tone = o.headline(f.Now, len(page.Needs))
	for _, r := range o.recent {
		page.Runs = append(page.Runs, runRow(r, f.Now))
	}
	for _, e := range o.entries {
		page.Activity = append(page.Activity, entry(e))
	}
	return page, nil
}

// headline is the state of everything in one sentence, and its worst tone.
func (o overview) headline(now time.Time, needs int) (string, console.Tone) {
	health := map[grace.Health]int{}
	for _, v := range o.services {
		health[v.Health.Status]++
	}
	var parts []string
	tone := console.Tone("")
	say := func(n int, what string, t console.Tone) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
			if tone == "" {
				tone = t
			}
		}
	}
	say(health[grace.HealthCritical], "failing", console.ToneFailing)
	say(health[grace.HealthDegraded], "degraded", console.ToneDegraded)
	var next time.Time
	trusted, advice := 0, 0
	for _, p := range slices.Backward(o.predictions) {
		if store.ToldOf(&p) == store.ToldAdvice {
			advice++
			continue
		}
		trusted++
		next = p.BreachAt
	}
	say(trusted, "predicted in "+span(next.Sub(now)), console.TonePredicted)
	say(advice, "foreseen as advice", console.TonePredicted)
	if unknown := health[grace.HealthUnknown]; len(parts) > 0 || unknown < len(o.services) {
		say(unknown, "without data", console.ToneNoData)
	}
	var text string
	switch {
	case len(o.services) == 0:
		text, tone = "No service is configured yet.", console.ToneNoData
	case len(parts) > 0:
		text = strings.Join(parts, ", ") + "."
	case health[grace.HealthUnknown] == len(o.services):
		text, tone = fmt.Sprintf("No data about any of %d services.", len(o.services)), console.ToneNoData
	default:
		text, tone = fmt.Sprintf("All %d services are healthy.", len(o.services)), console.ToneHealthy
	}
	if o.unready != "" { // what is stored may be old
		text, tone = "GRACE cannot work, and what it shows may be old.", console.ToneFailing
	}
	healing := 0
	for _, r := range o.open {
		if r.Status.Mutating() {
			healing++
		}
	}
	switch {
	case healing > 0 && needs > 0:
		text += fmt.Sprintf(" GRACE is healing %d and needs you for %d.", healing, needs)
	case healing > 0:
		text += fmt.Sprintf(" GRACE is healing %d.", healing)
	case needs > 0:
		text += fmt.Sprintf(" GRACE needs you for %d.", needs)
	}
	return text, tone
}

func (o overview) needs() []console.Need {
	var out []console.Need
	for _, a := range o.approvals {
		detail := "waits for a decision"
		for _, r := range o.open {
			if r.ID == a.Run {
				detail = "for " + cause(r)
			}
		}
		out = append(out, console.Need{
			What:    console.Link{Text: "Approve or deny " + string(a.Playbook), Path: "lite/approvals/" + string(a.ID)},
			Service: console.Link{Text: string(a.Service)}, Detail: detail, Expires: a.Expires, Since: a.At,
		})
	}
	// What expires first comes first; incidents do not expire and follow.
	slices.SortStableFunc(out, func(a, b console.Need) int { return a.Expires.Compare(b.Expires) })
	if o.unready != "" {
		out = slices.Insert(out, 0, console.Need{What: console.Link{Text: "Let GRACE work again", Path: "lite/services?q=" + string(grace.CoreService)}, Detail: o.unready})
	}
	for _, i := range o.incidents {
		need := console.Need{What: console.Link{Text: i.Title, Path: "lite/incidents#" + string(i.ID)}, Service: console.Link{Text: string(i.Service)}, Detail: "incident " + string(i.ID), Since: i.OpenedAt}
		if i.Acknowledged != nil {
			need.Detail += ", acknowledged by " + i.Acknowledged.Actor
		}
		out = append(out, need)
	}
	return out
}

// conditions lists what is wrong or about to be, worst first; more counts the
// sick services that are not listed. Services that never had data are counted in
// the headline only.
func (s *server) conditions(ctx context.Context, o overview) (out []console.Condition, more int, err error) {
	var sick []ServiceView
	for _, v := range o.services {
		if o.symptoms[v.ID].Count > 0 || v.Health.Status == grace.HealthCritical || v.Health.Status == grace.HealthDegraded {
			sick = append(sick, v)
		}
	}
	slices.SortStableFunc(sick, func(a, b ServiceView) int { return rank(a.Health.Status) - rank(b.Health.Status) })
	more = max(0, len(sick)-shownConditions)
	g, err := s.glance(ctx, o.open, o.services)
	if err != nil {
		return nil, 0, err
	}
	for i, v := range sick[:len(sick)-more] {
		c := console.Condition{State: healthState(v.Health.Status), Service: serviceLink(v.ID), What: "no signal names a cause"}
		if len(v.Health.TopSymptoms) > 0 {
			c.What = v.Health.TopSymptoms[0]
		}
		if symptoms := o.symptoms[v.ID]; symptoms.Count > 0 {
			c.What, c.Detail, c.Since = conditionOf(symptoms.Worst, symptoms.Count)
		}
		if i < explained {
			if c.Doing, err = s.doingLink(ctx, v, g); err != nil {
				return nil, 0, err
			}
		}
		c.Silenced = silencedLines(v.Silenced)
		if len(v.Silenced) > 0 && c.Doing.Path == "" {
			c.Doing = console.Link{} // the silences say it
		}
		out = append(out, c)
	}
	for _, p := range o.predictions {
		label := "predicted"
		if store.ToldOf(&p) == store.ToldAdvice {
			label = "advice"
		}
		out = append(out, console.Condition{
			State:   console.State{Tone: console.TonePredicted, Label: label},
			Service: serviceLink(p.Service), What: humanize(string(p.Code)),
			Detail: fmt.Sprintf("%s: breach in %s, likelihood %s", p.Metric, span(p.BreachAt.Sub(s.now())), percent(p.Likelihood)),
			Since:  made(p), Doing: o.runLink(p.Service),
		})
	}
	return out, more, nil
}

// made is when a prediction was first said; At is when it was last.
func made(p grace.Prediction) time.Time {
	if p.Made.IsZero() {
		return p.At
	}
	return p.Made
}

func (o overview) runLink(id grace.ServiceID) console.Link {
	for _, r := range o.open {
		if r.Service == id {
			return console.Link{Text: string(r.Playbook.ID) + ": " + runNow(r), Path: "lite/runs/" + string(r.ID)}
		}
	}
	return console.Link{Text: "watching"}
}

func conditionOf(sig grace.Signal, n int) (what, detail string, since time.Time) {
	what = humanize(string(sig.Code))
	if what == "" {
		what = sig.Metric
	}
	if sig.State == grace.SignalStale {
		what = "no data: " + sig.Metric
	}
	detail = sig.Message
	if detail == "" && sig.Threshold != 0 {
		detail = strings.TrimSpace(fmt.Sprintf("%s is %.4g, threshold %.4g %s", sig.Metric, sig.Value, sig.Threshold, sig.Unit))
	}
	if n > 1 {
		detail = strings.TrimPrefix(fmt.Sprintf("%s, and %d more signals", detail, n-1), ", ")
	}
	return what, detail, sig.Since
}

func serviceLink(id grace.ServiceID) console.Link {
	return console.Link{Text: string(id), Path: "lite/services?q=" + url.QueryEscape(string(id)) + "#s-" + string(id)}
}

func runRow(r grace.Run, now time.Time) console.RunRow {
	row := console.RunRow{
		State: runState(r.Status), Run: console.Link{Text: string(r.ID), Path: "lite/runs/" + string(r.ID)}, Service: serviceLink(r.Service),
		Playbook: string(r.Playbook.ID), Cause: cause(r), At: r.CreatedAt,
	}
	switch {
	case r.StartedAt != nil && r.EndedAt != nil:
		row.Took = span(r.EndedAt.Sub(*r.StartedAt))
	case r.StartedAt != nil:
		row.Took = span(now.Sub(*r.StartedAt))
	}
	return row
}

func entry(e grace.AuditEntry) console.Entry {
	out := console.Entry{At: e.At, Actor: e.Actor, Action: strings.ReplaceAll(humanize(e.Action), ".", " "), Object: console.Link{Text: e.Object}, Reason: e.Reason}
	kind, id, _ := strings.Cut(e.Object, "/")
	switch kind {
	case "run":
		out.Object.Path = "lite/runs/" + id
	case "approval":
		out.Object.Path = "lite/approvals/" + id
	case "incident":
		out.Object.Path = "lite/incidents#" + id
	case "silence":
		out.Object.Path = "lite/silences#" + id
	}
	if e.Service != "" {
		out.Object.Text = string(e.Service) + " " + id
	}
	return out
}

// kpiTiles shows what healing must achieve, and whether it does, as grace status does.
func kpiTiles(k learn.KPIs) []console.KPI {
	var out []console.KPI
	for _, c := range k.Criteria {
		tile := console.KPI{Name: strings.ToUpper(c.Name[:1]) + c.Name[1:], Value: "-", Target: c.Target, Note: "no data in 24 h", Missed: c.Met == "fail"}
		if c.N > 0 {
			text := percent
			if c.InSeconds() {
				text = func(seconds float64) string { return span(time.Duration(seconds * float64(time.Second))) }
			}
			tile.Value, tile.Note = text(c.Value), fmt.Sprintf("of %d; 95 %% interval %s to %s", c.N, text(c.Low), text(c.High))
		}
		out = append(out, tile)
	}
	return append(out, console.KPI{Name: "Proposals a minute", Value: fmt.Sprintf("%.1f", k.ProposalsPerMin), Note: count(k.Proactive24h, "proactive", "proactive") + " in 24 h"})
}

func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func percent(share float64) string { return fmt.Sprintf("%.0f\u00a0%%", share*100) }

// rank orders healths, worst first.
func rank(h grace.Health) int {
	return slices.Index([]grace.Health{grace.HealthCritical, grace.HealthDegraded, grace.HealthUnknown, grace.HealthHealthy}, h)
}

func healthState(h grace.Health) console.State {
	switch h {
	case grace.HealthCritical:
		return console.State{Tone: console.ToneFailing, Label: "failing"}
	case grace.HealthDegraded:
		return console.State{Tone: console.ToneDegraded, Label: "degraded"}
	case grace.HealthHealthy:
		return console.State{Tone: console.ToneHealthy, Label: "healthy"}
	case grace.HealthUnknown:
		return console.State{Tone: console.ToneNoData, Label: "no data"}
	}
	return console.State{Tone: console.ToneNoData, Label: "no data"}
}

// runState draws a run's state. What ended without acting is no failure and
// has no hue.
func runState(state grace.RunStatus) console.State {
	st := console.State{Tone: console.ToneNoData, Label: runWords(state)}
	switch state {
	case grace.RunAwaitingApproval:
		st.Tone = console.ToneWaiting
	case grace.RunApproved, grace.RunRunning, grace.RunVerifying, grace.RunRollingBack:
		st.Tone = console.ToneHealing
	case grace.RunSucceeded:
		st.Tone = console.ToneHealthy
	case grace.RunIneffective, grace.RunRolledBack, grace.RunAborted:
		st.Tone = console.ToneDegraded
	case grace.RunRollbackFailed, grace.RunEscalated:
		st.Tone = console.ToneFailing
	case grace.RunProposed, grace.RunDenied, grace.RunExpired, grace.RunCancelled, grace.RunObservedOnly:
	}
	return st
}
