package config

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/series"
	"grace/internal/stage/verify"
	"grace/sensor/promql"
)

// ruleFiles are files of rules, or of service level objectives.
type ruleFiles struct {
	Files  string `yaml:"files" short:"true" required:"true" doc:"a file, with * for any text; relative to this file. Its name alone says the same" example:"rules/*.yaml"`
	Source string `yaml:"source" doc:"name of a promql sensor: the rules are about the series of its Prometheus, which is asked for them. What rule_files record there is the source's own; what slos need to be recorded is asked for, too" example:"prometheus"`
}

// checkSource looks at the name of a source.
func (c *checker) checkSource(at spot, name string) {
	if name == "" {
		return
	}
	var known []string
	for _, s := range c.file.Sensors {
		if s.Name == name && s.Type != "promql" {
			at.add("name a sensor of type promql", "%s is a sensor of type %s, which cannot be asked for what an expression says", quote(name), s.Type)
			return
		}
		if s.Type == "promql" {
			known = append(known, s.Name)
		}
	}
	if !slices.Contains(known, name) {
		at.add(cmp.Or(didYouMean(name, known), "add a sensor of type promql under sensors, with the url of a Prometheus"), "no sensor is called %s", quote(name))
	}
}

// asked gives what a sensor is asked because it is the source of objectives, limits, rules and
// checks: what several ask is asked once.
func (c *checker) asked(source string) []promql.Query {
	out := slices.Clone(c.recorded[source])
	add := func(compile func(text, source string) (*series.Expr, error), from, text string, by ...string) {
		if from != source || from == "" {
			return
		}
		e, err := compile(text, source)
		if err != nil {
			return
		}
		q := promql.Ask(e)
		i := slices.IndexFunc(out, func(o promql.Query) bool { return o.Name == q.Name })
		if i < 0 {
			i, out = len(out), append(out, q)
		}
		out[i].Past = out[i].Past || q.Past
		by = append(by, out[i].By...)
		slices.Sort(by)
		out[i].By = slices.Compact(by)
	}
	whose := func(service grace.ServiceID, label string) []string {
		if service != "" {
			return nil
		}
		return []string{cmp.Or(label, series.ServiceLabel)}
	}
	for _, o := range c.file.Objectives {
		add(series.CompileAt, o.Source, o.Expr, whose(o.Service, o.ServiceLabel)...)
	}
	for _, l := range c.file.Limits {
		add(series.CompileAt, l.Source, l.Expr, whose(l.Service, l.ServiceLabel)...)
	}
	for _, f := range c.rules {
		for _, r := range f.alerts {
			add(series.CompileAt, r.objective.Source, r.objective.Expr, r.objective.Resolve...)
		}
	}
	for _, check := range heal.Checks(byID(c.services), byID(c.playbooks)) {
		if check.Asked() {
			add(series.CompileCheck, check.Source, check.Expr)
		}
	}
	return out
}

// checkAsked looks for what only a run knows in what the source of its check is asked: that
// is asked before there is one.
func checkAsked(at spot, check grace.Check) {
	for _, name := range references(check.Expr) {
		if name != "run" && !strings.HasPrefix(name, "snapshot.") {
			continue
		}
		query := func(value string) string {
			e, err := series.CompileAt(verify.Outline(verify.Replace(check.Expr, func(other string, _ bool) string {
				if other == name {
					return value
				}
				return "${" + other + "}"
			})), check.Source)
			if err != nil || e.Remote() == nil {
				return ""
			}
			return e.Remote().Query
		}
		if query("1") != query("2") {
			at.add("leave it out, or have it on the other side of the comparison", "the source is asked before a run, when nobody knows ${%s}", shorten(name))
		}
	}
}

// record has a source asked for what a group records.
func (c *checker) record(source string, g series.Group) {
	for _, r := range g.Rules {
		q := promql.Query{Name: r.Name, Query: r.Expr, Labels: r.Labels, Interval: grace.Duration(g.Interval)}
		c.recorded[source] = append(c.recorded[source], q)
	}
}

// every gives how often a source is asked; 0 for none.
func (c *checker) every(source string) time.Duration {
	i := slices.IndexFunc(c.file.Sensors, func(s sensor) bool { return s.Name == source })
	if i < 0 || source == "" {
		return 0
	}
	return c.file.Sensors[i].interval().D()
}
