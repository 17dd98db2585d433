package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/labelmap"
	"grace/internal/rulefile"
	"grace/internal/series"
)

// RuleFile is what a file of rules comes to.
type RuleFile struct {
	Path       string `json:"path"`
	Source     string `json:"source,omitempty" doc:"the sensor that is asked for what its rules say"`
	Alerts     int    `json:"alerts" doc:"alerting rules"`
	Recordings int    `json:"recordings" doc:"recording rules"`
	// By what they say, the names of alerting rules.
	Predicted     []string            `json:"predicted" doc:"what they alert on is foretold"`
	Unpredictable map[string][]string `json:"unpredictable" doc:"by why what they alert on is not"`
	Services      map[string][]string `json:"services" doc:"by the service that they are about, where that is known beforehand"`
	AtRunTime     []string            `json:"at_run_time" doc:"the labels of what they find say whose it is"`
	Undeclared    map[string][]string `json:"undeclared" doc:"by a service that they name and that is not declared"`
	Unmapped      []string            `json:"unmapped" doc:"nothing says whose they are: what they find is shown of GRACE itself"`
	Untreated     map[string][]string `json:"untreated" doc:"by a code that no playbook treats"`
	Unsent        []string            `json:"unsent" doc:"metrics that nothing in the configuration gives"`
	Long          []string            `json:"long" doc:"rules that look back further than a day: so long samples are kept in memory"`
	Unused        []string            `json:"unused" doc:"recording rules that nothing looks at: they are not evaluated"`
}

// maxExamples bounds the names that a warning about many gives.
const maxExamples = 5

// Examples names some of many.
func Examples(names []string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if len(names) <= maxExamples {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxExamples], ", "), len(names)-maxExamples)
}

// checkRules looks at what rules would do here. Of many that have the same to be said it
// is said once, with how many they are.
func (c *checker) checkRules() {
	c.checkRecordings()
	sent := c.sent()
	for _, f := range c.rules {
		f.Unpredictable, f.Services, f.Undeclared, f.Untreated = map[string][]string{}, map[string][]string{}, map[string][]string{}, map[string][]string{}
		unsent := map[string]bool{}
		for _, r := range f.alerts {
			if r.expr == nil {
				continue
			}
			if why := r.expr.Unpredictable(); why != "" {
				f.Unpredictable[why] = append(f.Unpredictable[why], r.objective.Name)
			} else {
				f.Predicted = append(f.Predicted, r.objective.Name)
			}
			f.long(r.expr, r.objective.Name)
			c.whose(f, r)
			if code := string(r.objective.Code); !slices.Contains(c.treated, code) {
				f.Untreated[code] = append(f.Untreated[code], r.objective.Name)
			}
			for _, metric := range r.expr.Metrics() {
				unsent[metric] = sent != nil && !sent[metric] && r.expr.Source() == ""
			}
		}
		for _, g := range f.groups {
			for _, r := range g.Rules {
				expr, err := series.Compile(r.Expr)
				if err != nil {
					continue
				}
				if !slices.Contains(f.Unused, r.Name) {
					f.long(expr, r.Name)
				}
				for _, metric := range expr.Metrics() {
					unsent[metric] = sent != nil && !sent[metric]
				}
			}
		}
		maps.DeleteFunc(unsent, func(_ string, is bool) bool { return !is })
		f.Unsent = slices.Sorted(maps.Keys(unsent))
		c.warnRules(f)
	}
	c.checkRuleEntries()
}

// longBack is how far back a rule may look without a word: what it looks at is in memory.
const longBack = 24*time.Hour + series.Lookback

// long notes a rule that looks back far, but over what an SLO records, which is little.
func (f *ruleFile) long(e *series.Expr, name string) {
	if f.named != "slos" && e.Back() > longBack {
		f.Long = append(f.Long, name)
	}
}

// whose finds out what is known beforehand of whose a rule is.
func (c *checker) whose(f *ruleFile, r *alertRule) {
	id, declared := c.resolver.Of(r.labels)
	name := r.objective.Name
	switch {
	case declared:
		f.Services[string(id)] = append(f.Services[string(id)], name)
	case strings.Contains(string(id), "{{"): // filled in for each element
		f.AtRunTime = append(f.AtRunTime, name)
	case id != grace.CoreService:
		f.Undeclared[string(id)] = append(f.Undeclared[string(id)], name)
	case slices.ContainsFunc(c.deciding(), func(label string) bool { return r.expr.MayHave(label) }):
		f.AtRunTime = append(f.AtRunTime, name)
	default:
		f.Unmapped = append(f.Unmapped, name)
	}
}

// deciding are the labels by which a service may be found.
func (c *checker) deciding() []string {
	out := append([]string{c.file.Rules.ServiceLabel}, series.ServiceFallbacks()...)
	for _, r := range c.file.Rules.Map {
		if r.Service != "" {
			out = append(out, slices.Collect(maps.Keys(r.Match))...)
		}
	}
	return out
}

// sent gives the metrics that the configuration says come; nil when others may, too.
func (c *checker) sent() map[string]bool {
	if c.root.key("telemetry").given() {
		return nil
	}
	out := map[string]bool{series.ProbeSuccess: true}
	for _, s := range c.file.Sensors {
		known, open := c.metricsOf(s.Service)
		if open {
			return nil
		}
		for _, k := range known {
			out[k.metric] = true
		}
		for _, q := range s.Queries {
			out[q.Name] = true
		}
	}
	for _, queries := range c.recorded {
		for _, q := range queries {
			out[q.Name] = true
		}
	}
	for _, f := range c.rules {
		for _, g := range f.groups {
			for _, r := range g.Rules {
				out[r.Name] = true
			}
		}
	}
	return out
}

// checkRecordings finds recording rules that nothing looks at.
func (c *checker) checkRecordings() {
	var exprs []*series.Expr
	add := func(text, source string) {
		if e, err := series.CompileAt(text, source); err == nil {
			exprs = append(exprs, e)
		}
	}
	for _, o := range c.file.Objectives {
		add(o.Expr, o.Source)
	}
	for _, l := range c.file.Limits {
		add(l.Expr, l.Source)
	}
	for _, p := range c.playbooks {
		for _, check := range p.Verify {
			add(check.Expr, check.Source)
		}
	}
	for _, s := range c.services {
		for _, b := range s.Bindings {
			for _, check := range b.Verify {
				add(check.Expr, check.Source)
			}
		}
	}
	var groups []series.Group
	for _, f := range c.rules {
		groups = append(groups, f.groups...)
		for _, r := range f.alerts {
			if r.expr != nil {
				exprs = append(exprs, r.expr)
			}
		}
	}
	unused := series.Unused(groups, exprs)
	for _, f := range c.rules {
		for _, g := range f.groups {
			for _, r := range g.Rules {
				if slices.Contains(unused, r.Name) && !slices.Contains(f.Unused, r.Name) {
					f.Unused = append(f.Unused, r.Name)
				}
			}
		}
	}
}

// warnRules says what is to be said of a file.
func (c *checker) warnRules(f *ruleFile) {
	if len(f.alerts) == 0 {
		return
	}
	warn := func(hint, format string, args ...any) {
		c.note(f.Path, rulefile.Problem{Place: f.alerts[0].Place, Message: fmt.Sprintf(format, args...), Hint: hint}, true)
	}
	if n := len(f.Unmapped); n > 0 {
		warn("map them to services with rules.map, for example {match: {alertname: \""+f.alertOf(f.Unmapped[0])+"\"}, service: NAME}",
			"nothing says whose %d of %d alerting rules are (%s): what they find is shown of GRACE itself", n, f.Alerts, Examples(f.Unmapped))
	}
	if len(f.Undeclared) > 0 {
		names := slices.Collect(maps.Keys(f.Undeclared))
		rules := 0
		for _, list := range f.Undeclared {
			rules += len(list)
		}
		warn("declare them under services, or map the rules to others with rules.map", "%d of %d alerting rules are about services that are not declared (%s): people are told, and nothing is done", rules, f.Alerts, Examples(names))
	}
	for _, code := range slices.Sorted(maps.Keys(f.Untreated)) {
		list := f.Untreated[code]
		warn(didYouMean(code, slices.Compact(slices.Sorted(slices.Values(c.treated)))),
			"no playbook treats the code %s of %d of %d alerting rules (%s): GRACE would tell people, and do nothing", quote(code), len(list), f.Alerts, Examples(list))
	}
	if len(f.Long) > 0 {
		warn("have them look back less far, or leave them out", "%d of %d rules look back further than a day (%s): so long the samples that they look at are kept in memory", len(f.Long), f.Alerts+f.Recordings, Examples(f.Long))
	}
	if len(f.Unsent) > 0 {
		warn("add sensors that read them, or send them by remote write or OTLP and say telemetry: {}",
			"nothing in the configuration gives %d metrics that its rules look at (%s): what rests on them alone is never judged", len(f.Unsent), Examples(f.Unsent))
	}
}

// alertOf gives the alert's own name of a rule.
func (f *ruleFile) alertOf(name string) string {
	for _, r := range f.alerts {
		if r.objective.Name == name {
			return r.Alert
		}
	}
	return name
}

// checkRuleEntries warns of what rules.map says of no rule, and of codes in it that no rule gets:
// a code is a rule's, not that of what it finds.
func (c *checker) checkRuleEntries() {
	if len(c.rules) == 0 {
		return
	}
	used, may := map[int]bool{}, map[int]bool{}
	for _, f := range c.rules {
		for _, r := range f.alerts {
			if r.expr == nil {
				continue
			}
			for _, which := range c.resolver.Rules.May(r.labels, r.open) {
				may[which] = true
			}
			if _, which := c.resolver.Rules.Find(r.labels); which >= 0 {
				used[which] = true
			}
		}
	}
	for i, r := range c.file.Rules.Map {
		at := c.root.key("rules").key("map").item(i)
		if !may[i] && r.Code == "" && r.Severity == "" && !at.failed() {
			at.warn("see how the rule is called, and what labels it and what it finds have; an entry before this one may match all that this one does",
				"no rule has these labels, nor what one finds: it names the service of nothing")
		}
		if used[i] || r.Code == "" && r.Severity == "" || at.failed() {
			continue
		}
		own, _ := labelmap.Compile(mapOf([]AlertRule{r})) // has been compiled with the others
		taken := func(r *alertRule) bool {
			_, which := own.Find(r.labels)
			return which >= 0
		}
		if slices.ContainsFunc(c.rules, func(f *ruleFile) bool { return slices.ContainsFunc(f.alerts, taken) }) {
			at.warn("put the narrower one before the wider", "every rule that has these labels is an earlier entry's, so that none gets its code or severity")
		} else {
			at.warn("a code and a severity are a rule's, by the labels that it has itself or asks for by =; those of what it finds only name a service",
				"no rule has these labels, so that none gets its code or severity")
		}
	}
}

// open tells whether what a rule finds says the value of a label.
func (r *alertRule) open(label string) bool {
	if own := r.labels[label]; own != "" {
		return strings.Contains(own, "{{")
	}
	return r.expr.MayHave(label)
}

// ruleFiles gives what the files of rules come to.
func (c *checker) ruleFiles() (out []RuleFile) {
	for _, f := range c.rules {
		out = append(out, f.RuleFile)
	}
	return out
}
