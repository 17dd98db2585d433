package api

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"grace"
	"grace/internal/loop"
	"grace/internal/notify"
	"grace/internal/store"
)

// Problem is every error answer: RFC 9457 problem details. Members beyond the
// standard's are set where their status says so.
type Problem struct {
	Type      string           `json:"type" doc:"about:blank: the status tells the kind" example:"about:blank"`
	Title     string           `json:"title" doc:"the status in words" example:"Conflict"`
	Status    int              `json:"status" doc:"the HTTP status" example:"409"`
	Detail    string           `json:"detail" doc:"what went wrong this time"`
	Hint      string           `json:"hint,omitempty" doc:"what to do next"`
	Errors    []*Detail        `json:"errors,omitempty" doc:"each thing that is wrong with what was sent"`
	RequestID string           `json:"request_id,omitempty" doc:"the request's id in GRACE's log"`
	DecidedBy string           `json:"decided_by,omitempty" doc:"409 of a decision: who was first"`
	DecidedAt *time.Time       `json:"decided_at,omitempty" doc:"409 of a decision: when"`
	State     string           `json:"state,omitempty" doc:"409: the state that stands in the way"`
	ExpiredAt *time.Time       `json:"expired_at,omitempty" doc:"400 of a decision: when the approval expired"`
	Approval  grace.ApprovalID `json:"approval,omitempty" doc:"the approval that the problem is about"`

	retryAfter time.Duration
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is asked by huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is asked by huma.
func (p *Problem) ContentType(string) string { return problemType }

// GetHeaders is asked by huma.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="grace"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", retrySeconds(p.retryAfter))
	}
	return h
}

const problemType = "application/problem+json"

// maxEchoed bounds how much of a bad value is sent back.
const maxEchoed = 200

func problem(status int, format string, args ...any) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, args...)}
}

func (p *Problem) hint(format string, args ...any) *Problem {
	p.Hint = fmt.Sprintf(format, args...)
	return p
}

func retrySeconds(d time.Duration) string {
	return fmt.Sprint(max(1, int((d+time.Second-1)/time.Second)))
}

// write sends the problem where huma does not.
func (p *Problem) write(w http.ResponseWriter) {
	p.RequestID = w.Header().Get(requestIDHeader)
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", problemType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the peer is gone if this fails
}

// humaOnce guards the one place where huma is configured by variables of the
// package instead of by its Config.
//
//nolint:gochecknoglobals // huma's own globals leave no other way
var humaOnce sync.Once

// setUpHuma makes huma answer every error with a Problem and describe lists as
// never null. Both are process-wide in huma.
func setUpHuma() {
	humaOnce.Do(func() {
		huma.DefaultArrayNullable = false
		huma.NewError = newProblem
		huma.NewErrorWithContext = func(ctx huma.Context, status int, msg string, errs ...error) huma.StatusError {
			return newProblem(status, msg, errs...)
		}
	})
}

func newProblem(status int, msg string, errs ...error) huma.StatusError {
	p := problem(status, "%s", msg)
	for _, err := range errs {
		if err == nil {
			continue
		}
		var ours *Detail
		var theirs *huma.ErrorDetail
		switch {
		case errors.As(err, &ours):
			p.Errors = append(p.Errors, ours)
		case errors.As(err, &theirs):
			p.Errors = append(p.Errors, &Detail{Location: theirs.Location, Message: theirs.Message, Value: cut(theirs.Value)})
		case status < http.StatusInternalServerError:
			p.Errors = append(p.Errors, &Detail{Message: err.Error()})
		}
	}
	return p
}

// cut keeps a bad value short enough to be sent back.
func cut(v any) any {
	text, isText := v.(string)
	if !isText {
		raw, err := json.Marshal(v)
		if err != nil || len(raw) <= maxEchoed {
			return v
		}
		text = string(raw)
	}
	if len(text) > maxEchoed {
		return text[:maxEchoed] + "..."
	}
	return text
}

// answer turns any error of a handler into the problem the client gets. What
// the client cannot mend is logged here, with the request's id, and told
// without its inner details.
func (s *server) answer(ctx context.Context, what string, err error) *Problem {
	if p := known(what, err); p != nil {
		return p
	}
	caller := callerOf(ctx)
	if out, ok := errors.AsType[*store.Outage](err); ok {
		s.log.ErrorContext(ctx, "the store does not work", "what", what, "error", err, "request_id", caller.Request)
		p := problem(http.StatusServiceUnavailable, "%s: the store cannot be written or read", what).hint("nothing is on record of it; samples and alerts may be kept, and are written later; %s", out.Reason)
		p.retryAfter = outageRetry
		return p
	}
	if unreachable(err) {
		s.log.ErrorContext(ctx, "store or peer does not answer", "what", what, "error", err, "request_id", caller.Request)
		p := problem(http.StatusServiceUnavailable, "%s: the store cannot be reached", what).
			hint("nothing was changed; try again shortly, and look at /readyz and the log")
		p.retryAfter = 2 * time.Second
		return p
	}
	s.log.ErrorContext(ctx, "request failed", "what", what, "error", err, "request_id", caller.Request)
	return problem(http.StatusInternalServerError, "%s failed; the log has the reason under this request's id", what)
}

// outageRetry is what a client is told to wait while the store does not work.
const outageRetry = 5 * time.Second

func known(what string, err error) *Problem {
	var (
		ready   *Problem
		decided *loop.DecidedError
		expired *loop.ExpiredError
		ended   *loop.EndedError
		wrong   *loop.InvalidError
		invalid *Invalid
	)
	switch {
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &decided):
		p, at := problem(http.StatusConflict, "%s: %v", what, decided).hint("the decision stands; read the run for what came of it"), decided.At()
		p.DecidedBy, p.DecidedAt, p.State = decided.Approval.Actor, &at, string(decided.Approval.State)
		return p
	case errors.As(err, &expired):
		p := problem(http.StatusBadRequest, "%s: %v", what, expired).hint("if the condition lasts, GRACE asks again; approve that one")
		p.ExpiredAt = &expired.Approval.Expires
		return p
	case errors.As(err, &ended):
		p := problem(http.StatusConflict, "%s: %v", what, ended)
		p.State = string(ended.Run.Status)
		return p
	case errors.As(err, &wrong):
		return problem(http.StatusUnprocessableEntity, "%s: %v", what, wrong)
	case errors.Is(err, notify.ErrUnknown):
		return problem(http.StatusUnprocessableEntity, "%s: %v", what, err)
	case errors.Is(err, loop.ErrNoRoom):
		return busy(time.Minute, "%s: not every alert was taken: %v", what, loop.ErrNoRoom).
			hint("raise sense.max_series, or group alerts so that there are fewer; what was taken does no harm when it is sent again")
	case errors.Is(err, loop.ErrBusy) && !outage(err):
		return busy(5*time.Second, "%s: nothing was taken: %v", what, loop.ErrBusy).hint("send it again")
	case errors.As(err, &invalid):
		p := problem(http.StatusUnprocessableEntity, "%s: %s", what, invalid.Message)
		for i := range invalid.Details {
			p.Errors = append(p.Errors, &invalid.Details[i])
		}
		return p
	case errors.Is(err, store.ErrForged):
		return problem(http.StatusInternalServerError, "%s: it was written to the database beside GRACE and is not acted on", what).
			hint("find out who can write to the database, then run: grace audit verify")
	case errors.Is(err, store.ErrNotFound):
		return problem(http.StatusNotFound, "%s: not found", what)
	case errors.Is(err, store.ErrConflict):
		return problem(http.StatusConflict, "%s: it was changed by somebody else meanwhile", what).hint("read it again and repeat")
	}
	return nil
}

// busy says that GRACE cannot take more at the moment. What was sent may have been
// taken in part; sending it again does no harm.
func busy(retry time.Duration, format string, args ...any) *Problem {
	p := problem(http.StatusServiceUnavailable, format, args...)
	p.retryAfter = retry
	return p
}

// outage tells whether the store itself does not work.
func outage(err error) bool {
	_, out := errors.AsType[*store.Outage](err)
	return out
}

// Invalid says what is wrong with the configuration that was to be loaded: 422.
type Invalid struct {
	Message string
	Details []Detail
}

func (e *Invalid) Error() string { return e.Message }

// Detail is one thing that is wrong.
type Detail struct {
	Location string `json:"location,omitempty" doc:"where: body.items[3].tags, or file:line:column of a configuration"`
	Message  string `json:"message" doc:"what is wrong"`
	Value    any    `json:"value,omitempty" doc:"what was found there"`
	Hint     string `json:"hint,omitempty" doc:"what to do about it"`
}

// Error makes a Detail usable where errors are collected.
func (d *Detail) Error() string { return d.Location + ": " + d.Message }

// unavailable marks an error of the store itself.
type unavailable struct{ error }

func (e unavailable) Unwrap() error { return e.error }

// stored judges what a read of the store returned: a missing row, a conflict
// and a bad cursor are the client's affair, all else is a store that cannot be
// read.
func stored(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrConflict), errors.Is(err, store.ErrForged):
		return err
	case errors.Is(err, store.ErrBadCursor):
		return problem(http.StatusUnprocessableEntity, "the cursor is not one that this list gave out").
			hint("leave cursor out to begin at the newest, then use the answer's next")
	}
	return unavailable{err}
}

// unreachable tells a fault that passes (a database that is down or slow)
// from a fault of ours.
func unreachable(err error) bool {
	var (
		network net.Error
		marked  unavailable
	)
	return errors.As(err, &marked) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}
