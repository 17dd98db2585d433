package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"grace"
	"grace/internal/mesh"
	"grace/internal/store"
)

type approvalInput struct {
	ID grace.ApprovalID `path:"id" doc:"the approval's id, which is its run's"`
}

type approvalsInput struct {
	Paging

	State grace.ApprovalState `query:"state" enum:"pending,approved,denied,expired,cancelled"`
}

// approvalAnswer carries the revision as an ETag, to be sent back in If-Match.
type approvalAnswer struct {
	ETag string `header:"ETag" doc:"the revision, for If-Match"`
	Body grace.Approval
}

type decideInput struct {
	ID      grace.ApprovalID `path:"id" doc:"the approval's id, which is its run's"`
	IfMatch string           `header:"If-Match" doc:"the revision the decision was made on, as in the ETag" example:"\"1\""`
	Body    DecisionBody
}

// DecisionBody is a person's answer.
type DecisionBody struct {
	Decision string `json:"decision" enum:"approve,deny"`
	Reason   string `json:"reason" minLength:"3" maxLength:"500" doc:"kept in the audit log"`
	Revision int    `json:"revision,omitempty" minimum:"1" doc:"the revision the decision was made on, where If-Match cannot be sent"`
}

type decisionInput struct {
	ID grace.DecisionID `path:"id" doc:"the decision's id"`
}

type decisionsInput struct {
	Paging

	Verdict grace.Verdict   `query:"decision" enum:"allow,require_approval,deny,observe,none"`
	Service grace.ServiceID `query:"service"`
	Run     grace.RunID     `query:"run"`
	From    time.Time       `query:"from" doc:"made at or after"`
	To      time.Time       `query:"to" doc:"made before"`
}

// ModeView is the mode as it was set and as it is in force now.
type ModeView struct {
	grace.ModeSetting

	InForce grace.Mode `json:"in_force" doc:"the mode now: fallback once expires has passed"`
}

type modeInput struct {
	Body ModeBody
}

// ModeBody sets a mode.
type ModeBody struct {
	Mode     grace.Mode `json:"mode" enum:"autonomous,ask_always,observe_only,stopped"`
	Reason   string     `json:"reason" minLength:"3" maxLength:"500" doc:"kept in the audit log and shown in the banner"`
	Expires  *time.Time `json:"expires,omitempty" doc:"when fallback takes over; absent: never"`
	Fallback grace.Mode `json:"fallback,omitempty" enum:"autonomous,ask_always,observe_only,stopped" doc:"default: the mode in force now"`
	Revision int        `json:"revision,omitempty" minimum:"0" doc:"refuse with 409 if the mode was changed since"`
}

func (s *server) registerGovernance(api huma.API) {
	const tag = "Governance"
	missing := []int{http.StatusNotFound}
	handle(s, api, op{
		method: http.MethodGet, path: "/api/governance/approvals", id: "list-approvals", tag: tag, role: roleViewer,
		doc: "Questions to people, newest first", what: "the approvals",
	}, func(ctx context.Context, in *approvalsInput) (*body[List[grace.Approval]], error) {
		return listed(s.store.Approvals(ctx, s.store.Q(), in.State, in.page()))
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/governance/approvals/{id}", id: "get-approval", tag: tag, role: roleViewer,
		doc: "One question", what: "the approval", errors: missing,
	}, func(ctx context.Context, in *approvalInput) (*approvalAnswer, error) {
		a, err := s.store.Approval(ctx, s.store.Q(), in.ID)
		if err != nil {
			return nil, stored(err)
		}
		return &approvalAnswer{ETag: etag(a.Revision), Body: a}, nil
	})
	handle(s, api, op{
		method: http.MethodPost, path: "/api/governance/approvals/{id}/decision", id: "decide-approval", tag: tag, role: roleApprover,
		doc: "Approve or deny. 409 when somebody was first, 400 when it has expired", what: "the approval",
		errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusPreconditionRequired, http.StatusTooManyRequests},
	}, s.decideApproval)
	handle(s, api, op{
		method: http.MethodGet, path: "/api/governance/mode", id: "get-mode", tag: tag, role: roleViewer,
		doc: "The mode: how much GRACE may do by itself", what: "the mode",
	}, func(ctx context.Context, _ *struct{}) (*body[ModeView], error) {
		m, err := s.store.Mode(ctx, s.store.Q())
		if err != nil {
			return nil, stored(err)
		}
		return ok(ModeView{ModeSetting: m, InForce: m.At(s.now())})
	})
	handle(s, api, op{
		method: http.MethodPut, path: "/api/governance/mode", id: "set-mode", tag: tag, role: roleAdmin,
		doc: "Change the mode", what: "the mode", errors: []int{http.StatusConflict},
	}, s.setMode)
	handle(s, api, op{
		method: http.MethodGet, path: "/api/governance/decisions", id: "list-decisions", tag: tag, role: roleViewer,
		doc: "Decisions with every gate's verdict, newest first", what: "the decisions",
	}, func(ctx context.Context, in *decisionsInput) (*body[List[grace.Decision]], error) {
		f := store.DecisionFilter{Verdict: in.Verdict, Service: in.Service, Run: in.Run, From: in.From, To: in.To}
		return listed(s.store.Decisions(ctx, s.store.Q(), f, in.page()))
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/governance/decisions/{id}", id: "get-decision", tag: tag, role: roleViewer,
		doc: "One decision", what: "the decision", errors: missing,
	}, func(ctx context.Context, in *decisionInput) (*body[grace.Decision], error) {
		return found(s.store.Decision(ctx, s.store.Q(), in.ID))
	})
}

func etag(revision int) string { return strconv.Quote(strconv.Itoa(revision)) }

func (s *server) decideApproval(ctx context.Context, in *decideInput) (*approvalAnswer, error) {
	revision := in.Body.Revision
	if in.IfMatch != "" {
		n, err := strconv.Atoi(strings.Trim(strings.TrimPrefix(in.IfMatch, "W/"), `"`))
		switch {
		case err != nil || n < 1:
			return nil, problem(http.StatusBadRequest, "If-Match holds no revision: %s", cut(in.IfMatch)).hint("send the approval's ETag as it is")
		case revision != 0 && revision != n:
			return nil, problem(http.StatusBadRequest, "If-Match says revision %d and the body %d", n, revision).hint("send one of them")
		}
		revision = n
	}
	a, err := s.decide(ctx, in.ID, DecisionInput{
		Approve: in.Body.Decision == "approve", Reason: in.Body.Reason, Revision: revision, Actor: callerOf(ctx).actor(),
	})
	if err != nil {
		return nil, err
	}
	return &approvalAnswer{ETag: etag(a.Revision), Body: a}, nil
}

// Bounds of a reason, in characters; the tags of the bodies say the same.
const (
	MinReason = 3
	MaxReason = 500
)

// decide answers an approval, for the API and for the pages alike.
func (s *server) decide(ctx context.Context, id grace.ApprovalID, in DecisionInput) (grace.Approval, error) {
	if in.Revision == 0 {
		return grace.Approval{}, problem(http.StatusPreconditionRequired, "the decision names no revision").
			hint("send the approval's revision in If-Match or in the body, so that nobody decides on what they have not seen")
	}
	if err := reasonGiven(in.Reason); err != nil {
		return grace.Approval{}, err
	}
	var a grace.Approval
	err := s.limited(ctx, func() (err error) {
		if in.Approve {
			err = s.notOwn(ctx, id)
		}
		if err == nil {
			moved := s.bus.Subscribe(movedBuffer, "self_heal.run.*")
			defer moved.Close()
			if a, err = s.core.DecideApproval(ctx, id, in.Approve, in.Reason, in.Actor, in.Revision); err == nil {
				s.awaitMoved(ctx, moved, a.Run)
			}
		}
		return err
	})
	if err != nil {
		if p := known("approval "+string(id), err); p != nil {
			p.Approval = id
			return grace.Approval{}, p
		}
		return grace.Approval{}, err
	}
	return a, nil
}

const (
	// movedWithin is how long the answer to a decision waits for its run.
	movedWithin = 2 * time.Second
	movedBuffer = 1024 // events of runs meanwhile
)

// awaitMoved waits until a run that was decided on has moved on, so that who
// decided does not still see it waiting. The decision stands either way.
func (s *server) awaitMoved(ctx context.Context, moved *mesh.Subscription, id grace.RunID) {
	ctx, cancel := context.WithTimeout(ctx, movedWithin)
	defer cancel()
	for {
		run, err := s.store.Run(ctx, s.store.Q(), id)
		if err != nil || run.Status != grace.RunAwaitingApproval {
			return
		}
		for ours := false; !ours; {
			select {
			case <-ctx.Done():
				return
			case e, ok := <-moved.C():
				if !ok {
					return
				}
				ours = e.Resource == "run/"+string(id)
			}
		}
	}
}

// Decide answers an approval for a person whom the caller knows, and who has no
// token here: in.Actor is that one's name, role what that one may do. A refusal
// is a [*Problem].
func (h *Handler) Decide(ctx context.Context, role string, id grace.ApprovalID, in DecisionInput) (grace.Approval, error) {
	who := &caller{Request: callerOf(ctx).Request, outside: in.Actor, Role: parseRole(role)}
	if who.Role < roleApprover {
		return grace.Approval{}, problem(http.StatusForbidden, "this needs the role %s; %s is %s", roleApprover, who, who.Role)
	}
	return h.server.decide(context.WithValue(ctx, callerKey{}, who), id, in)
}

// expiry judges when something is to end; nil is never.
func expiry(t *time.Time, now time.Time) error {
	var bad findings
	future(&bad, "body.expires", t, now, "say when it is to end")
	return bad.problem("nothing was changed")
}

func reasonGiven(reason string) error {
	var bad findings
	message(&bad, "body.reason", reason)
	if err := bad.problem("nothing was changed"); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(strings.TrimSpace(reason)); n < MinReason || n > MaxReason {
		return problem(http.StatusUnprocessableEntity, "the reason has %d characters", n).hint("%d to %d are wanted", MinReason, MaxReason)
	}
	return nil
}

func (s *server) setMode(ctx context.Context, in *modeInput) (*body[ModeView], error) {
	now := s.now()
	set := grace.ModeSetting{Mode: in.Body.Mode, Reason: in.Body.Reason, Since: now, Revision: in.Body.Revision}
	if err := reasonGiven(in.Body.Reason); err != nil {
		return nil, err
	}
	switch {
	case in.Body.Expires != nil:
		if err := expiry(in.Body.Expires, now); err != nil {
			return nil, err
		}
		at := in.Body.Expires.UTC()
		set.Expires, set.Fallback = &at, in.Body.Fallback
		if set.Fallback == "" {
			before, err := s.store.Mode(ctx, s.store.Q())
			if err != nil {
				return nil, stored(err)
			}
			set.Fallback = before.At(now)
		}
	case in.Body.Fallback != "":
		return nil, problem(http.StatusUnprocessableEntity, "fallback is set but expires is not").hint("say when fallback is to take over")
	}
	m, err := s.core.SetMode(ctx, set, callerOf(ctx).actor())
	if err != nil {
		return nil, err
	}
	return ok(ModeView{ModeSetting: m, InForce: m.At(s.now())})
}
