package flow

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"grace"
	"grace/internal/dbtx"
	"grace/internal/patience"
	"grace/internal/pgtest"
)

// TestFenced: a process whose run was taken over while it was in a step neither
// records that step, nor goes on from what the other one recorded, nor ends the
// run; whichever of the two comes first, and however late it hears of it: here
// it never looks at its lease again.
func TestFenced(t *testing.T) {
	t.Parallel()
	for name, order := range map[string][2]string{"the one that lost it comes first": {"a", "b"}, "the other comes first": {"b", "a"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Start(t)
			conn, err := pgx.Connect(t.Context(), database)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close(context.Background()) }()
			if _, err := conn.Exec(t.Context(), "CREATE TABLE records (name text)"); err != nil {
				t.Fatal(err)
			}
			began, told, committed := make(chan string, 8), make(chan string, 8), make(chan string, 8)
			release := map[string]chan struct{}{"a": make(chan struct{}), "b": make(chan struct{})}
			drive := func(name string) func(*Run) error {
				return func(r *Run) error {
					_, _, err := Step(r, "do", func(context.Context) grace.Outcome {
						began <- name
						<-release[name]
						return grace.Outcome{Status: grace.OutcomeSucceeded}
					}, func(ctx context.Context, tx dbtx.Tx, _ grace.Outcome) (string, error) {
						tx.OnCommit(func() { committed <- name })
						_, err := tx.Exec(ctx, "INSERT INTO records VALUES ($1)", name)
						return name, err
					})
					switch {
					case err == nil:
						told <- name + " went on"
					case Stopped(err):
						told <- name + " stopped"
					default:
						told <- name + ": " + err.Error()
					}
					return nil // even so the run is not ended by the one that lost it
				}
			}
			deaf := quickTimes()
			deaf.beat = time.Hour
			a := startNodeWith(t, database, "a", deaf, drive("a"))
			a.enqueue(t, "r1")
			await(t, "step of a", began)
			b := startNode(t, database, "b", drive("b"))
			await(t, "takeover", began)

			for _, first := range order {
				close(release[first])
				want := map[string]string{"a": "a stopped", "b": "b went on"}[first]
				if got := patience.Next(t, "end of "+first, told); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				if _, started, err := b.Depth(); first == "a" && order[0] == "a" && (err != nil || started != 1) {
					t.Errorf("%d runs are under way, %v: the one that lost the run has ended it", started, err)
				}
			}
			patience.Until(t, func() error {
				if _, started, err := b.Depth(); err != nil || started != 0 {
					return errors.Join(err, errors.New("the run has not ended"))
				}
				return nil
			})
			rows, err := conn.Query(t.Context(), "SELECT name FROM records")
			if err != nil {
				t.Fatal(err)
			}
			if by, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(by) != 1 || by[0] != "b" {
				t.Errorf("recorded by %v, %v; want b alone", by, err)
			}
			if by := patience.Next(t, "word of the commit", committed); by != "b" || len(committed) != 0 {
				t.Errorf("%s believes that it has recorded it, and %d others", by, len(committed))
			}
		})
	}
}
