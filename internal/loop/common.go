package loop

import (
	"fmt"
	"sync/atomic"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/stage/predict"
)

// common is what all rooms look at: the parts outside, the configuration, what is
// known of all services, and since when.
type common struct {
	Deps

	stages   atomic.Pointer[stages]
	mirror   replicatedCache // what every replica's signals and predictions say
	memory   scoreCache      // what ranking remembers
	openRuns openMap
	stats    Stats
	wake     chan struct{} // of the decider

	stormNow atomic.Pointer[grace.Reason] // of the storm that lasts, for runs that wait to start
	epoch    atomic.Int64                 // since when, in ms, evidence counts: the start, the last change of the configuration, or that it woke
	// looking is since when, in ms, this process should see what it is told to look at:
	// the start, the last change of the configuration. Time that it stood still does not
	// count.
	looking  atomic.Int64
	reloaded atomic.Bool  // the configuration says something new, and what waits was not looked at since
	woke     atomic.Bool  // the process stood still, and the decider has not heard of it
	setBack  atomic.Int64 // by how much the clock is behind where it was, in ns, at most 0
	shifted  atomic.Int64 // by how much the clock was set, in ns, since the decider asked
}

// wakeDecider wakes the decider.
func (co *common) wakeDecider() {
	select {
	case co.wake <- struct{}{}:
	default:
	}
}

// stages is one configuration's pure part. It is never changed, only swapped.
type stages struct {
	Config

	rules *decide.Rules
	zones predict.Zones
}

func buildStages(cfg Config) (*stages, error) {
	if cfg.ApprovalTTL <= 0 {
		cfg.ApprovalTTL = 30 * time.Minute
	}
	if cfg.Reconsider <= 0 {
		cfg.Reconsider = 5 * time.Second
	}
	if cfg.EscalateAfter <= 0 {
		cfg.EscalateAfter = 5 * time.Minute
	}
	if cfg.EscalateCritical <= 0 {
		cfg.EscalateCritical = time.Minute
	}
	if cfg.Mode == "" {
		cfg.Mode = grace.ModeObserveOnly
	}
	rules, err := decide.NewRules(cfg.Config)
	if err != nil {
		return nil, err
	}
	cfg.Config = rules.Config
	zones, err := zonesOf(&cfg)
	if err != nil {
		return nil, err
	}
	return &stages{Config: cfg, rules: rules, zones: zones}, nil
}

// zonesOf gives the time zones of the services.
func zonesOf(cfg *Config) (z predict.Zones, err error) {
	if z.Default, err = time.LoadLocation(cfg.TimeZone); err != nil {
		return z, err
	}
	z.Of = map[grace.ServiceID]*time.Location{}
	for _, s := range cfg.Services {
		if s.TimeZone == "" {
			continue
		}
		if z.Of[s.ID], err = time.LoadLocation(s.TimeZone); err != nil {
			return z, fmt.Errorf("service %s: %w", s.ID, err)
		}
	}
	return z, nil
}
