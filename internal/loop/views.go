package loop

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/explain"
	"grace/internal/heal"
	"grace/internal/healthgraph"
	"grace/internal/stage/govern"
	"grace/internal/stage/learn"
	"grace/internal/stage/propose"
)

// views is what people and programs see of it.
type views struct {
	*common
	work

	in         *ingest
	forecaster *forecaster

	assessed assessed // what was made of the signals
	kpis     staleWhileRevalidate[learn.KPIs]
	rates    staleWhileRevalidate[[]learn.Row] // over all time
}

// Start makes the answers that are expensive to make before anybody asks.
func (v *views) Start(ctx context.Context) { v.begin(ctx, v.warm) }

func (v *views) warm(ctx context.Context) {
	if _, err := v.KPIs(ctx); err != nil && ctx.Err() == nil {
		v.Log.Warn("key figures not measured; they are when they are asked for", "error", err)
	}
	v.Rates(v.Now(), 0)
}

// assessed is what Health said last.
type assessed struct {
	mu       sync.Mutex
	health   []grace.HealthState
	symptoms map[grace.ServiceID]Symptoms
	stages   *stages
	version  int64
	at       time.Time
	took     time.Duration
	making   bool // another one is made beside
}

// Symptoms are what a service suffers from.
type Symptoms struct {
	Worst grace.Signal // the one to be named first
	Count int          // signals that are not ok
	// Silenced are those of them that fire while their source keeps them silent.
	Silenced []grace.Signal
}

const (
	// healthFresh is how long a health state holds when no signal changes.
	healthFresh = time.Second
	// healthShare bounds what is spent on health when signals change all the
	// time: one part in so many.
	healthShare = 10
	// healthOld is when a health state is not given any more, however long the
	// next one takes.
	healthOld = 5 * time.Second
)

// Health gives the state of every service, sorted by id, with one entry for
// every domain that brought services of its own. In a storm, when it takes long
// to assess, it may be some ten times as old as it takes to assess, at most 5 s.
// The caller must not change it.
func (v *views) Health() []grace.HealthState {
	health, _ := v.assessment()
	return slices.Clone(health)
}

// Symptoms gives what is wrong, by service, as old as Health. Services with
// nothing but ok signals are absent.
func (v *views) Symptoms() map[grace.ServiceID]Symptoms {
	_, symptoms := v.assessment()
	return maps.Clone(symptoms)
}

// assessment gives what was made last, or makes it anew where that is too old.
// What takes long is made beside: who looks at a storm does not wait for it.
func (v *views) assessment() ([]grace.HealthState, map[grace.ServiceID]Symptoms) {
	a := &v.assessed
	a.mu.Lock()
	now, version, st := v.Now(), v.mirror.changes(), v.stages.Load()
	age := now.Sub(a.at)
	usable := a.stages == st && age >= 0
	fresh := usable && (a.version == version && age < healthFresh || a.took > healthFresh/100 && age < healthShare*a.took)
	anew := !fresh && (!usable || a.took <= lazyQuick || age >= healthOld)
	if anew {
		a.make(v, st, version, now)
	}
	beside := !fresh && !anew && !a.making
	a.making = a.making || beside
	health, symptoms := a.health, a.symptoms
	a.mu.Unlock()
	if beside {
		v.spawn(func() { // under no lock meanwhile: others read the old one
			var next assessed
			next.make(v, st, version, now)
			a.mu.Lock()
			defer a.mu.Unlock()
			a.making = false
			a.health, a.symptoms, a.stages, a.version, a.at, a.took = next.health, next.symptoms, st, version, now, next.took
		})
	}
	return health, symptoms
}

// make assesses. The caller holds the lock.
func (a *assessed) make(v *views, st *stages, version int64, now time.Time) {
	began := time.Now()
	a.health, a.symptoms = v.assess(st, now)
	a.stages, a.version, a.at, a.took = st, version, now, time.Since(began)
}

func (v *views) assess(st *stages, now time.Time) ([]grace.HealthState, map[grace.ServiceID]Symptoms) {
	by := map[grace.ServiceID][]grace.Signal{}
	buf := make([]grace.Signal, 0, latestBatch)
	for part := range slices.Chunk(v.mirror.allSignals(), latestBatch) {
		buf = append(buf[:0], part...)
		v.in.latest(buf, func(s *grace.Signal) bool { return s.State != grace.SignalOK }) // which are the symptoms
		for _, s := range buf {
			by[s.Service] = append(by[s.Service], s)
			if svc, ok := st.rules.Graph.Service(s.Service); ok && svc.Domain != "" {
				domain := grace.ServiceID(svc.Domain)
				by[domain] = append(by[domain], partOf(domain, s))
			}
		}
	}
	ids := map[grace.ServiceID]bool{}
	for _, s := range st.rules.Graph.Services() {
		ids[s.ID] = true
		if s.Domain != "" {
			ids[grace.ServiceID(s.Domain)] = true
		}
	}
	health := make([]grace.HealthState, 0, len(ids))
	symptoms := map[grace.ServiceID]Symptoms{}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		health = append(health, healthgraph.Assess(id, by[id], now))
		if worst, n := healthgraph.Worst(id, by[id]); n > 0 {
			symptoms[id] = Symptoms{Worst: worst, Count: n, Silenced: healthgraph.Silenced(id, by[id])}
		}
	}
	return health, symptoms
}

// partOf gives a signal of a domain's service as one of the domain's own.
func partOf(domain grace.ServiceID, s grace.Signal) grace.Signal {
	s.Message = string(s.Service) + ": " + cmp.Or(s.Message, string(s.Code), s.Metric)
	s.Service = domain
	return s
}

// latestBatch of signals are brought up to date while no sample is taken.
const latestBatch = 256

// Latest gives signals with the values, times and messages of the newest samples that
// this process has seen: what is published, and decided on, is of the last change. It
// is for people to look at.
func (in *ingest) Latest(signals []grace.Signal) []grace.Signal {
	out := slices.Clone(signals)
	for part := range slices.Chunk(out, latestBatch) {
		in.latest(part, func(*grace.Signal) bool { return true })
	}
	return out
}

// latest is Latest, in place, for those signals that are wanted.
func (in *ingest) latest(signals []grace.Signal, wanted func(*grace.Signal) bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range signals {
		if wanted(&signals[i]) {
			signals[i] = in.sense.Latest(signals[i])
		}
	}
}

// Signals gives all signals that this replica knows of, as they were published, sorted
// by key. The caller must not change them.
func (v *views) Signals() []grace.Signal { return v.mirror.allSignals() }

// Declared tells whether a service is configured or a domain's. Others are
// shown and never acted on.
func (v *views) Declared(id grace.ServiceID) bool { return v.stages.Load().rules.Declared(id) }

// Graph gives the health graph in force.
func (v *views) Graph() *healthgraph.Graph { return v.stages.Load().rules.Graph }

// Playbooks gives the playbooks in force, sorted by id.
func (v *views) Playbooks() []grace.Playbook {
	list := slices.Clone(v.stages.Load().Playbooks)
	slices.SortFunc(list, func(a, b grace.Playbook) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

// Trial is what a playbook would meet on a service now.
type Trial struct {
	Playbook   grace.Playbook
	Parameters map[string]any
	Verdict    grace.Verdict
	Policy     string
	Reasons    []grace.Reason
}

// DryRun asks the gates about a playbook on a service and changes nothing.
func (v *views) DryRun(ctx context.Context, id grace.PlaybookID, service grace.ServiceID, params map[string]any) (Trial, error) {
	st := v.stages.Load()
	s, ok := st.rules.Graph.Service(service)
	if !ok {
		return Trial{}, &InvalidError{fmt.Errorf("unknown service %q", service)}
	}
	i := slices.IndexFunc(st.Playbooks, func(p grace.Playbook) bool { return p.ID == id })
	if i < 0 {
		return Trial{}, &InvalidError{fmt.Errorf("unknown playbook %q", id)}
	}
	p, ok := st.Playbooks[i].Bind(s)
	if !ok {
		return Trial{}, &InvalidError{unbound(p, service)}
	}
	if err := unasked(p, service, params); err != nil {
		return Trial{}, err
	}
	p.Arguments = with(p.Arguments, params)
	resolved, err := propose.ResolveParameters(p)
	if err != nil {
		return Trial{}, &InvalidError{err}
	}
	mode, err := v.Store.Mode(ctx, v.Store.Q())
	if err != nil {
		return Trial{}, fmt.Errorf("read the mode: %w", err)
	}
	now := v.Now()
	proposal := grace.Proposal{
		Service: service, Playbook: id, Parameters: resolved, Risk: p.Risk, Auto: p.Auto, Impact: p.Impact, Kind: grace.TriggerManual,
		BlastRadius: st.rules.BlastRadius(service, decide.ShownWell(v.mirror.allSignals())), Confidence: 1, Criticality: s.Criticality, At: now,
	}
	verdict, policy, reasons := st.rules.Trust.Decide(govern.Input{Now: now, Mode: mode.At(now), Proposal: proposal})
	p = heal.Preview(p, service, resolved)
	return Trial{Playbook: p, Parameters: resolved, Verdict: verdict, Policy: policy, Reasons: reasons}, nil
}

// unbound says why a playbook does not run on a service.
func unbound(p grace.Playbook, service grace.ServiceID) error {
	if len(p.Services) > 0 && !slices.Contains(p.Services, service) {
		return fmt.Errorf("playbook %q is for other services: its key services names %s, and not %s", p.ID, explain.List(p.Services), service)
	}
	return fmt.Errorf("playbook %q has no binding for %q: add services[].bindings.%s", p.ID, service, p.ID)
}

// KPIs measures the key figures over the last 24 hours. Where there are
// thousands of runs they may be some seconds old.
func (v *views) KPIs(ctx context.Context) (learn.KPIs, error) {
	now := v.Now()
	return v.kpis.get(now, func() (learn.KPIs, error) { return v.measure(context.WithoutCancel(ctx), now) }, v.spawn)
}

func (v *views) measure(ctx context.Context, now time.Time) (learn.KPIs, error) {
	heads, err := v.Store.RunHeadsActive(ctx, v.Store.Q(), now.Add(-24*time.Hour))
	if err != nil {
		return learn.KPIs{}, fmt.Errorf("read the runs of the last day: %w", err)
	}
	st := v.stages.Load()
	low := map[grace.PlaybookID]bool{}
	for _, p := range st.Playbooks {
		low[p.ID] = p.Risk == grace.RiskLow
	}
	facts := make([]learn.Fact, len(heads))
	for i, h := range heads {
		facts[i] = learn.Fact{
			State: h.State, Kind: h.Kind, Auto: h.Auto, CreatedAt: h.CreatedAt, EndedAt: h.EndedAt,
			Recovered: grace.Duration(h.RecoveredIn), RolledBack: h.Undone, Moot: h.Code == grace.CodeManual || unsure(h), LowRisk: low[h.Playbook] && !st.critical(h.Service),
		}
	}
	k := learn.Measure(now, facts)
	records, _ := v.forecaster.Predicted()
	wrong, told := 0, 0
	for _, r := range records {
		wrong += int(r.FalsePositives)
		told += int(r.TruePositives + r.FalsePositives + r.Prevented)
	}
	k.Criteria = append(k.Criteria, learn.FalsePredictions(wrong, told))
	return k, nil
}

// EngineLag is the age of the oldest approved run that has not started, 0 when
// there is none.
func (v *views) EngineLag(ctx context.Context) (time.Duration, error) {
	open, err := v.Store.OpenRunHeads(ctx, v.Store.Q())
	if err != nil {
		return 0, err
	}
	var lag time.Duration
	for _, h := range open {
		if h.State == grace.RunApproved {
			lag = max(lag, v.Now().Sub(h.CreatedAt))
		}
	}
	return lag, nil
}

// Stats counts what the loop did since it started.
type Stats struct {
	samples, triggers, clamped atomic.Int64

	mu sync.Mutex
	// OnDecision and OnAction are told of every decision and action, for
	// metrics. Set them before Start.
	OnDecision func(dec grace.Decision, took time.Duration)
	OnAction   func(step string, status grace.OutcomeStatus, took time.Duration)
}

// Stats gives the counters.
func (v *views) Stats() *Stats { return &v.stats }

// Samples counts samples observed, Triggers those that became triggers.
func (s *Stats) Samples() int64 { return s.samples.Load() }

// Clamped counts samples that were dated ahead of the clock, and taken as of now or before.
func (s *Stats) Clamped() int64 { return s.clamped.Load() }

// Triggers counts the triggers made.
func (s *Stats) Triggers() int64 { return s.triggers.Load() }

func (s *Stats) decided(dec grace.Decision, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.OnDecision != nil {
		s.OnDecision(dec, took)
	}
}

func (s *Stats) acted(step string, status grace.OutcomeStatus, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.OnAction != nil {
		s.OnAction(step, status, took)
	}
}
