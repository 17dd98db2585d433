package diagnose

import (
	"errors"
	"time"

	"grace"
)

// Config holds the weights of evidence, each a probability of its own.
type Config struct {
	GroupWait     grace.Duration `json:"group_wait" doc:"how long after the first symptom others are waited for that would change the diagnosis"`
	Window        grace.Duration `json:"window" doc:"how long a recovered signal is still evidence"`
	Aftermath     grace.Duration `json:"aftermath" doc:"how long a recovered dependency still explains the symptoms of its dependents"`
	MinLikelihood float64        `json:"min_likelihood" doc:"less likely diagnoses are not made"`

	Critical  float64 `json:"critical" doc:"weight of a firing critical signal"`
	Warning   float64 `json:"warning" doc:"weight of a firing warning"`
	Info      float64 `json:"info" doc:"weight of a firing informational signal"`
	Stale     float64 `json:"stale" doc:"weight of a signal without data"`
	Echo      float64 `json:"echo" doc:"factor for all but the strongest signal of one metric"`
	Recovered float64 `json:"recovered" doc:"factor for a signal that fired within the window, fading to 0 at its end"`
	Victim    float64 `json:"victim" doc:"factor for the symptoms of a victim"`
}

// DefaultConfig sets the weights against the trust core's threshold of 0.7.
func DefaultConfig() Config {
	return Config{
		GroupWait:     grace.Duration(5 * time.Second),
		Window:        grace.Duration(10 * time.Minute),
		Aftermath:     grace.Duration(20 * time.Second),
		MinLikelihood: 0.3,
		Critical:      0.78,
		Warning:       0.64,
		Info:          0.35,
		Stale:         0.35,
		Echo:          0.5,
		Recovered:     0.4,
		Victim:        0.4,
	}
}

// Validate names every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	if c.Window <= 0 {
		errs = append(errs, grace.Field("window", "%s is not a positive duration", c.Window))
	}
	if c.GroupWait < 0 || c.GroupWait > c.Window {
		errs = append(errs, grace.Field("group_wait", "%s is not between 0 and the window", c.GroupWait))
	}
	if c.Aftermath < 0 || c.Aftermath > c.Window {
		errs = append(errs, grace.Field("aftermath", "%s is not between 0 and the window", c.Aftermath))
	}
	for _, p := range []struct {
		key   string
		value float64
	}{
		{"min_likelihood", c.MinLikelihood},
		{"critical", c.Critical},
		{"warning", c.Warning},
		{"info", c.Info},
		{"stale", c.Stale},
		{"echo", c.Echo},
		{"recovered", c.Recovered},
		{"victim", c.Victim},
	} {
		if !(p.value >= 0 && p.value <= 1) { // also refuses NaN
			errs = append(errs, grace.Field(p.key, "%v is not between 0 and 1", p.value))
		}
	}
	if c.Critical < c.Warning || c.Warning < c.Info {
		errs = append(errs, errors.New("critical, warning, info: a worse severity must not weigh less"))
	}
	return errors.Join(errs...)
}

func (c *Config) severity(s grace.Severity) float64 {
	switch s {
	case grace.SeverityCritical:
		return c.Critical
	case grace.SeverityWarning:
		return c.Warning
	case grace.SeverityInfo:
		return c.Info
	}
	return c.Info // not said: the least
}
