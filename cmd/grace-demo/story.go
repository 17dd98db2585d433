package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/examples/shop"
	"grace/internal/cli"
)

// faulter breaks the shop, and mends by hand what GRACE could not.
type faulter interface {
	Inject(ctx context.Context, service string, kind shop.Kind) (shop.Fault, error)
	Heal(ctx context.Context, id string) (shop.Fault, error)
}

// chapter is one fault and how its story must end.
type chapter struct {
	name     string
	title    string
	service  string // where the fault strikes, and the only place to act
	kind     shop.Kind
	broke    string // what happened, for the reader
	playbook grace.PlaybookID
	asks     bool   // GRACE must ask, and the operator approves
	fails    bool   // the remedy must not help: undone, incident, mended by hand
	limit    *limit // GRACE must foresee that it is reached, and act before
}

// chapters is the story. Each acts on its own kind of fault, so that no
// limit of one (duplicates, backoff, rate) is met by another.
func chapters() []chapter {
	return []chapter{
		{
			name: "crash", title: "A service crashes", service: shop.Cart, kind: shop.Crash,
			broke:    "every replica of cart was killed",
			playbook: "restart_service",
		},
		{
			name: "bad_flag", title: "A feature flag breaks checkout", service: shop.Checkout, kind: shop.ErrorsAfterFlag,
			broke:    "the flag express_pay of checkout was turned on, and its code fails",
			playbook: "rollback_flag",
		},
		{
			name: "breaker", title: "A circuit breaker sticks open", service: shop.Catalog, kind: shop.OpenBreaker,
			broke:    "the circuit breakers of catalog opened and stay so",
			playbook: "flush_circuit_breakers", asks: true,
		},
		{
			name: "slow_dependency", title: "A dependency slows down its callers", service: shop.Cache, kind: shop.DependencySlow,
			broke:    "cache lost capacity; catalog and frontend, which need it, get slow",
			playbook: "scale_up_instances",
		},
		{
			name: "slow_leak", title: "A slow leak, foreseen", service: shop.Checkout, kind: shop.SlowLeak,
			broke:    "checkout loses 30 MiB of memory a minute; at 32 MiB it would be a symptom",
			playbook: "restart_service",
			limit: &limit{
				service: shop.Checkout, what: "%s MiB of memory", at: 32,
				level: func(s shop.Status) float64 { return float64(s.Heap) / (1 << 20) },
			},
		},
		{
			name: "rising_load", title: "A rising load, foreseen", service: shop.Cart, kind: shop.RisingLoad,
			broke:    "every second more customers come to cart; at 80 % of its capacity it would be a symptom",
			playbook: "scale_up_instances",
			limit: &limit{
				service: shop.Cart, what: "%s %% of the capacity", at: 80,
				level: func(s shop.Status) float64 { return 100 * s.Busy },
			},
		},
		{
			name: "stuck_latency", title: "A remedy does not help", service: shop.Frontend, kind: shop.StuckLatency,
			broke:    "every request of frontend takes 0.9 s longer, however many replicas there are",
			playbook: "scale_up_instances", fails: true,
		},
	}
}

// expected words the ending.
func (c chapter) expected() string {
	text := fmt.Sprintf("%s on %s ", c.playbook, c.service)
	switch {
	case c.fails:
		return text + "does not help: undone, escalated"
	case c.asks:
		return text + "succeeded after approval"
	case c.limit != nil:
		return text + "succeeded before " + c.limit.text(c.limit.at)
	default:
		return text + "succeeded"
	}
}

// verdict of a chapter so far.
type verdict int

const (
	storyGoesOn verdict = iota
	asTold
	notAsTold
)

// judge reads the runs made since the fault. run is the chapter's own, once
// there is one.
func (c chapter) judge(runs []grace.Run) (v verdict, run *grace.Run, detail string) {
	for i := range runs {
		r := &runs[i]
		if r.Service == grace.ServiceID(c.service) && r.Playbook.ID == c.playbook {
			if run == nil || run.Status == grace.RunCancelled {
				run = r
			}
			continue
		}
		if r.StartedAt != nil {
			return notAsTold, run, fmt.Sprintf("GRACE acted elsewhere: %s on %s (run %s)", r.Playbook.ID, r.Service, r.ID)
		}
	}
	if run == nil {
		return storyGoesOn, nil, ""
	}
	if run.Status == grace.RunAwaitingApproval && !c.asks {
		return notAsTold, run, "GRACE asked for approval, but should have acted by itself"
	}
	if run.StartedAt != nil && c.asks && run.Auto {
		return notAsTold, run, "GRACE acted by itself, but should have asked for approval"
	}
	if c.limit != nil && run.Kind != grace.TriggerProactive {
		return notAsTold, run, "GRACE acted on a symptom, but should have foreseen it"
	}
	if !run.Status.Terminal() || run.Status == grace.RunCancelled {
		return storyGoesOn, run, "" // a cancelled run was too early: another comes
	}
	switch {
	case !c.fails && run.Status == grace.RunSucceeded:
		return asTold, run, ""
	case c.fails && slices.Contains([]grace.RunStatus{grace.RunIneffective, grace.RunRolledBack, grace.RunEscalated}, run.Status):
		if run.Incident == "" {
			return notAsTold, run, fmt.Sprintf("the run ended %s, but no incident was opened", run.Status)
		}
		return asTold, run, ""
	default:
		return notAsTold, run, fmt.Sprintf("the run ended %s%s", run.Status, cli.Because(run.Error))
	}
}

// faultReport is what became of one fault.
type faultReport struct {
	Name       string           `json:"name"`
	Service    string           `json:"service"`
	Expected   string           `json:"expected"`
	Outcome    string           `json:"outcome"`
	OK         bool             `json:"ok"`
	InjectedAt time.Time        `json:"injected_at"`
	DetectedS  *float64         `json:"detected_s"`
	ActedS     *float64         `json:"acted_s"`
	RecoveredS *float64         `json:"recovered_s"`
	Run        grace.RunID      `json:"run,omitempty"`
	Playbook   grace.PlaybookID `json:"playbook,omitempty"`
	Detail     string           `json:"detail,omitempty"`
	Peak       string           `json:"peak,omitempty"` // how near it came to what was foreseen

	healed   bool // by GRACE
	incident grace.IncidentID
}
