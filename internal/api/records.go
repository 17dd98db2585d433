package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"grace"
	"grace/internal/stage/learn"
	"grace/internal/store"
)

type playbookInput struct {
	ID grace.PlaybookID `path:"id" doc:"the playbook's name"`
}

type dryRunInput struct {
	ID   grace.PlaybookID `path:"id" doc:"the playbook's name"`
	Body DryRunBody
}

// DryRunBody says what to try.
type DryRunBody struct {
	Service    grace.ServiceID `json:"service" minLength:"1"`
	Parameters map[string]any  `json:"parameters,omitempty" doc:"over the playbook's defaults and the service's arguments"`
}

type verifyInput struct {
	Expect []string `query:"expect,explode" maxItems:"100" doc:"SEQ:HASH of entries that were noted elsewhere and that the log must hold"`
}

type incidentInput struct {
	ID grace.IncidentID `path:"id" doc:"the incident's id"`
}

type incidentsInput struct {
	Paging

	State   grace.IncidentState `query:"state" enum:"open,resolved"`
	Service grace.ServiceID     `query:"service"`
	From    time.Time           `query:"from" doc:"opened at or after"`
	To      time.Time           `query:"to" doc:"opened before"`
}

type resolveInput struct {
	ID   grace.IncidentID `path:"id" doc:"the incident's id"`
	Body ReasonInput
}

type logInput struct {
	Paging

	Object  string          `query:"object" doc:"kind/id, for example run/r-42"`
	Actor   string          `query:"actor" doc:"self_heal for GRACE itself, or token:NAME"`
	Service grace.ServiceID `query:"service"`
	From    time.Time       `query:"from" doc:"written at or after"`
	To      time.Time       `query:"to" doc:"written before"`
}

func (in *logInput) filter() store.AuditFilter {
	return store.AuditFilter{Object: in.Object, Actor: in.Actor, Service: in.Service, From: in.From, To: in.To}
}

func (s *server) registerRecords(api huma.API) {
	s.registerPlaybooks(api)
	s.registerDomains(api)
	s.registerIncidents(api)
	s.registerPredictions(api)
	s.registerLearning(api)
	s.registerReplay(api)
	const tag = "Log"
	handle(s, api, op{
		method: http.MethodGet, path: "/api/log/entries", id: "list-log", tag: tag, role: roleViewer,
		doc: "The audit log, newest first", what: "the log",
	}, func(ctx context.Context, in *logInput) (*body[List[grace.AuditEntry]], error) {
		return listed(s.store.AuditEntries(ctx, s.store.Q(), in.filter(), in.page()))
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/log/operations", id: "list-operations", tag: tag, role: roleViewer,
		doc: "The operational log, newest first: what happens all the time by itself, kept for retention.operations, without hashes", what: "the log",
	}, func(ctx context.Context, in *logInput) (*body[List[grace.AuditEntry]], error) {
		return listed(s.store.Operations(ctx, s.store.Q(), in.filter(), in.page()))
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/log/verify", id: "verify-log", tag: tag, role: roleViewer,
		doc: "Read the whole audit log and check its chain. A broken one is named, with status 200", what: "the log",
	}, func(ctx context.Context, in *verifyInput) (*body[store.AuditReport], error) {
		points := make([]store.Checkpoint, 0, len(in.Expect))
		for _, text := range in.Expect {
			point, err := store.ParseCheckpoint(text)
			if err != nil {
				return nil, problem(http.StatusUnprocessableEntity, "expect: %v", err)
			}
			points = append(points, point)
		}
		return found(s.store.VerifyAudit(ctx, points...))
	})
}

func (s *server) registerPlaybooks(api huma.API) {
	const tag = "Playbooks"
	missing := []int{http.StatusNotFound}
	handle(s, api, op{
		method: http.MethodGet, path: "/api/playbooks/", id: "list-playbooks", tag: tag, role: roleViewer,
		doc: "Playbooks, by name", what: "the playbooks",
	}, func(ctx context.Context, in *Paging) (*body[List[grace.Playbook]], error) {
		return ok(slicePage(s.core.Playbooks(), func(p grace.Playbook) string { return string(p.ID) }, *in))
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/playbooks/{id}", id: "get-playbook", tag: tag, role: roleViewer,
		doc: "One playbook", what: "the playbook", errors: missing,
	}, func(ctx context.Context, in *playbookInput) (*body[grace.Playbook], error) {
		for _, p := range s.core.Playbooks() {
			if p.ID == in.ID {
				return ok(p)
			}
		}
		return nil, problem(http.StatusNotFound, "playbook %s is not known", in.ID).hint("GET /api/playbooks/ lists the known ones")
	})
	handle(s, api, op{
		method: http.MethodPost, path: "/api/playbooks/{id}/dry_run", id: "dry-run-playbook", tag: tag, role: roleOperator,
		doc: "What a playbook would do on a service now, and what the trust core would say", what: "the dry run", errors: missing,
	}, func(ctx context.Context, in *dryRunInput) (*body[DryRun], error) {
		t, err := s.core.DryRun(ctx, in.ID, in.Body.Service, in.Body.Parameters)
		if err != nil {
			return nil, err
		}
		return ok(DryRun{
			Playbook: t.Playbook, Service: in.Body.Service, Parameters: t.Parameters, Verdict: t.Verdict, Policy: t.Policy, Reasons: t.Reasons,
		})
	})
}

func (s *server) registerDomains(api huma.API) {
	handle(s, api, op{
		method: http.MethodGet, path: "/api/domains", id: "list-domains", tag: "Domains", role: roleViewer,
		doc: "What each domain registered: metrics with types and units, health nodes, playbooks", what: "the domains",
	}, func(ctx context.Context, in *Paging) (*body[List[DomainView]], error) {
		return ok(slicePage(s.process.Domains(), func(d DomainView) string { return d.Name }, *in))
	})
}

func (s *server) registerIncidents(api huma.API) {
	const tag = "Incidents"
	missing := []int{http.StatusNotFound}
	handle(s, api, op{
		method: http.MethodGet, path: "/api/incidents", id: "list-incidents", tag: tag, role: roleViewer,
		doc: "Incidents, newest first", what: "the incidents",
	}, func(ctx context.Context, in *incidentsInput) (*body[List[grace.Incident]], error) {
		f := store.IncidentFilter{State: in.State, Service: in.Service, From: in.From, To: in.To}
		return listed(s.store.Incidents(ctx, s.store.Q(), f, in.page()))
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/incidents/{id}", id: "get-incident", tag: tag, role: roleViewer,
		doc: "One incident", what: "the incident", errors: missing,
	}, func(ctx context.Context, in *incidentInput) (*body[grace.Incident], error) {
		return found(s.store.Incident(ctx, s.store.Q(), in.ID))
	})
}

type learningInput struct {
	Paging

	Service    grace.ServiceID  `query:"service"`
	Playbook   grace.PlaybookID `query:"playbook"`
	Diagnosis  grace.Code       `query:"diagnosis"`
	From       time.Time        `query:"from" doc:"ended at or after; default: 90 days ago"`
	To         time.Time        `query:"to" doc:"ended before"`
	TimeBucket string           `query:"time_bucket" doc:"also tell rates per such a time, for example 1h, 24h" example:"24h"`
}

// Learning is a page of the learning log with what follows from all of it.
type Learning struct {
	List[grace.LearningEntry]

	Rates []learn.Row `json:"rates" doc:"success by service, diagnosis and playbook (and time_bucket) over all entries asked for, not only this page's"`
}

// learningSpan is how far back rates are counted unless asked otherwise.
const learningSpan = 90 * 24 * time.Hour

func (s *server) registerLearning(api huma.API) {
	const tag = "Learning"
	handle(s, api, op{
		method: http.MethodGet, path: "/api/self_heal/learning", id: "list-learning", tag: tag, role: roleViewer,
		doc: "The learning log, newest first, with success rates", what: "the learning log",
	}, s.learning)
	handle(s, api, op{
		method: http.MethodGet, path: "/api/self_heal/kpis", id: "get-kpis", tag: tag, role: roleViewer,
		doc: "The key figures", what: "the key figures",
	}, func(ctx context.Context, _ *struct{}) (*body[learn.KPIs], error) {
		k, err := s.core.KPIs(ctx)
		if err != nil {
			return nil, err
		}
		return ok(k)
	})
}

func (s *server) learning(ctx context.Context, in *learningInput) (*body[Learning], error) {
	now := s.now()
	var bucket time.Duration
	if in.TimeBucket != "" {
		var err error
		if bucket, err = time.ParseDuration(in.TimeBucket); err != nil || bucket < time.Minute {
			return nil, problem(http.StatusUnprocessableEntity, "time_bucket %q is not a time of at least a minute", in.TimeBucket).hint("for example 1h or 24h")
		}
	}
	always := in.From.IsZero() && in.To.IsZero()
	if in.From.IsZero() {
		in.From = now.Add(-learningSpan)
	}
	f := store.LearningFilter{Service: in.Service, Playbook: in.Playbook, Code: in.Diagnosis, From: in.From, To: in.To}
	items, next, err := s.store.Learning(ctx, s.store.Q(), f, in.page())
	if err != nil {
		return nil, stored(err)
	}
	var rates []learn.Row
	if always {
		rates = slices.DeleteFunc(s.core.Rates(now, bucket), func(r learn.Row) bool {
			return in.Service != "" && r.Service != in.Service || in.Playbook != "" && r.Playbook != in.Playbook ||
				in.Diagnosis != "" && r.Diagnosis != in.Diagnosis
		})
	} else if rates, err = s.ratesBetween(ctx, in, now, bucket); err != nil {
		return nil, stored(err)
	}
	return ok(Learning{List: List[grace.LearningEntry]{Items: items, Next: next}, Rates: rates})
}

// ratesBetween counts the learning log of a time that was asked for.
func (s *server) ratesBetween(ctx context.Context, in *learningInput, now time.Time, bucket time.Duration) ([]learn.Row, error) {
	all, err := s.store.LearningSince(ctx, s.store.Q(), in.From)
	if err != nil {
		return nil, err
	}
	kept := slices.DeleteFunc(all, func(e grace.LearningEntry) bool {
		return in.Service != "" && e.Service != in.Service || in.Playbook != "" && e.Playbook != in.Playbook ||
			in.Diagnosis != "" && e.Diagnosis != in.Diagnosis || !in.To.IsZero() && !e.At.Before(in.To)
	})
	return learn.New(learn.DefaultConfig(), kept).Rows(now, bucket), nil
}
