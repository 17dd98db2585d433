package loop

import (
	"context"
	"maps"
	"slices"
	"time"

	"grace"
	"grace/internal/heal"
	"grace/internal/series"
	"grace/internal/stage/propose"
	"grace/internal/stage/verify"
)

// Measure gives what the expression of a check shows now; of what was measured before
// since it shows nothing.
func (in *ingest) Measure(ctx context.Context, c grace.Check, since time.Time) grace.Reading {
	e, err := in.runCheck(c.Expr)
	if err != nil {
		return grace.Reading{Detail: err.Error()}
	}
	r, err := in.Series.Evaluate(ctx, e, in.Now())
	if err != nil {
		return grace.Reading{Detail: err.Error()}
	}
	return verify.Read(c, e, &r, since)
}

// checks gives the expressions by which runs are verified that the configuration leads to,
// each with its service.
func checks(cfg *Config) (out []*series.Expr) {
	seen := map[string]bool{}
	for _, s := range cfg.Services {
		for _, p := range cfg.Playbooks {
			bound, ok := p.Bind(s)
			if !ok {
				continue
			}
			values, _ := propose.ResolveParameters(bound) // without, numbers have none
			for _, text := range heal.Watched(bound, s.ID, values) {
				if seen[text] {
					continue
				}
				seen[text] = true
				if e, err := series.Compile(text); err == nil { // else Validate refuses it
					out = append(out, e.Without("${"))
				}
			}
		}
	}
	return out
}

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
func (in *ingest) runCheck(text string) (*series.Expr, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	e := in.runChecks[text].expr
	if e == nil {
		var err error
		if e, err = series.Compile(text); err != nil {
			return nil, err
		}
	}
	in.runChecks[text] = runCheck{e, in.Now()}
	if !in.Series.Watches(e) {
		in.watchAll()
	}
	return e, nil
}

// watchAll has the series kept that the configuration and open runs look at, and those
// recorded that are made of others.
func (in *ingest) watchAll() {
	now := in.Now()
	maps.DeleteFunc(in.runChecks, func(_ string, c runCheck) bool { return now.Sub(c.at).Abs() > askedFor })
	list := slices.Clone(in.kept)
	for _, c := range in.runChecks {
		list = append(list, c.expr)
	}
	in.Series.Watch(append(list, in.recorder.Configure(in.recordings, list)...))
}
