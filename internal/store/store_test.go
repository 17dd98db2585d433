package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/internal/event"
	"grace/internal/pgtest"
	"grace/internal/store"
)

var (
	key = []byte("test key")
	t0  = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
)

// backends are the databases that every test runs on.
var backends = []struct {
	name string
	url  func(testing.TB) string
}{
	{"sqlite", func(tb testing.TB) string { return "sqlite:" + filepath.Join(tb.TempDir(), "grace.db") }},
	{"postgres", pgtest.Start},
}

// onBoth runs a test on a fresh store of each kind.
func onBoth(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) { test(t, open(t, b.url(t))) })
	}
}

func open(tb testing.TB, url string) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), store.Options{URL: url, AuditKey: key, Now: func() time.Time { return t0 }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

func apply(t *testing.T, s *store.Store, c event.Given) {
	t.Helper()
	if err := tryApply(t.Context(), s, c); err != nil {
		t.Fatal(err)
	}
}

func tryApply(ctx context.Context, s *store.Store, c event.Given) error {
	return s.Do(ctx, func(ctx context.Context, tx store.Tx) error { return s.Append(ctx, tx, c) })
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func at(minutes int) time.Time { return t0.Add(time.Duration(minutes) * time.Minute) }

func run(id string, revision int, state grace.RunStatus) grace.Run {
	r := grace.Run{
		ID: grace.RunID(id), Status: state, Service: "cart", Code: grace.CodeLatencySpike, Kind: grace.TriggerReactive,
		Playbook:   grace.Playbook{ID: "scale_up_instances", Risk: grace.RiskLow},
		Parameters: map[string]any{"delta": "1"}, Cone: []grace.ServiceID{"cart", "frontend"},
		Steps:    []grace.StepRecord{{Name: "scale", State: grace.StepSucceeded, Output: "zero\x00byte"}},
		Revision: revision, SickSince: t0, CreatedAt: t0,
	}
	if state.Terminal() {
		ended := at(3)
		r.EndedAt, r.RecoveredIn = &ended, grace.Duration(3*time.Minute)
	}
	return r
}

func entry(object string) grace.AuditEntry {
	return grace.AuditEntry{
		At: t0.Add(123456789), Actor: grace.Self, Action: "run.running", Object: object, Service: "cart",
		Reason: "because", Detail: json.RawMessage(`{"b": 1, "a": "<é>"}`),
	}
}

func message(kind string) grace.Event {
	return grace.Event{Type: kind, Source: "test", Resource: "cart", Payload: json.RawMessage(`{"n":1}`), Timestamp: t0}
}

func TestRunRoundTripAndRevisions(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		first := run("r-1", 1, grace.RunProposed)
		apply(t, s, event.Given{Runs: []grace.Run{first}})
		equal(t, must[grace.Run](t)(s.Run(t.Context(), s.Q(), "r-1")), first)

		for name, r := range map[string]grace.Run{
			"inserted again":  first,
			"same revision":   run("r-1", 1, grace.RunRunning),
			"skipped one":     run("r-1", 3, grace.RunRunning),
			"of a missing id": run("r-2", 2, grace.RunRunning),
		} {
			if err := tryApply(t.Context(), s, event.Given{Runs: []grace.Run{r}}); !errors.Is(err, store.ErrConflict) {
				t.Errorf("%s: error %v, want a conflict", name, err)
			}
		}
		if err := tryApply(t.Context(), s, event.Given{Runs: []grace.Run{run("r-0", 0, grace.RunRunning)}}); err == nil {
			t.Error("revision 0 was accepted")
		}

		ended := run("r-1", 2, grace.RunSucceeded)
		apply(t, s, event.Given{Runs: []grace.Run{ended}})
		equal(t, must[grace.Run](t)(s.Run(t.Context(), s.Q(), "r-1")), ended)
		if _, err := s.Run(t.Context(), s.Q(), "r-9"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("missing run: error %v, want not found", err)
		}
	})
}

func TestConflictLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		apply(t, s, event.Given{Runs: []grace.Run{run("r-1", 1, grace.RunProposed)}})
		err := s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
			if err := s.Append(ctx, tx, event.Given{Audit: []grace.AuditEntry{entry("run/r-1")}, Outbox: []grace.Event{message("x")}}); err != nil {
				return err
			}
			return s.Append(ctx, tx, event.Given{Runs: []grace.Run{run("r-1", 5, grace.RunRunning)}})
		})
		if !errors.Is(err, store.ErrConflict) {
			t.Fatalf("error %v, want a conflict", err)
		}
		seq, hash, err := s.AuditHead(t.Context(), s.Q())
		if err != nil || seq != 0 || hash != "" {
			t.Errorf("head after the rollback: %d %q %v", seq, hash, err)
		}
		if id := must[int64](t)(s.LastEventID(t.Context(), s.Q())); id != 0 {
			t.Errorf("last event %d after the rollback", id)
		}
	})
}

func TestRunLists(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		var runs []grace.Run
		for i := range 7 {
			r := run(fmt.Sprintf("r-%d", i), 1, grace.RunProposed)
			r.CreatedAt = at(i / 2) // ties are ordered by id
			if i == 6 {
				r.Service = "catalog"
			}
			runs = append(runs, r)
		}
		apply(t, s, event.Given{Runs: runs})
		apply(t, s, event.Given{Runs: []grace.Run{run("r-0", 2, grace.RunSucceeded)}})

		var got []grace.RunID
		page := store.Page{Limit: 3}
		for pages := 1; ; pages++ {
			part, next, err := s.Runs(t.Context(), s.Q(), store.RunFilter{}, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range part {
				got = append(got, r.ID)
			}
			if page.Cursor = next; next == "" {
				equal(t, pages, 3)
				break
			}
		}
		equal(t, got, []grace.RunID{"r-6", "r-5", "r-4", "r-3", "r-2", "r-1", "r-0"})

		yes, no := true, false
		for name, c := range map[string]struct {
			filter store.RunFilter
			want   int
		}{
			"service":  {store.RunFilter{Service: "catalog"}, 1},
			"state":    {store.RunFilter{State: grace.RunSucceeded}, 1},
			"playbook": {store.RunFilter{Playbook: "scale_up_instances"}, 7},
			"none":     {store.RunFilter{Playbook: "other"}, 0},
			"open":     {store.RunFilter{Open: &yes}, 6},
			"ended":    {store.RunFilter{Open: &no}, 1},
			"from to":  {store.RunFilter{From: at(1), To: at(3)}, 4},
		} {
			part, next, err := s.Runs(t.Context(), s.Q(), c.filter, store.Page{})
			if err != nil || len(part) != c.want || next != "" {
				t.Errorf("%s: %d runs, next %q, error %v; want %d", name, len(part), next, err, c.want)
			}
		}
		if _, _, err := s.Runs(t.Context(), s.Q(), store.RunFilter{}, store.Page{Cursor: "!"}); !errors.Is(err, store.ErrBadCursor) {
			t.Errorf("bad cursor: error %v", err)
		}
		equal(t, len(must[[]grace.Run](t)(s.OpenRuns(t.Context(), s.Q()))), 6)
		// Created at minute 3, or (r-0) ended then.
		equal(t, len(must[[]store.RunHead](t)(s.RunHeadsActive(t.Context(), s.Q(), at(3)))), 2)

		heads := must[[]store.RunHead](t)(s.RunHeads(t.Context(), s.Q(), store.RunHeadFilter{Service: "cart", Since: at(0)}))
		equal(t, len(heads), 6)
		ended := at(3)
		equal(t, heads[0], store.RunHead{
			ID: "r-0", State: grace.RunSucceeded, Service: "cart", Playbook: "scale_up_instances", Code: grace.CodeLatencySpike,
			Kind: grace.TriggerReactive, Cone: []grace.ServiceID{"cart", "frontend"}, SickSince: t0, CreatedAt: t0, EndedAt: &ended, RecoveredIn: 3 * time.Minute,
		})
		equal(t, len(must[[]store.RunHead](t)(s.OpenRunHeads(t.Context(), s.Q()))), 6)
	})
}

func TestRunHeadsFollowTheRun(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		head := func() store.RunHead {
			t.Helper()
			heads := must[[]store.RunHead](t)(s.RunHeadsActive(t.Context(), s.Q(), t0))
			if len(heads) != 1 {
				t.Fatalf("%d heads, want 1", len(heads))
			}
			return heads[0]
		}
		r := run("r-1", 1, grace.RunApproved)
		r.Auto = true
		apply(t, s, event.Given{Runs: []grace.Run{r}})
		if h := head(); !h.Auto || h.Undone {
			t.Errorf("approved by itself: auto %v, undone %v", h.Auto, h.Undone)
		}
		r.Revision, r.Status = 2, grace.RunRollingBack
		r.Steps = append(r.Steps, grace.StepRecord{Name: "scale", Phase: grace.PhaseUndo, State: grace.StepFailed})
		apply(t, s, event.Given{Runs: []grace.Run{r}})
		if h := head(); !h.Auto || !h.Undone {
			t.Errorf("after an undo: auto %v, undone %v", h.Auto, h.Undone)
		}
	})
}
