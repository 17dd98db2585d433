package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/healthgraph"
	"grace/internal/loop"
	"grace/internal/mesh"
	"grace/internal/notify"
	"grace/internal/stage/learn"
	"grace/internal/store"
	"grace/sensor/alertmanager"
)

// fakeCore notes what it was asked and answers as told.
type fakeCore struct {
	mu            sync.Mutex
	err           error // of the next writing call
	unready       error
	graph         *healthgraph.Graph
	skipped       []alertmanager.Skipped
	samples       []grace.Sample
	post          post
	decided       []DecisionInput
	byHand        []loop.ByHand
	forgotten     []grace.SignalKey
	latest        map[grace.SignalKey]grace.Signal  // newer than what is stored
	symptoms      map[grace.ServiceID]loop.Symptoms // besides those of what is stored
	silences      []grace.Silence
	hands         []string // what was done about silences and incidents
	aborted       []string
	mode          grace.ModeSetting
	services      []ServiceView
	kpis          learn.KPIs
	notifications notify.Status
	undeclared    []grace.Signal
	unmeasured    []loop.NeverMeasured
	notTaken      []SkippedAlerts
	trusted       Alertmanager
	panics        bool
	store         *store.Store // whose learning log is counted
	backtest      func(ctx context.Context, since, step time.Duration) (PredictionBacktest, error)
}

func (b *fakeCore) fail(err error) { b.mu.Lock(); defer b.mu.Unlock(); b.err = err }

func (b *fakeCore) Observe(_ context.Context, samples ...grace.Sample) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.samples = append(b.samples, samples...)
	return b.err
}

func (b *fakeCore) Post(_ context.Context, events []grace.Event, samples []grace.Sample, predictions []grace.Prediction) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.post = post{events: events, samples: samples, predictions: predictions}
	return b.err
}

// DecideApproval names no run: nobody waits until it has moved.
func (b *fakeCore) DecideApproval(_ context.Context, id grace.ApprovalID, approve bool, reason, actor string, revision int) (grace.Approval, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := DecisionInput{Approve: approve, Reason: reason, Actor: actor, Revision: revision}
	b.decided = append(b.decided, in)
	return grace.Approval{ID: id, State: grace.ApprovalApproved, Revision: in.Revision + 1, Actor: in.Actor, Reason: in.Reason}, b.err
}

func (b *fakeCore) Abort(_ context.Context, id grace.RunID, actor, reason string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.aborted = append(b.aborted, string(id)+" "+actor+" "+reason)
	return b.err
}

func (b *fakeCore) SetMode(_ context.Context, set grace.ModeSetting, actor string) (grace.ModeSetting, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	set.Actor = actor
	b.mode = set
	return set, b.err
}

// did notes what was done by hand.
func (b *fakeCore) did(verb string, id any, actor, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hands = append(b.hands, fmt.Sprintf("%s %v %s %s", verb, id, actor, reason))
}

func (b *fakeCore) ResolveIncident(_ context.Context, id grace.IncidentID, actor, reason string) (grace.Incident, error) {
	b.did("resolve", id, actor, reason)
	return grace.Incident{ID: id, State: grace.IncidentResolved}, b.err
}

func (b *fakeCore) AcknowledgeIncident(_ context.Context, id grace.IncidentID, actor, reason string) (grace.Incident, error) {
	b.did("acknowledge", id, actor, reason)
	return grace.Incident{ID: id, State: grace.IncidentOpen, Acknowledged: &grace.Note{Actor: actor, Text: reason}}, b.err
}

func (b *fakeCore) NoteIncident(_ context.Context, id grace.IncidentID, actor, text string) (grace.Incident, error) {
	b.did("note", id, actor, text)
	return grace.Incident{ID: id, State: grace.IncidentOpen, Notes: []grace.Note{{Actor: actor, Text: text}}}, b.err
}

func (b *fakeCore) AddSilence(_ context.Context, s grace.Silence, actor string) (grace.Silence, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.ID, s.Actor, s.Starts = "s-1", actor, cmp.Or(s.Starts, testNow)
	if err := s.Validate(); err != nil {
		return s, &loop.InvalidError{Err: err}
	}
	b.silences = append(b.silences, s)
	return s, b.err
}

func (b *fakeCore) EndSilence(_ context.Context, id grace.SilenceID, actor, reason string) (grace.Silence, error) {
	b.did("end", id, actor, reason)
	return grace.Silence{ID: id, Ended: &grace.Note{Actor: actor, Text: reason}}, b.err
}

func (b *fakeCore) RunByHand(_ context.Context, want loop.ByHand, actor string) (grace.Decision, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.byHand = append(b.byHand, want)
	return grace.Decision{ID: "dec-1", Verdict: grace.VerdictAllow, Service: want.Service, Run: "r-1"}, b.err
}

func (b *fakeCore) ForgetSignal(_ context.Context, key grace.SignalKey, _, _ string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgotten = append(b.forgotten, key)
	return b.err
}

func (b *fakeCore) Health() []grace.HealthState {
	if b.panics {
		panic("boom")
	}
	var out []grace.HealthState
	for _, v := range b.services {
		out = append(out, v.Health)
	}
	return out
}

func (b *fakeCore) Domains() []DomainView {
	return []DomainView{{Name: "core", Telemetry: []grace.MetricSpec{{Name: "self_heal.success_rate", Kind: grace.MetricGauge, Unit: "1"}}}}
}

// Graph is of the services as they are now.
func (b *fakeCore) Graph() *healthgraph.Graph {
	var services []grace.Service
	for _, v := range b.services {
		services = append(services, v.Service)
	}
	if b.graph == nil || !slices.EqualFunc(b.graph.Services(), services, func(a, c grace.Service) bool { return a.ID == c.ID }) {
		b.graph = healthgraph.New(services)
	}
	return b.graph
}

func (b *fakeCore) Declared(id grace.ServiceID) bool {
	return slices.ContainsFunc(b.services, func(v ServiceView) bool { return v.ID == id })
}

func (b *fakeCore) NeverMeasured() []loop.NeverMeasured { return b.unmeasured }

func (b *fakeCore) Signals() []grace.Signal { return b.undeclared }

func (b *fakeCore) Symptoms() map[grace.ServiceID]loop.Symptoms {
	ctx, out := context.Background(), map[grace.ServiceID]loop.Symptoms{}
	maps.Copy(out, b.symptoms)
	signals, err := b.store.Signals(ctx, b.store.Q(), "")
	if err != nil {
		return nil
	}
	for _, v := range b.services {
		if worst, n := healthgraph.Worst(v.ID, signals); n > 0 {
			out[v.ID] = loop.Symptoms{Worst: worst, Count: n, Silenced: healthgraph.Silenced(v.ID, signals)}
		}
	}
	return out
}

func (b *fakeCore) Latest(signals []grace.Signal) []grace.Signal {
	out := slices.Clone(signals)
	for i := range out {
		if newer, ok := b.latest[out[i].Key]; ok {
			out[i] = newer
		}
	}
	return out
}

func (b *fakeCore) Skipped(problems []alertmanager.Skipped) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.skipped = append(b.skipped, problems...)
}

func (b *fakeCore) Alertmanager() Alertmanager { return b.trusted }

func (b *fakeCore) Heed(samples []grace.Sample) []grace.Sample { return samples }
func (b *fakeCore) Came()                                      {}
func (b *fakeCore) NotTaken() []SkippedAlerts                  { return b.notTaken }

func (b *fakeCore) Sensors() []SensorView {
	return []SensorView{{Name: "web-health", Type: "http", Service: "web", State: SensorOK, Since: testNow}}
}

func (b *fakeCore) BacktestPredictions(ctx context.Context, since, step time.Duration) (PredictionBacktest, error) {
	return b.backtest(ctx, since, step)
}

func (b *fakeCore) Playbooks() []grace.Playbook {
	return []grace.Playbook{{ID: "restart_service", Title: "Restart", Risk: grace.RiskMedium}, {ID: "warm_cache", Risk: grace.RiskLow}}
}

func (b *fakeCore) DryRun(_ context.Context, playbook grace.PlaybookID, _ grace.ServiceID, params map[string]any) (loop.Trial, error) {
	return loop.Trial{Playbook: grace.Playbook{ID: playbook}, Parameters: params, Verdict: grace.VerdictDeny}, b.err
}

func (b *fakeCore) Reload(context.Context, string) error { return b.err }
func (b *fakeCore) Ready(context.Context) error          { return cmp.Or(b.unready, b.err) }

func (b *fakeCore) Rates(now time.Time, bucket time.Duration) []learn.Row {
	entries, err := b.store.LearningSince(context.Background(), b.store.Q(), time.Time{})
	if err != nil {
		return nil
	}
	return learn.New(learn.DefaultConfig(), entries).Rows(now, bucket)
}

func (b *fakeCore) KPIs(context.Context) (learn.KPIs, error) {
	return b.kpis, nil
}

func (b *fakeCore) Unready() string {
	if b.unready == nil {
		return ""
	}
	return NotReady(b.unready)
}

func (b *fakeCore) Status(context.Context) (notify.Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.notifications, b.err
}

func (b *fakeCore) Test(_ context.Context, receiver, _ string) ([]notify.TestOutcome, error) {
	return []notify.TestOutcome{{Receiver: receiver, OK: true}}, b.err
}

func (b *fakeCore) Retry(context.Context, string, string) (int, error) { return 1, b.err }

// env is the API over a real store, with a token for every role.
type env struct {
	t       *testing.T
	store   *store.Store
	core    *fakeCore
	bus     *mesh.Bus
	handler *Handler
	tokens  map[string]string
	log     *bytes.Buffer
	now     time.Time
}

var testNow = time.Date(2026, 3, 1, 9, 31, 2, 0, time.UTC)

func service(id grace.ServiceID, status grace.Health, symptoms ...string) ServiceView {
	return ServiceView{
		Service: grace.Service{ID: id, Owner: "team-" + string(id), Criticality: grace.CriticalityHigh},
		Health:  grace.HealthState{Service: id, Status: status, Confidence: 1, TopSymptoms: symptoms},
	}
}

// newEnv builds the API; edit may change its configuration.
func newEnv(t *testing.T, edit ...func(*Config)) *env {
	t.Helper()
	e := &env{t: t, core: &fakeCore{kpis: learn.KPIs{
		MeanTimeToRecover: grace.Duration(42 * time.Second), Succeeded24h: 27, Failed24h: 3, Rollbacks24h: 3, Proposals24h: 31, AutoApproved24h: 22,
	}}, bus: mesh.New(), tokens: map[string]string{}, log: &bytes.Buffer{}, now: testNow}
	st, err := store.Open(t.Context(), store.Options{
		URL: "sqlite:" + filepath.Join(t.TempDir(), "grace.db"), AuditKey: []byte("key"), Now: func() time.Time { return e.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	e.core.store, e.core.trusted = st, Alertmanager{Bearer: "am-secret", HMAC: []byte("am-key"), Mapping: alertmanager.Mapping{}}
	e.core.notifications.Told = true
	t.Cleanup(st.Close)
	e.store = st
	e.core.services = []ServiceView{
		service("cart", grace.HealthDegraded, "latency_spike"), service("checkout", grace.HealthHealthy),
		service("core", grace.HealthUnknown), service("db", grace.HealthCritical, "service_down"),
	}
	for r := roleViewer; r <= roleAdmin; r++ {
		secret, err := st.CreateToken(t.Context(), "test", store.NewToken{Name: r.String(), Role: r.String()})
		if err != nil {
			t.Fatal(err)
		}
		e.tokens[r.String()] = secret
	}
	cfg := Config{
		SessionKey: []byte("session"), Heartbeat: 20 * time.Millisecond,
		Reserved: func(name string) bool { return name == "web-probe" },
	}
	for _, f := range edit {
		f(&cfg)
	}
	e.handler, err = New(cfg, Deps{
		Store: st, Core: e.core, Process: e.core, Alerts: e.core, Notifier: e.core, Bus: e.bus, Now: func() time.Time { return e.now },
		Log: slog.New(slog.NewJSONHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// apply puts records into the store.
func (e *env) apply(c event.Given) {
	e.t.Helper()
	err := e.store.Do(e.t.Context(), func(ctx context.Context, tx store.Tx) error { return e.store.Append(ctx, tx, c) })
	if err != nil {
		e.t.Fatal(err)
	}
}

// call sends a request with the token of a role; "" sends none.
func (e *env) call(role, method, path, body string, header ...string) *httptest.ResponseRecorder {
	e.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if role != "" {
		req.Header.Set("Authorization", "Bearer "+e.tokens[role])
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	e.handler.ServeHTTP(rec, req)
	return rec
}

// problemOf checks that an answer is a whole problem of a status.
func problemOf(t *testing.T, rec *httptest.ResponseRecorder, status int) Problem {
	t.Helper()
	if rec.Code != status {
		t.Fatalf("status %d, want %d: %s", rec.Code, status, rec.Body)
	}
	if ct := rec.Header().Get("Content-Type"); ct != problemType {
		t.Errorf("Content-Type %q, want %s", ct, problemType)
	}
	var p Problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		t.Fatalf("not JSON: %v: %s", err, rec.Body)
	}
	if p.Status != status || p.Title != http.StatusText(status) || p.Detail == "" || p.Type != "about:blank" {
		t.Errorf("not a whole problem: %+v", p)
	}
	if p.RequestID == "" || p.RequestID != rec.Header().Get(requestIDHeader) {
		t.Errorf("request id %q, header %q", p.RequestID, rec.Header().Get(requestIDHeader))
	}
	return p
}

// decode reads an answer of status 2xx.
func decode[T any](t *testing.T, rec *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if rec.Code/100 != 2 {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	if err := json.NewDecoder(io.LimitReader(rec.Body, 1<<22)).Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func at(d time.Duration) time.Time { return testNow.Add(d) }

// story is a run that waits for approval, with all that led to it.
func story() event.Given {
	diagnosis := grace.Diagnosis{
		ID: "d-1", Code: grace.CodeCircuitBreakerOpen, Cause: "db", Kind: grace.TriggerReactive, Likelihood: 0.86, Impact: grace.ImpactHigh,
		Victims: []grace.ServiceID{"cart"}, Since: at(-5 * time.Minute), At: at(-4 * time.Minute),
		Evidence: []grace.Evidence{{Service: "db", Code: grace.CodeElevatedErrors, Weight: 0.6, Text: "error_ratio 0.21 over 0.05"}},
	}
	playbook := grace.Playbook{ID: "flush_circuit_breakers", Title: "Flush", Risk: grace.RiskMedium, Impact: grace.ImpactLow, Binding: grace.Binding{
		Steps: []grace.Step{
			{Name: "flush", Action: "http", With: map[string]any{"url": "http://db/breaker", "method": "POST"}, Undo: &grace.Call{Action: "http", With: map[string]any{"url": "http://db/breaker/open"}}},
			{Name: "note", Action: "command", With: map[string]any{"argv": []any{"logger", "flushed"}}, Irreversible: true},
		},
		Verify: []grace.Check{{Name: "errors", Type: grace.CheckExpr, Expr: `error_ratio{service="cart"} < 0.05`}},
	}}
	proposal := grace.Proposal{
		ID: "p-1", Diagnosis: "d-1", Code: diagnosis.Code, Service: "db", Playbook: playbook.ID, Risk: grace.RiskMedium, Impact: grace.ImpactLow,
		BlastRadius: 3, Confidence: 0.86, At: at(-4 * time.Minute),
	}
	return event.Given{
		Triggers: []grace.Trigger{{
			ID: "t-1", Kind: grace.TriggerReactive, State: grace.TriggerDecided, Service: "db", Code: grace.CodeElevatedErrors,
			Severity: grace.SeverityCritical, Message: "errors are up", Fingerprint: "f", At: at(-5 * time.Minute),
		}},
		Signals: []grace.Signal{{
			Key: "db/shop/error_ratio", Service: "db", Sensor: "shop", Metric: "error_ratio", Code: grace.CodeElevatedErrors, State: grace.SignalFiring,
			Severity: grace.SeverityCritical, Value: 0.21, Threshold: 0.05, Since: at(-5 * time.Minute), At: at(-time.Second),
		}},
		Decisions: []grace.Decision{{
			ID: "dec-1", Verdict: grace.VerdictRequireApproval, Mode: grace.ModeAutonomous, Service: "db", Triggers: []grace.TriggerID{"t-1"},
			Diagnosis: diagnosis, Proposal: &proposal, Run: "r-1", At: at(-4 * time.Minute),
			Reasons: []grace.Reason{
				{Gate: "confidence", Code: grace.ReasonPassed, OK: true, Actual: 0.86, Required: 0.7},
				{Gate: "blast_radius", Code: grace.ReasonBlastRadius, Actual: 3.0, Required: 2.0},
			},
		}},
		Runs: []grace.Run{{
			ID: "r-1", Status: grace.RunAwaitingApproval, Service: "db", Code: diagnosis.Code, Kind: grace.TriggerReactive, Playbook: playbook,
			Decision: "dec-1", Proposal: "p-1", Cone: []grace.ServiceID{"db"}, Revision: 1, SickSince: at(-5 * time.Minute), CreatedAt: at(-4 * time.Minute),
		}},
		Approvals: []grace.Approval{{
			ID: "r-1", Run: "r-1", Service: "db", Playbook: playbook.ID, State: grace.ApprovalPending, Revision: 1, Expires: at(26 * time.Minute), At: at(-4 * time.Minute),
		}},
		Audit: []grace.AuditEntry{{At: at(-4 * time.Minute), Actor: grace.Self, Action: "run.awaiting_approval", Object: "run/r-1", Service: "db"}},
	}
}

func ended(status grace.RunStatus) error {
	return &loop.EndedError{Run: grace.Run{ID: "r-1", Status: status, EndedAt: &testNow}}
}

func deniedByAna() error {
	return &loop.DecidedError{Approval: grace.Approval{Actor: "token:ana", DecidedAt: new(at(-14 * time.Second)), State: grace.ApprovalDenied}}
}
