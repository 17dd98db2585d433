package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"grace/internal/notify"
	"grace/internal/store"
)

// Notifications tells whether people are told.
type Notifications struct {
	Told      bool             `json:"told" doc:"false: no receiver is configured, or none accepts messages"`
	Reason    string           `json:"reason,omitempty" doc:"why nobody is told"`
	Hint      string           `json:"hint,omitempty" doc:"what to do about it"`
	Receivers []NotifyReceiver `json:"receivers" doc:"in the order of the configuration"`
}

// NotifyReceiver is how one receiver fares, whichever replica serves it.
type NotifyReceiver struct {
	Name         string     `json:"name"`
	Type         string     `json:"type"`
	Delivered    int64      `json:"delivered" doc:"messages it accepted"`
	Waiting      int        `json:"waiting" doc:"events that may become messages for it"`
	DeadLetters  int        `json:"dead_letters" doc:"messages it refused for good"`
	LastSuccess  *time.Time `json:"last_success,omitempty"`
	FailingSince *time.Time `json:"failing_since,omitempty" doc:"absent after a success"`
	Error        string     `json:"error,omitempty" doc:"of the last attempt that failed"`
	Retry        *time.Time `json:"retry,omitempty" doc:"when the next attempt is due"`
}

// ailsAfter is how long a receiver may fail before that is said wherever the
// state of everything is.
const ailsAfter = 5 * time.Minute

// Ails says what is wrong with a receiver: it has dead letters, or has been
// failing for minutes. It is empty for one that works. at words a time.
func (r NotifyReceiver) Ails(now time.Time, at func(time.Time) string) string {
	var parts []string
	if r.DeadLetters > 0 {
		parts = append(parts, count(r.DeadLetters, "dead letter", "dead letters"))
	}
	if r.FailingSince != nil && now.Sub(*r.FailingSince) >= ailsAfter {
		parts = append(parts, "failing since "+at(*r.FailingSince))
	}
	if len(parts) == 0 {
		return ""
	}
	text := strings.Join(parts, ", ")
	if r.Error != "" {
		text += ": " + r.Error
	}
	return text
}

type deadLettersInput struct {
	Paging

	Receiver string `query:"receiver" doc:"only of this one"`
}

type deadLetterInput struct {
	ID string `path:"id" doc:"the dead letter's id: RECEIVER:EVENT"`
}

type testNotifyInput struct {
	Body struct {
		Receiver string `json:"receiver,omitempty" doc:"only this one; all without it"`
	}
}

// Retried counts the dead letters that are sent again.
type Retried struct {
	Retried int `json:"retried"`
}

func (s *server) registerNotify(api huma.API) {
	const tag = "Notifications"
	handle(s, api, op{
		method: http.MethodGet, path: "/api/notify/status", id: "get-notify-status", tag: tag, role: roleViewer,
		doc: "Whether people are told, and how each receiver fares", what: "the receivers",
	}, func(ctx context.Context, _ *struct{}) (*body[Notifications], error) {
		n, err := s.notifications(ctx)
		if err != nil {
			return nil, stored(err)
		}
		return ok(n)
	})
	handle(s, api, op{
		method: http.MethodPost, path: "/api/notify/test", id: "test-notify", tag: tag, role: roleOperator,
		doc: "Send a test message through one receiver, or through each, and wait for the outcome", what: "the test message",
		errors: []int{http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *testNotifyInput) (*body[List[notify.TestOutcome]], error) {
		outcomes, err := s.notifier.Test(ctx, in.Body.Receiver, callerOf(ctx).actor())
		if err != nil {
			return nil, err
		}
		return ok(List[notify.TestOutcome]{Items: outcomes})
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/notify/dead", id: "list-dead-letters", tag: tag, role: roleViewer,
		doc: "Messages that a receiver refused for good, newest first", what: "the dead letters",
	}, func(ctx context.Context, in *deadLettersInput) (*body[List[store.DeadLetter]], error) {
		return listed(s.store.DeadLetters(ctx, s.store.Q(), in.Receiver, in.page()))
	})
	handle(s, api, op{
		method: http.MethodPost, path: "/api/notify/dead/{id}/retry", id: "retry-dead-letter", tag: tag, role: roleOperator,
		doc: "Send a dead letter again", what: "the dead letter", status: http.StatusAccepted,
		errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity},
	}, func(ctx context.Context, in *deadLetterInput) (*body[Retried], error) { return s.retryDead(ctx, in.ID) })
	handle(s, api, op{
		method: http.MethodPost, path: "/api/notify/retry", id: "retry-dead-letters", tag: tag, role: roleOperator,
		doc: "Send all dead letters again", what: "the dead letters", status: http.StatusAccepted,
	}, func(ctx context.Context, _ *struct{}) (*body[Retried], error) { return s.retryDead(ctx, "") })
}

func (s *server) retryDead(ctx context.Context, id string) (*body[Retried], error) {
	n, err := s.notifier.Retry(ctx, id, callerOf(ctx).actor())
	if err != nil {
		return nil, err
	}
	return ok(Retried{Retried: n})
}

// notifications tells whether people are told, and how each receiver fares.
func (s *server) notifications(ctx context.Context) (Notifications, error) {
	status, err := s.notifier.Status(ctx)
	if err != nil {
		return Notifications{}, err
	}
	out := Notifications{Told: status.Told, Reason: status.Reason, Hint: status.Hint}
	for _, r := range status.Receivers {
		out.Receivers = append(out.Receivers, NotifyReceiver{
			Name: r.Name, Type: r.Type, Delivered: r.Delivered, Waiting: r.Waiting, DeadLetters: r.Letters,
			LastSuccess: r.LastSuccess, FailingSince: r.FailingSince, Error: r.Error, Retry: r.Retry,
		})
	}
	return out, nil
}
