package sim

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"grace"
	"grace/internal/decide"
)

// Failure is a seed whose story broke an invariant.
type Failure struct {
	Seed       uint64      `json:"seed"`
	Violations []Violation `json:"violations"`
}

// Report is what came of many seeds.
type Report struct {
	Commit    string          `json:"commit"`
	Seed      uint64          `json:"seed" doc:"the first"`
	Stories   int             `json:"stories"`
	Incidents int             `json:"incidents"`
	Runs      int             `json:"runs"`
	Actions   int             `json:"actions"`
	Crashes   int             `json:"crashes"`
	Entries   int             `json:"audit_entries"`
	Replay    decide.Replayed `json:"replay" doc:"decisions and admissions, computed again"`
	Took      grace.Duration  `json:"took"`
	Failures  []Failure       `json:"failures"`
	Scores    []*Score        `json:"scores"`
}

// Many plays n seeds from the first on all processors. With compare the
// reference operators live through the same stories.
func Many(ctx context.Context, first uint64, n int, m Mutations, compare bool) (*Report, error) {
	began := time.Now()
	total := &Report{Seed: first, Failures: []Failure{}}
	total.Scores = newScores(compare)
	var next atomic.Int64
	var mu sync.Mutex
	var errs []error
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			part := &Report{Scores: newScores(compare)}
			var err error
			for i := next.Add(1) - 1; i < int64(n) && err == nil && ctx.Err() == nil; i = next.Add(1) - 1 {
				err = part.play(ctx, first+uint64(i), m) //nolint:gosec // i is not negative
			}
			mu.Lock()
			defer mu.Unlock()
			total.merge(part)
			errs = append(errs, err)
		})
	}
	all.Wait()
	slices.SortFunc(total.Failures, func(a, b Failure) int { return cmp.Compare(a.Seed, b.Seed) })
	for _, s := range total.Scores {
		s.Close()
	}
	total.Took = grace.Duration(time.Since(began).Round(time.Millisecond))
	return total, errors.Join(append(errs, ctx.Err())...)
}

func newScores(compare bool) []*Score {
	names := Operators()
	if !compare {
		names = names[:1]
	}
	out := make([]*Score, len(names))
	for i, name := range names {
		out[i] = &Score{Operator: name}
		if name == OperatorGrace {
			out[i].Criteria = newCriteria()
		}
	}
	return out
}

func (p *Report) play(ctx context.Context, seed uint64, m Mutations) error {
	st := Write(seed)
	for _, score := range p.Scores {
		if score.Operator != OperatorGrace {
			r, err := PlayReference(ctx, st, score.Operator)
			if err != nil {
				return err
			}
			score.Add(r)
			continue
		}
		r, err := Play(ctx, st, m)
		if err != nil {
			return err
		}
		p.Replay.Join(r.Replayed)
		score.Add(r)
		p.Stories++
		p.Incidents += len(r.Incidents)
		p.Runs += len(r.Log.Runs)
		p.Actions += len(r.Calls)
		p.Entries += len(r.Log.Audit)
		p.Crashes += r.Crashes
		if len(r.Violations) > 0 {
			p.Failures = append(p.Failures, Failure{seed, r.Violations})
		}
	}
	return nil
}

func (p *Report) merge(o *Report) {
	p.Replay.Join(o.Replay)
	p.Stories += o.Stories
	p.Incidents += o.Incidents
	p.Runs += o.Runs
	p.Actions += o.Actions
	p.Entries += o.Entries
	p.Crashes += o.Crashes
	p.Failures = append(p.Failures, o.Failures...)
	for i, s := range o.Scores {
		p.Scores[i].Merge(s)
	}
}
