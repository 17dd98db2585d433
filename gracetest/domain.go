package gracetest

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"grace"
)

// stateWithin bounds a health node's State: the daemon asks all of them every
// few seconds. It is wide, because a busy machine is no fault of theirs.
const stateWithin = 10 * time.Second

// Domain checks that a domain keeps the contract of grace.Domain. newDomain is
// called once for every check.
func Domain(t *testing.T, newDomain func(t *testing.T) grace.Domain) {
	t.Helper()
	t.Run("name", func(t *testing.T) { report(t, nameProblems("the domain", newDomain(t).Name())) })
	t.Run("telemetry", func(t *testing.T) { report(t, telemetryProblems(newDomain(t).Telemetry())) })
	t.Run("health nodes", func(t *testing.T) {
		d := newDomain(t)
		report(t, nodeProblems(d.Name(), d.HealthNodes()))
		for _, n := range d.HealthNodes() {
			if n.State != nil {
				report(t, stateProblems(t.Context(), n))
			}
		}
	})
	t.Run("playbooks", func(t *testing.T) {
		report(t, playbookProblems(newDomain(t).Playbooks()))
	})
	t.Run("metrics", func(t *testing.T) {
		d := newDomain(t)
		report(t, metricProblems(d.Telemetry(), d.Metrics(t.Context())))
	})
	t.Run("same every time", func(t *testing.T) {
		d := newDomain(t)
		report(t, steadyProblems(d))
	})
	t.Run("concurrent", func(t *testing.T) {
		d := newDomain(t)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				d.Metrics(t.Context())
				d.Playbooks()
				for _, n := range d.HealthNodes() {
					if n.State != nil {
						n.State(t.Context())
					}
				}
			})
		}
		wg.Wait()
	})
}

func telemetryProblems(specs []grace.MetricSpec) []string {
	var p problems
	seen := map[string]bool{}
	for _, s := range specs {
		p.when(s.Name == "", "a metric has no name")
		p.when(seen[s.Name], "metric %s is described twice", s.Name)
		p.when(s.Description == "", "metric %s has no description", s.Name)
		seen[s.Name] = true
	}
	return p
}

func nodeProblems(domain string, nodes []grace.HealthNode) []string {
	var p problems
	seen := map[grace.ServiceID]bool{}
	for _, n := range nodes {
		p.when(n.ID == "", "a health node has no id")
		p.when(seen[n.ID], "health node %s is there twice", n.ID)
		seen[n.ID] = true
		p.when(n.Domain != domain, "health node %s says it is of domain %q, want %q", n.ID, n.Domain, domain)
		p.when(slices.Contains(n.DependsOn, n.ID), "health node %s depends on itself", n.ID)
		p.when(slices.Contains(n.DependsOn, ""), "health node %s depends on a service without id", n.ID)
		p.when(n.State == nil, "health node %s has no State", n.ID)
		switch n.Criticality {
		case grace.CriticalityLow, grace.CriticalityMedium, grace.CriticalityHigh, grace.CriticalityCritical:
		default:
			p.add("health node %s has the criticality %q", n.ID, n.Criticality)
		}
	}
	return p
}

func stateProblems(ctx context.Context, n grace.HealthNode) []string {
	var p problems
	ctx, cancel := context.WithTimeout(ctx, stateWithin)
	defer cancel()
	began := time.Now()
	health, detail := n.State(ctx)
	p.when(time.Since(began) > stateWithin, "State of %s took more than %s", n.ID, stateWithin)
	switch health {
	case grace.HealthHealthy:
	case grace.HealthUnknown, grace.HealthDegraded, grace.HealthCritical:
		p.when(detail == "", "%s is %s and does not say why", n.ID, health)
	default:
		p.add("State of %s gives %q, which is no health", n.ID, health)
	}
	return p
}

func metricProblems(specs []grace.MetricSpec, values map[string]float64) []string {
	var p problems
	for name, v := range values {
		known := slices.ContainsFunc(specs, func(s grace.MetricSpec) bool { return s.Name == name })
		p.when(!known, "metric %s is not in the telemetry schema", name)
		p.when(math.IsNaN(v) || math.IsInf(v, 0), "metric %s is %v; leave out what has no value", name, v)
	}
	return p
}

// steadyProblems compares two answers: what a domain is made of is read once,
// at start and at reload.
func steadyProblems(d grace.Domain) []string {
	var p problems
	p.when(!reflect.DeepEqual(d.Telemetry(), d.Telemetry()), "Telemetry changes from call to call")
	p.when(!reflect.DeepEqual(d.Playbooks(), d.Playbooks()), "Playbooks change from call to call")
	services := func() (out []grace.Service) {
		for _, n := range d.HealthNodes() {
			out = append(out, n.Service)
		}
		return out
	}
	p.when(!reflect.DeepEqual(services(), services()), "HealthNodes change from call to call")
	if books := d.Playbooks(); len(books) > 0 {
		books[0].ID = "changed-by-gracetest"
		p.when(d.Playbooks()[0].ID == books[0].ID, "Playbooks hands out its own slice: a caller can change it")
	}
	return p
}

func playbookProblems(books []grace.Playbook) []string {
	var p problems
	seen := map[grace.PlaybookID]bool{}
	for _, b := range books {
		p.when(b.ID == "", "a playbook has no id")
		p.when(seen[b.ID], "playbook %s is there twice", b.ID)
		seen[b.ID] = true
		p.when(b.Title == "", "playbook %s has no title", b.ID)
		p.when(len(b.Triggers) == 0, "playbook %s has no trigger: it would never be proposed", b.ID)
		switch b.Risk {
		case grace.RiskLow, grace.RiskMedium, grace.RiskHigh:
		default:
			p.add("playbook %s has the risk %q", b.ID, b.Risk)
		}
		switch b.Impact {
		case grace.ImpactLow, grace.ImpactMedium, grace.ImpactHigh, grace.ImpactCritical:
		default:
			p.add("playbook %s has the impact %q", b.ID, b.Impact)
		}
		p = append(p, parameterProblems(b)...)
		p = append(p, stepProblems(b)...)
	}
	return p
}

func stepProblems(b grace.Playbook) []string {
	var p problems
	seen := map[string]bool{}
	mutates := false
	for _, s := range b.Steps {
		p.when(s.Name == "", "playbook %s: a step has no name", b.ID)
		p.when(seen[s.Name], "playbook %s: two steps are named %s", b.ID, s.Name)
		seen[s.Name] = true
		p.when(s.Action == "", "playbook %s: step %s has no action", b.ID, s.Name)
		p.when(s.Retries < 0 || s.Timeout < 0, "playbook %s: step %s has a negative timeout or number of retries", b.ID, s.Name)
		mutates = mutates || !s.ReadOnly
		declared := s.ReadOnly || s.Irreversible || s.Undo != nil
		p.when(!declared, "playbook %s: step %s changes something; give its undo or say irreversible", b.ID, s.Name)
		p.when(s.Irreversible && s.Undo != nil, "playbook %s: step %s is irreversible and has an undo", b.ID, s.Name)
	}
	p.when(mutates && len(b.Verify) == 0, "playbook %s acts and verifies nothing: it could never succeed", b.ID)
	return p
}

func parameterProblems(b grace.Playbook) []string {
	var p problems
	seen := map[string]bool{}
	for _, par := range b.Parameters {
		what := fmt.Sprintf("playbook %s: parameter %s", b.ID, par.Name)
		p.when(par.Name == "", "playbook %s: a parameter has no name", b.ID)
		p.when(seen[par.Name], "%s is there twice", what)
		seen[par.Name] = true
		p.when(par.Min != nil && par.Max != nil && *par.Min > *par.Max, "%s has a minimum above its maximum", what)
		if par.Default != nil {
			p = append(p, defaultProblems(what, par)...)
		}
	}
	for name := range b.Arguments {
		p.when(!seen[name], "playbook %s: argument %s has no parameter", b.ID, name)
	}
	return p
}

// defaultProblems checks a default against its own bounds.
func defaultProblems(what string, par grace.Parameter) []string {
	var p problems
	var number float64
	switch par.Type {
	case grace.ParameterString:
		text, ok := par.Default.(string)
		p.when(!ok, "%s: the default %v is no string", what, par.Default)
		p.when(par.NonEmpty && text == "", "%s: the default is empty", what)
		p.when(len(par.Allowed) > 0 && !slices.Contains(par.Allowed, text), "%s: the default %q is not allowed", what, text)
		return p
	case grace.ParameterInt:
		n, ok := par.Default.(int)
		p.when(!ok, "%s: the default %v (%T) is no int", what, par.Default, par.Default)
		number = float64(n)
	case grace.ParameterDuration:
		text, _ := par.Default.(string)
		d, err := time.ParseDuration(text)
		p.when(err != nil, "%s: the default %v is no duration written as text", what, par.Default)
		number = d.Seconds()
	default:
		p.add("%s has the type %q", what, par.Type)
		return p
	}
	if par.Min != nil && number < *par.Min {
		p.add("%s: the default %v is below its minimum %v", what, par.Default, *par.Min)
	}
	if par.Max != nil && number > *par.Max {
		p.add("%s: the default %v is above its maximum %v", what, par.Default, *par.Max)
	}
	return p
}
