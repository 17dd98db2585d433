package loop

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/store"
)

// probeMetric is the series of a service's health probe.
const probeMetric = "up"

// seriesLine is a series of the world: values at even distances.
type seriesLine struct {
	service, metric string
	probe           bool
	every           time.Duration
	start, next     time.Time
	values          []float64
}

// at gives the value at a time; NaN when there is none.
func (l *seriesLine) at(now time.Time) float64 {
	i := int(now.Sub(l.start) / l.every)
	if i < 0 || i >= len(l.values) {
		return math.NaN()
	}
	return l.values[i]
}

func (l *seriesLine) sample(at time.Time, v float64) grace.Sample {
	s := grace.Sample{Service: grace.ServiceID(l.service), Sensor: "scrape", Metric: l.metric, Kind: grace.SampleMetric, Value: v, At: at}
	if metric, instance, several := strings.Cut(l.metric, "/"); several {
		s.Metric, s.Labels = metric, map[string]string{"instance": instance}
	}
	if l.probe {
		s.Sensor, s.Kind, s.Code, s.Severity = "probe", grace.SampleProbe, grace.CodeServiceDown, grace.SeverityCritical
		if v == 0 {
			s.Message = "connection refused"
		}
	}
	return s
}

// answer is what one call of an action does.
type answer struct {
	status  grace.OutcomeStatus // empty: it hangs
	retry   bool
	text    string
	after   time.Duration
	effects []effect
}

// effect replaces what comes of a series.
type effect struct {
	service, metric string
	values          []float64
}

// readAnswer reads "succeeds after 2s; api up 1x100" or "fails no such flag".
func readAnswer(text string) (*answer, error) {
	parts := strings.Split(text, "; ")
	a := &answer{}
	verb, rest, _ := strings.Cut(parts[0], " ")
	if d, isDelay := strings.CutPrefix(rest, "after "); isDelay {
		d, a.text, _ = strings.Cut(d, " ")
		var err error
		if a.after, err = time.ParseDuration(d); err != nil {
			return a, err
		}
	} else {
		a.text = rest
	}
	switch verb {
	case "succeeds":
		a.status = grace.OutcomeSucceeded
	case "fails":
		a.status = grace.OutcomeFailed
	case "fails_for_now":
		a.status, a.retry = grace.OutcomeFailed, true
	case "unknown":
		a.status = grace.OutcomeUnknown
	case "hangs":
	default:
		return a, fmt.Errorf("unknown outcome %q", verb)
	}
	for _, part := range parts[1:] {
		words := strings.SplitN(part, " ", 3)
		if len(words) < 3 {
			return a, fmt.Errorf("effect %q: want SERVICE METRIC VALUES", part)
		}
		values, err := readSeries(words[2])
		if err != nil {
			return a, err
		}
		a.effects = append(a.effects, effect{words[0], words[1], values})
	}
	return a, nil
}

// world is what the loop senses and acts on. It is the action and the prober.
type world struct {
	t      *testing.T
	script *script
	loop   *Loop

	mu    sync.Mutex
	calls []call
	used  map[string]int
}

type call struct {
	at   time.Time
	run  grace.RunID
	text string
}

// Name meets grace.Action.
func (w *world) Name() string { return "sim" }

// Validate meets grace.Action.
func (w *world) Validate(with map[string]any) error {
	if with["bad"] != nil {
		return errors.New("unknown setting \"bad\"")
	}
	return nil
}

// Do answers as the script says; a step that it does not name succeeds without
// any effect.
func (w *world) Do(ctx context.Context, req grace.ActionRequest) grace.Outcome {
	a := w.answer(req)
	if a.status == "" {
		<-ctx.Done()
		return grace.Outcome{Status: grace.OutcomeUnknown, Error: "no answer"}
	}
	heal.NewWallClock().Sleep(ctx, a.after)
	if ctx.Err() != nil {
		return grace.Outcome{Status: grace.OutcomeUnknown, Error: "cut off"}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range a.effects {
		w.apply(e)
	}
	o := grace.Outcome{Status: a.status, Retryable: a.retry}
	if a.status != grace.OutcomeSucceeded {
		o.Error = a.text
	}
	return o
}

func (w *world) answer(req grace.ActionRequest) *answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := string(req.Phase) + " " + req.Step
	w.calls = append(w.calls, call{time.Now(), req.Run, key})
	if _, ok := w.script.answers[key+" on "+string(req.Service)]; ok {
		key += " on " + string(req.Service)
	}
	list := w.script.answers[key]
	if len(list) == 0 {
		return &answer{status: grace.OutcomeSucceeded}
	}
	n := w.used[key]
	w.used[key]++
	return list[min(n, len(list)-1)]
}

func (w *world) apply(e effect) {
	for _, l := range w.script.series {
		if l.service == e.service && l.metric == e.metric {
			l.values, l.start = e.values, time.Now()
			return
		}
	}
	w.t.Errorf("an effect on %s %s, which is no series", e.service, e.metric)
}

// Probe meets grace.Prober, as the daemon's does.
func (w *world) Probe(ctx context.Context, service grace.ServiceID, c grace.Check, since time.Time) grace.Reading {
	if c.Type != grace.CheckHTTPHealth {
		return w.loop.Measure(ctx, c, since)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.script.series {
		if v := l.at(time.Now()); l.service == string(service) && l.probe && !math.IsNaN(v) {
			return grace.Reading{At: time.Now(), Value: v, OK: true}
		}
	}
	return grace.Reading{Detail: "no answer"}
}

// due gives the samples of now, and when the next ones are.
func (w *world) due(now time.Time) (samples []grace.Sample, next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.script.series {
		if !l.next.After(now) {
			if v := l.at(now); !math.IsNaN(v) {
				samples = append(samples, l.sample(now, v))
				w.watch(l, now, v)
			}
			l.next = now.Add(l.every)
		}
		if next.IsZero() || l.next.Before(next) {
			next = l.next
		}
	}
	return samples, next
}

func (w *world) watch(l *seriesLine, now time.Time, v float64) {
	for _, limit := range w.script.never {
		if limit.service == l.service && limit.metric == l.metric && limit.broken(v) {
			w.t.Errorf("%s: %s of %s is %g, and must never be %s %g", now.Format(time.TimeOnly), l.metric, l.service, v, limit.op, limit.value)
		}
	}
}

// engine drives runs in goroutines of this process, and forgets them with it.
type engine struct {
	t    *testing.T
	l    *Loop
	ctx  context.Context
	done sync.WaitGroup

	mu    sync.Mutex
	pause map[grace.RunID]time.Duration // between a commit and what it wakes
	inbox map[grace.RunID]chan grace.ControlMessage
	lost  map[grace.RunID]string
}

var errLost = errors.New("the engine gave up")

// Enqueue meets Engine. There is no word of the commit, so the run is looked
// for a moment later, as the real engine's poll does. That moment is another
// one for each run: no two runs do things at the same time, and a scenario
// always goes the same way.
func (e *engine) Enqueue(_ context.Context, _ store.Tx, id grace.RunID, input any) error {
	data, err := json.Marshal(input)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	pause := time.Duration(20+len(e.pause)) * time.Millisecond
	e.pause[id] = pause
	inbox := make(chan grace.ControlMessage, 16)
	e.inbox[id] = inbox
	e.done.Go(func() {
		time.Sleep(pause)
		if _, err := e.l.Store.Run(e.ctx, e.l.Store.Q(), id); errors.Is(err, store.ErrNotFound) {
			return // rolled back
		}
		var run grace.Run
		if err := json.Unmarshal(data, &run); err != nil {
			e.t.Error(err)
			return
		}
		err := e.l.Runner.Run(simFlow{e, id, inbox}, run)
		if err != nil && !errors.Is(err, errLost) && e.ctx.Err() == nil {
			e.t.Errorf("run of %s on %s: %v", run.Playbook.ID, run.Service, err)
		}
	})
	return nil
}

// Send meets Engine. A message only wakes: what counts is in the store.
func (e *engine) Send(_ context.Context, _ store.Tx, id grace.RunID, _ string, m grace.ControlMessage) error {
	e.mu.Lock()
	inbox, pause := e.inbox[id], e.pause[id]
	e.mu.Unlock()
	e.done.Go(func() {
		time.Sleep(pause)
		inbox <- m
	})
	return nil
}

// Failed meets Engine.
func (e *engine) Failed(ids []grace.RunID) (map[grace.RunID]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	failed := map[grace.RunID]string{}
	for _, id := range ids {
		if why, ok := e.lost[id]; ok {
			failed[id] = why
		}
	}
	return failed, nil
}

func (e *engine) lose(id grace.RunID, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost[id] = why
}

func (e *engine) gone(id grace.RunID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.lost[id]; ok {
		return errLost
	}
	return e.ctx.Err()
}

// simFlow is heal.Flow on the store, with the loop's own journal.
type simFlow struct {
	e     *engine
	id    grace.RunID
	inbox chan grace.ControlMessage
}

// Tx meets heal.Flow.
func (f simFlow) Tx(_ string, fn func(heal.Journal) (heal.Checkpoint, error)) (m heal.Checkpoint, err error) {
	if err := f.e.gone(f.id); err != nil {
		return m, err
	}
	l := f.e.l
	err = l.Store.Do(f.e.ctx, func(ctx context.Context, tx store.Tx) error {
		m, err = fn(journal{ctx: ctx, tx: tx, runs: l.runs, now: l.Now()})
		return err
	})
	return m, err
}

// Step meets heal.Flow.
func (f simFlow) Step(name string, do func(context.Context) grace.Outcome,
	record func(heal.Journal, grace.Outcome) (heal.Checkpoint, error),
) (grace.Outcome, heal.Checkpoint, error) {
	o := do(f.e.ctx)
	m, err := f.Tx(name, func(j heal.Journal) (heal.Checkpoint, error) { return record(j, o) })
	return o, m, err
}

// Owned meets heal.Flow: nobody takes a run from the one that has it.
func (simFlow) Owned(context.Context) error { return nil }

// Control meets heal.Flow.
func (f simFlow) Control(until time.Time) (grace.ControlMessage, bool, error) {
	f.e.mu.Lock()
	pause := f.e.pause[f.id]
	f.e.mu.Unlock()
	timer := time.NewTimer(time.Until(until) + pause)
	defer timer.Stop()
	select {
	case m := <-f.inbox:
		return m, true, nil
	case <-timer.C:
		return grace.ControlMessage{}, false, nil
	case <-f.e.ctx.Done():
		return grace.ControlMessage{}, false, f.e.ctx.Err()
	}
}

// happen does what the script says a person or another system does.
func (w *world) happen(ctx context.Context, e *engine, h happening) error {
	switch h.what {
	case "mode":
		_, err := w.loop.SetMode(ctx, grace.ModeSetting{Mode: h.mode, Reason: h.reason}, "token:"+h.actor)
		return err
	case "silence":
		_, err := w.loop.AddSilence(ctx, grace.Silence{Service: h.service, Ends: time.Now().Add(h.lasts), Reason: h.reason}, "token:"+h.actor)
		return err
	case "resolve":
		open, err := w.loop.Store.OpenIncidents(ctx, w.loop.Store.Q())
		if err != nil {
			return err
		}
		for _, inc := range open {
			if inc.Service == grace.ServiceID(h.service) {
				if _, err := w.loop.ResolveIncident(ctx, inc.ID, "token:"+h.actor, h.reason); err != nil {
					return err
				}
			}
		}
		return nil
	case "reload", "reread": // of sensors that are others now, or of the same
		cfg := w.loop.stages.Load().Config
		if h.what == "reload" {
			cfg.Sources = map[string]any{"": h.at}
		}
		return w.loop.Reconfigure(ctx, cfg, "token:"+h.actor)
	case "run":
		_, err := w.loop.RunByHand(ctx, ByHand{
			Playbook: grace.PlaybookID(h.playbook), Service: grace.ServiceID(h.service), Reason: h.reason, Override: h.override,
		}, "token:"+h.actor)
		return err
	case "predict":
		return w.loop.Post(ctx, nil, nil, []grace.Prediction{h.prediction})
	}
	runs, _, err := w.loop.Store.Runs(ctx, w.loop.Store.Q(), store.RunFilter{Service: grace.ServiceID(h.service)}, store.Page{})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(runs, func(r grace.Run) bool { return r.Playbook.ID == grace.PlaybookID(h.playbook) && !r.Status.Terminal() })
	if i < 0 {
		return fmt.Errorf("no open run of %s on %s", h.playbook, h.service)
	}
	id := runs[i].ID
	switch h.what {
	case "abort":
		return w.loop.Abort(ctx, id, "token:"+h.actor, h.reason)
	case "lose":
		e.lose(id, cmp.Or(h.reason, "lost"))
		return nil
	}
	_, err = w.loop.DecideApproval(ctx, grace.ApprovalID(id), h.what == "approve", h.reason, "token:"+h.actor, 0)
	return err
}
