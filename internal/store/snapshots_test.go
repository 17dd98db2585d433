package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"grace"
	"grace/internal/content"
	"grace/internal/event"
	"grace/internal/store"
)

// countBlobs counts what is kept, and in how many bytes.
func countBlobs(t *testing.T, s *store.Store) (n, size int) {
	t.Helper()
	if err := s.Q().QueryRow(t.Context(), "SELECT count(*), COALESCE(sum(length(body)), 0) FROM "+blobTable(s)).Scan(&n, &size); err != nil {
		t.Fatal(err)
	}
	return n, size
}

func blobTable(s *store.Store) string {
	if s.Postgres() {
		return "grace.blobs"
	}
	return "grace_blobs"
}

func recorded(id string, when time.Time) grace.Recorded {
	return grace.Recorded{ID: id, Kind: grace.RecordAdmission, Service: "web", At: when, Snapshot: []byte(`{"id":"` + id + `"}`), Answer: []byte(`{}`)}
}

// keep records a snapshot with its parts; fail rolls the transaction back.
func keep(t *testing.T, s *store.Store, r grace.Recorded, m content.Map, fail error) {
	t.Helper()
	err := s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
		if err := record(ctx, s, tx, r, m); err != nil {
			return err
		}
		return fail
	})
	if !errors.Is(err, fail) {
		t.Fatal(err)
	}
}

func record(ctx context.Context, s *store.Store, tx store.Tx, r grace.Recorded, m content.Map) error {
	if err := s.LockDeciding(ctx, tx); err != nil {
		return err
	}
	parts := content.Parts{Maps: []content.Map{m}}
	parts.Add([]byte(`{"config":1}`))
	return s.Record(ctx, tx, []content.Parts{parts}, event.Given{Snapshots: []grace.Recorded{r}})
}

func readBack(t *testing.T, s *store.Store, m content.Map) {
	t.Helper()
	got, err := content.ReadMap(m.Digest(), func(d grace.Digest) ([]byte, error) { return s.Blob(t.Context(), s.Q(), d) })
	if err != nil || got.Digest() != m.Digest() || got.Len() != m.Len() {
		t.Errorf("read again: %d keys of %d: %v", got.Len(), m.Len(), err)
	}
}

func hundred() (m content.Map) {
	for i := range 100 {
		m = m.With(fmt.Sprintf("service-%d", i), fmt.Appendf(nil, `["signal %d"]`, i))
	}
	return m
}

// TestKeep: what snapshots have in common is kept once, also by a process that begins
// anew; what a transaction kept that was rolled back is kept again.
func TestKeep(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			url := b.url(t)
			s := open(t, url)
			m := hundred()
			keep(t, s, recorded("lost", t0), m, errors.New("rolled back"))
			if n, _ := countBlobs(t, s); n != 0 {
				t.Fatalf("%d blobs are kept of what was rolled back", n)
			}
			keep(t, s, recorded("first", t0), m, nil)
			readBack(t, s, m)
			before, _ := countBlobs(t, s)
			keep(t, s, recorded("again", t0), m, nil)
			changed := m.With("service-7", []byte(`["sick"]`))
			keep(t, s, recorded("changed", t0), changed, nil)
			readBack(t, s, changed)
			after, _ := countBlobs(t, s)
			if n := after - before; n < 2 || n > 4 {
				t.Errorf("a change of one of a hundred services keeps %d blobs", n)
			}
			other := open(t, url)
			keep(t, other, recorded("other", t0), changed.With("service-8", []byte(`["sick, too"]`)), nil)
			if n, _ := countBlobs(t, s); n > after+4 {
				t.Errorf("a process that begins keeps %d blobs", n-after)
			}
			if _, err := s.Blob(t.Context(), s.Q(), "none"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestKeepAgain: what a try wrote that was rolled back counts as stored neither for the
// next try of the same transaction nor for later ones; what was committed does.
func TestKeepAgain(t *testing.T) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			url := b.url(t)
			s := open(t, url)
			first, second := hundred().With("try", []byte(`1`)), hundred().With("try", []byte(`2`))
			tries := 0
			err := s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
				if tries++; tries > 1 {
					return record(ctx, s, tx, recorded("second", t0), second)
				}
				return errors.Join(record(ctx, s, tx, recorded("first", t0), first), conflict(t, url))
			})
			if err != nil || tries != 2 {
				t.Fatalf("%d tries: %v", tries, err)
			}
			readBack(t, s, second)
			if _, err := s.Blob(t.Context(), s.Q(), first.Digest()); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("of the try that was rolled back: %v", err)
			}
			keep(t, s, recorded("later", t0), first, nil)
			readBack(t, s, first)
			forget(t, s)
			keep(t, s, recorded("once more", t0), first, nil)
			if n, _ := countBlobs(t, s); n != 0 {
				t.Errorf("%d blobs were written again of what is known to be stored", n)
			}
		})
	}
}

// TestKeepUnknown: nobody knows whether a transaction was committed whose commit
// failed, so what it wrote is written again.
func TestKeepUnknown(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		err := s.Do(ctx, func(ctx context.Context, tx store.Tx) error {
			err := record(ctx, s, tx, recorded("lost", t0), hundred())
			cancel() // before the commit
			return err
		})
		if err == nil {
			t.Fatal("it was committed")
		}
		keep(t, s, recorded("again", t0), hundred(), nil)
		readBack(t, s, hundred())
	})
}

// conflict gives an error with which a database asks for another try, while a transaction
// writes.
func conflict(t *testing.T, url string) error {
	t.Helper()
	path, is := strings.CutPrefix(url, "sqlite:")
	if !is {
		return &pgconn.PgError{Code: "40001"}
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	return err
}

// forget deletes all blobs behind the store's back.
func forget(t *testing.T, s *store.Store) {
	t.Helper()
	err := s.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM "+blobTable(s))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPruneBlobs: what old snapshots rest on goes a while after them, and what is in
// use stays.
func TestPruneBlobs(t *testing.T) {
	now := t0
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			s, err := store.Open(t.Context(), store.Options{URL: b.url(t), AuditKey: key, Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			day := 24 * time.Hour
			stays, goes := hundred(), content.Map{}.With("web", []byte(`["long ago"]`))
			now = t0.Add(-100 * day)
			keep(t, s, recorded("old", now), goes, nil)
			for days := 100; days >= 0; days -= 5 {
				now = t0.Add(-time.Duration(days) * day)
				keep(t, s, recorded(fmt.Sprint("of day ", days), now), stays, nil)
			}
			pruned := must[map[string]int64](t)(s.Prune(t.Context(), t0, store.Retention{Decisions: grace.Duration(30 * day)}))
			equal(t, pruned["snapshots"], int64(15))
			equal(t, pruned["blobs"], int64(2))
			readBack(t, s, stays)
		})
	}
}

// TestEachRecorded: records come the oldest first, from a time on or from behind one.
func TestEachRecorded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *store.Store) {
		var c event.Given
		var want []string
		for i := range 450 { // more than two pages, several at the same time
			id := fmt.Sprintf("r%04d", i)
			c.Snapshots = append(c.Snapshots, recorded(id, t0.Add(time.Duration(i/7)*time.Second)))
			want = append(want, id)
		}
		c.Snapshots = append(c.Snapshots, grace.Recorded{ID: "dec", Kind: grace.RecordDecision, At: t0.Add(time.Hour), Snapshot: []byte(`{}`)})
		c.Decisions = []grace.Decision{{ID: "dec", At: t0.Add(time.Hour)}}
		want = append(want, "dec")
		apply(t, s, c)
		stop := errors.New("stop")
		var got []string
		var cursor string
		for range 3 {
			n := 0
			err := s.EachRecorded(t.Context(), s.Q(), t0, t0.Add(2*time.Hour), cursor, func(r grace.Recorded, forged bool) error {
				got, cursor = append(got, r.ID), store.RecordedAfter(r)
				if forged || r.Kind == grace.RecordDecision && len(r.Answer) == 0 {
					t.Errorf("%s: forged %v, answer %s", r.ID, forged, r.Answer)
				}
				if n++; n == 200 {
					return stop
				}
				return nil
			})
			if err != nil && !errors.Is(err, stop) {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d records: %v", len(got), got)
		}
		if err := s.EachRecorded(t.Context(), s.Q(), t0, t0, "nonsense", nil); !errors.Is(err, store.ErrBadCursor) {
			t.Errorf("%v", err)
		}
	})
}
