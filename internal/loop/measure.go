package loop

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/series"
	"grace/internal/stage/verify"
)

// Measure gives what the expression of a check shows now; of what was measured before
// since it shows nothing.
func (in *ingest) Measure(ctx context.Context, c grace.Check, since time.Time) grace.Reading {
	e, err := in.runCheck(c)
	if err != nil {
		return grace.Reading{Detail: err.Error()}
	}
	r, err := in.Series.Evaluate(ctx, e, in.Now())
	if err != nil {
		return grace.Reading{Detail: err.Error()}
	}
	if r.Lacking != "" {
		return grace.Reading{Detail: r.Lacking, Every: r.Every()} // it is waited for as for any other
	}
	return verify.Read(c, e, &r, since)
}

// checks gives the expressions by which runs are verified that the configuration leads to.
func checks(cfg *Config) (out []*series.Expr) {
	for _, c := range heal.Checks(cfg.Services, cfg.Playbooks) {
		if e, err := series.CompileCheck(c.Expr, c.Source); err == nil { // else Validate refuses it
			out = append(out, e.Without("${"))
		}
	}
	return out
}

// unasked refuses a run by hand whose arguments make of a check what its source is not asked
// for: nothing would ever show that it helped.
func unasked(bound grace.Playbook, service grace.ServiceID, arguments map[string]any) error {
	asked := map[string]bool{}
	each := func(do func(*series.Remote)) {
		for _, c := range heal.Watched(bound, service) {
			if e, err := series.CompileCheck(c.Expr, c.Source); err == nil && c.Asked() {
				do(e.Remote())
			}
		}
	}
	each(func(r *series.Remote) { asked[r.Metric] = true })
	bound.Arguments = with(bound.Arguments, arguments)
	var err error
	each(func(r *series.Remote) {
		if err == nil && !asked[r.Metric] {
			err = &InvalidError{fmt.Errorf("with these parameters it is verified by %s, which %s is not asked for: of what a check asks a source, parameters have the values of the configuration (bindings.%s.arguments)", r.Query, r.Source, bound.ID)}
		}
	})
	return err
}

// with lays the arguments of a run by hand over those of the configuration.
func with(own, given map[string]any) map[string]any {
	out := maps.Clone(own)
	if out == nil {
		out = map[string]any{}
	}
	maps.Copy(out, given)
	return out
}

// checkID tells expressions of checks apart.
type checkID struct{ expr, source string }

// runCheck is an expression by which an open run is verified. The configuration may not lead
// to it: the run was decided by another one, or by hand with other parameters.
type runCheck struct {
	expr *series.Expr
	at   time.Time // when a run asked last
}

// askedFor is how long it is watched after that: longer than any run pauses.
const askedFor = time.Hour

// runCheck gives the expression of a run's check, and has the samples kept that it looks
// at, from its first look on.
func (in *ingest) runCheck(c grace.Check) (*series.Expr, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	id := checkID{c.Expr, c.Source}
	e := in.runChecks[id].expr
	if e == nil {
		var err error
		if e, err = series.CompileCheck(c.Expr, c.Source); err != nil {
			return nil, err
		}
	}
	in.runChecks[id] = runCheck{e, in.Now()}
	if !in.Series.Watches(e) {
		in.watchAll()
	}
	return e, nil
}

// watchAll has the series kept that the configuration and open runs look at, and those
// recorded that are made of others.
func (in *ingest) watchAll() {
	now := in.Now()
	maps.DeleteFunc(in.runChecks, func(_ checkID, c runCheck) bool { return now.Sub(c.at).Abs() > askedFor })
	list := slices.Clone(in.kept)
	for _, c := range in.runChecks {
		list = append(list, c.expr)
	}
	in.Series.Watch(append(list, in.recorder.Configure(in.recordings, list)...))
}
