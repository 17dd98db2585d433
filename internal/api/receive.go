package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"grace/internal/store"
)

// Receivers are the handlers of telemetry that has formats, limits and answers
// of its own, by path; they are asked with POST. Each bounds its bodies itself.
// A token of role operator is needed, as for all telemetry.
type Receivers map[string]http.Handler

// registerReceivers puts authorization before the receivers.
func (s *server) registerReceivers(mux *http.ServeMux) {
	for path, h := range s.cfg.Receivers {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			if p := s.admit(r.Context(), r.Header.Get("Authorization"), roleOperator); p != nil {
				p.write(w)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
}

// receives tells whether a request is for a receiver.
func (s *server) receives(r *http.Request) bool {
	_, ok := s.cfg.Receivers[r.URL.Path]
	return ok || r.URL.Path == webhookPath || r.URL.Path == alertsPath
}

// Sender names who sends telemetry: the token, and the address it came from.
func Sender(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if name := callerOf(r.Context()).Token; name != "" {
		return name + "@" + host
	}
	return host
}

// Errors of Authorize: the sender may retry, or never with this token.
var (
	ErrStoreAway = errors.New("checking the token")
	ErrRole      = errors.New("the token's role is too low")
)

// Authorize admits a token that may send telemetry by another way than HTTP.
func Authorize(ctx context.Context, s *store.Store, token string, now time.Time) error {
	known, err := s.TokenByHash(ctx, s.Q(), store.HashToken(token))
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrForged), err == nil && !known.Valid(now):
		return errors.New("the token is unknown, expired or revoked; make a new one: grace token create --role operator")
	case err != nil:
		return fmt.Errorf("%w: %w", ErrStoreAway, err)
	case parseRole(known.Role) < roleOperator:
		return fmt.Errorf("%w: this needs the role %s; token %s is %s", ErrRole, roleOperator, known.Name, parseRole(known.Role))
	}
	return nil
}
