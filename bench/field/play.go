package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"grace"
)

// row is what became of a fault, as times since it was injected; 0 is never.
type row struct {
	fault                       fault
	at                          time.Duration // since the campaign began
	acted, asked, told, recover time.Duration
	wrong                       string
}

// atMost is how long a fault may take to be over once nothing brings it back.
// After a clock was set back GRACE may take what it did for a minute younger than
// it is, and wait for that before it does the same again.
const atMost = 105 * time.Second

// tell plays a chapter: what is in it goes wrong at once.
func (j *judge) tell(ctx context.Context, c chapter, began time.Time) []row {
	rows := make([]row, len(c.faults))
	var all sync.WaitGroup
	for i, f := range c.faults {
		all.Go(func() { rows[i] = j.play(ctx, f, began) })
	}
	all.Wait()
	return rows
}

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
	end := injected.Add(f.lasts + atMost)
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
		if string(run.Service) == service && !run.Status.Terminal() {
			return false
		}
	}
	return true
}

// about tells whether an incident is about a service, or about GRACE that does
// not hear from a program.
func about(i grace.Incident, name string) bool {
	if slices.Contains(services(), name) {
		return i.Kind != grace.IncidentBlind && i.Covers(grace.ServiceID(name))
	}
	return i.Sensor == name || strings.HasPrefix(string(i.Service), "core.") && strings.Contains(i.Detail, name)
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
		if at := j.toldAt[i.ID]; about(i, f.service) && at.After(injected) && (r.told == 0 || at.Sub(injected) < r.told) {
			r.told = at.Sub(injected)
		}
	}
	switch {
	case r.recover == 0:
		r.wrong = "it was not over in time"
	case f.want == nothing && r.acted > 0:
		r.wrong = "nothing was to be done, and it was acted on"
	case f.want == tell && r.told == 0:
		r.wrong = "nobody was told"
	case f.want == act && r.acted == 0:
		r.wrong = "nothing was done"
	}
}
