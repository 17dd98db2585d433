package predict

import (
	"errors"
	"time"

	"grace"
)

// Config says how far to look, and how sure to be.
type Config struct {
	Every         grace.Duration `json:"every" doc:"between two looks at a series"`
	Horizon       grace.Duration `json:"horizon" doc:"how far ahead a breach is looked for"`
	Step          grace.Duration `json:"step" doc:"grain of breach times"`
	MinSamples    int            `json:"min_samples" doc:"points that a series must have before anything is claimed of it"`
	MaxSamples    int            `json:"max_samples" doc:"newest points that a trend is looked for in"`
	MinLikelihood float64        `json:"min_likelihood" doc:"what the trend rule thinks less likely is not even recorded"`
	StaleAfter    grace.Duration `json:"stale_after" doc:"a series without points for longer is not extended"`
	Reach         float64        `json:"reach" doc:"how far ahead a trend is trusted, in multiples of the time it was seen for"`
	MinFit        float64        `json:"min_fit" doc:"share of the spread of the points that the line must account for"`
	Learn         bool           `json:"learn" doc:"learn a threshold for series that have none; what is predicted of it is marked so"`
	Gate          GateConfig     `json:"gate" doc:"how often right a rule must be to speak"`
	Ledger        LedgerConfig   `json:"ledger" doc:"how predictions are held to what happened"`
}

// DefaultConfig suits series with a point every 5 to 30 seconds.
func DefaultConfig() Config {
	return Config{
		Every:         grace.Duration(30 * time.Second),
		Horizon:       grace.Duration(10 * time.Minute),
		Step:          grace.Duration(10 * time.Second),
		MinSamples:    40,
		MaxSamples:    60,
		MinLikelihood: 0.6,
		StaleAfter:    grace.Duration(time.Minute),
		Reach:         4,
		MinFit:        0.5,
		Learn:         true,
		Gate:          DefaultGateConfig(),
		Ledger:        DefaultLedgerConfig(),
	}
}

// Validate names every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	if c.Every < grace.Duration(time.Second) {
		errs = append(errs, grace.Field("every", "%s is less than a second", c.Every))
	}
	if c.Horizon <= 0 {
		errs = append(errs, grace.Field("horizon", "%s is not a positive duration", c.Horizon))
	}
	if c.Step <= 0 || c.Step > c.Horizon {
		errs = append(errs, grace.Field("step", "%s is not between 0 and the horizon", c.Step))
	}
	if c.MinSamples < 6 || c.MinSamples > finePoints {
		errs = append(errs, grace.Field("min_samples", "%d is not between 6 and %d", c.MinSamples, finePoints))
	}
	if c.MaxSamples < 6 || c.MaxSamples > finePoints {
		errs = append(errs, grace.Field("max_samples", "%d is not between 6 and %d", c.MaxSamples, finePoints))
	}
	if !(c.MinLikelihood >= 0.5 && c.MinLikelihood <= maxLikelihood) { // also refuses NaN
		errs = append(errs, grace.Field("min_likelihood", "%v is not between 0.5 and %v", c.MinLikelihood, maxLikelihood))
	}
	if c.StaleAfter <= 0 {
		errs = append(errs, grace.Field("stale_after", "%s is not a positive duration", c.StaleAfter))
	}
	if !(c.Reach > 0) {
		errs = append(errs, grace.Field("reach", "%v is not positive", c.Reach))
	}
	if !(c.MinFit >= 0 && c.MinFit < 1) {
		errs = append(errs, grace.Field("min_fit", "%v is not between 0 and 1", c.MinFit))
	}
	return errors.Join(append(errs, grace.Under("gate", c.Gate.Validate()), grace.Under("ledger", c.Ledger.Validate()))...)
}

// stale is after what time without a point a series is not recent, in ms.
func (c *Config) stale(r *ring) int64 {
	return max(c.StaleAfter.D().Milliseconds(), int64(2*r.step))
}

// Target is a threshold that a series should not pass.
type Target struct {
	Service   grace.ServiceID // whose series; empty: any service's
	Metric    string          // of the series
	Text      string          // what is measured, for people; the metric if left out
	Metrics   []string        // that the series is made of, as others call them
	Op        string          // >, >=, < or <=: how the series compares to Threshold when it is breached
	Threshold float64         // in the series' unit
	Code      grace.Code      // what a breach would be a symptom of
	Unit      string          // for people
	Impact    grace.Impact    // of a breach
	// Impacts are those of a breach of services of which it is another one; of a target of
	// any service's series.
	Impacts map[grace.ServiceID]grace.Impact
}

func (t *Target) impact(service grace.ServiceID) grace.Impact {
	if i, ok := t.Impacts[service]; ok {
		return i
	}
	return t.Impact
}

func (t *Target) upward() bool { return t.Op == ">" || t.Op == ">=" }

// breached holds a value against a threshold, the target's own or a learned
// one.
func (t *Target) breached(v, threshold float64) bool {
	switch t.Op {
	case ">":
		return v > threshold
	case ">=":
		return v >= threshold
	case "<":
		return v < threshold
	case "<=":
		return v <= threshold
	}
	return true // Validate refuses it; what is breached is not predicted
}
