package gracetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"grace/internal/patience"

	"grace"
)

// Recorder is a grace.Sink that keeps what it is given. The zero value is
// ready.
type Recorder struct {
	mu      sync.Mutex
	changed chan struct{}
	samples []grace.Sample
	refused int
	err     error
}

var _ grace.Sink = (*Recorder)(nil)

// Observe keeps samples, or refuses them with the error set by Fail.
func (r *Recorder) Observe(_ context.Context, samples ...grace.Sample) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		r.refused += len(samples)
	} else {
		r.samples = append(r.samples, samples...)
	}
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	return r.err
}

// Fail makes Observe refuse with err from now on; nil accepts again.
func (r *Recorder) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Samples gives a copy of what was accepted so far, in order of arrival.
func (r *Recorder) Samples() []grace.Sample {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.samples)
}

// Wait waits for n samples, and fails the test when they have not come by the
// end of the test run.
func (r *Recorder) Wait(tb testing.TB, n int) []grace.Sample {
	tb.Helper()
	patience.Until(tb, func() error {
		if came := len(r.Samples()); came < n {
			return fmt.Errorf("%d samples came, want %d", came, n)
		}
		return nil
	})
	return r.Samples()
}

// WaitFor waits until cond holds for all samples so far, and tells whether it
// came to hold in time.
func (r *Recorder) WaitFor(within time.Duration, cond func([]grace.Sample) bool) bool {
	return r.await(within, func() bool { return cond(r.samples) })
}

// WaitRefused waits until n samples were refused.
func (r *Recorder) WaitRefused(within time.Duration, n int) bool {
	return r.await(within, func() bool { return r.refused >= n })
}

// await asks cond, under the lock, after every Observe.
func (r *Recorder) await(within time.Duration, cond func() bool) bool {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		r.mu.Lock()
		if cond() {
			r.mu.Unlock()
			return true
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-timeout.C:
			return false
		}
	}
}

// FakeAction is a grace.Action that records its calls.
type FakeAction struct {
	name string
	do   func(ctx context.Context, req grace.ActionRequest) grace.Outcome

	mu    sync.Mutex
	calls []grace.ActionRequest
	bad   error
}

var _ grace.Action = (*FakeAction)(nil)

// NewAction makes an action that answers with do; nil always succeeds. Times
// that do leaves out are filled in.
func NewAction(name string, do func(ctx context.Context, req grace.ActionRequest) grace.Outcome) *FakeAction {
	return &FakeAction{name: name, do: do}
}

// Name gives the name it was made with.
func (a *FakeAction) Name() string { return a.name }

// Validate accepts everything, or gives the error set by Refuse.
func (a *FakeAction) Validate(map[string]any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bad
}

// Refuse makes Validate give err from now on; nil accepts again.
func (a *FakeAction) Refuse(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bad = err
}

// Do records the request and answers.
func (a *FakeAction) Do(ctx context.Context, req grace.ActionRequest) grace.Outcome {
	a.mu.Lock()
	a.calls = append(a.calls, req)
	a.mu.Unlock()
	started := time.Now()
	out := grace.Outcome{Status: grace.OutcomeSucceeded}
	if a.do != nil {
		out = a.do(ctx, req)
	}
	if out.Started.IsZero() {
		out.Started = started
	}
	if out.Ended.IsZero() {
		out.Ended = time.Now()
	}
	return out
}

// Calls gives a copy of the requests so far, in order.
func (a *FakeAction) Calls() []grace.ActionRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

// Prober is a grace.Prober that answers from a script. The zero value has no
// data for any check.
type Prober struct {
	// Now gives the time of a reading; nil is time.Now.
	Now func() time.Time

	mu      sync.Mutex
	scripts map[string][]float64
	asked   map[string]int
}

var _ grace.Prober = (*Prober)(nil)

// Set scripts the answers to checks of this name, metric or type (a check is
// looked up in that order). Every probe takes the next value; the last one
// stays. No values means no data.
func (p *Prober) Set(key string, values ...float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.scripts == nil {
		p.scripts = map[string][]float64{}
	}
	p.scripts[key] = slices.Clone(values)
}

// Asked tells how often the script of a key was asked.
func (p *Prober) Asked(key string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[key]
}

// Probe takes the next scripted value.
func (p *Prober) Probe(_ context.Context, _ grace.ServiceID, check grace.Check, _ time.Time) grace.Reading {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.Now
	if now == nil {
		now = time.Now
	}
	for _, key := range []string{check.Name, check.Expr, string(check.Type)} {
		values, scripted := p.scripts[key]
		if key == "" || !scripted {
			continue
		}
		if p.asked == nil {
			p.asked = map[string]int{}
		}
		p.asked[key]++
		if len(values) == 0 {
			return grace.Reading{At: now(), Detail: "no data (scripted)"}
		}
		if len(values) > 1 {
			p.scripts[key] = values[1:]
		}
		return grace.Reading{At: now(), Value: values[0], OK: true, Detail: "scripted"}
	}
	return grace.Reading{At: now(), Detail: "no script for this check"}
}
