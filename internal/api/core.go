package api

import (
	"context"
	"time"

	"grace"
	"grace/internal/healthgraph"
	"grace/internal/loop"
	"grace/internal/notify"
	"grace/internal/stage/learn"
	"grace/sensor/alertmanager"
)

// Core is the agent core: all that changes anything goes through it. A [*loop.Loop]
// is one.
//
// What it refuses is told apart by its type: [*loop.DecidedError],
// [*loop.ExpiredError], [*loop.EndedError], [*loop.InvalidError], loop.ErrNoRoom and
// loop.ErrBusy are answers to the client, store.ErrNotFound is a 404 and
// store.ErrConflict a 409. Any other error is GRACE's own fault: 503 when it comes
// from a store or a peer that does not answer, 500 otherwise.
type Core interface {
	Intake
	Commands
	Incidents
	Views
}

var _ Core = (*loop.Loop)(nil)

// Intake takes what is observed, all or none.
type Intake interface {
	Observe(ctx context.Context, samples ...grace.Sample) error
	Post(ctx context.Context, events []grace.Event, samples []grace.Sample, predictions []grace.Prediction) error
}

// Commands is what people want of runs, signals and the mode.
type Commands interface {
	DecideApproval(ctx context.Context, id grace.ApprovalID, approve bool, reason, actor string, revision int) (grace.Approval, error)
	// Abort returns when the request is recorded, not when the run has ended.
	Abort(ctx context.Context, id grace.RunID, actor, reason string) error
	RunByHand(ctx context.Context, want loop.ByHand, actor string) (grace.Decision, error)
	SetMode(ctx context.Context, set grace.ModeSetting, actor string) (grace.ModeSetting, error)
	AddSilence(ctx context.Context, s grace.Silence, actor string) (grace.Silence, error)
	EndSilence(ctx context.Context, id grace.SilenceID, actor, reason string) (grace.Silence, error)
	ForgetSignal(ctx context.Context, key grace.SignalKey, actor, reason string) error
}

// Incidents are looked after by people.
type Incidents interface {
	AcknowledgeIncident(ctx context.Context, id grace.IncidentID, actor, reason string) (grace.Incident, error)
	NoteIncident(ctx context.Context, id grace.IncidentID, actor, text string) (grace.Incident, error)
	ResolveIncident(ctx context.Context, id grace.IncidentID, actor, reason string) (grace.Incident, error)
}

// Views is what the core holds in memory. What it gives is not to be changed.
type Views interface {
	Graph() *healthgraph.Graph
	Declared(id grace.ServiceID) bool
	NeverMeasured() []loop.NeverMeasured
	Health() []grace.HealthState
	Symptoms() map[grace.ServiceID]loop.Symptoms
	Signals() []grace.Signal
	// Latest gives signals of the store with the values, times and messages of the
	// newest samples: what is stored is of the last change.
	Latest(signals []grace.Signal) []grace.Signal
	Playbooks() []grace.Playbook
	DryRun(ctx context.Context, playbook grace.PlaybookID, service grace.ServiceID, params map[string]any) (loop.Trial, error)
	KPIs(ctx context.Context) (learn.KPIs, error)
	Rates(now time.Time, bucket time.Duration) []learn.Row
}

// Process is what runs the core: the daemon.
type Process interface {
	// Ready is nil when GRACE can do its work: store reachable, engine up.
	Ready(ctx context.Context) error
	// Unready words why it could not when that was asked last; empty: it could.
	Unready() string
	// Reload reads the configuration again; a bad one changes nothing and is an
	// *Invalid.
	Reload(ctx context.Context, actor string) error
	// Sensors gives where samples come from, Domains what each domain registered, both
	// sorted by name.
	Sensors() []SensorView
	Domains() []DomainView
	// BacktestPredictions lives through the history that sources keep. An *Invalid says
	// that there is none to ask.
	BacktestPredictions(ctx context.Context, since, step time.Duration) (PredictionBacktest, error)
}

// Alerts is the edge to those that send alerts.
type Alerts interface {
	// Alertmanager is asked at every request, so that a reload takes effect.
	Alertmanager() Alertmanager
	// Heed gives those samples of alerts that say something new. Came has what
	// Alertmanager lists be read: some of them were taken.
	Heed(samples []grace.Sample) []grace.Sample
	Came()
	// Skipped notes alerts that were not taken; NotTaken gives them, newest first.
	Skipped(problems []alertmanager.Skipped)
	NotTaken() []SkippedAlerts
}

// Notifier tells people.
type Notifier interface {
	Status(ctx context.Context) (notify.Status, error)
	Test(ctx context.Context, receiver, actor string) ([]notify.TestOutcome, error)
	Retry(ctx context.Context, id, actor string) (int, error)
}

var _ Notifier = (*notify.Notifier)(nil)

// DecisionInput is a person's answer to an approval.
type DecisionInput struct {
	Approve  bool
	Reason   string
	Actor    string
	Revision int // the revision the person saw
}

// DomainView is what a domain registered.
type DomainView struct {
	Name      string             `json:"name"`
	Telemetry []grace.MetricSpec `json:"telemetry" doc:"its metrics, with types and units"`
	Nodes     []grace.ServiceID  `json:"nodes" doc:"the parts it watches"`
	Playbooks []grace.PlaybookID `json:"playbooks" doc:"the remedies it brings"`
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
