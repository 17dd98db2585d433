package api

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"grace"
	"grace/internal/loop"
	"grace/internal/store"
)

// Hands is what people do themselves: silence, run a playbook, look after
// incidents, drop a signal. The loop meets it.
type Hands interface {
	AddSilence(ctx context.Context, s grace.Silence, actor string) (grace.Silence, error)
	EndSilence(ctx context.Context, id grace.SilenceID, actor, reason string) (grace.Silence, error)
	// RunByHand decides a run that a person wants, through the same gates.
	RunByHand(ctx context.Context, want ByHand, actor string) (grace.Decision, error)
	AcknowledgeIncident(ctx context.Context, id grace.IncidentID, actor, reason string) (grace.Incident, error)
	NoteIncident(ctx context.Context, id grace.IncidentID, actor, text string) (grace.Incident, error)
	ResolveIncident(ctx context.Context, id grace.IncidentID, actor, reason string) (grace.Incident, error)
	ForgetSignal(ctx context.Context, key grace.SignalKey, actor, reason string) error
}

// ByHand is a run that a person wants.
type ByHand struct {
	Playbook   grace.PlaybookID
	Service    grace.ServiceID
	Parameters map[string]any
	Reason     string
	Override   bool
}

// ByHandBody says on what to run a playbook, and why.
type ByHandBody struct {
	Service    grace.ServiceID `json:"service" minLength:"1"`
	Reason     string          `json:"reason" minLength:"3" maxLength:"500" doc:"kept in the audit log"`
	Parameters map[string]any  `json:"parameters,omitempty" doc:"over the playbook's defaults and the service's arguments"`
	Override   bool            `json:"override,omitempty" doc:"let the limits of time pass: rate, backoff, duplicate, circuit breaker; guardrails and policies hold"`
}

type byHandInput struct {
	ID   grace.PlaybookID `path:"id" doc:"the playbook's name"`
	Body ByHandBody
}

// SilenceBody says what to silence, how long and why.
type SilenceBody struct {
	Service string            `json:"service,omitempty" maxLength:"200" doc:"name of the services, * and ? stand for others; ~ before a regular expression is the same as regex" example:"web*"`
	Regex   string            `json:"regex,omitempty" maxLength:"200" doc:"regular expression that the whole name must match, instead of service"`
	Labels  map[string]string `json:"labels,omitempty" doc:"labels that the service must have, * and ? stand for others"`
	Starts  *time.Time        `json:"starts,omitempty" doc:"default: now"`
	Ends    time.Time         `json:"ends"`
	Reason  string            `json:"reason" minLength:"3" maxLength:"500" doc:"kept in the audit log, and shown wherever the silence is"`
}

type silenceInput struct {
	ID   grace.SilenceID `path:"id" doc:"the silence's id"`
	Body ReasonInput
}

type silencesInput struct {
	Paging

	Ended bool `query:"ended" doc:"also those that ended within the last week"`
}

type signalForgetInput struct {
	Body struct {
		Key    grace.SignalKey `json:"key" minLength:"1" doc:"the signal's key"`
		Reason string          `json:"reason" minLength:"3" maxLength:"500" doc:"kept in the audit log"`
	}
}

// week is how long an ended silence is listed.
const week = 7 * 24 * time.Hour

func (s *server) registerHands(api huma.API) {
	const tag = "Hands"
	missing := []int{http.StatusNotFound, http.StatusConflict}
	handle(s, api, op{
		method: http.MethodPost, path: "/api/playbooks/{id}/run", id: "run-playbook", tag: tag, role: roleApprover,
		doc:  "Run a playbook on a service by hand, through the same gates as any run; the decision says what they said",
		what: "the run", status: http.StatusAccepted, errors: []int{http.StatusNotFound, http.StatusTooManyRequests},
	}, s.runByHand)
	handle(s, api, op{
		method: http.MethodGet, path: "/api/silences", id: "list-silences", tag: tag, role: roleViewer,
		doc: "Silences in force and to come, by id", what: "the silences",
	}, func(ctx context.Context, in *silencesInput) (*body[List[grace.Silence]], error) {
		list, err := s.silences(ctx, in.Ended)
		if err != nil {
			return nil, err
		}
		return ok(slicePage(list, func(s grace.Silence) string { return string(s.ID) }, in.Paging))
	})
	handle(s, api, op{
		method: http.MethodPost, path: "/api/silences", id: "add-silence", tag: tag, role: roleOperator,
		doc: "Silence services for a time: observed and shown, neither acted on nor told; the answer names the services that it matches now", what: "the silence", status: http.StatusCreated,
	}, func(ctx context.Context, in *struct{ Body SilenceBody }) (*body[AddedSilence], error) {
		made, err := s.addSilence(ctx, in.Body)
		if err != nil {
			return nil, err
		}
		known, _ := s.silenceable(ctx)
		added := AddedSilence{Silence: made, Matching: matching(made, known)}
		if len(added.Matching) == 0 {
			added.Warning = matchesNothing
		}
		return ok(added)
	})
	handle(s, api, op{
		method: http.MethodPost, path: "/api/silences/{id}/end", id: "end-silence", tag: tag, role: roleOperator,
		doc: "End a silence before its time", what: "the silence", errors: missing,
	}, func(ctx context.Context, in *silenceInput) (*body[grace.Silence], error) {
		ended, err := s.core.EndSilence(ctx, in.ID, callerOf(ctx).actor(), in.Body.Reason)
		if err != nil {
			return nil, err
		}
		return ok(ended)
	})
	handle(s, api, op{
		method: http.MethodPost, path: "/api/signals/forget", id: "forget-signal", tag: tag, role: roleOperator,
		doc: "Drop a signal that means nothing any more; one that is configured begins anew", what: "the signal", status: http.StatusNoContent, errors: missing,
	}, func(ctx context.Context, in *signalForgetInput) (*struct{}, error) {
		return nil, s.core.ForgetSignal(ctx, in.Body.Key, callerOf(ctx).actor(), in.Body.Reason)
	})
	s.registerIncidentHands(api, missing)
}

// addSilence puts in force what was asked for, within bounds.
func (s *server) addSilence(ctx context.Context, in SilenceBody) (grace.Silence, error) {
	var bad findings
	want := grace.Silence{Service: in.Service, Regex: in.Regex, Labels: in.Labels, Ends: in.Ends.UTC(), Reason: in.Reason}
	future(&bad, "body.ends", &in.Ends, s.now(), "say when it is to end")
	at := "body.regex"
	if expr, regular := strings.CutPrefix(in.Service, "~"); regular && in.Regex == "" {
		at, want.Service, want.Regex = "body.service", "", expr // as alertmanager.map has it
	}
	expression(&bad, at, want.Regex)
	for _, name := range slices.Sorted(maps.Keys(in.Labels)) {
		if strings.HasPrefix(in.Labels[name], "~") {
			bad.add("body.labels."+name, in.Labels[name], "write the value with * and ? for others; only a service takes an expression", "is no regular expression here")
		}
	}
	if in.Starts != nil && !before1970(&bad, "body.starts", *in.Starts) {
		want.Starts = in.Starts.UTC()
	}
	from := want.Starts
	if from.IsZero() {
		from = s.now()
	}
	if len(bad) == 0 && want.Ends.Sub(from) > grace.MaxSilence {
		bad.add("body.ends", in.Ends, "give an earlier end; it can be silenced again then", "is more than 366 days after the start")
	}
	if err := bad.problem("nothing was silenced"); err != nil {
		return want, err
	}
	return s.core.AddSilence(ctx, want, callerOf(ctx).actor())
}

// expression judges a regular expression that the whole of a name must match.
func expression(bad *findings, at, expr string) {
	if _, err := regexp.Compile(expr); err != nil {
		bad.add(at, expr, `for example "web-[0-9]+"; * and ? need no expression`, "is no regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
}

// incidentHands is what people do about an incident, by its verb.
func (s *server) incidentHands() map[string]func(context.Context, grace.IncidentID, string, string) (grace.Incident, error) {
	return map[string]func(context.Context, grace.IncidentID, string, string) (grace.Incident, error){
		"resolve":     s.core.ResolveIncident,
		"acknowledge": s.core.AcknowledgeIncident,
		"note":        s.core.NoteIncident,
	}
}

// changeIncident does what a verb says. A resolved incident stays as it is, and
// who comes too late is told who was first.
func (s *server) changeIncident(ctx context.Context, verb string, id grace.IncidentID, reason string) (grace.Incident, error) {
	i, err := s.incidentHands()[verb](ctx, id, callerOf(ctx).actor(), reason)
	if !errors.Is(err, store.ErrConflict) {
		return i, err
	}
	now, missing := s.store.Incident(ctx, s.store.Q(), id)
	if missing != nil || now.State != grace.IncidentResolved {
		return i, err
	}
	p := problem(http.StatusConflict, "incident %s is already resolved since %s: %s", id, deref(now.ResolvedAt).UTC().Format(time.RFC3339), orDash(now.Resolution)).
		hint("nothing was changed; if the condition is back, GRACE opens another incident")
	p.State = string(now.State)
	return i, p
}

// registerIncidentHands adds what people do about incidents.
func (s *server) registerIncidentHands(api huma.API, missing []int) {
	for verb, doc := range map[string]string{
		"resolve": "Close an incident", "acknowledge": "Say that you look after an incident: nobody further is called", "note": "Add a note to an incident",
	} {
		handle(s, api, op{
			method: http.MethodPost, path: "/api/incidents/{id}/" + verb, id: verb + "-incident", tag: "Incidents", role: roleOperator,
			doc: doc, what: "the incident", errors: missing,
		}, func(ctx context.Context, in *resolveInput) (*body[grace.Incident], error) {
			i, err := s.changeIncident(ctx, verb, in.ID, in.Body.Reason)
			if err != nil {
				return nil, err
			}
			return ok(i)
		})
	}
}

func (s *server) runByHand(ctx context.Context, in *byHandInput) (*body[grace.Decision], error) {
	var dec grace.Decision
	err := s.limited(ctx, func() (err error) {
		dec, err = s.core.RunByHand(ctx, loop.ByHand{
			Playbook: in.ID, Service: in.Body.Service, Parameters: in.Body.Parameters, Reason: in.Body.Reason, Override: in.Body.Override,
		}, callerOf(ctx).actor())
		return err
	})
	if err != nil {
		return nil, err
	}
	return ok(dec)
}

// silences gives those that are in force or to come, and with ended those that
// ended within the last week too.
func (s *server) silences(ctx context.Context, ended bool) ([]grace.Silence, error) {
	now := s.now()
	after := now
	if ended {
		after = now.Add(-week)
	}
	list, err := s.store.Silences(ctx, s.store.Q(), after)
	if err != nil {
		return nil, err
	}
	out := []grace.Silence{}
	for _, one := range list {
		if ended || one.Ended == nil {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b grace.Silence) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}
