// Package printqueue is an example of a domain: it teaches GRACE what a print
// queue is made of and what can be done about it.
//
// A domain is registered with the daemon by an option,
//
//	daemon.WithDomain(printqueue.New("/var/spool/print", time.Now))
//
// and from then on its health nodes are services of the health graph, its
// metrics can be judged by objectives, and its playbooks are proposed like any
// other, under the same gates.
//
// The queue is a folder with one file for each job that waits. That is all the
// domain looks at; it changes nothing itself. What changes something is a
// playbook's step, because a step is asked for, recorded, verified and undone.
package printqueue

import (
	"context"
	"fmt"
	"os"
	"time"

	"grace"
)

// CodeQueueStuck is this domain's own diagnosis code, for alerts and events that
// name it. A printer that its health node finds degraded has the code
// degradation; both lead to the playbook below.
const CodeQueueStuck grace.Code = "queue_stuck"

// The names by which configuration and playbooks speak of the domain.
const (
	Spooler grace.ServiceID = "print.spooler"
	Printer grace.ServiceID = "print.printer"

	MetricWaiting = "print.jobs_waiting"
	MetricOldest  = "print.oldest_job_age"
)

// stuckAfter is how long a job may wait before the printer is called sick.
const stuckAfter = 10 * time.Minute

// Domain watches one spool folder.
type Domain struct {
	spool string
	now   func() time.Time
}

var _ grace.Domain = (*Domain)(nil)

// New makes the domain of a spool folder. The clock is handed in, so that a
// test can stop it.
func New(spool string, now func() time.Time) *Domain {
	return &Domain{spool: spool, now: now}
}

// Name gives "print".
func (d *Domain) Name() string { return "print" }

// Telemetry describes what Metrics measures.
func (d *Domain) Telemetry() []grace.MetricSpec {
	return []grace.MetricSpec{
		{Name: MetricWaiting, Unit: "1", Description: "jobs in the spool folder"},
		{Name: MetricOldest, Unit: "s", Description: "how long the oldest job has waited"},
	}
}

// HealthNodes gives the spooler and the printer that it needs.
func (d *Domain) HealthNodes() []grace.HealthNode {
	return []grace.HealthNode{
		{
			Service: grace.Service{ID: Spooler, Domain: d.Name(), Criticality: grace.CriticalityMedium, DependsOn: []grace.ServiceID{Printer}},
			State:   d.spooler,
		},
		{
			Service: grace.Service{ID: Printer, Domain: d.Name(), Criticality: grace.CriticalityLow},
			State:   d.printer,
		},
	}
}

// Playbooks gives the one remedy: let the printer take jobs again. It has an
// undo, so that a printer that was stopped for a reason is stopped again when
// the remedy did not help.
func (d *Domain) Playbooks() []grace.Playbook {
	command := func(argv ...any) map[string]any { return map[string]any{"argv": argv} }
	return []grace.Playbook{{
		ID: "resume_printer", Title: "Let the printer take jobs again",
		Risk: grace.RiskLow, Impact: grace.ImpactLow, Auto: true,
		Triggers: []grace.Code{CodeQueueStuck, grace.CodeDegradation},
		Services: []grace.ServiceID{Printer}, // degradation of another service is not its business
		Parameters: []grace.Parameter{
			{Name: "printer", Type: grace.ParameterString, Default: "office", NonEmpty: true},
		},
		Binding: grace.Binding{
			Steps: []grace.Step{{
				Name: "resume", Action: "command", With: command("cupsenable", "${printer}"),
				Undo: &grace.Call{Action: "command", With: command("cupsdisable", "${printer}")},
			}},
			Verify: []grace.Check{{
				Type: grace.CheckTrend, Expr: MetricWaiting + `{service="print"}`, Direction: "falling",
			}},
		},
	}}
}

// Metrics measures now. When the folder cannot be read there is no data, which
// is not the same as an empty queue.
func (d *Domain) Metrics(context.Context) map[string]float64 {
	waiting, oldest, err := d.jobs()
	if err != nil {
		return nil
	}
	return map[string]float64{MetricWaiting: float64(waiting), MetricOldest: oldest.Seconds()}
}

func (d *Domain) spooler(context.Context) (grace.Health, string) {
	waiting, _, err := d.jobs()
	if err != nil {
		return grace.HealthCritical, err.Error()
	}
	return grace.HealthHealthy, fmt.Sprintf("%d jobs wait", waiting)
}

func (d *Domain) printer(context.Context) (grace.Health, string) {
	_, oldest, err := d.jobs()
	switch {
	case err != nil:
		return grace.HealthUnknown, "the queue cannot be read"
	case oldest > stuckAfter:
		return grace.HealthDegraded, fmt.Sprintf("the oldest job has waited for %s", oldest)
	default:
		return grace.HealthHealthy, "jobs are printed in time"
	}
}

func (d *Domain) jobs() (waiting int, oldest time.Duration, err error) {
	entries, err := os.ReadDir(d.spool)
	if err != nil {
		return 0, 0, fmt.Errorf("read the spool folder: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // printed between the two looks
		}
		waiting++
		oldest = max(oldest, d.now().Sub(info.ModTime()))
	}
	return waiting, oldest, nil
}
