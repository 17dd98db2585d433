package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

var testNow = time.Date(2026, 3, 2, 9, 31, 2, 0, time.UTC) // a Monday

// env is a notifier over a real store, with a clock that the test moves.
type env struct {
	t       *testing.T
	store   *store.Store
	n       *Notifier
	now     time.Time
	decided []string
	refuse  error // of the next decision
	log     *bytes.Buffer
}

func newEnv(t *testing.T, s Settings) *env {
	t.Helper()
	return newEnvAt(t, s, "sqlite:"+filepath.Join(t.TempDir(), "grace.db"))
}

func newEnvAt(t *testing.T, s Settings, url string) *env {
	t.Helper()
	e := &env{t: t, now: testNow, log: &bytes.Buffer{}}
	var err error
	e.store, err = store.Open(t.Context(), store.Options{URL: url, AuditKey: []byte("key"), Now: func() time.Time { return e.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.store.Close)
	e.use(s)
	return e
}

// use starts over with a configuration, as after a restart.
func (e *env) use(s Settings) {
	e.t.Helper()
	if s.Services == nil {
		s.Services = []grace.Service{
			{ID: "web", Owner: "team-web", Criticality: grace.CriticalityMedium},
			{ID: "db", Owner: "team-db", Criticality: grace.CriticalityCritical},
		}
	}
	if s.External == "" {
		s.External = "https://grace.example.com"
	}
	for i := range s.Routes {
		s.Routes[i].SendResolved = true
	}
	n, err := New(s, Deps{
		Store: e.store, Now: func() time.Time { return e.now }, Owner: "me", Jitter: func() float64 { return 0.5 },
		Log: slog.New(slog.NewTextHandler(e.log, nil)),
		Decide: func(_ context.Context, id grace.ApprovalID, approve bool, reason, actor string, revision int) error {
			e.decided = append(e.decided, fmt.Sprintf("%s %v %q by %s at %d", id, approve, reason, actor, revision))
			return e.refuse
		},
	})
	if err != nil {
		e.t.Fatal(err)
	}
	n.during = time.Hour // the clock is the test's
	e.n = n
	if err := n.enrol(e.t.Context(), n.current()); err != nil {
		e.t.Fatal(err)
	}
}

// apply writes what has happened, now.
func (e *env) apply(what event.Event) {
	e.t.Helper()
	if c, ok := what.(event.Given); ok {
		for i := range c.Outbox {
			if c.Outbox[i].Timestamp.IsZero() {
				c.Outbox[i].Timestamp = e.now
			}
		}
	}
	err := e.store.Do(e.t.Context(), func(ctx context.Context, tx store.Tx) error { return e.store.Append(ctx, tx, what) })
	if err != nil {
		e.t.Fatal(err)
	}
}

// turn lets a receiver's worker do what is due, until it waits.
func (e *env) turn(name string) time.Duration {
	e.t.Helper()
	for _, w := range e.n.current().workers {
		if w.name != name {
			continue
		}
		for {
			wait, err := w.turn(e.t.Context())
			if err != nil {
				e.t.Fatal(err)
			}
			if wait > 0 {
				return wait
			}
		}
	}
	e.t.Fatalf("no receiver %s", name)
	return 0
}

// climb lets the ladder do what is due.
func (e *env) climb() {
	e.t.Helper()
	if err := e.n.ladder(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
}

func (e *env) row(name string) store.Receiver {
	e.t.Helper()
	r, err := e.store.Receiver(e.t.Context(), e.store.Q(), name)
	if err != nil {
		e.t.Fatal(err)
	}
	return r
}

// ask makes a run that waits for a person.
func (e *env) ask(id string, service grace.ServiceID) {
	e.t.Helper()
	run := grace.Run{
		ID: grace.RunID(id), Status: grace.RunAwaitingApproval, Service: service, Code: grace.CodeServiceDown, Revision: 1,
		Playbook: grace.Playbook{ID: "restart_service", Binding: grace.Binding{Steps: []grace.Step{{Name: "restart"}}}}, Decision: grace.DecisionID("dec-" + id),
		SickSince: e.now.Add(-3 * time.Minute), CreatedAt: e.now,
	}
	e.apply(event.Given{
		Runs: []grace.Run{run},
		Approvals: []grace.Approval{{
			ID: grace.ApprovalID(id), Run: run.ID, Service: service, Playbook: "restart_service", State: grace.ApprovalPending,
			Revision: 1, Expires: e.now.Add(30 * time.Minute), At: e.now,
		}},
		Decisions: []grace.Decision{{
			ID: run.Decision, Verdict: grace.VerdictRequireApproval, Service: service, Run: run.ID, At: e.now,
			Reasons: []grace.Reason{{Gate: "blast_radius", Code: grace.ReasonBlastRadius, Actual: 3.0, Required: 2.0}},
		}},
		Outbox: []grace.Event{{
			Type: "self_heal.run.awaiting_approval", Source: "loop", Actor: grace.Self, Resource: "run/" + id,
			Payload: event.Encode(map[string]any{"run": id, "service": service, "playbook": "restart_service", "code": "service_down", "state": "awaiting_approval"}),
		}},
	})
}

// act has a run begin to change its target.
func (e *env) act(id string, service grace.ServiceID) {
	e.t.Helper()
	e.apply(event.Given{Outbox: []grace.Event{{Type: "self_heal.run.running", Resource: "run/" + id, Payload: event.Encode(runPayload{Service: service})}}})
}

// answer settles a question.
func (e *env) answer(id string, state grace.ApprovalState) {
	e.t.Helper()
	a, err := e.store.Approval(e.t.Context(), e.store.Q(), grace.ApprovalID(id))
	if err != nil {
		e.t.Fatal(err)
	}
	a.State, a.Revision, a.Actor, a.Reason = state, a.Revision+1, "token:ada", "go on"
	e.apply(event.ApprovalAnswered{Approval: a, At: e.now})
}

// incident writes an incident and what happened to it: opened, acknowledged,
// resolved.
func (e *env) incident(id string, service grace.ServiceID, what string) {
	e.t.Helper()
	inc := grace.Incident{
		ID: grace.IncidentID(id), State: grace.IncidentOpen, Service: service, Severity: grace.SeverityCritical,
		Title: "restart_service on " + string(service) + " failed", Detail: "the check never passed", OpenedAt: e.now,
	}
	switch what {
	case "resolved":
		inc.State, inc.Resolution = grace.IncidentResolved, "healed by run r-9 (restart_service)"
	case "acknowledged":
		inc.Acknowledged = &grace.Note{Actor: "token:ada", Text: "on it", At: e.now}
	}
	e.apply(event.IncidentChanged{Incident: inc, What: "incident." + what, Actor: "token:ada", At: e.now})
}

// report writes an incident and what happened to it, also while it gets worse.
func (e *env) report(inc grace.Incident, what string) {
	e.t.Helper()
	if inc.OpenedAt.IsZero() {
		inc.OpenedAt = e.now
	}
	e.apply(event.IncidentChanged{Incident: inc, What: what, At: e.now})
}

// silence keeps services silent for a time; the same id ends an earlier one.
func (e *env) silence(id, services string, d time.Duration) {
	e.t.Helper()
	s := grace.Silence{ID: grace.SilenceID(id), Service: services, Starts: e.now, Ends: e.now.Add(time.Hour), Reason: "moving it", Actor: "token:ada", At: e.now}
	if s.Ends = e.now.Add(d); d == 0 {
		s.Ends, s.Ended = e.now.Add(time.Hour), &grace.Note{Actor: "token:ada", Text: "done", At: e.now}
	}
	e.apply(event.Given{Silences: []grace.Silence{s}})
}

// all lets some time pass, and then the ladder and the receivers do what is due.
func (e *env) all(d time.Duration) {
	e.t.Helper()
	e.now = e.now.Add(d)
	for range 2 { // again does nothing but what the receivers left to the ladder
		e.climb()
		for _, w := range e.n.current().workers {
			e.turn(w.name)
		}
	}
}

// got is one request that a double took.
type got struct {
	path   string
	header http.Header
	body   string
}

func (g got) json(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(g.body), &out); err != nil {
		t.Fatalf("%v in %s", err, g.body)
	}
	return out
}

// double is a server that notes what it is told and answers as told.
type double struct {
	*httptest.Server

	mu     sync.Mutex
	all    []got
	answer func(w http.ResponseWriter, g got)
}

func newDouble(t *testing.T, answer func(w http.ResponseWriter, g got)) *double {
	t.Helper()
	d := &double{answer: answer}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		g := got{path: r.URL.Path, header: r.Header, body: string(body)}
		d.mu.Lock()
		d.all = append(d.all, g)
		answer := d.answer
		d.mu.Unlock()
		if answer != nil {
			answer(w, g)
		}
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *double) say(answer func(w http.ResponseWriter, g got)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = answer
}

func (d *double) requests() []got {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all)
}

// titles of the messages that a webhook took.
func (d *double) titles(t *testing.T) []string {
	t.Helper()
	out := []string{}
	for _, g := range d.requests() {
		out = append(out, fmt.Sprint(g.json(t)["title"]))
	}
	return out
}

func status(code int) func(http.ResponseWriter, got) {
	return func(w http.ResponseWriter, _ got) { w.WriteHeader(code) }
}

// hook is a webhook receiver for a double.
func hook(name string, d *double) Receiver {
	return Receiver{Name: name, Type: "webhook", URL: d.URL + "/" + name, Timeout: grace.Duration(5 * time.Second)}
}

func equal[T any](t *testing.T, have, want T) {
	t.Helper()
	if fmt.Sprintf("%+v", have) != fmt.Sprintf("%+v", want) {
		t.Errorf("have %+v\nwant %+v", have, want)
	}
}

// noNetwork is a transport that reaches nobody.
type noNetwork struct{}

func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("no network")
}
