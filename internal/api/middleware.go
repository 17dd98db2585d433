package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

const requestIDHeader = "X-Request-Id"

// maxRequestID bounds an id that a proxy in front gave.
const maxRequestID = 64

// caller is who makes a request. It is the one fact that travels in a
// context: huma hands a handler nothing else between the middleware, which
// must judge before the body is read, and the handler.
type caller struct {
	Request string
	Token   string // the token's name; empty before it is known
	hash    string // of the token
	Role    role
	outside string // the actor, of one who has no token: slack:ada
}

// actor is the caller as the audit log names it.
func (c *caller) actor() string {
	if c.outside != "" {
		return c.outside
	}
	return "token:" + c.Token
}

// String names the caller in a message.
func (c *caller) String() string {
	if c.outside != "" {
		return c.outside
	}
	return "token " + c.Token
}

type callerKey struct{}

// callerOf never returns nil.
func callerOf(ctx context.Context) *caller {
	if c, ok := ctx.Value(callerKey{}).(*caller); ok {
		return c
	}
	return &caller{}
}

// answerWriter notes what was answered, for the access log and to know
// whether a panic can still be answered.
type answerWriter struct {
	http.ResponseWriter

	status int
	bytes  int64
}

func (w *answerWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *answerWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// surround puts around every route what holds for all of them: request id,
// access log, panics as problems, security headers, body limit.
func (s *server) surround(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		who := &caller{Request: requestID(r)}
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, who))
		out := &answerWriter{ResponseWriter: w}
		securityHeaders(out.Header())
		out.Header().Set(requestIDHeader, who.Request)
		defer s.access(r, out, who, began)
		defer s.rescue(r, out, who)
		if !s.receives(r) {
			if r.ContentLength > s.cfg.MaxBody {
				s.tooLarge().write(out)
				return
			}
			r.Body = http.MaxBytesReader(out, r.Body, s.cfg.MaxBody)
		}
		next.ServeHTTP(out, r)
	})
}

func (s *server) tooLarge() *Problem {
	return problem(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", s.cfg.MaxBody).
		hint("send fewer items at once, or raise api.max_body")
}

func requestID(r *http.Request) string {
	id := r.Header.Get(requestIDHeader)
	bad := func(c rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", c)
	}
	if id != "" && len(id) <= maxRequestID && strings.IndexFunc(id, bad) < 0 {
		return id
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return hex.EncodeToString(b[:])
}

func securityHeaders(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
}

func (s *server) access(r *http.Request, w *answerWriter, who *caller, began time.Time) {
	level := slog.LevelInfo
	switch {
	case w.status >= http.StatusInternalServerError:
		level = slog.LevelWarn
	case s.receives(r) && w.status < http.StatusBadRequest, r.Method == http.MethodGet || r.Method == http.MethodHead:
		level = slog.LevelDebug
	}
	s.log.LogAttrs(r.Context(), level, "request",
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", w.status),
		slog.Int64("bytes", w.bytes), slog.Duration("took", time.Since(began)),
		slog.String("token", who.Token), slog.String("remote", r.RemoteAddr), slog.String("request_id", who.Request))
}

// rescue answers a panic with a problem, unless an answer has begun: then the
// connection is cut, so that the peer does not take half an answer for one.
func (s *server) rescue(r *http.Request, w *answerWriter, who *caller) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v)
	}
	s.log.ErrorContext(r.Context(), "panic in a handler", "path", r.URL.Path, "panic", v,
		"stack", string(debug.Stack()), "request_id", who.Request)
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	problem(http.StatusInternalServerError, "%s %s failed; the log has the reason under this request's id", r.Method, r.URL.Path).write(w)
}

// routes serves the mux and answers in problems where the mux itself would
// answer in plain text: an unknown path, a known one with another method.
func (s *server) routes(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		refusal := refusalWriter{header: http.Header{}}
		h.ServeHTTP(&refusal, r)
		if allow := refusal.header.Get("Allow"); refusal.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", allow)
			problem(http.StatusMethodNotAllowed, "%s is not possible on %s", r.Method, r.URL.Path).hint("allowed: %s", allow).write(w)
			return
		}
		problem(http.StatusNotFound, "there is no %s", r.URL.Path).hint("GET /openapi.json lists every path").write(w)
	})
}

// refusalWriter keeps what the mux says about a request it has no route for.
type refusalWriter struct {
	header http.Header
	status int
}

func (w *refusalWriter) Header() http.Header         { return w.header }
func (w *refusalWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *refusalWriter) WriteHeader(status int)      { w.status = status }
