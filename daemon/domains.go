package daemon

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"grace"
	"grace/domain/core"
)

// domainInterval is the time between two looks at the domains' health nodes.
const domainInterval = 5 * time.Second

// watchDomains turns the state of health nodes and the domains' metrics into
// samples: GRACE watches itself the way it watches everything else.
func (d *Daemon) watchDomains(ctx context.Context) {
	var asked nodes
	tick := time.NewTicker(domainInterval)
	defer tick.Stop()
	for {
		var samples []grace.Sample
		for _, dom := range d.domains {
			samples = append(samples, d.look(ctx, &asked, dom)...)
		}
		if err := d.loop.Observe(ctx, samples...); err != nil && ctx.Err() == nil {
			d.log.Warn("domain health not recorded", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// nodes asks health nodes for their state, in a bounded time: one that does not
// answer must not keep all the others from being looked at.
type nodes struct {
	mu   sync.Mutex
	open map[grace.ServiceID]bool // asked, and still silent
}

type nodeState struct {
	health grace.Health
	detail string
}

func (a *nodes) state(ctx context.Context, n grace.HealthNode) (grace.Health, string) {
	silent := func() (grace.Health, string) {
		return grace.HealthUnknown, fmt.Sprintf("no answer within %s", storeTime)
	}
	a.mu.Lock()
	if a.open == nil {
		a.open = map[grace.ServiceID]bool{}
	}
	busy := a.open[n.ID]
	a.open[n.ID] = true
	a.mu.Unlock()
	if busy {
		return silent()
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	answer := make(chan nodeState, 1)
	go func() {
		health, detail := n.State(ctx)
		answer <- nodeState{health, detail}
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.open, n.ID)
	}()
	select {
	case s := <-answer:
		return s.health, s.detail
	case <-ctx.Done():
		return silent()
	}
}

// look asks a domain. One that panics is not asked further this time; the others
// and GRACE itself go on.
func (d *Daemon) look(ctx context.Context, asked *nodes, dom grace.Domain) (samples []grace.Sample) {
	defer func() {
		if v := recover(); v != nil {
			d.log.Error("a domain panicked; its signals go stale", "domain", dom.Name(), "panic", v, "stack", string(debug.Stack()))
			samples = nil
		}
	}()
	return domainSamples(ctx, asked, dom, now())
}

func domainSamples(ctx context.Context, asked *nodes, dom grace.Domain, at time.Time) []grace.Sample {
	var out []grace.Sample
	for _, n := range dom.HealthNodes() {
		health, detail := asked.state(ctx, n)
		s := grace.Sample{
			Service: n.ID, Sensor: dom.Name(), Metric: "health", Kind: grace.SampleProbe, At: at, Message: detail,
			Code: grace.CodeServiceDown, Severity: grace.SeverityCritical,
		}
		switch health {
		case grace.HealthUnknown:
			continue // no data is no sample: the signal goes stale
		case grace.HealthHealthy:
			s.Value = 1
		case grace.HealthDegraded:
			s.Code, s.Severity = grace.CodeDegradation, grace.SeverityWarning
		case grace.HealthCritical:
		}
		out = append(out, s)
	}
	for name, v := range dom.Metrics(ctx) {
		out = append(out, grace.Sample{
			Service: grace.ServiceID(dom.Name()), Sensor: dom.Name(), Metric: name, Kind: grace.SampleMetric, Value: v, At: at,
		})
	}
	return out
}

const (
	storeSlow = time.Second
	storeTime = 3 * time.Second
	// backlogLimit is how many runs may wait to be started before the executor
	// counts as degraded, and how many events before the mesh does.
	backlogLimit = 100
)

// coreParts gives the real state of our own parts.
func (d *Daemon) coreParts() core.Parts {
	return core.Parts{
		Reflection: func(ctx context.Context) (grace.Health, string) {
			return timed(ctx, "learning log", func(ctx context.Context) error {
				_, err := d.loop.KPIs(ctx)
				return err
			})
		},
		Database: func(ctx context.Context) (grace.Health, string) {
			return timed(ctx, "store", func(ctx context.Context) error {
				if err := d.ready(ctx); err != nil {
					return err
				}
				_, _, err := d.store.AuditHead(ctx, d.store.Q())
				return err
			})
		},
		Executor: func(context.Context) (grace.Health, string) {
			queued, started, err := d.engine.Depth()
			switch {
			case err != nil:
				return grace.HealthCritical, err.Error()
			case queued > backlogLimit:
				return grace.HealthDegraded, fmt.Sprintf("%d runs wait to be started", queued)
			}
			return grace.HealthHealthy, fmt.Sprintf("%d runs open", started)
		},
		Mesh: func(ctx context.Context) (grace.Health, string) {
			lag, err := d.loop.EventLag(ctx)
			switch {
			case err != nil:
				return grace.HealthCritical, err.Error()
			case lag > backlogLimit:
				return grace.HealthDegraded, fmt.Sprintf("%d events behind", lag)
			}
			if text := blind(d.sensors.views(), d.byAlertsAlone); text != "" {
				return grace.HealthDegraded, text
			}
			return grace.HealthHealthy, "events flow"
		},
		Metrics: func(ctx context.Context) map[string]float64 {
			k, err := d.loop.KPIs(ctx)
			if err != nil {
				return nil
			}
			return k.Metrics()
		},
	}
}

// timed judges a part of the store by whether and how fast it answers.
func timed(ctx context.Context, what string, ask func(context.Context) error) (grace.Health, string) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	began := time.Now()
	if err := ask(ctx); err != nil {
		return grace.HealthCritical, what + ": " + err.Error()
	}
	took := time.Since(began).Round(time.Millisecond)
	if took > storeSlow {
		return grace.HealthDegraded, fmt.Sprintf("%s answers in %s", what, took)
	}
	return grace.HealthHealthy, fmt.Sprintf("%s answers in %s", what, took)
}
