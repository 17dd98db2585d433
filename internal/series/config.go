package series

import (
	"errors"
	"fmt"
	"time"

	"grace"
)

// Config says what is taken, and how much of it.
type Config struct {
	Limits Limits `json:"limits" doc:"how much is kept in memory"`
	Rules  []Rule `json:"rules" doc:"what a series is, first match counts; the built-in rules come after them"`
	// Without the built-in rules nothing but Rules gives a role.
	NoDefaultRules bool     `json:"no_default_rules" doc:"leave the built-in rules out"`
	ServiceLabels  []string `json:"service_labels" doc:"labels that state the service, tried in this order; what they name is kept although it is not declared"`
	ReplicaLabel   string   `json:"replica_label" doc:"label by which a pair of senders differ: their series are one, and one of them is listened to"`
	KeepUnmapped   bool     `json:"keep_unmapped" doc:"keep series without a role as well"`

	OutOfOrder  grace.Duration `json:"out_of_order" doc:"samples older than the newest by no more than this are counted as out of order, others as late; both are dropped"`
	MaxAhead    grace.Duration `json:"max_ahead" doc:"samples further in the future are refused"`
	MaxAge      grace.Duration `json:"max_age" doc:"samples further in the past are refused; a warm-up is exempt"`
	IdleAfter   grace.Duration `json:"idle_after" doc:"a series without samples for longer gives its place to a new one when all are taken"`
	ForgetAfter grace.Duration `json:"forget_after" doc:"a series without samples for longer is forgotten"`
}

// Limits bound memory. A series over a limit is refused, the rest of its
// request is taken.
type Limits struct {
	Series            int `json:"series" doc:"altogether"`
	SeriesPerSource   int `json:"series_per_source" doc:"of one sender"`
	SeriesPerService  int `json:"series_per_service" doc:"of one service"`
	Labels            int `json:"labels" doc:"of one series"`
	LabelLength       int `json:"label_length" doc:"bytes of a label's name or value"`
	SamplesPerRequest int `json:"samples_per_request" doc:"of one request"`
}

// DefaultConfig takes a million series, of senders of medium size: what the rules
// map of one is a small part of what it has.
func DefaultConfig() Config {
	return Config{
		Limits: Limits{
			Series: 1_000_000, SeriesPerSource: 50_000, SeriesPerService: 50_000,
			Labels: 64, LabelLength: 2048, SamplesPerRequest: 100_000,
		},
		ServiceLabels: []string{"service_name", "service"},
		ReplicaLabel:  "prometheus_replica",
		OutOfOrder:    grace.Duration(time.Minute),
		MaxAhead:      grace.Duration(5 * time.Minute),
		MaxAge:        grace.Duration(3 * time.Hour), // a Prometheus that was cut off sends up to 2 h later
		IdleAfter:     grace.Duration(10 * time.Minute),
		ForgetAfter:   grace.Duration(24 * time.Hour),
	}
}

// Validate names every setting that cannot work, with its key.
func (c Config) Validate() error {
	var errs []error
	for _, l := range []struct {
		key   string
		value int
	}{
		{"series", c.Limits.Series},
		{"series_per_source", c.Limits.SeriesPerSource},
		{"series_per_service", c.Limits.SeriesPerService},
		{"labels", c.Limits.Labels},
		{"label_length", c.Limits.LabelLength},
		{"samples_per_request", c.Limits.SamplesPerRequest},
	} {
		if l.value <= 0 {
			errs = append(errs, grace.Field("limits."+l.key, "%d is not positive; a limit cannot be switched off, raise it instead", l.value))
		}
	}
	for _, d := range []struct {
		key   string
		value grace.Duration
	}{
		{"max_ahead", c.MaxAhead},
		{"max_age", c.MaxAge},
		{"idle_after", c.IdleAfter},
		{"forget_after", c.ForgetAfter},
	} {
		if d.value <= 0 {
			errs = append(errs, grace.Field(d.key, "%s is not a positive duration", d.value))
		}
	}
	if c.OutOfOrder < 0 {
		errs = append(errs, grace.Field("out_of_order", "%s is negative", c.OutOfOrder))
	}
	if c.ForgetAfter < c.IdleAfter {
		errs = append(errs, grace.Field("forget_after", "%s is less than idle_after %s", c.ForgetAfter, c.IdleAfter))
	}
	for i, l := range c.ServiceLabels {
		if l == "" {
			errs = append(errs, grace.Field(fmt.Sprintf("service_labels[%d]", i), "is empty"))
		}
	}
	for i, r := range c.Rules {
		errs = append(errs, grace.Under(fmt.Sprintf("rules[%d]", i), r.Validate()))
	}
	return errors.Join(errs...)
}
