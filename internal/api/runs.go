package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"grace"
	"grace/internal/loop"
	"grace/internal/store"
)

type runInput struct {
	ID grace.RunID `path:"id" doc:"the run's id"`
}

type runsInput struct {
	Paging

	State    grace.RunStatus  `query:"status" enum:"proposed,awaiting_approval,approved,running,verifying,rolling_back,succeeded,ineffective,rolled_back,rollback_failed,escalated,denied,expired,cancelled,aborted,observed_only"`
	Service  grace.ServiceID  `query:"service"`
	Playbook grace.PlaybookID `query:"playbook"`
	Open     string           `query:"open" enum:"true,false" doc:"true: only runs that have not ended; false: only ended ones"`
	From     time.Time        `query:"from" doc:"created at or after"`
	To       time.Time        `query:"to" doc:"created before"`
}

func (in runsInput) filter() store.RunFilter {
	f := store.RunFilter{State: in.State, Service: in.Service, Playbook: in.Playbook, From: in.From, To: in.To}
	if in.Open != "" {
		open := in.Open == "true"
		f.Open = &open
	}
	return f
}

// ReasonInput is a body that says why.
type ReasonInput struct {
	Reason string `json:"reason" minLength:"3" maxLength:"500" doc:"kept in the audit log"`
}

type abortInput struct {
	ID   grace.RunID `path:"id" doc:"the run's id"`
	Body ReasonInput
}

func (s *server) registerRuns(api huma.API) {
	const tag = "Runs"
	missing := []int{http.StatusNotFound}
	handle(s, api, op{
		method: http.MethodGet, path: "/api/runs", id: "list-runs", tag: tag, role: roleViewer,
		doc: "Runs, newest first", what: "the runs",
	}, func(ctx context.Context, in *runsInput) (*body[List[grace.Run]], error) {
		return listed(s.store.Runs(ctx, s.store.Q(), in.filter(), in.page()))
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/runs/{id}", id: "get-run", tag: tag, role: roleViewer,
		doc: "One run", what: "the run", errors: missing,
	}, func(ctx context.Context, in *runInput) (*body[grace.Run], error) {
		return found(s.store.Run(ctx, s.store.Q(), in.ID))
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/runs/{id}/why", id: "why-run", tag: tag, role: roleViewer,
		doc: "Why a run was made, how it was decided and what came of it", what: "the run", errors: missing,
	}, s.whyRun)
	handle(s, api, op{
		method: http.MethodGet, path: "/api/services/{id}/why", id: "why-service", tag: tag, role: roleViewer,
		doc: "What is being done about a service, or why nothing is", what: "the service", errors: missing,
	}, s.whyService)
	handle(s, api, op{
		method: http.MethodPost, path: "/api/runs/{id}/abort", id: "abort-run", tag: tag, role: roleApprover,
		doc: "Stop a run and undo its completed steps", what: "aborting the run", status: http.StatusAccepted,
		errors: []int{http.StatusNotFound, http.StatusConflict},
	}, func(ctx context.Context, in *abortInput) (*body[grace.Run], error) {
		if err := s.abort(ctx, in.ID, in.Body.Reason); err != nil {
			return nil, err
		}
		return found(s.store.Run(ctx, s.store.Q(), in.ID))
	})
	handle(s, api, op{
		method: http.MethodPost, path: "/api/runs/abort", id: "abort-all-runs", tag: tag, role: roleApprover,
		doc: "Stop every run that has not ended and undo their completed steps", what: "aborting the runs", status: http.StatusAccepted,
	}, s.abortAll)
}

// abort asks a run to stop on behalf of the caller. It has no rate: to stop is
// never too fast.
func (s *server) abort(ctx context.Context, id grace.RunID, reason string) error {
	return s.core.Abort(ctx, id, callerOf(ctx).actor(), reason)
}

// Aborted tells which runs were asked to stop.
type Aborted struct {
	Runs   []grace.RunID `json:"runs"`
	Failed []string      `json:"failed" doc:"runs that could not be asked, with the reason"`
}

type abortAllInput struct{ Body ReasonInput }

// abortAll asks every open run to stop. What ends or is asked by others
// meanwhile needs nothing more.
func (s *server) abortAll(ctx context.Context, in *abortAllInput) (*body[Aborted], error) {
	open := true
	out := Aborted{}
	for page := (store.Page{Limit: store.MaxLimit}); ; {
		runs, next, err := s.store.Runs(ctx, s.store.Q(), store.RunFilter{Open: &open}, page)
		if err != nil {
			return nil, stored(err)
		}
		for _, r := range runs {
			if !abortable(r) {
				continue
			}
			err := s.abort(ctx, r.ID, in.Body.Reason)
			if _, ended := errors.AsType[*loop.EndedError](err); ended {
				continue
			}
			if err != nil {
				out.Failed = append(out.Failed, string(r.ID)+": "+s.answer(ctx, "aborting the run", err).Detail)
				continue
			}
			out.Runs = append(out.Runs, r.ID)
		}
		if next == "" {
			return ok(out)
		}
		page.Cursor = next
	}
}
