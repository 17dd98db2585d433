package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"grace/examples/shop"
)

// planned is a fault to come.
type planned struct {
	Service string    `json:"service"`
	Kind    shop.Kind `json:"kind"`
}

// story is the faults in their order: two of each kind, two on each of five
// services, the same kind never twice in a row. The store is left out: nothing
// but a person may act on it in GRACE's configuration.
func story() []planned {
	return []planned{
		{shop.Cart, shop.Crash},
		{shop.Cache, shop.Latency},
		{shop.Checkout, shop.ErrorsAfterFlag},
		{shop.Catalog, shop.Leak},
		{shop.Frontend, shop.OpenBreaker},
		{shop.Catalog, shop.Crash},
		{shop.Cart, shop.Latency},
		{shop.Frontend, shop.ErrorsAfterFlag},
		{shop.Cache, shop.Leak},
		{shop.Checkout, shop.OpenBreaker},
	}
}

// kinds are the story's, in the order of the tables.
func kinds() []shop.Kind {
	return []shop.Kind{shop.Crash, shop.Leak, shop.Latency, shop.ErrorsAfterFlag, shop.OpenBreaker}
}

// restartCures tells which faults a restart can cure at all. Only the report
// uses it, to compare times where all healers have the remedy.
func restartCures(k shop.Kind) bool { return k == shop.Crash || k == shop.Leak }

// choose gives the first n faults of the kinds named; no name is all kinds.
func choose(all []planned, only string, n int) ([]planned, error) {
	var want []shop.Kind
	for name := range strings.SplitSeq(only, ",") {
		if name == "" {
			continue
		}
		if !slices.Contains(kinds(), shop.Kind(name)) {
			return nil, fmt.Errorf("-only %q is not a kind of fault; there are %v", name, kinds())
		}
		want = append(want, shop.Kind(name))
	}
	var out []planned
	for _, p := range all {
		if len(out) < n && (len(want) == 0 || slices.Contains(want, p.Kind)) {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no fault is left to play")
	}
	return out, nil
}

// action is one request of a healer that changes something.
type action struct {
	At      time.Time `json:"at"`
	AfterS  float64   `json:"after_s"` // since the fault
	Service string    `json:"service"`
	Does    string    `json:"does"` // restart, scale, flags/x, breakers/flush ...
	Body    string    `json:"body,omitempty"`
	Status  int       `json:"status"`
	Right   bool      `json:"right"`         // the fault was over by it
	Why     string    `json:"why,omitempty"` // why it was not right
}

// done tells whether the platform carried it out.
func (a action) done() bool { return a.Status/100 == 2 }

// outcome of one fault under one healer.
type outcome struct {
	planned
	Injected     time.Time `json:"injected"`
	Recovered    bool      `json:"recovered"`
	RecoveredS   float64   `json:"recovered_s"` // or the time it was given, if not recovered
	FirstActionS *float64  `json:"first_action_s"`
	BreachS      int       `json:"breach_s"` // until a while after recovery, or until mended by hand
	Wrong        int       `json:"wrong"`
	Actions      []action  `json:"actions"`
	Breaches     []string  `json:"breaches,omitempty"` // the first few, as the judge saw them
	Note         string    `json:"note,omitempty"`
}

// count sets what follows from the actions.
func (o *outcome) count() {
	o.Wrong, o.FirstActionS = 0, nil
	for i, a := range o.Actions {
		if !a.done() {
			continue
		}
		if o.FirstActionS == nil {
			o.FirstActionS = &o.Actions[i].AfterS
		}
		if !a.Right {
			o.Wrong++
		}
	}
}

// done counts the actions that were carried out.
func (o outcome) done() int {
	n := 0
	for _, a := range o.Actions {
		if a.done() {
			n++
		}
	}
	return n
}

// touched gives when the faulty service was first acted on, whether or not it
// helped: by then a healer with any remedy would have had it.
func (o outcome) touched() (after float64, ok bool) {
	for _, a := range o.Actions {
		if a.done() && a.Service == o.Service {
			return a.AfterS, true
		}
	}
	return 0, false
}
