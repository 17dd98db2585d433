package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/time/rate"

	"grace/internal/store"
)

// role is what a token may do. Each may do all that the ones before it may.
type role int

// Roles. The zero one may do nothing.
const (
	roleNone role = iota
	roleViewer
	roleOperator
	roleApprover
	roleAdmin
)

func (r role) String() string {
	return [...]string{"none", "viewer", "operator", "approver", "admin"}[r]
}

func parseRole(name string) role {
	for r := roleViewer; r <= roleAdmin; r++ {
		if r.String() == name {
			return r
		}
	}
	return roleNone
}

// Keys of an operation's metadata, which is not part of the OpenAPI document.
const (
	metaRole   = "role"   // role: the least one that may call
	metaOpen   = "open"   // true: the handler itself judges who calls
	metaStream = "stream" // true: no time limit; also of what takes long
)

const tokenPrefix = "grace_"

// authenticate judges the caller of every operation before its body is read,
// and gives the operation its time limit. An operation that names no role is
// refused to everybody: forgetting is not opening.
func (s *server) authenticate(ctx huma.Context, next func(huma.Context)) {
	op := ctx.Operation()
	if stream, _ := op.Metadata[metaStream].(bool); !stream {
		limited, cancel := context.WithTimeout(ctx.Context(), s.cfg.Timeout)
		defer cancel()
		ctx = huma.WithContext(ctx, limited)
	}
	if open, _ := op.Metadata[metaOpen].(bool); open {
		next(ctx)
		return
	}
	need, _ := op.Metadata[metaRole].(role)
	if p := s.admit(ctx.Context(), ctx.Header("Authorization"), need); p != nil {
		_, w := humago.Unwrap(ctx)
		p.write(w)
		return
	}
	next(ctx)
}

// admit finds out who calls and whether that is enough. On success the
// caller of ctx is filled in.
func (s *server) admit(ctx context.Context, authorization string, need role) *Problem {
	scheme, secret, _ := strings.Cut(authorization, " ")
	secret = strings.TrimSpace(secret)
	switch {
	case authorization == "":
		return problem(http.StatusUnauthorized, "no token was sent").
			hint("send the header Authorization: Bearer TOKEN, with a token of: grace token create")
	case !strings.EqualFold(scheme, "bearer"), !strings.HasPrefix(secret, tokenPrefix):
		return problem(http.StatusUnauthorized, "the Authorization header does not hold a token of GRACE").
			hint("it has the form: Bearer %s...", tokenPrefix)
	}
	return s.admitHash(ctx, store.HashToken(secret), need)
}

// admitHash is admit for one whose token was seen before.
func (s *server) admitHash(ctx context.Context, hash string, need role) *Problem {
	token, err := s.store.TokenByHash(ctx, s.store.Q(), hash)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && !token.Valid(s.now()):
		return problem(http.StatusUnauthorized, "the token is unknown, expired or revoked").hint("make a new one: grace token create")
	case errors.Is(err, store.ErrForged):
		return problem(http.StatusUnauthorized, "the token was written to the database beside GRACE; it opens nothing").hint("make a new one: grace token create")
	case err != nil:
		return s.answer(ctx, "checking the token", unavailable{err})
	}
	who := callerOf(ctx)
	who.Token, who.hash, who.Role = token.Name, hash, parseRole(token.Role)
	if need == roleNone || who.Role < need {
		return problem(http.StatusForbidden, "this needs the role %s; token %s is %s", need, who.Token, who.Role).
			hint("use a token of that role: grace token create --role %s", need)
	}
	return nil
}

// limiter keeps decisions of one person from coming faster than a person
// decides: a script that approves everything is an incident of its own.
type limiter struct {
	perMinute int
	burst     int
	now       func() time.Time

	mu     sync.Mutex
	people map[string]*rate.Limiter // by the first of their names
}

// maxLimiters bounds the memory of a limiter; people are few.
const maxLimiters = 4096

// take uses one decision of a person. It gives the time to wait when there is
// none left.
func (l *limiter) take(person string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lim := l.people[person]
	if lim == nil {
		if len(l.people) >= maxLimiters {
			clear(l.people)
		}
		lim = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.burst)
		l.people[person] = lim
	}
	now := l.now()
	r := lim.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// giveBack returns what take took.
func (l *limiter) giveBack(person string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lim := l.people[person]; lim != nil {
		lim.AllowN(l.now(), -1)
	}
}

// limited makes a decision within the limit of the caller, by whatever
// name that one comes. What was
// refused as wrong or too late decided nothing, and does not count.
func (s *server) limited(ctx context.Context, decide func() error) error {
	who := callerOf(ctx)
	person := s.cfg.SamePerson(who.actor())[0]
	if wait, ok := s.decisions.take(person); !ok {
		p := problem(http.StatusTooManyRequests, "%s decides faster than %d times a minute", who, s.cfg.DecisionsPerMinute).
			hint("wait %s s", retrySeconds(wait))
		p.retryAfter = wait
		return p
	}
	err := decide()
	if p := known("", err); p != nil && slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity}, p.Status) {
		s.decisions.giveBack(person)
	}
	return err
}
