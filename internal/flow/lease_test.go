package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"grace"
	"grace/internal/dbtx"
	"grace/internal/patience"
	"grace/internal/pgtest"
)

// quickTimes are the usual ones in a hurry.
func quickTimes() leaseTimes {
	return leaseTimes{
		ttl: 1500 * time.Millisecond, beat: 300 * time.Millisecond, retry: 100 * time.Millisecond, timeout: time.Second,
		gap: 800 * time.Millisecond, patience: time.Second,
	}
}

// node is an engine as one process would have it, with a network of its own.
type node struct {
	*Engine
	net  *pgtest.Proxy
	lost chan error
}

func startNode(t *testing.T, database, name string, run func(*Run) error) *node {
	t.Helper()
	return startNodeWith(t, database, name, quickTimes(), run)
}

func startNodeWith(t *testing.T, database, name string, times leaseTimes, run func(*Run) error) *node {
	t.Helper()
	n := &node{net: pgtest.NewProxy(t, database), lost: make(chan error, 1)}
	pool, err := pgxpool.New(t.Context(), n.net.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	n.Engine, err = New(t.Context(), Config{
		PG: pool, Executor: name, Logger: slog.New(slog.DiscardHandler), Run: run, Lost: func(err error) { n.lost <- err },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.times = times
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Stop(2 * time.Second) })
	return n
}

func (n *node) enqueue(t *testing.T, id grace.RunID) {
	t.Helper()
	tx, err := n.cfg.PG.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	input, err := n.seal(id, inputName, "x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = dbos.Enqueue[string](n.ctx, queueName, workflowName, input, dbos.WithEnqueueWorkflowID(string(id)),
		dbos.WithEnqueueTransaction(tx), dbos.WithEnqueueApplicationVersion(Version))
	if err == nil {
		err = tx.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (n *node) stillThere(t *testing.T) {
	t.Helper()
	select {
	case err := <-n.lost:
		t.Fatalf("%s was told to end: %v", n.cfg.Executor, err)
	default:
	}
}

func await(t *testing.T, what string, c <-chan string) string {
	t.Helper()
	return patience.Next(t, what, c)
}

// waits gives a run function that says that it began, and ends when told.
func waits(name string, began, ended chan string, release <-chan struct{}) func(*Run) error {
	return func(r *Run) error {
		_, _, err := Step(r, "do", func(context.Context) grace.Outcome {
			began <- name
			<-release
			return grace.Outcome{Status: grace.OutcomeSucceeded}
		}, func(context.Context, dbtx.Tx, grace.Outcome) (string, error) { return "", nil })
		if err == nil {
			ended <- name
		}
		return err
	}
}

// TestDatabaseAwayForAll: everybody's lease ends, nobody ends, and the run that
// was in a step is driven on by its owner.
func TestDatabaseAwayForAll(t *testing.T) {
	t.Parallel()
	database := pgtest.Start(t)
	began, ended, release := make(chan string, 8), make(chan string, 8), make(chan struct{})
	times := quickTimes()
	times.patience = time.Hour
	a := startNodeWith(t, database, "a", times, waits("a", began, ended, release))
	a.enqueue(t, "r1")
	await(t, "the step", began)
	b := startNodeWith(t, database, "b", times, waits("b", began, ended, release))

	a.net.Cut()
	b.net.Cut()
	for _, n := range []*node{a, b} {
		patience.Until(t, func() error {
			if held, _ := n.lease.held(); held {
				return fmt.Errorf("%s believes that its lease holds", n.cfg.Executor)
			}
			return nil
		})
		n.stillThere(t)
	}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	// As if there had been no gap for a day: only that everybody was away now
	// keeps b from taking a's lease. A renewal whose answer the cut kept back may have
	// come later than they know, or be under way still: then it notes the time at which it
	// began, and b would see no gap.
	patience.Until(t, func() error {
		tag, err := conn.Exec(t.Context(), `UPDATE grace.flow_seen SET since = now() - interval '1 day'
			WHERE at < now() - make_interval(secs => $1) AND NOT EXISTS (
				SELECT FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%flow_seen%')`, times.gap.Seconds())
		if err == nil && tag.RowsAffected() == 0 {
			err = errors.New("somebody reached the database just now")
		}
		return err
	})
	b.net.Join(t)
	renewed(t, b)
	if err := b.lease.adopt(t.Context()); err != nil {
		t.Error(err)
	}
	a.net.Join(t)
	renewed(t, a)
	a.stillThere(t)
	b.stillThere(t)
	close(release)
	if who := await(t, "the end of the run", ended); who != "a" {
		t.Errorf("the run was ended by %s", who)
	}
	if len(began) > 0 {
		t.Errorf("the step was begun again by %s", <-began)
	}
}

// TestCutOff: a process that alone cannot reach the database is taken over. It
// begins nothing meanwhile, records nothing, and is told to end when it is back.
func TestCutOff(t *testing.T) {
	t.Parallel()
	database := pgtest.Start(t)
	began, ended, release := make(chan string, 8), make(chan string, 8), make(chan struct{})
	a := startNode(t, database, "a", waits("a", began, ended, release))
	b := startNode(t, database, "b", waits("b", began, ended, release))
	a.enqueue(t, "r1")
	owner, other := a, b
	if await(t, "the step", began) == "b" {
		owner, other = b, a
	}
	owner.net.Cut()
	if who := await(t, "the takeover", began); who != other.cfg.Executor {
		t.Fatalf("the step was begun again by %s", who)
	}
	if owner.lease.await(t.Context(), timeout(t, 10*time.Millisecond)) {
		t.Error("the one that was cut off would begin another step")
	}
	close(release) // both: the answer of the one cut off comes too late
	if who := await(t, "the end of the run", ended); who != other.cfg.Executor {
		t.Errorf("the run was ended by %s", who)
	}
	owner.net.Join(t)
	if err := patience.Next(t, "word that the run is another's", owner.lost); !errors.Is(err, ErrTaken) {
		t.Error(err)
	}
	other.stillThere(t)
	if len(ended) > 0 {
		t.Errorf("the run was ended again by %s", <-ended)
	}
}

func renewed(t *testing.T, n *node) {
	t.Helper()
	patience.Until(t, func() error {
		n.stillThere(t)
		if held, _ := n.lease.held(); !held {
			return errors.New("not renewed: the lease of " + n.cfg.Executor)
		}
		return nil
	})
}

func timeout(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestRenewOrTake: of a renewal and a takeover of an ended lease exactly one
// succeeds.
func TestRenewOrTake(t *testing.T) {
	t.Parallel()
	database := pgtest.Start(t)
	idle := func(*Run) error { return nil }
	a := startNode(t, database, "a", idle)
	for i := range 20 {
		name := fmt.Sprintf("old%d", i)
		old := &lease{cfg: Config{Executor: name}, times: a.times, pool: a.cfg.PG, renewed: make(chan struct{})}
		if _, err := a.cfg.PG.Exec(t.Context(), `INSERT INTO grace.flow_lease (executor, expires) VALUES ($1, now() - interval '1 s')`, name); err != nil {
			t.Fatal(err)
		}
		eager := &lease{cfg: Config{Executor: "b"}, times: leaseTimes{timeout: time.Second, gap: time.Hour}, pool: a.cfg.PG}
		var taken atomic.Bool
		done := make(chan error, 1)
		go func() {
			dead, err := eager.take(t.Context(), []string{name})
			taken.Store(len(dead) == 1)
			done <- err
		}()
		renewed := old.beat(t.Context())
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if renewed != nil && !errors.Is(renewed, ErrTaken) {
			t.Fatal(renewed)
		}
		if taken.Load() == (renewed == nil) {
			t.Errorf("taken %v, renewed %v", taken.Load(), renewed == nil)
		}
	}
}

// TestReleasedAtOnce: the lease of a process that stopped in order is not
// waited for.
func TestReleasedAtOnce(t *testing.T) {
	t.Parallel()
	database := pgtest.Start(t)
	began, ended, release := make(chan string, 8), make(chan string, 8), make(chan struct{})
	a := startNode(t, database, "a", waits("a", began, ended, release))
	a.enqueue(t, "r1")
	await(t, "the step", began)
	_ = a.Stop(50 * time.Millisecond) // gives up waiting for the step
	if err := a.lease.release(); err != nil {
		t.Fatal(err)
	}
	startNode(t, database, "b", waits("b", began, ended, release))
	if who := await(t, "the takeover", began); who != "b" {
		t.Errorf("the run was driven by %s", who)
	}
	close(release)
	await(t, "the end", ended)
}
