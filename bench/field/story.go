package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// fault is one thing that goes wrong.
type fault struct {
	name    string
	service string // or the program that GRACE hears from
	short   bool   // also in the short form
	inject  func(*stack) error
	// meanwhile happens once it is under way.
	meanwhile func(context.Context, *stack) error
	// lasts is for how long it comes back whatever is done.
	lasts time.Duration
	want  want
}

// want is what GRACE is to do about a fault.
type want int

const (
	act     want = iota // as a person would
	tell                // a person, as it does not pass by what can be done
	nothing             // it passes by itself before GRACE can act, or its alert is silenced at its source
)

// chapter is what goes wrong at once.
type chapter struct {
	before func(context.Context, *judge) error
	faults []fault
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

// away has a program go away, and come back.
func away(name string, d time.Duration) func(context.Context, *stack) error {
	return func(ctx context.Context, s *stack) error {
		s.units[name].stop(syscall.SIGKILL)
		return back(name, d)(ctx, s)
	}
}

func back(name string, after time.Duration) func(context.Context, *stack) error {
	return func(ctx context.Context, s *stack) error {
		wait(ctx, after)
		return s.units[name].start()
	}
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

// crashing has an app crash, and again whenever it was started, until the time
// is over.
func crashing(name string) func(*stack) error {
	return func(s *stack) error {
		_, err := get(fmt.Sprintf("http://%s/crash?for=%s", s.at(name), looping))
		return err
	}
}

const (
	flapping = 55 * time.Second
	looping  = 20 * time.Second
	// maintenance is longer than a person would have waited to be told.
	maintenance = 50 * time.Second
)

// campaign is the story, program the GRACE whose clock can be set.
func campaign(program string) []chapter {
	return slices.Concat(plainChapters(), alertChapters(), clockChapters(program))
}

// plainChapters are about what GRACE looks at itself. Two of a kind are further
// apart than what is flapping.
func plainChapters() []chapter {
	return []chapter{
		{faults: []fault{{name: "crash", service: "orders", short: true, inject: kill("orders")}}},
		{faults: []fault{{name: "full disk", service: "spool", inject: (*stack).fill}}},
		{faults: []fault{{name: "crash loop", service: "shaky", inject: crashing("shaky"), lasts: looping}}},
		{faults: []fault{{name: "connection leak", service: "orders", short: true, inject: leak}}},
		{faults: []fault{{name: "frozen application", service: "redis", short: true, inject: freeze("redis"), meanwhile: restart(syscall.SIGKILL, time.Second)}}},
		{faults: []fault{{name: "one backend of two down", service: "web1", short: true, inject: kill("web1")}}},
		{faults: []fault{{name: "crash loop, GRACE restarted meanwhile", service: "orders", inject: crashing("orders"), meanwhile: restart(syscall.SIGTERM, 8*time.Second), lasts: looping}}},
		{faults: []fault{{name: "full disk while Prometheus is away", service: "spool", inject: (*stack).fill, meanwhile: away("prometheus", 15*time.Second)}}},
		{faults: []fault{{name: "frozen backend, passed while GRACE was away", service: "web2", inject: freeze("web2"), meanwhile: passedMeanwhile, want: nothing}}},
		{faults: []fault{{name: "connection leak while Prometheus is away", service: "orders", inject: leak, meanwhile: away("prometheus", 15*time.Second)}}},
	}
}

// alertChapters are about what only Prometheus and Alertmanager see, next to
// what takes its time anyway.
func alertChapters() []chapter {
	return []chapter{
		{faults: []fault{{name: "alert: crash, GRACE killed meanwhile", service: "billing", short: true, inject: kill("billing"), meanwhile: killedWhileAlerted("billing")}}},
		{faults: []fault{{name: "alert: frozen, Alertmanager lost meanwhile", service: "ledger", inject: freeze("ledger"), meanwhile: lostWhileAlerted("ledger")}}},
		{faults: []fault{
			{name: "lock held", service: "db", short: true, inject: (*stack).lock},
			{name: "silenced alert, silence ends", service: "ledger", short: true, inject: silenced("ledger", kill("ledger")), meanwhile: silenceEnds("ledger", 15*time.Second)},
		}},
		{faults: []fault{
			{name: "flapping", service: "shaky", short: true, inject: flap(flapping), lasts: flapping, want: tell},
			{name: "away for 50 s", service: "alertmanager", short: true, inject: kill("alertmanager"), meanwhile: back("alertmanager", 50*time.Second), lasts: 50 * time.Second, want: tell},
		}},
		{faults: []fault{{name: "lock held, GRACE killed while it asks", service: "db", inject: (*stack).lock, meanwhile: restart(syscall.SIGKILL, 4*time.Second)}}},
		{faults: []fault{
			{name: "flapping, GRACE killed meanwhile", service: "shaky", inject: flap(flapping), meanwhile: restart(syscall.SIGKILL, 15*time.Second), lasts: flapping, want: tell},
			{name: "silenced alert, GRACE killed", service: "billing", inject: silenced("billing", kill("billing")), meanwhile: maintained("billing", maintenance), lasts: maintenance, want: nothing},
		}},
	}
}

// clockChapters set GRACE's clock while something is sick, to an hour ahead and
// back, and to five minutes behind and back.
func clockChapters(program string) []chapter {
	return []chapter{
		{before: withClock(program), faults: []fault{
			{name: "frozen, clock set 1 h ahead", service: "redis", short: true, inject: freeze("redis"), meanwhile: steps(time.Hour)},
			{name: "alert: crash, clock set 1 h ahead", service: "ledger", short: true, inject: kill("ledger")},
		}},
		{faults: []fault{{name: "crash, clock set 1 h back", service: "orders", short: true, inject: kill("orders"), meanwhile: steps(0)}}},
		{faults: []fault{
			{name: "full disk, clock set 5 min back", service: "spool", inject: (*stack).fill, meanwhile: steps(-5 * time.Minute)},
			{name: "alert: frozen, clock set 5 min back", service: "billing", inject: freeze("billing")},
		}},
		{faults: []fault{{name: "one backend of two, clock set right", service: "web2", inject: kill("web2"), meanwhile: steps(0)}}},
	}
}
