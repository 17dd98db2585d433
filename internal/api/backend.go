package api

import (
	"context"
	"fmt"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/stage/learn"
	"grace/sensor/alertmanager"
)

// Backend is what the API asks of the rest of GRACE: everything that is not a
// plain read of the store. The loop and the daemon meet it.
//
// An error is told apart by its type: [*AlreadyDecided], [*Expired], [*Ended],
// [*Invalid] and [*Busy] are answers to the client, store.ErrNotFound is a 404
// and store.ErrConflict a 409. Any other error is GRACE's own trouble: 503 when
// it comes from a store or a peer that does not answer, 500 otherwise.
type Backend interface {
	// Observe takes samples, all or none.
	Observe(ctx context.Context, samples []grace.Sample) error
	// PostEvents takes events with the samples and predictions that were read
	// from their payloads, all or none.
	PostEvents(ctx context.Context, post Post) error
	// Decide answers an approval; in.Actor is the caller.
	Decide(ctx context.Context, id grace.ApprovalID, in DecisionInput) (grace.Approval, error)
	// Abort asks an open run to stop and undo. It returns when the request is
	// recorded, not when the run has ended.
	Abort(ctx context.Context, id grace.RunID, actor, reason string) error
	// SetMode puts a mode in force. set.Revision is the revision the caller
	// saw, or 0 for any.
	SetMode(ctx context.Context, set grace.ModeSetting, actor string) (grace.ModeSetting, error)
	Hands
	// Health gives every service's state, sorted by id.
	Health(ctx context.Context) []grace.HealthState
	// Services gives the health graph, sorted by id.
	Services(ctx context.Context) []ServiceView
	// Symptoms gives what is wrong, by service; one with nothing but ok signals
	// is absent.
	Symptoms(ctx context.Context) map[grace.ServiceID]Symptoms
	// Latest gives signals of the store with the values, times and messages of the
	// newest samples: what is stored is of the last change.
	Latest(ctx context.Context, signals []grace.Signal) []grace.Signal
	// Domains gives what each domain registered, sorted by name.
	Domains(ctx context.Context) []DomainView
	// Skipped notes alerts that were not taken.
	Skipped(problems []alertmanager.Skipped)
	// Alerts gives what came in and leads to no action.
	Alerts(ctx context.Context) AlertsView
	// Sensors gives where samples come from, sorted by name.
	Sensors(ctx context.Context) []SensorView
	// Playbooks gives the known playbooks, sorted by id.
	Playbooks(ctx context.Context) []grace.Playbook
	// DryRun tells what a playbook would do on a service, doing nothing.
	DryRun(ctx context.Context, playbook grace.PlaybookID, service grace.ServiceID, params map[string]any) (DryRun, error)
	// Reload reads the configuration again; a bad one changes nothing and is
	// an *Invalid.
	Reload(ctx context.Context, actor string) error
	// Ready is nil when GRACE can do its work: store reachable, engine up.
	Ready(ctx context.Context) error
	// KPIs measures the key figures.
	KPIs(ctx context.Context) (learn.KPIs, error)
	// Rates gives the success rates of the last 90 days, by service, diagnosis,
	// playbook and, when bucket is not 0, time.
	Rates(ctx context.Context, bucket time.Duration) []learn.Row
	// Replay computes what was recorded between two times again, or what was behind a
	// cursor.
	Replay(ctx context.Context, from, to time.Time, cursor string) (decide.Replayed, error)
	// Backtest computes it under another configuration.
	Backtest(ctx context.Context, rules *decide.Rules, from, to time.Time, cursor string) (decide.Backtested, error)
	// Notifications tells whether people are told, and how each receiver fares.
	Notifications(ctx context.Context) (Notifications, error)
	// TestNotify sends a test message through one receiver, or through all; one
	// that is not there is an *Invalid.
	TestNotify(ctx context.Context, receiver, actor string) ([]NotifyOutcome, error)
	// RetryDeadLetters has one dead letter sent again, or all, and counts them.
	RetryDeadLetters(ctx context.Context, id, actor string) (int, error)
}

// Post is what POST /api/events was found to hold.
type Post struct {
	Events      []grace.Event
	Samples     []grace.Sample
	Predictions []grace.Prediction
}

// DecisionInput is a person's answer to an approval.
type DecisionInput struct {
	Approve  bool
	Reason   string
	Actor    string
	Revision int // the revision the person saw
}

// ServiceView is a service with its state and its place in the graph.
type ServiceView struct {
	grace.Service

	Health      grace.HealthState `json:"health"`
	Dependents  []grace.ServiceID `json:"dependents" doc:"services that depend on it directly"`
	Transitive  int               `json:"transitive_dependents" doc:"services that depend on it, directly or through others"`
	BlastRadius int               `json:"blast_radius" minimum:"0" maximum:"10"`
	// Silenced is the API's to fill in.
	Silenced []SilencedBy `json:"silenced,omitempty" doc:"by what it is silenced now"`
}

// DomainView is what a domain registered.
type DomainView struct {
	Name      string             `json:"name"`
	Telemetry []grace.MetricSpec `json:"telemetry" doc:"its metrics, with types and units"`
	Nodes     []grace.ServiceID  `json:"nodes" doc:"the parts it watches"`
	Playbooks []grace.PlaybookID `json:"playbooks" doc:"the remedies it brings"`
}

// Symptoms are what a service suffers from.
type Symptoms struct {
	Worst grace.Signal // the one to be named first
	Count int          // signals that are not ok
	// Silenced are those of them that fire while their source keeps them silent.
	Silenced []grace.Signal
}

// DryRun is what a playbook would do on a service now.
type DryRun struct {
	Playbook   grace.Playbook  `json:"playbook" doc:"bound to the service, with every value it can know beforehand in place"`
	Service    grace.ServiceID `json:"service"`
	Parameters map[string]any  `json:"parameters"`
	Verdict    grace.Verdict   `json:"decision" doc:"what the trust core would say now"`
	Policy     string          `json:"policy,omitempty"`
	Reasons    []grace.Reason  `json:"reasons"`
}

// AlreadyDecided says that somebody was first: 409.
type AlreadyDecided struct {
	By     string
	At     time.Time
	State  grace.ApprovalState
	Reason string
}

func (e *AlreadyDecided) Error() string {
	return fmt.Sprintf("already %s by %s at %s", e.State, e.By, e.At.UTC().Format(time.RFC3339))
}

// Expired says that the question is no longer open: 400.
type Expired struct{ At time.Time }

func (e *Expired) Error() string {
	return "expired at " + e.At.UTC().Format(time.RFC3339)
}

// Ended says that the run to abort has ended: 409.
type Ended struct {
	State grace.RunStatus
	At    time.Time
}

func (e *Ended) Error() string {
	return fmt.Sprintf("the run has ended (%s) at %s", e.State, e.At.UTC().Format(time.RFC3339))
}

// Invalid says what is wrong with what was sent, or with the configuration
// that was to be loaded: 422.
type Invalid struct {
	Message string
	Details []Detail
}

func (e *Invalid) Error() string { return e.Message }

// Busy says that GRACE cannot take more at the moment: 503 with Retry-After.
// What was sent may have been taken in part; sending it again does no harm.
type Busy struct {
	Message    string
	Hint       string
	RetryAfter time.Duration
}

func (e *Busy) Error() string { return e.Message }

// Detail is one thing that is wrong.
type Detail struct {
	Location string `json:"location,omitempty" doc:"where: body.items[3].tags, or file:line:column of a configuration"`
	Message  string `json:"message" doc:"what is wrong"`
	Value    any    `json:"value,omitempty" doc:"what was found there"`
	Hint     string `json:"hint,omitempty" doc:"what to do about it"`
}

// Error makes a Detail usable where errors are collected.
func (d *Detail) Error() string { return d.Location + ": " + d.Message }
