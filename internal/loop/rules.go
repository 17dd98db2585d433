package loop

import (
	"context"
	"maps"
	"time"

	"grace"
	"grace/internal/annotation"
	"grace/internal/labelmap"
	"grace/internal/series"
	"grace/internal/stage/sense"
)

// RuleMap resolves what rules of Prometheus find to services.
type RuleMap struct {
	ServiceLabel string
	Rules        []labelmap.Rule
}

// servicesOf gives the map of a configuration.
func servicesOf(cfg *Config) *labelmap.Services {
	rules, err := labelmap.Compile(cfg.RuleMap.Rules)
	if err != nil {
		rules = &labelmap.Map{} // whoever reads the configuration refuses it
	}
	declared := map[grace.ServiceID]bool{}
	for i := range cfg.Services {
		declared[cfg.Services[i].ID] = true
	}
	return &labelmap.Services{
		Label: cfg.RuleMap.ServiceLabel, Fallback: series.ServiceFallbacks(), Rules: rules,
		Declared: func(id grace.ServiceID) bool { return declared[id] },
	}
}

// resolver finds whose the elements of a rule are.
type resolver struct {
	services *labelmap.Services
	labels   map[string]string // of the rule
	fixed    map[string]string // that its expression asks for
	unmapped map[string]string // the labels of an element that names no declared service
	logged   bool
}

func resolverOf(o *sense.Objective, expr *series.Expr, services *labelmap.Services) *resolver {
	if o.Labels == nil {
		return nil
	}
	return &resolver{services: services, labels: o.Labels, fixed: expr.Fixed()}
}

// resolve finds whose the elements of a rule are.
func (l *resolver) resolve(r *series.Result) {
	if l == nil {
		return
	}
	l.unmapped = nil
	for _, list := range [][]series.Element{r.Elements, r.Undefined} {
		for i := range list {
			l.whose(&list[i], r.At)
		}
	}
}

// whose finds it of an element.
func (l *resolver) whose(e *series.Element, at time.Time) {
	all := make(map[string]string, len(e.Labels)+len(l.labels)+len(l.fixed))
	maps.Copy(all, l.fixed)
	maps.Copy(all, e.Labels)
	for name, text := range l.labels {
		all[name] = annotation.Expand(text, e.Labels, e.Value, at)
	}
	var declared bool
	if e.Service, declared = l.services.Of(all); !declared && e.Holds && l.unmapped == nil {
		l.unmapped = all
	}
}

// logUnmapped logs once of what fails and is no declared service's: it is shown all the same.
func (in *ingest) logUnmapped(w *watch) {
	l := w.resolver
	if l == nil || l.unmapped == nil || l.logged {
		return
	}
	l.logged = true
	id, _ := l.services.Of(l.unmapped)
	in.Log.Warn("a rule found what no declared service is: it is shown as that service's; map it to one with rules.map, or declare the service",
		"rule", w.name, "service", id, "labels", l.unmapped)
}

// record makes the recordings that are due. The caller holds in.mu.
func (in *ingest) record(ctx context.Context) {
	for _, c := range in.recorder.Step(ctx, in.Now()) {
		if c.Wrong == "" {
			in.Log.Info("a recording rule can be evaluated again", "group", c.Group, "rule", c.Name)
			continue
		}
		in.Log.Warn("a recording rule cannot be evaluated: what looks at it goes stale", "group", c.Group, "rule", c.Name, "error", c.Wrong)
	}
}

// RuleStats are the rules of Prometheus that something is wrong with.
type RuleStats struct {
	Unmapped int // found something that no declared service is
	Failing  int // recording rules that cannot be evaluated
}

// RuleStats counts them as of now.
func (in *ingest) RuleStats() RuleStats {
	in.mu.Lock()
	defer in.mu.Unlock()
	s := RuleStats{Failing: in.recorder.Failing()}
	for _, w := range in.watches {
		if w.resolver != nil && w.resolver.unmapped != nil {
			s.Unmapped++
		}
	}
	return s
}
