package sim

import (
	"context"
	"fmt"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/loop"
	"grace/internal/mesh"
)

// process is one replica from its start to its end: a loop, a runner, and the
// runs that it drives. What it had in memory ends with it.
type process struct {
	sim     *Sim
	replica int
	boot    int
	began   time.Time                     // on the scheduler's clock
	changed map[grace.ServiceID]time.Time // when a reload touched a service
	reload  time.Time                     // when any did
	passed  map[grace.SignalKey]bool      // of a planted bug
	loop    *loop.Loop
	dead    bool
	frozen  time.Time // it stands still until then
	woke    time.Time // when it goes on after it stood still for so long that it must doubt what it knew
	tasks   []*task
}

func (p *process) owner() string { return fmt.Sprintf("r%d.%d", p.replica, p.boot) }

// now is the time as this replica's host has it.
func (p *process) now() time.Time { return p.sim.now.Add(p.sim.skew[p.replica] + p.sim.wall) }

// start makes the replica's process and lets it load what the store knows.
func (s *Sim) start(ctx context.Context, replica int) error {
	s.boots++
	if s.alive() == nil {
		s.unknowable()
	}
	p := &process{
		sim: s, replica: replica, boot: s.boots, began: s.now, reload: s.now,
		changed: map[grace.ServiceID]time.Time{}, passed: map[grace.SignalKey]bool{},
	}
	runner := &heal.Runner{Actions: map[string]grace.Action{}, Prober: prober{p}, Clock: clock{p}, Owner: p.owner()}
	for _, name := range []string{actRestart, actFlag, actScale, actWarm, actLog, actBreaker, actRead} {
		runner.Actions[name] = action{p, name}
	}
	l, err := loop.New(s.mutations.config(s.config), loop.Deps{
		Store: s.store, Bus: mesh.New(), Runner: runner, Engine: s.engine, Log: s.log, Now: p.now, Owner: p.owner(),
		Elapsed: func() time.Duration { return s.now.Sub(s.epoch) },
	})
	if err != nil {
		return err
	}
	p.loop = l
	s.mutations.runner(runner)
	if err := l.Load(ctx); err != nil {
		return err
	}
	s.replicas[replica] = p
	return s.mutations.started(ctx, p)
}

// crash ends a process as kill -9 does. Its runs wait for whoever takes them
// over.
func (s *Sim) crash(p *process, down time.Duration) { s.end(p, takeover, down) }

// end ends a process; its runs are another's, or its own again, after a while.
func (s *Sim) end(p *process, orphaned, down time.Duration) {
	if p == nil || p.dead {
		return
	}
	p.dead = true
	s.unlearn(p)
	s.crashes++
	s.crashed = append(s.crashed, s.now)
	s.replicas[p.replica] = nil
	for _, t := range p.tasks {
		if t != s.running { // the one that crashes ends by itself
			t.kill()
		}
	}
	s.engine.orphan(p, orphaned)
	s.after(down, func() { s.fail(s.start(s.ctx, p.replica)) })
}

// standsStill is for how long a process may stand still and go by what it saw before.
const standsStill = 12 * time.Second

// freeze stops a process for a while, as a paused machine does: it is not told
// and does nothing, but what it was at goes on when it wakes up. Where another
// process can, it has the runs by then; the zombie finds its lease taken, and
// ends itself.
func (s *Sim) freeze(p *process, d time.Duration) {
	if p == nil || p.dead {
		return
	}
	p.frozen = s.now.Add(d)
	if d > standsStill {
		p.woke = p.frozen
	}
	for _, t := range p.tasks {
		t.frozen = p.frozen
	}
	s.after(takeover, func() { s.takeOver(p) })
}

func (s *Sim) takeOver(p *process) {
	switch {
	case p.dead || !s.now.Before(p.frozen):
	case s.alive("takeover") == nil:
		s.after(second, func() { s.takeOver(p) })
	default:
		s.crashed = append(s.crashed, s.now)
		s.engine.orphan(p, 0)
		s.at(p.frozen.Add(leaseBeat), func() { s.crash(p, 2*second) })
	}
}

func (s *Sim) awake(p *process) bool { return p != nil && !s.now.Before(p.frozen) }

// alive gives a living process, drawn by name.
func (s *Sim) alive(names ...string) *process {
	var living []*process
	for _, p := range s.replicas {
		if s.awake(p) {
			living = append(living, p)
		}
	}
	if len(living) == 0 {
		return nil
	}
	return living[int(draw(s.story.Seed, names...)*float64(len(living)))]
}
