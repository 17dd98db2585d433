package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"grace"
	"grace/internal/config"
	"grace/internal/heal"
	"grace/internal/series"
)

// judgedBy is an expression that something is judged or foretold by.
type judgedBy struct {
	kind, name string
	expr       *series.Expr
	stale      time.Duration // how old what an objective looks at may be
}

// checked is the kind of what runs are verified by.
const checked = "check"

func judged(cfg *config.Config) (out []judgedBy) {
	add := func(kind string, service grace.ServiceID, name, text, source string, stale time.Duration) {
		compile := series.CompileAt
		if kind == checked {
			compile = series.CompileCheck
		}
		if e, err := compile(text, source); err == nil {
			out = append(out, judgedBy{kind, strings.TrimPrefix(string(service)+"/"+name, "/"), e, stale})
		}
	}
	for _, o := range cfg.Objectives {
		if o.Labels == nil { // rules are about many
			add("objective", o.Service, o.Name, o.Expr, o.Source, max(cfg.Sense.StaleAfter.D(), 2*o.Interval))
		}
	}
	for _, l := range cfg.Limits {
		add("limit", l.Service, l.Name, l.Expr, l.Source, 0)
	}
	for _, c := range heal.Checks(cfg.Services, cfg.Playbooks) {
		if c.Asked() {
			add(checked, c.Service, string(c.Playbook)+"/"+cmp.Or(c.Name, string(c.Type)), c.Expr, c.Source, 0)
		}
	}
	return out
}

// lookInto makes what keeps the series that expressions look at.
func lookInto(cfg *config.Config, list []judgedBy, rules []*series.Expr) (*series.DB, error) {
	db, err := series.New(cfg.Telemetry.Config, series.Options{Now: now})
	if err != nil {
		return nil, fmt.Errorf("keep series: %w", err)
	}
	exprs := slices.Clone(rules)
	for _, one := range list {
		exprs = append(exprs, one.expr)
	}
	db.Watch(exprs)
	return db, nil
}

// answered says what the source of an expression gives.
func answered(ctx context.Context, db *series.DB, one judgedBy) (Finding, error) {
	r := one.expr.Remote()
	f := Finding{Kind: one.kind, Name: one.name, State: FoundOK}
	found, err := db.Evaluate(ctx, one.expr, now())
	if err != nil {
		return f, fmt.Errorf("%s %s: %w", one.kind, one.name, err)
	}
	var none []string
	for i, s := range db.Selected(one.expr)[1:] {
		if s.Series == 0 {
			none = append(none, r.Looks[i])
		}
	}
	var elements []string
	var newest time.Time
	for _, e := range found.Elements {
		if e.Newest.After(newest) {
			newest = e.Newest
		}
		elements = append(elements, labels.FromMap(e.Labels).String()+" "+strconv.FormatFloat(e.Value, 'g', 4, 64))
	}
	yet, _ := found.NoneYet(nil)
	switch why := db.Broken(one.expr); {
	case why != "":
		f.State, f.Detail = FoundFailed, why
	case len(elements) > 0:
		f.Detail = fmt.Sprintf("%d of %s at %s: %s", len(elements), r.Query, r.Source, config.Examples(elements))
	case yet:
		f.Detail = r.Source + " has no " + strings.Join(none, ", ") + " so far, as where all is well"
	case len(none) > 0:
		f.State, f.Detail = FoundWarning, r.Source+" has no "+strings.Join(none, ", ")
	case !one.expr.Presence() || one.kind == checked:
		f.State, f.Detail = FoundWarning, fmt.Sprintf("%s gives nothing for %s: see there whether all names and labels in it are right", r.Source, r.Query)
	default:
		f.Detail = fmt.Sprintf("%s gives nothing for %s, which is well", r.Source, r.Query)
	}
	if old := found.At.Sub(newest); one.stale > 0 && f.State == FoundOK && !newest.IsZero() && old > one.stale {
		f.State = FoundWarning
		f.Detail += fmt.Sprintf("; the newest sample of it is %s old, too old to count: unless it comes as rarely, raise sense.stale_after", old.Round(time.Second))
	}
	f.Detail = grace.Printable(f.Detail)
	return f, nil
}

// selected says of each expression what its selectors found.
func selected(ctx context.Context, db *series.DB, list []judgedBy) (out []Finding, err error) {
	for _, one := range list {
		if one.expr.Remote() != nil {
			f, err := answered(ctx, db, one)
			if err != nil {
				return nil, err
			}
			out = append(out, f)
			continue
		}
		f := Finding{Kind: one.kind, Name: one.name, State: FoundOK}
		var found, none []string
		for _, s := range db.Selected(one.expr) {
			if s.Series == 0 {
				none = append(none, s.Selector)
			} else {
				found = append(found, fmt.Sprintf("%d of %s", s.Series, s.Selector))
			}
		}
		f.Detail = strings.Join(found, ", ")
		if len(none) > 0 {
			f.State = FoundWarning
			f.Detail = strings.Join(append([]string{"no sensor gave " + strings.Join(none, ", ") + " in one look; what others send is not seen here"}, found...), "; ")
		}
		f.Detail = grace.Printable(f.Detail)
		out = append(out, f)
	}
	return out, nil
}

// ruleExprs are the expressions of rules of Prometheus, alerting and recording ones.
func ruleExprs(cfg *config.Config) (out []*series.Expr) {
	add := func(text, source string) {
		if e, err := series.CompileAt(text, source); err == nil {
			out = append(out, e)
		}
	}
	for _, o := range cfg.Objectives {
		if o.Labels != nil {
			add(o.Expr, o.Source)
		}
	}
	for _, g := range cfg.Recordings {
		for _, r := range g.Rules {
			add(r.Expr, "")
		}
	}
	return out
}

// rulesSeen says of the metrics that rules look at how many a look brought.
func rulesSeen(db *series.DB, cfg *config.Config, rules []*series.Expr) []Finding {
	recorded := map[string]bool{}
	for _, g := range cfg.Recordings {
		for _, r := range g.Rules {
			recorded[r.Name] = true
		}
	}
	came := map[string]bool{}
	for _, e := range rules {
		found := db.Selected(e)
		if r := e.Remote(); r != nil {
			if r.Seen == nil {
				came[r.Query] = came[r.Query] || found[0].Series > 0
			}
			for i, s := range found[1:] {
				came[r.Looks[i]] = came[r.Looks[i]] || s.Series > 0
			}
			continue
		}
		for _, s := range found {
			if s.Metric != "" && !recorded[s.Metric] {
				came[s.Metric] = came[s.Metric] || s.Series > 0
			}
		}
	}
	if len(came) == 0 {
		return nil
	}
	f := Finding{Kind: "metric", Name: fmt.Sprintf("%d of rules", len(came)), State: FoundOK}
	missing := slices.DeleteFunc(slices.Sorted(maps.Keys(came)), func(metric string) bool { return came[metric] })
	if len(missing) > 0 {
		f.State = FoundWarning
		f.Detail = fmt.Sprintf("no sensor or source gave %d of them in one look (%s); what others send is not seen here", len(missing), config.Examples(missing))
	}
	return []Finding{f}
}

// unanswered names the queries that gave nothing, but those of which something is said by
// their expression.
func unanswered(looks []sight, said []judgedBy) (out []Finding) {
	for _, look := range looks {
		for _, g := range look.gaps {
			if slices.ContainsFunc(said, func(j judgedBy) bool { return j.expr.Remote() != nil && j.expr.Remote().Metric == g.metric }) {
				continue
			}
			out = append(out, Finding{Kind: "query", Name: g.query, State: FoundWarning, Detail: grace.Printable(g.why)})
		}
	}
	return out
}
