package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"grace"
)

// fault is one thing that goes wrong.
type fault struct {
	name    string
	service string
	short   bool // also in the short form
	inject  func(*stack) error
	// meanwhile happens once it is under way.
	meanwhile func(context.Context, *stack) error
	// lasts: it is not to be acted on but told, and passes after that.
	lasts time.Duration
	// passes: it is over by itself before GRACE can act: nothing is to be done.
	passes bool
}

func (s *stack) signal(name string, sig syscall.Signal) error {
	s.units[name].signal(sig, true)
	return nil
}

func kill(name string) func(*stack) error {
	return func(s *stack) error { s.units[name].stop(syscall.SIGKILL); return nil }
}

func freeze(name string) func(*stack) error {
	return func(s *stack) error { return s.signal(name, syscall.SIGSTOP) }
}

// restart ends GRACE and starts it again.
func restart(sig syscall.Signal, after time.Duration) func(context.Context, *stack) error {
	return func(ctx context.Context, s *stack) error {
		wait(ctx, after)
		s.grace.stop(sig)
		return s.grace.start()
	}
}

func flap(d time.Duration) func(*stack) error {
	return func(s *stack) error {
		_, err := get(fmt.Sprintf("http://%s/flap?for=%s", s.at("shaky"), d))
		return err
	}
}

func leak(s *stack) error {
	_, err := get("http://" + s.at("orders") + "/leak")
	return err
}

// withoutPrometheus has it go away, and come back.
func withoutPrometheus(ctx context.Context, s *stack) error {
	s.units["prometheus"].stop(syscall.SIGKILL)
	wait(ctx, 15*time.Second)
	return s.units["prometheus"].start()
}

// passedMeanwhile has a service be well again while GRACE is away, with what it
// stored.
func passedMeanwhile(ctx context.Context, s *stack) error {
	wait(ctx, 2*time.Second)
	s.grace.stop(syscall.SIGKILL)
	s.units["web2"].signal(syscall.SIGCONT, true)
	wait(ctx, 2*time.Second)
	return s.grace.start()
}

const flapping = 55 * time.Second

func campaign() []fault {
	return []fault{
		{name: "crash", service: "orders", short: true, inject: kill("orders")},
		{name: "crash loop: once more", service: "orders", inject: kill("orders"), meanwhile: restart(syscall.SIGTERM, 500*time.Millisecond)},
		{name: "frozen application", service: "redis", short: true, inject: freeze("redis"), meanwhile: restart(syscall.SIGKILL, time.Second)},
		{name: "one backend of two down", service: "web1", short: true, inject: kill("web1")},
		{name: "frozen backend, passed while GRACE was away", service: "web2", inject: freeze("web2"), meanwhile: passedMeanwhile, passes: true},
		{name: "full disk", service: "spool", short: true, inject: (*stack).fill},
		{name: "full disk while Prometheus is away", service: "spool", inject: (*stack).fill, meanwhile: withoutPrometheus},
		{name: "connection leak", service: "orders", short: true, inject: leak},
		{name: "lock held", service: "db", short: true, inject: (*stack).lock},
		{name: "lock held, GRACE killed while it asks", service: "db", inject: (*stack).lock, meanwhile: restart(syscall.SIGKILL, 4*time.Second)},
		{name: "flapping", service: "shaky", short: true, inject: flap(flapping), lasts: flapping},
		{name: "flapping, GRACE killed meanwhile", service: "shaky", inject: flap(flapping + 20*time.Second), meanwhile: restart(syscall.SIGKILL, 15*time.Second), lasts: flapping + 20*time.Second},
	}
}

// row is what became of a fault, as times since it was injected; 0 is never.
type row struct {
	fault                       fault
	at                          time.Duration // since the campaign began
	acted, asked, told, recover time.Duration
	wrong                       string
}

// atMost is how long a fault may take to be over.
const atMost = 75 * time.Second

// play injects a fault and waits for its end.
func (j *judge) play(ctx context.Context, f fault, began time.Time) row {
	r := row{fault: f, at: time.Since(began).Round(time.Second)}
	injected := time.Now()
	if err := f.inject(j.stack); err != nil {
		r.wrong = err.Error()
		return r
	}
	if f.meanwhile != nil {
		if err := f.meanwhile(ctx, j.stack); err != nil {
			r.wrong = err.Error()
			return r
		}
	}
	end := injected.Add(max(atMost, f.lasts+20*time.Second))
	var wellSince time.Time
	for ctx.Err() == nil && time.Now().Before(end) {
		if wellSince.IsZero() && j.isWell(f.service) {
			wellSince = time.Now()
		}
		if !j.isWell(f.service) {
			wellSince = time.Time{}
		}
		// Long enough that a run that acted has ended.
		if calm := 8 * time.Second; time.Since(injected) > f.lasts+4*time.Second && !wellSince.IsZero() && time.Since(wellSince) > calm && j.idle(f.service) {
			r.recover = wellSince.Sub(injected)
			break
		}
		wait(ctx, 200*time.Millisecond)
	}
	j.fill(&r, injected)
	return r
}

// idle tells whether no run for a service is open.
func (j *judge) idle(service string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, run := range j.runs {
		if string(run.Service) == service && !run.State.Terminal() {
			return false
		}
	}
	return true
}

func (j *judge) fill(r *row, injected time.Time) {
	f := r.fault
	if calls := j.control.since(injected, f.service); len(calls) > 0 {
		r.acted = calls[0].at.Sub(injected)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, q := range j.asked {
		if q.service == f.service && q.at.After(injected) {
			r.asked = q.at.Sub(injected)
		}
	}
	for _, i := range j.incidents {
		if i.Covers(grace.ServiceID(f.service)) && i.OpenedAt.After(injected) && i.Kind != grace.IncidentBlind {
			r.told = i.OpenedAt.Sub(injected)
		}
	}
	switch {
	case r.recover == 0:
		r.wrong = "it was not over in time"
	case f.passes && r.acted > 0:
		r.wrong = "it had passed, and was acted on"
	case f.lasts > 0 && r.told == 0:
		r.wrong = "nobody was told"
	case f.lasts == 0 && !f.passes && r.acted == 0:
		r.wrong = "nothing was done"
	}
}
