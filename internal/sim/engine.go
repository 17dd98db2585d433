package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/store"
)

const (
	pickUp    = 50 * time.Millisecond // between the commit of a run and its start
	takeover  = 12 * time.Second      // until a dead process's runs are another's
	leaseBeat = 3 * time.Second       // until a zombie finds that its lease was taken
)

// engine stands for the durable engine: it outlives processes, as the database
// does, and knows of each run its input, its checkpoints and its messages.
type engine struct {
	sim  *Sim
	runs map[grace.RunID]*entry
	ids  []grace.RunID // in the order of their start
}

type entry struct {
	id     grace.RunID
	input  []byte
	done   map[string][]byte // checkpoints, by name
	inbox  []message
	driver *process
	task   *task
	waits  bool // in Control
	asked  bool // a person knows
	ended  bool
	lost   string
}

type message struct {
	key string
	m   grace.ControlMessage
}

// Enqueue meets loop.Engine. Nobody says when the transaction commits, so the
// run is looked for a moment later.
func (e *engine) Enqueue(_ context.Context, _ store.Tx, id grace.RunID, input any) error {
	data, err := json.Marshal(input)
	if err != nil {
		return fmt.Errorf("encode the run: %w", err)
	}
	if e.runs[id] != nil {
		return fmt.Errorf("run %s exists already", id)
	}
	n := &entry{id: id, input: data, done: map[string][]byte{}}
	e.runs[id] = n
	e.ids = append(e.ids, id)
	e.sim.after(pickUp, func() { e.pick(n) })
	return nil
}

// pick hands a run to a living process.
func (e *engine) pick(n *entry) {
	s := e.sim
	if n.ended || n.driver != nil {
		return
	}
	p := s.alive("pick", string(n.id), strconv.Itoa(s.crashes))
	if p == nil {
		s.after(time.Second, func() { e.pick(n) })
		return
	}
	run, err := s.store.Run(s.ctx, s.store.Q(), n.id)
	if errors.Is(err, store.ErrNotFound) {
		n.ended = true // rolled back
		return
	}
	s.fail(err)
	if !n.asked && run.Status == grace.RunAwaitingApproval {
		n.asked = true
		s.ask(n.id)
	}
	n.driver = p
	n.task = s.spawn(func(t *task) { e.drive(n, p, t) })
	p.tasks = append(p.tasks, n.task)
	n.task.run()
}

func (e *engine) drive(n *entry, p *process, t *task) {
	var run grace.Run
	if err := json.Unmarshal(n.input, &run); err != nil {
		e.sim.fail(fmt.Errorf("decode run %s: %w", n.id, err))
		return
	}
	err := p.loop.Runner.Run(e.sim.mutations.flow(&flow{n: n, p: p, t: t, e: e}), e.sim.mutations.run(run))
	if err != nil {
		n.lost = err.Error()
		e.sim.broken = append(e.sim.broken, fmt.Sprintf("run %s of %s on %s broke off: %v", n.id, run.Playbook.ID, run.Service, err))
	}
	n.ended = true
}

// Send meets loop.Engine. A message that was sent before is not sent again.
func (e *engine) Send(_ context.Context, _ store.Tx, id grace.RunID, key string, m grace.ControlMessage) error {
	n := e.runs[id]
	if n == nil {
		return fmt.Errorf("run %s is unknown to the engine", id)
	}
	for _, old := range n.inbox {
		if old.key == key {
			return nil
		}
	}
	n.inbox = append(n.inbox, message{key, m})
	e.sim.after(pickUp, func() {
		if t := n.task; t != nil && !e.sim.mutations.Deaf {
			t.wake(func() bool { return n.waits && n.task == t })
		}
	})
	return nil
}

// Failed meets loop.Engine.
func (e *engine) Failed(ids []grace.RunID) (map[grace.RunID]string, error) {
	failed := map[grace.RunID]string{}
	for _, id := range ids {
		if n := e.runs[id]; n != nil && n.lost != "" {
			failed[id] = n.lost
		}
	}
	return failed, nil
}

// orphan gives a process's runs to others, after a while.
func (e *engine) orphan(p *process, after time.Duration) {
	for _, id := range e.ids {
		if n := e.runs[id]; n.driver == p && !n.ended {
			n.driver, n.waits = nil, false
			e.sim.after(after, func() { e.pick(n) })
		}
	}
}

// flow is heal.Flow on the simulated engine and the real store.
type flow struct {
	n        *entry
	p        *process
	t        *task
	e        *engine
	controls int
}

type checkpoint struct {
	Outcome grace.Outcome         `json:"outcome,omitzero"`
	Mark    heal.Checkpoint       `json:"mark,omitzero"`
	Message *grace.ControlMessage `json:"message,omitempty"`
}

// Tx meets heal.Flow.
func (f *flow) Tx(name string, fn func(heal.Journal) (heal.Checkpoint, error)) (heal.Checkpoint, error) {
	if c, ok, err := f.recall(name); ok || err != nil {
		return c.Mark, err
	}
	f.boundary()
	m, err := f.commit(fn)
	if err != nil {
		return m, err
	}
	c, err := f.keep(name, checkpoint{Mark: m})
	f.boundary()
	return c.Mark, err
}

// Step meets heal.Flow.
func (f *flow) Step(name string, do func(context.Context) grace.Outcome,
	record func(heal.Journal, grace.Outcome) (heal.Checkpoint, error),
) (grace.Outcome, heal.Checkpoint, error) {
	if c, ok, err := f.recall(name); ok || err != nil {
		return c.Outcome, c.Mark, err
	}
	f.boundary()
	if abort, err := f.e.sim.store.Abort(f.e.sim.ctx, f.e.sim.store.Q(), f.n.id); err == nil && abort != nil {
		f.p.loop.Runner.Interrupt(f.n.id)
	}
	o := do(f.e.sim.ctx)
	f.boundary()
	m, err := f.commit(func(j heal.Journal) (heal.Checkpoint, error) { return record(j, o) })
	if err != nil {
		return o, m, err
	}
	if name == "verify" && o.Status == grace.OutcomeSucceeded {
		f.e.sim.verified(f.n)
	}
	c, err := f.keep(name, checkpoint{Outcome: o, Mark: m})
	f.boundary()
	return c.Outcome, c.Mark, err
}

// Owned meets heal.Flow: who has stood still finds out before the next try that
// another process has the run.
func (f *flow) Owned(context.Context) error {
	f.fence()
	return nil
}

// Control meets heal.Flow.
func (f *flow) Control(until time.Time) (grace.ControlMessage, bool, error) {
	f.controls++
	name := "control/" + strconv.Itoa(f.controls)
	if c, ok, err := f.recall(name); ok || err != nil {
		if c.Message != nil {
			return *c.Message, true, err
		}
		return grace.ControlMessage{}, false, err
	}
	f.boundary()
	heard := 0
	for i := 1; i < f.controls; i++ {
		var c checkpoint
		if json.Unmarshal(f.n.done["control/"+strconv.Itoa(i)], &c) == nil && c.Message != nil {
			heard++
		}
	}
	t := f.n.task
	end := until.Add(-f.e.sim.skew[f.p.replica] - f.e.sim.wall)
	for len(f.n.inbox) <= heard && t.s.now.Before(end) {
		f.n.waits = true
		if !f.e.sim.mutations.Deaf {
			t.wakeAt(end)
		}
		t.park()
		f.fence()
		f.n.waits = false
	}
	var c checkpoint
	if len(f.n.inbox) > heard {
		c.Message = &f.n.inbox[heard].m
	}
	if _, err := f.keep(name, c); err != nil || c.Message == nil {
		return grace.ControlMessage{}, false, err
	}
	return *c.Message, true, nil
}

func (f *flow) commit(fn func(heal.Journal) (heal.Checkpoint, error)) (m heal.Checkpoint, err error) {
	s := f.e.sim
	f.fence()
	err = s.store.Do(s.ctx, func(ctx context.Context, tx store.Tx) error {
		m, err = fn(s.mutations.journal(f.p.loop.Journal(ctx, tx)))
		return err
	})
	return m, err
}

// recall gives what is on record of a step, through JSON: what does not
// survive it would not survive a crash.
func (f *flow) recall(name string) (c checkpoint, ok bool, err error) {
	data, ok := f.n.done[name]
	if !ok || f.e.sim.mutations.forgets(name) {
		return c, false, nil
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, false, fmt.Errorf("read the checkpoint %s: %w", name, err)
	}
	return c, true, nil
}

func (f *flow) keep(name string, c checkpoint) (checkpoint, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return c, fmt.Errorf("keep the checkpoint %s: %w", name, err)
	}
	f.n.done[name] = data
	var out checkpoint
	if err := json.Unmarshal(data, &out); err != nil {
		return c, fmt.Errorf("keep the checkpoint %s: %w", name, err)
	}
	return out, nil
}

// fence stops a process that another has taken the run from, also where it has got the run
// again since: it begins nothing more, and what it wants to write is refused, as the lease
// has it.
func (f *flow) fence() {
	if (f.n.driver != f.p || f.n.task != f.t) && !f.e.sim.mutations.NoFence {
		runtime.Goexit()
	}
}

// boundary is a place where a process may end: before a step, between what it
// did and the record of it, and after the record.
func (f *flow) boundary() {
	f.fence()
	s := f.e.sim
	if s.killIn == 0 {
		return
	}
	s.killIn--
	if s.killIn > 0 {
		return
	}
	s.crash(f.p, s.killFor)
	runtime.Goexit()
}
