package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"grace/internal/store"
)

// Token is a token without its secret, which nobody can read again.
type Token struct {
	Name      string     `json:"name"`
	Role      string     `json:"role" enum:"viewer,operator,approver,admin"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}

// TokenBody asks for a token.
type TokenBody struct {
	Name    string     `json:"name" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" doc:"how the audit log names who uses it"`
	Role    string     `json:"role" enum:"viewer,operator,approver,admin"`
	Expires *time.Time `json:"expires,omitempty"`
}

// NewToken is a token just made.
type NewToken struct {
	Name   string `json:"name"`
	Role   string `json:"role"`
	Secret string `json:"secret" doc:"shown once; only its hash is kept"`
}

type tokenBodyInput struct{ Body TokenBody }

type tokenInput struct {
	Name string `path:"name" doc:"the token's name"`
}

// Reloaded tells that the configuration was read again.
type Reloaded struct {
	ReloadedAt time.Time `json:"reloaded_at"`
}

func (s *server) registerAdmin(api huma.API) {
	const tag = "Administration"
	handle(s, api, op{
		method: http.MethodPost, path: "/api/config/reload", id: "reload-config", tag: tag, role: roleAdmin,
		doc: "Read the configuration again. A bad one changes nothing and is answered with its problems", what: "the configuration",
		errors: []int{http.StatusUnprocessableEntity},
	}, func(ctx context.Context, _ *struct{}) (*body[Reloaded], error) {
		if err := s.process.Reload(ctx, callerOf(ctx).actor()); err != nil {
			return nil, err
		}
		return ok(Reloaded{ReloadedAt: s.now().UTC()})
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/tokens", id: "list-tokens", tag: tag, role: roleAdmin,
		doc: "Tokens, without their secrets", what: "the tokens",
	}, func(ctx context.Context, in *Paging) (*body[List[Token]], error) {
		tokens, err := s.store.ListTokens(ctx, s.store.Q())
		if err != nil {
			return nil, stored(err)
		}
		views := make([]Token, 0, len(tokens))
		for _, t := range tokens {
			views = append(views, Token{Name: t.Name, Role: t.Role, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, RevokedAt: t.RevokedAt})
		}
		return ok(slicePage(views, func(t Token) string { return t.Name }, *in))
	})
	handle(s, api, op{
		method: http.MethodPost, path: "/api/tokens", id: "create-token", tag: tag, role: roleAdmin,
		doc: "Make a token; its secret is in this answer and nowhere else", what: "the token", status: http.StatusCreated,
		errors: []int{http.StatusConflict},
	}, func(ctx context.Context, in *tokenBodyInput) (*body[NewToken], error) {
		if err := expiry(in.Body.Expires, s.now()); err != nil {
			return nil, err
		}
		secret, err := s.store.CreateToken(ctx, callerOf(ctx).actor(), store.NewToken{Name: in.Body.Name, Role: in.Body.Role, Expires: in.Body.Expires})
		if errors.Is(err, store.ErrConflict) {
			return nil, problem(http.StatusConflict, "there is a token %q already", in.Body.Name).
				hint("take another name, or revoke it first; its secret cannot be shown again")
		}
		if err != nil {
			return nil, stored(err)
		}
		return ok(NewToken{Name: in.Body.Name, Role: in.Body.Role, Secret: secret})
	})
	handle(s, api, op{
		method: http.MethodDelete, path: "/api/tokens/{name}", id: "revoke-token", tag: tag, role: roleAdmin,
		doc: "Revoke a token", what: "the token", status: http.StatusNoContent, errors: []int{http.StatusNotFound},
	}, func(ctx context.Context, in *tokenInput) (*struct{}, error) {
		return nil, stored(s.store.RevokeToken(ctx, callerOf(ctx).actor(), in.Name))
	})
}

// registerPlain adds what is not part of the OpenAPI document: the probes of
// whoever keeps GRACE alive, its metrics, and the way to the pages.
func (s *server) registerPlain(mux *http.ServeMux) {
	document := sync.OnceValues(OpenAPI)
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, r *http.Request) {
		if p := s.admit(r.Context(), r.Header.Get("Authorization"), roleViewer); p != nil {
			p.write(w)
			return
		}
		text, err := document()
		if err != nil {
			problem(http.StatusInternalServerError, "%s", err).write(w)
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(text) // the peer is gone if this fails
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writePlain(w, `{"status":"alive"}`)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := s.process.Ready(ctx); err != nil {
			p := problem(http.StatusServiceUnavailable, "not ready: %s", NotReady(err))
			s.log.WarnContext(r.Context(), "not ready", "error", err)
			p.retryAfter = time.Second
			p.write(w)
			return
		}
		writePlain(w, `{"status":"ready"}`)
	})
	if s.cfg.Metrics != nil {
		mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
			if !s.cfg.MetricsOpen {
				if p := s.admit(r.Context(), r.Header.Get("Authorization"), roleViewer); p != nil {
					p.write(w)
					return
				}
			}
			s.cfg.Metrics.ServeHTTP(w, r)
		})
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		// Relative, so that a base path in front of GRACE stays.
		w.Header().Set("Location", "./lite")
		w.WriteHeader(http.StatusFound)
	})
}

// readyTimeout is less than what an orchestrator waits for a probe.
const readyTimeout = 2 * time.Second

func writePlain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(text + "\n")) // the peer is gone if this fails
}

// Unready is an error of Process.Ready that is known to have begun at a time.
type Unready struct {
	Since time.Time // zero: not known
	Err   error
}

func (u *Unready) Error() string { return u.Err.Error() }

// Unwrap gives the cause.
func (u *Unready) Unwrap() error { return u.Err }

// NotReady words an error of Process.Ready for anyone who asks: a database's own
// error names hosts and users, so that one is only logged.
func NotReady(err error) string {
	since := ""
	if u, ok := errors.AsType[*Unready](err); ok && !u.Since.IsZero() {
		since = "; since " + until(u.Since)
	}
	if out, ok := errors.AsType[*store.Outage](err); ok {
		return "the store cannot be written or read, and nothing is done without a log: " + out.Reason + since
	}
	if unreachable(err) {
		return "the store cannot be reached" + since
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line + since
}
