package shop

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// overload is how much more comes than replicas with lost capacity can do:
	// enough that the queue builds in seconds, little enough that one more
	// replica does away with it, best where there was one.
	overload = 1.25
	// A request's work stays below this, so that the queue is what is slow.
	lostWorkMax = 250 * time.Millisecond
	// stuckDelay is far above any objective and short of all patience.
	stuckDelay = 900 * time.Millisecond
	// A rising load starts where replicas are busy for this share of their time,
	// and grows by a share of what it was each second, up to a multiple.
	risingFrom = 0.3
	risingBy   = 0.02
	risingUpTo = 3.2
)

// faults are all that were injected.
type faults struct {
	mu  sync.Mutex
	all []*injected
}

type injected struct {
	Fault
	before int // replicas when it came
}

// listFaults gives the active ones, or all.
func (p *platform) listFaults(all bool) []Fault {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	out := []Fault{}
	for _, f := range p.faults.all {
		if f.CuredAt != nil && !all {
			continue
		}
		v := f.Fault
		v.Relieved = v.CuredAt == nil && v.Kind.takesCapacity() && len(p.services[v.Service].serving()) > f.before
		out = append(out, v)
	}
	return out
}

// inject is POST /faults.
func (p *platform) inject(req *http.Request) change {
	var body struct {
		Service string `json:"service"`
		Kind    Kind   `json:"kind"`
	}
	if err := decode(req, &body); err != nil {
		return refuse(http.StatusBadRequest, "%v", err)
	}
	s, ok := p.services[body.Service]
	if !ok {
		return refuse(http.StatusNotFound, "no service %q", body.Service)
	}
	if reason, ok := body.Kind.fits(s.spec); !ok {
		return refuse(http.StatusBadRequest, "%s", reason)
	}
	s.op.Lock()
	defer s.op.Unlock()
	for _, f := range p.listFaults(false) {
		if f.Service == s.spec.name && (f.Kind == body.Kind || (f.Kind.takesCapacity() && body.Kind.takesCapacity())) {
			return refuse(http.StatusConflict, "%s has the fault %s already, as %s", s.spec.name, f.Kind, f.ID)
		}
	}
	before := len(s.all())
	p.strike(context.WithoutCancel(req.Context()), s, body.Kind)
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	f := &injected{before: before, Fault: Fault{
		ID: fmt.Sprintf("f%d", len(p.faults.all)+1), Service: s.spec.name, Kind: body.Kind, Since: time.Now().UTC(),
	}}
	p.faults.all = append(p.faults.all, f)
	return change{http.StatusCreated, f.Fault, true}
}

// strike makes the fault happen.
func (p *platform) strike(ctx context.Context, s *service, kind Kind) {
	switch kind {
	case Crash:
		for _, i := range s.all() {
			i.kill()
		}
	case Latency, DependencySlow:
		p.busy(ctx, s, overload)
	case RisingLoad:
		p.loads.rise(s.spec.name, p.busy(ctx, s, risingFrom), time.Now())
	case ErrorsAfterFlag:
		p.set(ctx, s, func(r *replicaState) { r.Flags[s.spec.flag] = true })
	case ColdCache:
		p.set(ctx, s, func(r *replicaState) { r.Cold = true })
	case Leak:
		p.set(ctx, s, func(r *replicaState) { r.Leak = leakFast })
	case SlowLeak:
		p.set(ctx, s, func(r *replicaState) { r.Leak = leakSlow })
	case OpenBreaker:
		p.set(ctx, s, func(r *replicaState) { r.BreakerStuck = true })
	case StuckLatency:
		p.set(ctx, s, func(r *replicaState) { r.Delay = stuckDelay })
	}
}

// busy takes so much capacity that replicas work for a share of their time; 1
// and more is a queue that builds. It gives the requests a second that come now.
func (p *platform) busy(ctx context.Context, s *service, share float64) (rate float64) {
	rate = s.meter.recent.rate(time.Now())
	work := lostWorkMax
	if rate > 0 {
		work = time.Duration(share * float64(max(len(s.serving()), 1)) / rate * float64(time.Second))
	}
	p.set(ctx, s, func(r *replicaState) { r.Slots, r.Work = 1, min(work, lostWorkMax) })
	return rate
}

// cure notes that faults of these kinds are over.
func (p *platform) cure(s *service, by string, kinds ...Kind) {
	p.faults.mu.Lock()
	defer p.faults.mu.Unlock()
	now := time.Now().UTC()
	for _, f := range p.faults.all {
		if f.CuredAt == nil && f.Service == s.spec.name && slices.Contains(kinds, f.Kind) {
			f.CuredAt, f.CuredBy = &now, by
		}
	}
}

// heal is DELETE /faults/{id}: the fault is undone by hand.
func (p *platform) heal(req *http.Request) change {
	fault, ok := p.fault(req.PathValue("id"))
	if !ok {
		return refuse(http.StatusNotFound, "no fault %s", req.PathValue("id"))
	}
	s := p.services[fault.Service]
	s.op.Lock()
	defer s.op.Unlock()
	if fault, _ = p.fault(fault.ID); fault.CuredAt != nil {
		return change{http.StatusOK, fault, false}
	}
	ctx := context.WithoutCancel(req.Context())
	switch fault.Kind {
	case Crash:
		if c := p.restart(ctx, s, req); c.status != http.StatusOK {
			return c
		}
	case ColdCache:
		if c := p.warmCache(ctx, s, req); c.status != http.StatusOK {
			return c
		}
	case Latency, DependencySlow, ErrorsAfterFlag, Leak, OpenBreaker, StuckLatency, SlowLeak, RisingLoad:
		if fault.Kind == RisingLoad {
			p.loads.calm(s.spec.name)
		}
		p.set(ctx, s, func(r *replicaState) { undo(r, s.spec, fault.Kind) })
	}
	p.cure(s, "delete", fault.Kind)
	fault, _ = p.fault(fault.ID)
	return change{http.StatusOK, fault, true}
}

// undo takes a fault out of what the replicas are to be.
func undo(r *replicaState, s spec, kind Kind) {
	switch kind {
	case Latency, DependencySlow, RisingLoad:
		r.Slots, r.Work = s.slots, s.work
	case ErrorsAfterFlag:
		r.Flags[s.flag] = false
	case Leak, SlowLeak:
		r.Leak = 0
	case OpenBreaker:
		r.BreakerStuck = false
	case StuckLatency:
		r.Delay = 0
	case Crash, ColdCache: // not a matter of settings
	}
}

func (p *platform) fault(id string) (Fault, bool) {
	for _, f := range p.listFaults(true) {
		if f.ID == id {
			return f, true
		}
	}
	return Fault{}, false
}
