// Package core is the domain by which GRACE watches itself.
//
// Its four health nodes are GRACE's own parts, each with the real state that
// the daemon hands in as a function ([Parts]):
//
//	core.reflection_service  high      the learning log and what reads it
//	core.database            critical  the store; depends on the two others
//	core.task_executor       high      the run engine; depends on the database
//	core.trigger_mesh        high      the event bus
//
// The database and the executor depend on each other, as they do in truth: the
// health graph allows cycles.
//
// Its six metrics are the figures by which healing is judged. Its six playbooks
// are the seed of every installation: they say when a remedy is apt, how risky
// it is and within what bounds it may be used. What it means for a service, the
// steps, comes from that service's binding; without one it is not proposed.
package core

import (
	"context"
	"maps"
	"slices"

	"grace"
)

// Name of the domain.
const Name = "core"

// The metrics, as named in OpenTelemetry; /metrics has underscores for dots.
const (
	MetricProposalsPerMin   = "self_heal.proposals_per_min"
	MetricApprovalRate      = "self_heal.approval_rate"
	MetricSuccessRate       = "self_heal.success_rate"
	MetricMeanTimeToRecover = "self_heal.mean_time_to_recover"
	MetricRollbacks24h      = "self_heal.rollbacks_24h"
	MetricAutoApproved24h   = "self_heal.auto_approved_24h"
	MetricRollbacksTotal    = "self_heal.rollbacks_total"
	MetricAutoApprovedTotal = "self_heal.auto_approved_total"
)

// The health nodes.
const (
	ReflectionService grace.ServiceID = "core.reflection_service"
	Database          grace.ServiceID = "core.database"
	TaskExecutor      grace.ServiceID = "core.task_executor"
	TriggerMesh       grace.ServiceID = "core.trigger_mesh"
)

// State tells how a part is, and why when it is not healthy. It must answer
// within a second.
type State func(ctx context.Context) (grace.Health, string)

// Parts are GRACE's own parts as the daemon knows them. A nil function reads as
// unknown, never as healthy.
type Parts struct {
	Reflection State
	Database   State
	Executor   State
	Mesh       State
	// Metrics gives the current values by the names above; what has no value
	// yet is left out. Other names are dropped.
	Metrics func(ctx context.Context) map[string]float64
}

// Domain is the core domain.
type Domain struct {
	parts Parts
}

var _ grace.Domain = (*Domain)(nil)

// New makes the domain of these parts.
func New(parts Parts) *Domain { return &Domain{parts: parts} }

// Name gives "core".
func (*Domain) Name() string { return Name }

// Telemetry describes the six metrics, and the two of them that also count.
func (*Domain) Telemetry() []grace.MetricSpec {
	return []grace.MetricSpec{
		{Name: MetricProposalsPerMin, Kind: grace.MetricGauge, Unit: "1/min", Description: "proposals made per minute, over the last 10 minutes"},
		{Name: MetricApprovalRate, Kind: grace.MetricGauge, Unit: "1", Description: "share of the approved runs of the last 24 hours that the trust core approved, not a person"},
		{Name: MetricSuccessRate, Kind: grace.MetricGauge, Unit: "1", Description: "share of the runs of the last 24 hours that healed, of those that acted"},
		{Name: MetricMeanTimeToRecover, Kind: grace.MetricHistogram, Unit: "s", Description: "time from the first symptom to the recovery, by service, playbook and kind; as a sample of core, its mean over 24 hours"},
		{Name: MetricRollbacks24h, Kind: grace.MetricGauge, Unit: "1", Description: "runs rolled back in the last 24 hours"},
		{Name: MetricAutoApproved24h, Kind: grace.MetricGauge, Unit: "1", Description: "runs allowed without a person in the last 24 hours"},
		{Name: MetricRollbacksTotal, Kind: grace.MetricCounter, Unit: "1", Description: "runs rolled back by this process"},
		{Name: MetricAutoApprovedTotal, Kind: grace.MetricCounter, Unit: "1", Description: "runs allowed without a person by this process"},
	}
}

// HealthNodes gives GRACE's own parts.
func (d *Domain) HealthNodes() []grace.HealthNode {
	node := func(id grace.ServiceID, c grace.Criticality, state State, dependsOn ...grace.ServiceID) grace.HealthNode {
		if state == nil {
			state = unknown
		}
		return grace.HealthNode{
			Service: grace.Service{ID: id, Owner: "grace", Domain: Name, Criticality: c, DependsOn: dependsOn},
			State:   state,
		}
	}
	return []grace.HealthNode{
		node(ReflectionService, grace.CriticalityHigh, d.parts.Reflection),
		node(Database, grace.CriticalityCritical, d.parts.Database, ReflectionService, TaskExecutor),
		node(TaskExecutor, grace.CriticalityHigh, d.parts.Executor, Database),
		node(TriggerMesh, grace.CriticalityHigh, d.parts.Mesh),
	}
}

func unknown(context.Context) (grace.Health, string) {
	return grace.HealthUnknown, "nothing tells the state of this part"
}

// Playbooks gives the six seed playbooks.
func (*Domain) Playbooks() []grace.Playbook { return Playbooks() }

// Metrics gives current values.
func (d *Domain) Metrics(ctx context.Context) map[string]float64 {
	if d.parts.Metrics == nil {
		return map[string]float64{}
	}
	out := maps.Clone(d.parts.Metrics(ctx))
	known := d.Telemetry()
	maps.DeleteFunc(out, func(name string, _ float64) bool {
		return !slices.ContainsFunc(known, func(s grace.MetricSpec) bool { return s.Name == name })
	})
	return out
}
