package sim

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/loop"
	"grace/internal/stage/sense"
)

// Mutations are bugs, planted to see that the checkers find them. Each stands
// between production code and what it works with; the zero value plants none.
type Mutations struct {
	SkipApproval  bool // a run that should wait for a person starts at once
	IgnoreCones   bool // the graph has no edges
	NoRate        bool // no rate limit, and none on duplicates
	NoBackoff     bool
	NoDuplicates  bool
	NoBlastLimit  bool
	NoWindows     bool
	NoConcurrency bool
	NoAdmission   bool // a run starts whatever has changed since its decision
	BlindVerify   bool // every look after a step says that all is well
	ForgetUndo    bool // undoing is said to be done, and is not
	SkipRollback  bool // what could be undone is left as it is
	NoFence       bool // a frozen replica that lost its runs goes on with them
	UndoTwice     bool
	RepeatSteps   bool // a replay does what is on record again, under a new key
	ForgeLog      bool // somebody adds to the audit log
	Jumpy         bool // objectives that healthy services break
	Deaf          bool // a run that waits is never woken
	Undecided     bool // triggers stay pending
	LoseRevision  bool // a run is driven from a state that is not the stored one
	KeepGoing     bool // a run that fails is not ended as such

	StoredEvidence bool // what was stored before a start counts as seen
	IgnorePassing  bool // one sample that passes is not told
	Undated        bool // a frozen source's samples are taken for new
	NeverTell      bool // what lasts is not escalated
	ForgetVictims  bool // incidents name the cause alone
	NarrowStorm    bool // a storm's incident names no more than when it was opened
	DoubtRereads   bool // reading the configuration again takes from all that it is seen
	KeepAlerts     bool // an alert that is not repeated fires for ever
	NoRecovery     bool // a run succeeds although what began it lasts
	NoQuestion     bool // nobody is told that a person is asked
	TouchRecord    bool // somebody changes what decisions rest on
	DecideTwice    bool // a replica does not see that a trigger is decided
	ForgetPerson   bool // an incident does not say that something was left half done
}

// Plant turns one on by its name.
func (m *Mutations) Plant(name string) error {
	f := reflect.ValueOf(m).Elem().FieldByName(name)
	if !f.IsValid() || f.Kind() != reflect.Bool {
		return fmt.Errorf("there is no bug named %q to plant", name)
	}
	f.SetBool(true)
	return nil
}

func (m Mutations) config(cfg loop.Config) loop.Config {
	if m.IgnoreCones {
		services := make([]grace.Service, len(cfg.Services))
		for i, s := range cfg.Services {
			s.DependsOn = nil
			services[i] = s
		}
		cfg.Services = services
	}
	if m.DoubtRereads {
		cfg.Sources = nil
	}
	p := &cfg.Propose
	if m.NoRate {
		p.RatePerHour, p.DuplicateWindow, p.BackoffBase, p.BackoffMax = 1000, 0, 1, 1
	}
	if m.NoBackoff {
		p.BackoffBase, p.BackoffMax, p.DuplicateWindow, p.RatePerHour = 1, 1, 0, 1000
	}
	if m.NoDuplicates {
		p.DuplicateWindow = 0
	}
	if m.NoConcurrency {
		p.MaxConcurrent = 1000
	}
	if m.NoBlastLimit {
		cfg.Govern.MaxBlastRadius = 10
		cfg.Govern.Policies[0].Conditions.BlastRadius = nil
		cfg.Govern.Policies[1].Conditions.BlastRadius = nil
	}
	if m.NeverTell {
		cfg.EscalateAfter, cfg.EscalateCritical = 24*time.Hour, 24*time.Hour
	}
	if m.NoWindows {
		cfg.Govern.Windows = nil
	}
	if m.Jumpy {
		objectives := make([]sense.Objective, len(cfg.Objectives))
		for i, o := range cfg.Objectives {
			if o.Code == memoryLeak && i < 8 { // the first service's; of all it would be a storm
				l := limit{Objective: o, metric: metricMemory, op: ">", threshold: 0.1}
				l.hold()
				o = l.Objective
			}
			objectives[i] = o
		}
		cfg.Objectives = objectives
	}
	return cfg
}

// runner changes what is asked before the first step and during verification.
func (m Mutations) runner(r *heal.Runner) {
	if permit := r.Permit; m.NoAdmission {
		r.Permit = func(ctx context.Context, run grace.Run, _ bool) error { return permit(ctx, run, false) }
	}
	if m.NoRecovery || m.BlindVerify {
		r.Condition = func(context.Context, grace.Run) heal.Condition { return heal.Condition{Clear: true} }
	}
}

// started tells a process, right after its start, what it knew before.
func (m Mutations) started(ctx context.Context, p *process) error {
	if !m.StoredEvidence {
		return nil
	}
	signals, err := p.sim.store.Signals(ctx, p.sim.store.Q(), "")
	if err != nil {
		return err
	}
	var samples []grace.Sample
	for _, s := range signals {
		if s.State != grace.SignalFiring {
			continue
		}
		sample := grace.Sample{Service: s.Service, Sensor: s.Sensor, Metric: s.Metric, Kind: grace.SampleMetric, Value: s.Value, At: p.now().Add(time.Millisecond)}
		if s.Kind == grace.SignalProbe {
			sample.Kind, sample.Code, sample.Severity = grace.SampleProbe, s.Code, s.Severity
		}
		samples = append(samples, sample)
	}
	return p.loop.Observe(ctx, samples...)
}

// samples gives what a process is told.
func (m Mutations) samples(p *process, samples []grace.Sample) []grace.Sample {
	if m.Undated {
		samples = slices.Clone(samples)
		for i := range samples {
			samples[i].At = p.now()
		}
	}
	if !m.IgnorePassing {
		return samples
	}
	var out []grace.Sample
	for _, s := range samples {
		if s.Kind == grace.SampleProbe {
			key := grace.SignalKey(string(s.Service) + "/" + s.Sensor)
			passes, before := s.Value > 0, p.passed[key]
			p.passed[key] = passes
			if passes && !before {
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

func (m Mutations) run(run grace.Run) grace.Run {
	if m.SkipApproval && run.Status == grace.RunAwaitingApproval {
		run.Status = grace.RunApproved
	}
	if m.LoseRevision {
		run.Revision++
	}
	if m.SkipRollback {
		run.Playbook.Steps = slices.Clone(run.Playbook.Steps)
		for i := range run.Playbook.Steps {
			run.Playbook.Steps[i].Undo, run.Playbook.Steps[i].Irreversible = nil, true
		}
	}
	return run
}

func (m Mutations) forgets(checkpoint string) bool {
	return m.RepeatSteps && strings.HasPrefix(checkpoint, "do/")
}

func (m Mutations) journal(j heal.Journal) heal.Journal {
	if m.NoAdmission || m.IgnoreCones || m.NoConcurrency {
		return admitsAll{j}
	}
	return j
}

type admitsAll struct{ heal.Journal }

// Admit lets everything start.
func (admitsAll) Admit(grace.Run) (heal.Admission, error) { return heal.Admission{}, nil }

func (m Mutations) flow(f heal.Flow) heal.Flow {
	if m.ForgetUndo || m.UndoTwice || m.KeepGoing {
		return mutantFlow{f, m}
	}
	return f
}

type mutantFlow struct {
	heal.Flow
	m Mutations
}

// Step meets heal.Flow.
func (f mutantFlow) Step(name string, do func(context.Context) grace.Outcome,
	record func(heal.Journal, grace.Outcome) (heal.Checkpoint, error),
) (grace.Outcome, heal.Checkpoint, error) {
	undo := strings.HasPrefix(name, "undo/")
	switch {
	case undo && f.m.ForgetUndo:
		do = func(context.Context) grace.Outcome { return grace.Outcome{Status: grace.OutcomeSucceeded} }
	case undo && f.m.UndoTwice:
		once := do
		do = func(ctx context.Context) grace.Outcome {
			once(ctx)
			return once(ctx)
		}
	case name == "verify" && f.m.KeepGoing:
		once := do
		do = func(ctx context.Context) grace.Outcome {
			o := once(ctx)
			o.Status = grace.OutcomeSucceeded
			return o
		}
	}
	return f.Flow.Step(name, do, record)
}
