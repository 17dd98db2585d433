package sim

import (
	"context"
	"fmt"
	"time"

	"grace"
)

// Names of the operators that are compared.
const (
	OperatorGrace    = "GRACE"
	OperatorNothing  = "nothing"
	OperatorRestarts = "restart whatever alerts"
	OperatorRules    = "rules without gates"
)

// Operators are GRACE and those she is compared with.
func Operators() []string {
	return []string{OperatorGrace, OperatorNothing, OperatorRestarts, OperatorRules}
}

// reference is an operator by rote. It sees the samples that GRACE would see
// and holds them to the same limits, acts with the same actions, and asks
// nobody: not whether a dependency is the cause, not whether it helped.
type reference struct {
	choose func(code grace.Code) string // the action for a symptom, "" for none
	breach map[string]int               // by service and code: samples in a row beyond the limit
	acted  map[grace.ServiceID]time.Time
	alerts []alert
	p      *process
	n      int
}

type alert struct {
	service grace.ServiceID
	code    grace.Code
}

// cooldown is how long a reference operator leaves a service alone after it
// acted on it.
const cooldown = time.Minute

func newReference(s *Sim, name string) *reference {
	r := &reference{breach: map[string]int{}, acted: map[grace.ServiceID]time.Time{}, p: &process{sim: s}}
	switch name {
	case OperatorRestarts:
		r.choose = func(grace.Code) string { return actRestart }
	case OperatorRules:
		r.choose = ruleFor
	default:
		r.choose = func(grace.Code) string { return "" }
	}
	return r
}

func ruleFor(code grace.Code) string {
	switch code {
	case grace.CodeServiceDown, memoryLeak:
		return actRestart
	case grace.CodeElevatedErrors, grace.CodeFlagIssue:
		return actFlag
	case grace.CodeLatencySpike, grace.CodeCapacity:
		return actScale
	case grace.CodeCacheCold:
		return actWarm
	case grace.CodeCircuitBreakerOpen:
		return actBreaker
	default:
		return ""
	}
}

func (r *reference) observe(s *Sim, samples []grace.Sample) {
	for _, m := range samples {
		for _, o := range s.limits[m.Service] {
			if o.metric == m.Metric {
				r.count(m.Service, o.Code, o.breached(m.Value))
			}
		}
		if m.Metric == metricUp {
			r.count(m.Service, grace.CodeServiceDown, m.Value == 0)
		}
	}
}

func (r *reference) count(id grace.ServiceID, code grace.Code, bad bool) {
	key := string(id) + "/" + string(code)
	if !bad {
		delete(r.breach, key)
		return
	}
	r.breach[key]++
	if r.breach[key] >= 2 { // as often as GRACE's hysteresis
		r.alerts = append(r.alerts, alert{id, code})
	}
}

func (r *reference) think(s *Sim) {
	for _, a := range r.alerts {
		s.detect(a.service, s.now)
		if last, ok := r.acted[a.service]; ok && s.now.Sub(last) < cooldown {
			continue
		}
		name := r.choose(a.code)
		if name == "" {
			continue
		}
		r.acted[a.service] = s.now
		r.n++
		req := grace.ActionRequest{
			Run: grace.RunID(fmt.Sprintf("ref-%d", r.n)), Step: name, Service: a.service, Phase: grace.PhaseDo,
			IdempotencyKey: fmt.Sprintf("ref-%d", r.n), Attempt: 1, With: map[string]any{"delta": moreInstances(s.world.service(a.service).Node)},
		}
		s.tasks = append(s.tasks, s.spawn(func(*task) {
			ctx, cancel := clock{r.p}.WithTimeoutCause(s.ctx, stepTimeout, context.DeadlineExceeded)
			defer cancel()
			action{r.p, name}.Do(ctx, req)
		}))
		s.tasks[len(s.tasks)-1].run()
	}
	r.alerts = nil
}

// PlayReference lets a reference operator live through a story.
func PlayReference(ctx context.Context, st Story, name string) (*Result, error) {
	st.Replicas = 1
	s := newSim(ctx, st, Mutations{})
	s.operator = newReference(s, name)
	if err := s.play(); err != nil {
		return nil, fmt.Errorf("simulate seed %d for %q: %w", st.Seed, name, err)
	}
	return &Result{Story: st, Calls: s.calls, Incidents: s.incidents}, nil
}
