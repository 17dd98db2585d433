package loop

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"grace"
	"grace/internal/stage/learn"
)

// learningWindow bounds what ranking remembers; at a half-life of 14 days an
// entry of that age counts for 1 %.
const learningWindow = 90 * 24 * time.Hour

// scoreCache is the learning log as ranking needs it, kept up to date by events:
// reading it in every deciding transaction would grow with the history.
type scoreCache struct {
	mu   sync.Mutex
	book *learn.Book
	seen map[string]bool // entries that were read from the store, and may come as events again
}

// load reads the log. Events after the cursor that was read before it must be
// given to add.
func (m *scoreCache) load(ctx context.Context, co *common, cfg learn.Config) error {
	now := co.Now()
	m.mu.Lock() // also while reading: what is learned meanwhile goes into the new book
	defer m.mu.Unlock()
	entries, err := co.Store.LearningSince(ctx, co.Store.Q(), now.Add(-learningWindow))
	if err != nil {
		return fmt.Errorf("load the learning log: %w", err)
	}
	m.book = learn.New(cfg, entries)
	m.seen = map[string]bool{}
	for _, e := range entries {
		if now.Sub(e.At) < time.Hour {
			m.seen[e.ID] = true
		}
	}
	return nil
}

func (m *scoreCache) add(e grace.LearningEntry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.book == nil || m.seen[e.ID] {
		return
	}
	m.book.Add(e)
}

// Rank meets propose.Ranker.
func (m *scoreCache) Rank(service grace.ServiceID, code grace.Code, playbook grace.PlaybookID, now time.Time) (score, trials float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.book == nil {
		return learn.New(learn.DefaultConfig(), nil).Rank(service, code, playbook, now)
	}
	return m.book.Rank(service, code, playbook, now)
}

// Rates gives the success rates of the last 90 days. Where there are many
// outcomes they may be some seconds old.
func (v *views) Rates(now time.Time, bucket time.Duration) []learn.Row {
	count := func() ([]learn.Row, error) {
		v.memory.mu.Lock()
		defer v.memory.mu.Unlock()
		if v.memory.book == nil {
			return nil, nil
		}
		return v.memory.book.Rows(now, bucket), nil
	}
	var rows []learn.Row
	if bucket == 0 {
		rows, _ = v.rates.get(now, count, v.spawn)
	} else {
		rows, _ = count()
	}
	return slices.Clone(rows)
}
