// Package api is GRACE's HTTP face: the JSON API with its OpenAPI document,
// the event stream, and the server-rendered pages of package console.
//
//	request -> surround (id, log, panic, headers, body limit)
//	        -> routes   (404, 405)
//	        -> authenticate (token -> role, time limit)      pages: session
//	        -> handler  -> store (reads) | Core (all that changes anything)
//
// The contract:
//
//   - Every error is an RFC 9457 problem with the request's id; what the store
//     cannot answer is a 503, never an empty list.
//   - Nothing is served without a token but /healthz, /readyz, the login page
//     with its style sheet, what Slack has signed and, if so configured, /metrics. An operation that names no role is
//     refused to everybody.
//   - The package changes nothing itself: every write goes through [Core],
//     which puts the change, its audit entry and its event in one transaction.
//     Tokens are the exception; they are the API's own.
//   - Lists are paged by cursor, newest first, and are never null.
//   - A decision that comes another way than by a token ([Handler.Decide]) is
//     held to the same rules: role, own approvals, decisions a minute.
//   - A page's GET never acts. Its forms carry a token bound to the session.
package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/time/rate"

	"grace/console"
	"grace/internal/mesh"
	"grace/internal/store"
	"grace/sensor/alertmanager"
)

// Config is how the API behaves. The zero value of a field takes the default
// of [DefaultConfig].
type Config struct {
	// MaxBody is the largest accepted body, in bytes.
	MaxBody int64
	// Timeout is the time a request may take, the event stream excepted.
	Timeout time.Duration
	// Heartbeat is how often an idle event stream says that it lives.
	Heartbeat time.Duration
	// SessionTTL is how long a login on the pages lasts.
	SessionTTL time.Duration
	// DecisionsPerMinute and DecisionBurst limit one person's approvals
	// and denials.
	DecisionsPerMinute int
	DecisionBurst      int
	// SessionKey signs the pages' sessions. Replicas share it; empty is a
	// random one, and sessions then end with the process.
	SessionKey []byte
	// Metrics serves /metrics; nil is a 404. MetricsOpen serves it to anyone.
	Metrics     http.Handler
	MetricsOpen bool
	// Reserved tells whether a name is that of a sensor of GRACE's own, for
	// which nobody outside may speak; nil is none.
	Reserved func(name string) bool
	// OwnApproval lets who reported a condition approve the run about it, and
	// who asked for a run by hand approve that.
	OwnApproval bool
	// SamePerson gives all names in the audit log of the person whom one of them
	// is (token:ada, slack:ada), that one included, always in the same order. It
	// is asked at every decision, so that a reload takes effect; nil makes every
	// name a person.
	SamePerson func(actor string) []string
	// Receivers take telemetry in formats of its own.
	Receivers Receivers
	// Slack takes what people do with the buttons of messages. It knows Slack by
	// the signature of a request, so no token is asked for. Nil is a 404.
	Slack http.Handler
	// Version is shown in the OpenAPI document.
	Version string
}

// Alertmanager says how alerts come in. Bearer and HMAC are secrets in the
// clear; an empty one admits nobody.
type Alertmanager struct {
	Bearer  string
	HMAC    []byte
	Mapping alertmanager.Mapping
}

// DefaultConfig gives the defaults.
func DefaultConfig() Config {
	return Config{
		MaxBody: 1 << 20, Timeout: 30 * time.Second, Heartbeat: 15 * time.Second, SessionTTL: 12 * time.Hour,
		DecisionsPerMinute: 30, DecisionBurst: 5, Version: "1",
	}
}

func (c Config) filled() Config {
	d := DefaultConfig()
	fill(&c.MaxBody, d.MaxBody)
	fill(&c.Timeout, d.Timeout)
	fill(&c.Heartbeat, d.Heartbeat)
	fill(&c.SessionTTL, d.SessionTTL)
	fill(&c.DecisionsPerMinute, d.DecisionsPerMinute)
	fill(&c.DecisionBurst, d.DecisionBurst)
	fill(&c.Version, d.Version)
	if c.SamePerson == nil {
		c.SamePerson = func(actor string) []string { return []string{actor} }
	}
	if c.Reserved == nil {
		c.Reserved = func(string) bool { return false }
	}
	return c
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Deps are what the API stands on. All but Log and Now are required.
type Deps struct {
	Store    *store.Store
	Core     Core
	Process  Process
	Alerts   Alerts
	Notifier Notifier
	Bus      *mesh.Bus
	Log      *slog.Logger     // default: discards
	Now      func() time.Time // default: time.Now
}

type server struct {
	cfg       Config
	store     *store.Store
	core      Core
	process   Process
	senders   Alerts
	notifier  Notifier
	bus       *mesh.Bus
	log       *slog.Logger
	now       func() time.Time
	pages     *console.Pages
	decisions *limiter
	// backtests is held while one of predictions is under way.
	backtests sync.Mutex
	reports   *reports
	placed    atomic.Pointer[placed]
	intake    chan struct{} // held while telemetry is taken
	// alertBodies is held while a body with alerts is read.
	alertBodies chan struct{}
}

// Handler is everything GRACE serves over HTTP. It also takes decisions that
// people make elsewhere.
type Handler struct {
	http.Handler

	server *server
}

// New builds the handler.
func New(cfg Config, d Deps) (*Handler, error) {
	s, err := newServer(cfg, d)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	s.register(mux)
	s.registerPlain(mux)
	s.registerPages(mux)
	s.registerReceivers(mux)
	if cfg.Slack != nil {
		mux.Handle("POST /api/notify/slack/{receiver}", cfg.Slack)
	}
	return &Handler{s.surround(s.routes(mux)), s}, nil
}

// OpenAPI gives the OpenAPI 3.1 document, as openapi.json holds it: indented
// and with sorted keys, so that a change of it can be read.
func OpenAPI() ([]byte, error) {
	s := &server{cfg: Config{}.filled()}
	doc, err := s.register(http.NewServeMux()).OpenAPI().MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, doc, "", "  "); err != nil {
		return nil, fmt.Errorf("indent the OpenAPI document: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func newServer(cfg Config, d Deps) (*server, error) {
	if d.Store == nil || d.Core == nil || d.Process == nil || d.Alerts == nil || d.Notifier == nil || d.Bus == nil {
		return nil, errors.New("api: all that it stands on is required, but for Log and Now")
	}
	s := &server{
		cfg: cfg.filled(), store: d.Store, core: d.Core, process: d.Process, senders: d.Alerts, notifier: d.Notifier, bus: d.Bus, log: d.Log, now: d.Now,
		intake: make(chan struct{}, maxIntake), alertBodies: make(chan struct{}, maxAlertBodies), reports: newReports(),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if len(s.cfg.SessionKey) == 0 {
		s.cfg.SessionKey = make([]byte, 32)
		_, _ = rand.Read(s.cfg.SessionKey) // never fails: it ends the process instead
	}
	pages, err := console.New()
	if err != nil {
		return nil, err
	}
	s.pages = pages
	s.decisions = &limiter{
		perMinute: s.cfg.DecisionsPerMinute, burst: s.cfg.DecisionBurst, now: s.now, people: map[string]*rate.Limiter{},
	}
	return s, nil
}

// exactMux makes a path that ends in a slash mean itself, not all below it.
type exactMux struct{ *http.ServeMux }

func (m exactMux) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	if bare, isFolder := strings.CutSuffix(pattern, "/"); isFolder {
		m.ServeMux.HandleFunc(bare, h)
		pattern += "{$}"
	}
	m.ServeMux.HandleFunc(pattern, h)
}

// register adds every operation of the OpenAPI document.
func (s *server) register(mux *http.ServeMux) huma.API {
	setUpHuma()
	cfg := huma.DefaultConfig("GRACE", s.cfg.Version)
	cfg.Info.Description = "Self-healing software: what it sees, what it decides, and why. " +
		"Roles: viewer < operator < approver < admin."
	cfg.DocsPath, cfg.SchemasPath = "", ""
	cfg.CreateHooks = nil // no $schema links
	cfg.OpenAPIPath = ""  // huma would serve it to everybody; registerPlain serves it
	cfg.RejectUnknownQueryParameters = true
	cfg.Transformers = []huma.Transformer{present}
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "a token of: grace token create"},
	}
	api := humago.New(exactMux{mux}, cfg)
	api.UseMiddleware(s.authenticate)
	s.registerHealth(api)
	s.registerSignals(api)
	s.registerAlerts(mux, api)
	s.registerRuns(api)
	s.registerGovernance(api)
	s.registerHands(api)
	s.registerRecords(api)
	s.registerNotify(api)
	s.registerStream(api)
	s.registerAdmin(api)
	return api
}

// op describes an operation. doc is its summary; what names it in errors.
type op struct {
	method, path, id, tag, doc, what string

	role   role
	meta   map[string]any
	status int
	errors []int
	edit   func(*huma.Operation) // before it is registered
	schema *huma.Schema          // of a body that the handler reads itself
}

// handle registers a handler whose errors may be of any kind.
func handle[I, O any](s *server, api huma.API, o op, h func(context.Context, *I) (*O, error)) {
	meta := map[string]any{metaRole: o.role}
	maps.Copy(meta, o.meta)
	codes := append([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}, o.errors...)
	slices.Sort(codes)
	operation := huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.doc, Tags: []string{o.tag},
		Metadata: meta, MaxBodyBytes: s.cfg.MaxBody, Errors: slices.Compact(codes), DefaultStatus: o.status,
		Security: []map[string][]string{{"token": {o.role.String()}}},
	}
	if o.edit != nil {
		o.edit(&operation)
	}
	operation.SkipValidateBody = o.schema != nil
	huma.Register(api, operation, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, s.answer(ctx, o.what, err)
		}
		return out, nil
	})
	if o.schema != nil {
		// huma describes a raw body as bytes, whatever was said before.
		api.OpenAPI().Paths[o.path].Post.RequestBody.Content["application/json"].Schema = o.schema
	}
}

// body is an answer with nothing but a body.
type body[T any] struct{ Body T }

func ok[T any](v T) (*body[T], error) { return &body[T]{Body: v}, nil }

// present is the last hand on an answer: a problem gets the request's id, and
// lists and maps are never null, as the document promises.
func present(ctx huma.Context, _ string, v any) (any, error) {
	if p, isProblem := v.(*Problem); isProblem {
		named := *p
		named.RequestID = callerOf(ctx.Context()).Request
		return &named, nil
	}
	if v == nil {
		return v, nil
	}
	return notNull(reflect.ValueOf(v)).Interface(), nil
}
