package sim

import (
	"context"
	"fmt"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/store"
)

// operator stands in for GRACE, to compare with.
type operator interface {
	observe(s *Sim, samples []grace.Sample)
	think(s *Sim)
}

// Result is what came of a story.
type Result struct {
	Story      Story
	Violations []Violation
	Calls      []call
	Incidents  []*incident
	Crashes    int // of processes
	Log        *record
	Replayed   decide.Replayed // what came of computing its decisions again
	// Of the predictions that were published: how many were wrong, of how many
	// of which it is known.
	FalsePredictions, Predictions int
}

// Violation is an invariant that did not hold.
type Violation struct {
	Check  string `json:"check"`
	Detail string `json:"detail"`
}

func (v Violation) String() string { return v.Check + ": " + v.Detail }

// Play lets GRACE live through a story, and checks what she did. An error
// means that the simulation itself could not go on.
func Play(ctx context.Context, st Story, m Mutations) (*Result, error) {
	s := newSim(ctx, st, m)
	db, err := store.Open(ctx, store.Options{URL: "sqlite::memory:", AuditKey: []byte("the key of a simulated world ..."), Now: func() time.Time { return s.now }})
	if err != nil {
		return nil, fmt.Errorf("simulate seed %d: %w", st.Seed, err)
	}
	defer db.Close()
	s.store = db
	for i := range s.replicas {
		if err := s.start(ctx, i); err != nil {
			return nil, fmt.Errorf("simulate seed %d: start replica %d: %w", st.Seed, i, err)
		}
	}
	if err := s.play(); err != nil {
		return nil, fmt.Errorf("simulate seed %d: %w", st.Seed, err)
	}
	rec, err := s.read()
	if err != nil {
		return nil, fmt.Errorf("simulate seed %d: %w", st.Seed, err)
	}
	s.detected(rec)
	out := &Result{Story: st, Violations: s.check(rec), Calls: s.calls, Incidents: s.incidents, Crashes: s.crashes, Log: rec}
	out.Replayed = s.replayed
	if p := s.alive("predicted"); p != nil {
		records, _ := p.loop.Predicted()
		for _, r := range records {
			out.FalsePredictions += int(r.FalsePositives)
			out.Predictions += int(r.TruePositives + r.FalsePositives + r.Prevented)
		}
	}
	return out, nil
}
