package sense

import (
	"errors"
	"math"
	"slices"
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
	Retain          grace.Duration `json:"retain" doc:"how long points are kept"`
	MaxPoints       int            `json:"max_points" doc:"points kept of one series"`
	MaxSeries       int            `json:"max_series" doc:"series and alerts kept; samples of more are dropped and counted"`
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
		MaxPoints:       2000,
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
	atLeast("max_points", c.MaxPoints, 2)
	atLeast("max_series", c.MaxSeries, 1)
	return errors.Join(errs...)
}

// Objective is a rule about one metric of one service: it is breached while
// the aggregate over Window compares to Threshold as Op says.
type Objective struct {
	Name        string          `json:"name" doc:"unique among the objectives of a service's metric"`
	Service     grace.ServiceID `json:"service" doc:"whose metric"`
	Metric      string          `json:"metric" doc:"as a sensor or the API names it"`
	Aggregation string          `json:"aggregation" enum:"last,avg,min,max,sum,count,p50,p90,p95,p99,rate,increase,burn_rate" doc:"rate is per second; rate and increase allow for counter resets; burn_rate is how many times too fast an error budget is used up, over window and over a twelfth of it"`
	Window      grace.Duration  `json:"window" doc:"what is aggregated; needless for last. A burn_rate without one stands for three: above 14.4 over 1h and above 6 over 6h (critical), above 1 over 3d (warning)"`
	Op          string          `json:"op" enum:">,>=,<,<=" doc:"how the aggregate compares to threshold when it is breached"`
	Threshold   float64         `json:"threshold" doc:"in the metric's unit; of a burn_rate in multiples of the budget"`
	Budget      float64         `json:"budget" doc:"of a burn_rate: the allowed share of bad events, such as 0.01 for 1 %"`
	Total       string          `json:"total" doc:"of a burn_rate: the counter of all events, and metric is the one of the bad. Without it metric is itself the share of bad events, 0 to 1"`
	For         grace.Duration  `json:"for" doc:"how long it must be breached before it fires"`
	Code        grace.Code      `json:"code" doc:"what it is a symptom of"`
	Severity    grace.Severity  `json:"severity" enum:"info,warning,critical" doc:"default warning"`
	Unit        string          `json:"unit" doc:"for people"`
	Interval    time.Duration   `json:"-"` // at which samples come; 0 is not known
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

// Validate names everything that is wrong with the objective.
func (o Objective) Validate() error {
	var errs []error
	for _, f := range []struct{ key, value string }{
		{"name", o.Name}, {"service", string(o.Service)}, {"metric", o.Metric}, {"code", string(o.Code)},
	} {
		if f.value == "" {
			errs = append(errs, grace.Field(f.key, "is missing"))
		}
	}
	if o.Aggregation != "" && !slices.Contains(Aggregations(), o.Aggregation) {
		errs = append(errs, grace.Field("aggregation", "unknown %q, want one of %v", o.Aggregation, Aggregations()))
	}
	if o.Window < 0 {
		errs = append(errs, grace.Field("window", "%s is negative", o.Window))
	}
	errs = append(errs, o.validateBudget()...)
	if o.Window == 0 && o.Aggregation != "" && o.Aggregation != aggregateLast && o.Aggregation != aggregateBurn {
		errs = append(errs, grace.Field("window", "is missing, aggregation %s needs one", o.Aggregation))
	}
	if o.For < 0 {
		errs = append(errs, grace.Field("for", "%s is negative", o.For))
	}
	if _, known := opposite(o.Op); !known {
		errs = append(errs, grace.Field("op", "unknown %q, want >, >=, < or <=", o.Op))
	}
	if math.IsNaN(o.Threshold) || math.IsInf(o.Threshold, 0) {
		errs = append(errs, grace.Field("threshold", "is not a finite number"))
	}
	if !o.Severity.Valid() {
		errs = append(errs, grace.Field("severity", "unknown %q, want info, warning or critical", o.Severity))
	}
	return errors.Join(errs...)
}

func (o Objective) validateBudget() []error {
	var errs []error
	switch burns := o.Aggregation == aggregateBurn; {
	case !burns && o.Budget != 0:
		errs = append(errs, grace.Field("budget", "is for aggregation %s only", aggregateBurn))
	case !burns && o.Total != "":
		errs = append(errs, grace.Field("total", "is for aggregation %s only", aggregateBurn))
	case burns && !(o.Budget > 0 && o.Budget < 1): // also refuses NaN
		errs = append(errs, grace.Field("budget", "%v is not a share between 0 and 1, such as 0.01 for 1 %%", o.Budget))
	case burns && o.Total != "" && o.Total == o.Metric:
		errs = append(errs, grace.Field("total", "is the metric itself; it counts all events, metric the bad ones"))
	case burns && o.Window == 0 && o.Threshold != 0:
		errs = append(errs, grace.Field("threshold", "needs a window; without both, an error budget has the three usual ones"))
	case burns && o.Window != 0 && o.Threshold <= 0:
		errs = append(errs, grace.Field("threshold", "%v is not a positive multiple of the budget, such as 14.4", o.Threshold))
	case burns && o.Op != ">" && o.Op != ">=":
		errs = append(errs, grace.Field("op", "%q makes no sense for %s, want >", o.Op, aggregateBurn))
	}
	return errs
}

func (o Objective) withDefaults() Objective {
	if o.Aggregation == "" {
		o.Aggregation = aggregateLast
	}
	if o.Severity == "" {
		o.Severity = grace.SeverityWarning
	}
	return o
}

func (o Objective) breached(v float64) bool {
	switch o.Op {
	case ">":
		return v > o.Threshold
	case ">=":
		return v >= o.Threshold
	case "<":
		return v < o.Threshold
	case "<=":
		return v <= o.Threshold
	}
	return false // Validate refuses it
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
	}
	return "", false
}
