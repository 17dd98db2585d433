package heal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/heal"
)

// world is what a run meets in these tests: a store, a clock and a thing to
// heal, all of virtual time.
type world struct {
	t       *testing.T
	now     time.Time
	stepped time.Duration // by how much the wall clock was set
	changes []event.Rows
	runs    map[grace.RunID]grace.Run
	appr    map[grace.ApprovalID]grace.Approval
	aborts  map[grace.RunID]*grace.AbortRequest
	admit   func(grace.Run) heal.Admission
	inbox   []message
	done    map[string]checkpoint // the engine's checkpoints
	crashAt string                // name of the step whose record is lost, once
	calls   []string              // of actions: phase/step#key
	healthy bool
	metric  func(now time.Time) (float64, bool)
	onCall  func(req grace.ActionRequest) grace.Outcome
	permit  func(ctx context.Context, run grace.Run, first bool) error
	open    *grace.Incident
}

type message struct {
	at time.Time
	m  grace.ControlMessage
}

type checkpoint struct {
	Outcome grace.Outcome
	Mark    heal.Checkpoint
	Msg     *grace.ControlMessage
}

var errCrash = errors.New("crash")

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, now: time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC), runs: map[grace.RunID]grace.Run{}, appr: map[grace.ApprovalID]grace.Approval{},
		aborts: map[grace.RunID]*grace.AbortRequest{}, done: map[string]checkpoint{},
		admit: func(grace.Run) heal.Admission { return heal.Admission{} },
	}
	w.onCall = func(req grace.ActionRequest) grace.Outcome {
		w.healthy = req.Phase == grace.PhaseDo
		return grace.Outcome{Status: grace.OutcomeSucceeded}
	}
	return w
}

func (w *world) Now() time.Time { return w.now }

func (w *world) Elapsed() time.Duration {
	return w.now.Sub(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) - w.stepped
}

// step sets the wall clock.
func (w *world) step(d time.Duration) { w.now, w.stepped = w.now.Add(d), w.stepped+d }

func (w *world) Sleep(_ context.Context, d time.Duration) { w.now = w.now.Add(d) }

func (w *world) Name() string { return "fake" }

func (w *world) Validate(map[string]any) error { return nil }

func (w *world) Do(_ context.Context, req grace.ActionRequest) grace.Outcome {
	w.calls = append(w.calls, fmt.Sprintf("%s/%s#%s", req.Phase, req.Step, req.IdempotencyKey))
	return w.onCall(req)
}

func (w *world) Probe(_ context.Context, _ grace.ServiceID, c grace.Check, _ time.Time) grace.Reading {
	r := grace.Reading{At: w.now, OK: true}
	if c.Type == grace.CheckHTTPHealth {
		if w.healthy {
			r.Value = 1
		}
		return r
	}
	if w.metric != nil {
		r.Value, r.OK = w.metric(w.now)
	}
	return r
}

func (w *world) Approval(id grace.ApprovalID) (grace.Approval, error) { return w.appr[id], nil }

func (w *world) Abort(id grace.RunID) (*grace.AbortRequest, error) { return w.aborts[id], nil }

func (w *world) Admit(run grace.Run) (heal.Admission, error) { return w.admit(run), nil }

func (w *world) Lasting(run grace.Run) ([]grace.SignalKey, error) { return run.Condition, nil }

func (w *world) OpenIncident(grace.Run) (*grace.Incident, error) { return w.open, nil }

func (w *world) Save(events ...event.Event) error {
	c := event.Derive(events...)
	for _, inc := range c.Incidents {
		w.open = &inc
	}
	for _, r := range c.Runs {
		if old := w.runs[r.ID]; r.Revision != old.Revision+1 {
			return fmt.Errorf("revision %d over %d", r.Revision, old.Revision)
		}
		w.runs[r.ID] = r
	}
	for _, a := range c.Approvals {
		w.appr[a.ID] = a
	}
	w.changes = append(w.changes, c)
	return nil
}

// replayFlow records like the engine does: through JSON, so that what does not
// survive it fails here.
type replayFlow struct{ w *world }

func (f replayFlow) record(name string, c checkpoint) checkpoint {
	b, err := json.Marshal(c)
	if err != nil {
		f.w.t.Fatal(err)
	}
	var out checkpoint
	if err := json.Unmarshal(b, &out); err != nil {
		f.w.t.Fatal(err)
	}
	f.w.done[name] = out
	return out
}

func (f replayFlow) Tx(name string, fn func(heal.Journal) (heal.Checkpoint, error)) (heal.Checkpoint, error) {
	if c, ok := f.w.done[name]; ok {
		return c.Mark, nil
	}
	if f.crash(name) {
		return heal.Checkpoint{}, errCrash
	}
	m, err := fn(f.w)
	if err != nil {
		return m, err
	}
	return f.record(name, checkpoint{Mark: m}).Mark, nil
}

func (f replayFlow) Step(name string, do func(context.Context) grace.Outcome, record func(heal.Journal, grace.Outcome) (heal.Checkpoint, error)) (grace.Outcome, heal.Checkpoint, error) {
	if c, ok := f.w.done[name]; ok {
		return c.Outcome, c.Mark, nil
	}
	o := do(f.w.t.Context())
	if f.crash(name) {
		return o, heal.Checkpoint{}, errCrash
	}
	m, err := record(f.w, o)
	if err != nil {
		return o, m, err
	}
	c := f.record(name, checkpoint{Outcome: o, Mark: m})
	return c.Outcome, c.Mark, nil
}

// Owned meets heal.Flow: nobody takes a run from the one that has it.
func (replayFlow) Owned(context.Context) error { return nil }

func (f replayFlow) Control(until time.Time) (grace.ControlMessage, bool, error) {
	name := fmt.Sprintf("control/%d", len(f.w.inbox))
	if f.crash(name) {
		return grace.ControlMessage{}, false, errCrash
	}
	if len(f.w.inbox) > 0 && !f.w.inbox[0].at.After(until) {
		m := f.w.inbox[0]
		f.w.inbox = f.w.inbox[1:]
		f.w.now = m.at
		return m.m, true, nil
	}
	f.w.now = until
	return grace.ControlMessage{}, false, nil
}

func (f replayFlow) crash(name string) bool {
	if f.w.crashAt == name {
		f.w.crashAt = ""
		return true
	}
	return false
}

func (w *world) runner(owner string) *heal.Runner {
	return &heal.Runner{Actions: map[string]grace.Action{"fake": w}, Prober: w, Clock: w, Owner: owner, Permit: w.permit}
}

func (w *world) start(run grace.Run) grace.Run {
	run.Revision = 1
	w.runs[run.ID] = run
	return run
}

// drive runs to the end, through any number of crashes.
func (w *world) drive(run grace.Run) grace.Run {
	w.t.Helper()
	for process := 1; process < 10; process++ {
		err := w.runner(fmt.Sprintf("process-%d", process)).Run(replayFlow{w}, run)
		if errors.Is(err, errCrash) {
			continue
		}
		if err != nil {
			w.t.Fatal(err)
		}
		return w.runs[run.ID]
	}
	w.t.Fatal("the run does not end")
	return run
}

func (w *world) actions() []string {
	var out []string
	for _, c := range w.changes {
		for _, a := range c.Audit {
			out = append(out, a.Action)
		}
	}
	return out
}

func (w *world) incidents() int {
	n := 0
	for _, c := range w.changes {
		n += len(c.Incidents)
	}
	return n
}

func (w *world) learned() []grace.LearningEntry {
	var out []grace.LearningEntry
	for _, c := range w.changes {
		out = append(out, c.Learning...)
	}
	return out
}

func aRun(w *world, steps ...grace.Step) grace.Run {
	return grace.Run{
		ID: "r-1", Status: grace.RunApproved, Service: "shop", Code: grace.CodeServiceDown, Kind: grace.TriggerReactive, Auto: true,
		SickSince: w.now.Add(-10 * time.Second), CreatedAt: w.now,
		Playbook: grace.Playbook{ID: "restart_service", Binding: grace.Binding{
			Steps:  steps,
			Verify: []grace.Check{{Name: "up", Type: grace.CheckHTTPHealth, URL: "http://x/${service}"}},
			Settle: grace.Duration(5 * time.Second), Soak: grace.Duration(4 * time.Second),
		}},
	}
}

func undoable(name string) grace.Step {
	return grace.Step{Name: name, Action: "fake", With: map[string]any{"n": name}, Undo: &grace.Call{Action: "fake", With: map[string]any{"undo": name}}}
}
