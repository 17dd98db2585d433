package sense

import (
	"errors"
	"time"

	"grace"
)

// Config holds the limits of judging.
type Config struct {
	FailAfter       int            `json:"fail_after" doc:"consecutive failures before a probe or objective fires"`
	RecoverAfter    int            `json:"recover_after" doc:"consecutive passes before it is ok again"`
	StaleAfter      grace.Duration `json:"stale_after" doc:"without data for longer, a probe or objective is stale"`
	AlertStaleAfter grace.Duration `json:"alert_stale_after" doc:"not sent again for longer, a firing alert is stale; longer than the source's repeat interval"`
	FlapTransitions int            `json:"flap_transitions" doc:"changes within flap_window that make a signal flapping; 0 turns damping off"`
	FlapWindow      grace.Duration `json:"flap_window" doc:"over which changes are counted; longer for what is looked at rarely, so that it is flapping when every fourth look fails"`
	Retain          grace.Duration `json:"retain" doc:"how long what has no reader is remembered"`
	MaxSeries       int            `json:"max_series" doc:"signals and measured metrics that are known; more are dropped and counted"`
}

// DefaultConfig suits sensors that look every 5 to 30 seconds.
func DefaultConfig() Config {
	return Config{
		FailAfter:       2,
		RecoverAfter:    2,
		StaleAfter:      grace.Duration(time.Minute),
		AlertStaleAfter: grace.Duration(5 * time.Hour), // Alertmanager repeats every 4 h
		FlapTransitions: 6,
		FlapWindow:      grace.Duration(10 * time.Minute),
		Retain:          grace.Duration(15 * time.Minute),
		MaxSeries:       20000,
	}
}

// Validate names every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	atLeast := func(key string, v, least int) {
		if v < least {
			errs = append(errs, grace.Field(key, "%d is less than %d", v, least))
		}
	}
	positive := func(key string, d grace.Duration) {
		if d <= 0 {
			errs = append(errs, grace.Field(key, "%s is not a positive duration", d))
		}
	}
	atLeast("fail_after", c.FailAfter, 1)
	atLeast("recover_after", c.RecoverAfter, 1)
	positive("stale_after", c.StaleAfter)
	positive("alert_stale_after", c.AlertStaleAfter)
	if c.FlapTransitions != 0 {
		atLeast("flap_transitions", c.FlapTransitions, 2)
		positive("flap_window", c.FlapWindow)
	}
	positive("retain", c.Retain)
	atLeast("max_series", c.MaxSeries, 1)
	return errors.Join(errs...)
}

// Probe is a configured probe: it is known, and unknown in state, before its
// first sample.
type Probe struct {
	Service  grace.ServiceID
	Sensor   string
	Metric   string
	Code     grace.Code     // default service_down
	Severity grace.Severity // default critical
	Interval time.Duration  // at which its samples come; 0 is not known
}

// opposite gives the comparison that holds when op does not.
func opposite(op string) (string, bool) {
	switch op {
	case ">":
		return "<=", true
	case ">=":
		return "<", true
	case "<":
		return ">=", true
	case "<=":
		return ">", true
	case "==":
		return "!=", true
	case "!=":
		return "==", true
	}
	return "", false
}
