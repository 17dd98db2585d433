package propose

import (
	"errors"
	"math"
	"time"

	"grace"
)

// Config holds the limits of proposing.
type Config struct {
	DuplicateWindow grace.Duration `yaml:"duplicate_window" json:"duplicate_window" doc:"the same playbook for the same condition of a service is not proposed again within this time; nor for what began before it had ended, or is foretold, whatever it is called"`
	RatePerHour     int            `yaml:"rate_per_hour" json:"rate_per_hour" doc:"proposals an hour and service"`
	BackoffBase     grace.Duration `yaml:"backoff_base" json:"backoff_base" doc:"wait after a failed remedy; doubled with each further failure, reset by a success"`
	BackoffMax      grace.Duration `yaml:"backoff_max" json:"backoff_max" doc:"longest wait, before jitter"`
	BackoffJitter   float64        `yaml:"backoff_jitter" json:"backoff_jitter" doc:"share by which a wait is made shorter or longer"`
	StormServices   int            `yaml:"storm_services" json:"storm_services" doc:"with more services sick at once nothing is done"`
	StormShare      float64        `yaml:"storm_share" json:"storm_share" doc:"with more than this share of all services sick at once nothing is done; counts from 4 services on"`
	MaxConcurrent   int            `yaml:"max_concurrent" json:"max_concurrent" doc:"runs that may be changing something at once"`
	MinTrials       float64        `yaml:"min_trials" json:"min_trials" doc:"decayed outcomes before a learned score counts"`
	ProvenScore     float64        `yaml:"proven_score" json:"proven_score" doc:"a learned score from which on a playbook is preferred"`
	DoNothing       float64        `yaml:"do_nothing" json:"do_nothing" doc:"assumed chance that the condition passes by itself; a playbook that scores lower is not proposed"`
}

// DefaultConfig gives the limits that hold when nothing is said.
func DefaultConfig() Config {
	return Config{
		DuplicateWindow: grace.Duration(10 * time.Minute),
		RatePerHour:     3,
		BackoffBase:     grace.Duration(5 * time.Minute),
		BackoffMax:      grace.Duration(120 * time.Minute),
		BackoffJitter:   0.2,
		StormServices:   5,
		StormShare:      0.5,
		MaxConcurrent:   10,
		MinTrials:       5,
		ProvenScore:     0.7,
		DoNothing:       0.3,
	}
}

// Validate joins every fault; each is a [grace.FieldError].
func (c Config) Validate() error {
	var errs []error
	want := func(ok bool, key string, value any, what string) {
		if !ok {
			errs = append(errs, grace.Field(key, "%v: want %s", value, what))
		}
	}
	share := func(v float64) bool { return v >= 0 && v <= 1 } // false for NaN
	want(c.DuplicateWindow >= 0, "duplicate_window", c.DuplicateWindow, "0s or more")
	want(c.RatePerHour >= 1, "rate_per_hour", c.RatePerHour, "1 or more; to do nothing at all set the mode")
	want(c.BackoffBase > 0, "backoff_base", c.BackoffBase, "more than 0s")
	want(c.BackoffMax >= c.BackoffBase, "backoff_max", c.BackoffMax, "backoff_base or more")
	want(c.BackoffMax.D() <= math.MaxInt64/4, "backoff_max", c.BackoffMax, "a time that can be waited for")
	want(c.BackoffJitter >= 0 && c.BackoffJitter < 1, "backoff_jitter", c.BackoffJitter, "0 or more, less than 1")
	want(c.StormServices >= 1, "storm_services", c.StormServices, "1 or more")
	want(c.StormShare > 0 && c.StormShare <= 1, "storm_share", c.StormShare, "more than 0, at most 1")
	want(c.MaxConcurrent >= 1, "max_concurrent", c.MaxConcurrent, "1 or more")
	want(c.MinTrials > 0 && !math.IsInf(c.MinTrials, 0), "min_trials", c.MinTrials, "more than 0")
	want(share(c.ProvenScore), "proven_score", c.ProvenScore, "0 to 1")
	want(share(c.DoNothing), "do_nothing", c.DoNothing, "0 to 1")
	return errors.Join(errs...)
}

// Backoff is how long to wait after a number of failures in a row: BackoffBase
// doubled for each after the first, at most BackoffMax, then made shorter or
// longer by up to BackoffJitter as the seed says. No failures, no wait.
func Backoff(cfg Config, failures int, seed uint64) time.Duration {
	if failures <= 0 {
		return 0
	}
	wait := cfg.BackoffBase.D()
	for i := 1; i < failures && wait < cfg.BackoffMax.D(); i++ {
		wait *= 2
	}
	wait = min(wait, cfg.BackoffMax.D())
	factor := 1 + cfg.BackoffJitter*(2*unit(seed)-1)
	return time.Duration(float64(wait) * factor)
}

// unit spreads a seed evenly over [0, 1): the finish of splitmix64, so that
// seeds that differ in one bit give unrelated values.
func unit(seed uint64) float64 {
	seed += 0x9e3779b97f4a7c15
	seed = (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
	seed = (seed ^ seed>>27) * 0x94d049bb133111eb
	return float64((seed^seed>>31)>>11) / (1 << 53)
}
