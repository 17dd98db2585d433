package grace

import (
	"context"
	"time"
)

// Sink takes samples from a sensor. It is safe for concurrent use. An error
// means that the samples were not accepted (bad, or the log cannot be
// written): the sensor counts them as lost or hands the error to its peer.
type Sink interface {
	Observe(ctx context.Context, samples ...Sample) error
}

// SinkFunc makes a function a Sink.
type SinkFunc func(ctx context.Context, samples ...Sample) error

// Observe calls f.
func (f SinkFunc) Observe(ctx context.Context, samples ...Sample) error { return f(ctx, samples...) }

// Sensor yields samples until ctx is done. Run returns nil then, and an error
// only for what will not pass by waiting; a target that does not answer is a
// failed sample, not an error.
type Sensor interface {
	Name() string
	Run(ctx context.Context, sink Sink) error
}

// ActionRequest is one call of an action. With is resolved: no ${} is left
// but secret references, which only the action itself resolves.
type ActionRequest struct {
	Run            RunID
	Step           string
	Service        ServiceID
	Phase          Phase
	IdempotencyKey string // the same for every try of the same step
	Attempt        int    // from 1
	With           map[string]any
}

// OutcomeStatus of an action.
type OutcomeStatus string

// Outcome statuses. The empty one is a failure.
const (
	OutcomeSucceeded OutcomeStatus = "succeeded"
	OutcomeFailed    OutcomeStatus = "failed"
	// OutcomeUnknown: it may have taken effect (a timeout after sending).
	OutcomeUnknown OutcomeStatus = "unknown"
)

// Outcome is what an action did. It is data, not an error, because it is
// recorded and read again after a crash.
type Outcome struct {
	Status    OutcomeStatus     `json:"status"`
	Output    string            `json:"output,omitempty" doc:"at most 64 KiB; never holds a secret"`
	Data      map[string]string `json:"data,omitempty" doc:"values for ${snapshot.*}"`
	Error     string            `json:"error,omitempty"`
	Retryable bool              `json:"retryable,omitempty"`
	Started   time.Time         `json:"started"`
	Ended     time.Time         `json:"ended"`
}

// Action does one kind of thing. It must stand being called again with the
// same IdempotencyKey: it checks, then acts.
type Action interface {
	Name() string
	// Validate judges the settings of a step before anything starts; ${} are
	// still in place. A [FieldError] names the setting that is wrong.
	Validate(with map[string]any) error
	// Do acts until done or ctx ends. What went wrong is in the Outcome.
	Do(ctx context.Context, req ActionRequest) Outcome
}

// Reading is one measurement for verification.
type Reading struct {
	At     time.Time // of the measurement: the same time again is no new sample
	Value  float64   // 1 passed or 0 failed for http_health, command and expr, else the value of the expression
	OK     bool      // false: no data newer than was asked for
	Detail string
	// Every is the distance at which measurements come, where the prober does
	// not take them itself; 0 is not known. Verification waits for them.
	Every time.Duration
}

// Prober takes one measurement for verification. A sample older than since is
// no data: what was measured before a remedy says nothing about it.
type Prober interface {
	Probe(ctx context.Context, service ServiceID, check Check, since time.Time) Reading
}

// MetricKind says how a metric's values are to be read.
type MetricKind string

// Metric kinds. The empty one is a gauge.
const (
	MetricGauge     MetricKind = "gauge"     // a value that goes up and down
	MetricCounter   MetricKind = "counter"   // a sum that only rises, from 0 at the start of a process
	MetricHistogram MetricKind = "histogram" // a distribution: how many were at most so great
)

// MetricSpec describes one metric of a domain's telemetry schema.
type MetricSpec struct {
	Name        string     `json:"name"`
	Kind        MetricKind `json:"kind" enum:"gauge,counter,histogram"`
	Unit        string     `json:"unit"`
	Description string     `json:"description"`
}

// HealthNode is a service that a domain brings, with its real state.
type HealthNode struct {
	Service
	// State is asked every few seconds; it must answer without blocking long.
	State func(ctx context.Context) (Health, string)
}

// Domain adapts one kind of system: what can be measured, which parts there
// are, and what can be done about them.
type Domain interface {
	Name() string
	Telemetry() []MetricSpec
	HealthNodes() []HealthNode
	Playbooks() []Playbook
	// Metrics gives current values by name; names are those of Telemetry.
	Metrics(ctx context.Context) map[string]float64
}
