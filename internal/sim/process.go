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
	loop    *loop.Loop
	dead    bool
	tasks   []*task
}

func (p *process) owner() string { return fmt.Sprintf("r%d.%d", p.replica, p.boot) }

// now is the time as this replica's host has it.
func (p *process) now() time.Time { return p.sim.now.Add(p.sim.skew[p.replica]) }

// start makes the replica's process and lets it load what the store knows.
func (s *Sim) start(ctx context.Context, replica int) error {
	s.boots++
	p := &process{sim: s, replica: replica, boot: s.boots}
	runner := &heal.Runner{Actions: map[string]grace.Action{}, Prober: prober{p}, Clock: clock{p}, Owner: p.owner()}
	for _, name := range []string{actRestart, actFlag, actScale, actWarm, actLog, actBreaker, actRead} {
		runner.Actions[name] = action{p, name}
	}
	l, err := loop.New(s.mutations.config(s.config), loop.Deps{
		Store: s.store, Bus: mesh.New(), Runner: runner, Log: s.log, Now: p.now, Owner: p.owner(),
	})
	if err != nil {
		return err
	}
	p.loop = l
	l.Bind(s.engine)
	if err := l.Load(ctx); err != nil {
		return err
	}
	s.replicas[replica] = p
	return nil
}

// crash ends a process as kill -9 does. Its runs wait for whoever takes them
// over.
func (s *Sim) crash(p *process, down time.Duration) {
	if p == nil || p.dead {
		return
	}
	p.dead = true
	s.crashes++
	s.crashed = append(s.crashed, s.now)
	s.replicas[p.replica] = nil
	for _, t := range p.tasks {
		if t != s.running { // the one that crashes ends by itself
			t.kill()
		}
	}
	s.engine.orphan(p)
	s.after(down, func() { s.fail(s.start(s.ctx, p.replica)) })
}

// alive gives a living process, drawn by name.
func (s *Sim) alive(names ...string) *process {
	var living []*process
	for _, p := range s.replicas {
		if p != nil {
			living = append(living, p)
		}
	}
	if len(living) == 0 {
		return nil
	}
	return living[int(draw(s.story.Seed, names...)*float64(len(living)))]
}
