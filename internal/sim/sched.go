package sim

import (
	"container/heap"
	"context"
	"runtime"
	"time"
)

// scheduler owns virtual time. Events run one after the other, by time and
// then in the order in which they were scheduled. A task is a goroutine that
// runs only while the scheduler waits for it: at any moment one goroutine of a
// simulation runs, so its history depends on nothing but the story.
type scheduler struct {
	now   time.Time
	queue queue
	seq   uint64
	// running is the task that has the hand, nil when it is the scheduler.
	running *task
}

type event struct {
	at  time.Time
	seq uint64
	do  func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].at.Equal(q[j].at) {
		return q[i].seq < q[j].seq
	}
	return q[i].at.Before(q[j].at)
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push meets heap.Interface.
func (q *queue) Push(x any) { *q = append(*q, x.(event)) } //nolint:forcetypeassert // only events are pushed

// Pop meets heap.Interface.
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func (s *scheduler) at(t time.Time, do func()) {
	if t.Before(s.now) {
		t = s.now
	}
	s.seq++
	heap.Push(&s.queue, event{t, s.seq, do})
}

func (s *scheduler) after(d time.Duration, do func()) { s.at(s.now.Add(d), do) }

// step runs the next event, if it is due by then.
func (s *scheduler) step(until time.Time) bool {
	if len(s.queue) == 0 || s.queue[0].at.After(until) {
		return false
	}
	e, _ := heap.Pop(&s.queue).(event)
	s.now = e.at
	e.do()
	return true
}

// task is a goroutine of a process.
type task struct {
	s       *scheduler
	resume  chan struct{}
	yielded chan struct{}
	killed  bool
	ended   bool
	waits   int       // counts parks, so that a late wake-up finds nobody
	frozen  time.Time // its process stands still until then
}

// spawn makes a task. It first runs when it is woken.
func (s *scheduler) spawn(fn func(t *task)) *task {
	t := &task{s: s, resume: make(chan struct{}), yielded: make(chan struct{})}
	go func() {
		defer func() {
			t.ended = true
			t.yielded <- struct{}{}
		}()
		<-t.resume
		if t.killed {
			return
		}
		fn(t)
	}()
	return t
}

// run lets a task go on until it parks or ends.
func (t *task) run() {
	if t.ended {
		return
	}
	before := t.s.running
	t.s.running = t
	t.resume <- struct{}{}
	<-t.yielded
	t.s.running = before
}

// kill ends a parked task where it stands, as the end of its process does: its
// deferred calls run, nothing after its park does.
func (t *task) kill() {
	if t.ended {
		return
	}
	t.killed = true
	t.run()
}

// park hands over to the scheduler until the task is woken.
func (t *task) park() {
	t.waits++
	t.yielded <- struct{}{}
	<-t.resume
	if t.killed {
		runtime.Goexit()
	}
}

// wakeAt wakes the task from the park that comes next.
func (t *task) wakeAt(at time.Time) {
	wait := t.waits
	t.s.at(at, func() {
		t.wake(func() bool { return t.waits == wait+1 })
	})
}

// wake lets a task go on that still waits for it; one of a frozen process when
// that goes on.
func (t *task) wake(waits func() bool) {
	switch {
	case t.ended || !waits():
	case t.s.now.Before(t.frozen):
		t.s.at(t.frozen, func() { t.wake(waits) })
	default:
		t.run()
	}
}

// clock is a process's own: the scheduler's time, skewed, and slept in by
// whichever of its tasks is running.
type clock struct {
	p *process
}

// Now meets heal.Clock.
func (c clock) Now() time.Time { return c.p.now() }

// Elapsed meets heal.Clock.
func (c clock) Elapsed() time.Duration { return c.p.sim.now.Sub(c.p.sim.epoch) }

// Sleep meets heal.Clock. It looks at ctx once a second, which is when the
// end of a context shows in virtual time.
func (c clock) Sleep(ctx context.Context, d time.Duration) {
	t := c.p.sim.running
	end := t.s.now.Add(d)
	for ctx.Err() == nil && t.s.now.Before(end) {
		t.wakeAt(earlier(end, t.s.now.Add(time.Second)))
		t.park()
	}
}

// WithTimeoutCause meets heal.Deadlines.
func (c clock) WithTimeoutCause(ctx context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if d <= 0 {
		cancel(cause)
	} else {
		c.p.sim.after(d, func() { cancel(cause) })
	}
	return ctx, func() { cancel(nil) }
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
