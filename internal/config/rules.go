package config

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/labelmap"
	"grace/internal/rulefile"
	"grace/internal/series"
	"grace/internal/stage/sense"
)

// Rules says what the rules of Prometheus mean here.
type Rules struct {
	Interval      grace.Duration            `yaml:"interval" doc:"of groups that give none" default:"15s" min:"1s"`
	ServiceLabel  string                    `yaml:"service_label" doc:"the label that names the service, of the rule or of what it finds" default:"service"`
	CodeLabel     string                    `yaml:"code_label" doc:"the label of a rule that holds the diagnosis code" default:"code"`
	SeverityLabel string                    `yaml:"severity_label" doc:"the label of a rule that holds the severity; case and common words (page, error, P1 to P5, info, none) are understood" default:"severity"`
	Severities    map[string]grace.Severity `yaml:"severities" doc:"by what severity_label says: what it means, where that is not understood or meant otherwise" example:"{ticket: warning, wakeup: critical}"`
	Map           []AlertRule               `yaml:"map" doc:"the first that matches counts. Its service is that of everything a rule finds with such labels; its code and severity are a rule's, by the labels that the rule has (alertname is one) and those that its expression asks for by ="`
}

func mapOf(list []AlertRule) (out []labelmap.Rule) {
	for _, r := range list {
		out = append(out, labelmap.Rule{Match: r.Match, Service: r.Service, Code: r.Code, Severity: r.Severity})
	}
	return out
}

// maxRuleFile bounds a file of rules in bytes.
const maxRuleFile = 8 << 20

// ruleFile is a file of rules, and what became of them.
type ruleFile struct {
	RuleFile

	named  string // the key that names it
	alerts []*alertRule
	groups []series.Group
}

// alertRule is an alerting rule and the objective that it is.
type alertRule struct {
	rulefile.Rule

	group     string
	expr      *series.Expr
	labels    map[string]string // that are known beforehand
	objective sense.Objective
}

// addRules reads the rules of the files that the configuration names.
func (c *checker) addRules(dir string) {
	at := c.root.key("rules")
	at.addError(grace.Under("", c.checkRuleMap(at)))
	slos := map[string]string{}
	for _, file := range c.expand("rule_files", c.file.RuleFiles, dir) {
		path := file.Files
		c.readRules("rule_files", file, func(data []byte) ([]rulefile.Group, []rulefile.Problem) {
			f, problems := rulefile.Read(data)
			if len(f.Groups) == 0 && len(problems) == 0 && len(f.Others) > 0 {
				c.note(path, rulefile.Problem{Place: rulefile.Place{Line: 1, Column: 1}, Message: "holds no rules, but " + strings.Join(f.Others, ", "), Hint: "leave the file out of rule_files"}, true)
			}
			return f.Groups, problems
		})
	}
	for _, file := range c.expand("slos", c.file.SLOs, dir) {
		path := file.Files
		c.readRules("slos", file, func(data []byte) (groups []rulefile.Group, problems []rulefile.Problem) {
			list, problems := rulefile.ReadSLOs(data)
			for i := range list {
				s := &list[i]
				if before, twice := slos[s.ID()]; twice {
					problems = append(problems, rulefile.Problem{Place: s.Place, Message: "the SLO " + s.ID() + " was already defined at " + before, Hint: "rename one of the two"})
					continue
				}
				slos[s.ID()] = fmt.Sprintf("%s:%d", path, s.Line)
				groups = append(groups, s.Group(c.file.Rules.Interval.D()))
			}
			return groups, problems
		})
	}
	c.nameRules()
	c.judgeRules()
}

// checkRuleMap looks at how rules are resolved to services.
func (c *checker) checkRuleMap(at spot) error {
	for i, r := range c.file.Rules.Map {
		service := at.key("map").item(i).key("service")
		if r.Service.Core() {
			service.add("name another service", "%s is a part of GRACE, of which it alone tells", r.Service)
		} else if !strings.Contains(string(r.Service), "${") {
			c.service(service, r.Service)
		}
	}
	rules, err := labelmap.Compile(mapOf(c.file.Rules.Map))
	if err != nil {
		rules = &labelmap.Map{}
	}
	c.resolver = &labelmap.Services{
		Label: c.file.Rules.ServiceLabel, Fallback: series.ServiceFallbacks(), Rules: rules,
		Declared: func(id grace.ServiceID) bool { _, ok := c.services[id]; return ok },
	}
	return err
}

// expand gives the files that some patterns name, each once.
func (c *checker) expand(name string, patterns []ruleFiles, dir string) (out []ruleFiles) {
	for i, p := range patterns {
		at := c.root.key(name).item(i)
		c.checkSource(at.key("source"), p.Source)
		if at = at.key("files"); !at.given() { // its name alone
			at = c.root.key(name).item(i)
		}
		pattern, path := p.Files, p.Files
		if path == "" {
			continue // the key is missing
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		found := []string{path}
		if strings.ContainsAny(pattern, "*?[") {
			var err error
			if found, err = filepath.Glob(path); err != nil {
				at.add("for example rules/*.yaml", "%s is no pattern: %v", quote(pattern), err)
			} else if len(found) == 0 {
				at.warn("relative patterns start at this file's folder", "%s matches no file", quote(pattern))
			}
		} else if _, err := os.Stat(path); err != nil {
			at.add("relative paths start at this file's folder", "%s %s", shorten(pattern), unreadable(path, err).Message)
			continue
		}
		for _, path := range found {
			if one := (ruleFiles{path, p.Source}); !slices.Contains(out, one) {
				out = append(out, one)
			}
		}
	}
	return out
}

// note reports what is wrong with a file of rules.
func (c *checker) note(path string, p rulefile.Problem, warning bool) {
	hint := cmp.Or(functionMeant(p.Message), p.Hint, "the same as promtool check rules would say; leave the file out, or the rule, to go on without it")
	c.ruleProblems = append(c.ruleProblems, Problem{File: path, Line: p.Line, Column: p.Column, Message: p.String(), Hint: hint, Warning: warning})
}

// readRules reads one file.
func (c *checker) readRules(named string, file ruleFiles, read func([]byte) ([]rulefile.Group, []rulefile.Problem)) {
	path := file.Files
	data, err := readBounded(path, maxRuleFile, "a file of rules")
	if err != nil {
		p := unreadable(path, err)
		p.Hint = "name files, or a pattern such as rules/*.yaml"
		c.ruleProblems = append(c.ruleProblems, p)
		return
	}
	groups, problems := read(data)
	for _, p := range problems {
		c.note(path, p, false)
	}
	f := &ruleFile{RuleFile: RuleFile{Path: path, Source: file.Source}, named: named}
	c.rules = append(c.rules, f)
	names := map[string]int{}
	for _, g := range groups {
		names[g.Name]++
		made := series.Group{Name: path + "/" + g.Name, Interval: cmp.Or(g.Interval, c.file.Rules.Interval.D()), Offset: g.Offset, Limit: g.Limit}
		if n := names[g.Name]; n > 1 { // of another object
			made.Name += fmt.Sprintf("#%d", n)
		}
		for _, r := range g.Rules {
			if r.Record != "" {
				made.Rules = append(made.Rules, series.Recording{Name: r.Record, Expr: r.Expr, Labels: r.Labels})
				continue
			}
			one := &alertRule{Rule: r, group: g.Name}
			if named == "rule_files" { // an SLO is about what is recorded here
				one.objective.Source, one.objective.Interval = f.Source, c.every(f.Source)
			}
			f.alerts = append(f.alerts, one)
		}
		f.Recordings += len(made.Rules)
		if f.Source != "" { // which has what rule files record, and is asked for what nobody has
			if named == "slos" {
				c.record(f.Source, made)
			}
			continue
		}
		if len(made.Rules) > 0 {
			f.groups = append(f.groups, made)
		}
	}
	f.Alerts = len(f.alerts)
}

// nameRules gives every alerting rule a name of its own: its alert's; where several have
// that, with the source, the severity, the group, and a number at last.
func (c *checker) nameRules() {
	var all []*alertRule
	taken := map[string]int{}
	for _, o := range c.file.Objectives {
		taken[o.Name]++
	}
	for _, l := range c.file.Limits {
		taken[l.Name]++
	}
	for _, f := range c.rules {
		for _, r := range f.alerts {
			r.objective.Name = r.Alert
			all = append(all, r)
		}
	}
	for _, more := range []func(*alertRule) string{
		func(r *alertRule) string { return r.objective.Source },
		func(r *alertRule) string { return r.Labels[c.file.Rules.SeverityLabel] }, func(r *alertRule) string { return r.group },
	} {
		count := maps.Clone(taken)
		for _, r := range all {
			count[r.objective.Name]++
		}
		for _, r := range all {
			if text := more(r); count[r.objective.Name] > 1 && text != "" {
				r.objective.Name += "." + text
			}
		}
	}
	for _, r := range all {
		name := r.objective.Name
		for n := 2; taken[r.objective.Name] > 0; n++ {
			r.objective.Name = fmt.Sprintf("%s.%d", name, n)
		}
		taken[r.objective.Name]++
	}
}

// judgeRules makes objectives of the alerting rules.
func (c *checker) judgeRules() {
	every := map[string]time.Duration{} // at which a recorded series comes
	for _, f := range c.rules {
		for _, g := range f.groups {
			for _, r := range g.Rules {
				every[r.Name] = max(every[r.Name], g.Interval)
			}
		}
	}
	for _, queries := range c.recorded {
		for _, q := range queries {
			every[q.Name] = max(every[q.Name], q.Interval.D())
		}
	}
	settings, resolve := &c.file.Rules, c.resolver.Labels()
	for _, f := range c.rules {
		for _, r := range f.alerts {
			o := &r.objective
			if o.Source != "" {
				if all, err := series.Compile(r.Expr); err == nil && len(all.Selectors()) == 0 {
					o.Source = "" // which has nothing to be asked for
				}
			}
			expr, err := series.CompileAt(r.Expr, o.Source)
			if err != nil { // of an SLO: rulefile has looked at the others
				c.note(f.Path, rulefile.Problem{Place: r.ExprAt, Group: r.group, Rule: r.Alert, Message: err.Error()}, false)
				continue
			}
			own := map[string]string{}
			maps.Copy(own, r.Labels)
			own["alertname"] = r.Alert
			r.expr, r.labels = expr, expr.Fixed()
			maps.Copy(r.labels, own)
			found, _ := c.resolver.Rules.Find(r.labels)
			o.ServiceLabel, o.Expr, o.Labels, o.Text, o.Resolve = settings.ServiceLabel, r.Expr, own, r.Text(), resolve
			o.For, o.KeepFiring = grace.Duration(r.For), grace.Duration(r.KeepFiring)
			o.Code = grace.Code(cmp.Or(found.Code, r.labels[settings.CodeLabel], r.Code, string(grace.CodeInvestigation))).Canonical()
			o.Severity = cmp.Or(found.Severity, settings.severity(r.Labels[settings.SeverityLabel]))
			for _, metric := range expr.Metrics() {
				o.Interval = max(o.Interval, every[metric])
			}
		}
	}
}

// severity reads the severity of a rule.
func (r *Rules) severity(text string) grace.Severity {
	for word, severity := range r.Severities {
		if strings.EqualFold(word, strings.TrimSpace(text)) {
			return severity
		}
	}
	return labelmap.Severity(text)
}

// ruled gives what the rules are to those who evaluate them.
func (c *checker) ruled() (objectives []sense.Objective, groups []series.Group) {
	for _, f := range c.rules {
		for _, r := range f.alerts {
			objectives = append(objectives, r.objective)
		}
		groups = append(groups, f.groups...)
	}
	return objectives, groups
}
