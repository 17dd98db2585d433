package flow

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"github.com/jackc/pgx/v5/pgxpool"

	"grace"
	"grace/internal/dbtx"
	"grace/internal/pgtest"
)

const frozenVariable = "GRACE_FLOW_TEST_FROZEN"

// TestMain is also the process that TestStoodStill stops and lets go on.
func TestMain(m *testing.M) {
	if url := os.Getenv(frozenVariable); url != "" {
		if err := standStill(url); err != nil {
			fmt.Println("error", err)
		}
		return
	}
	os.Exit(m.Run())
}

// standStill drives a run whose step tries again and again, and says every try.
func standStill(url string) error {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	lost := make(chan error, 1)
	e, err := New(ctx, Config{
		PG: pool, Executor: "frozen", Logger: slog.New(slog.DiscardHandler), Lost: func(err error) { lost <- err },
		Run: func(r *Run) error {
			_, _, err := Step(r, "do", func(ctx context.Context) grace.Outcome {
				for ctx.Err() == nil {
					if err := r.Owned(ctx); err != nil {
						fmt.Println("refused", errors.Is(err, ErrTaken))
						break
					}
					fmt.Println("try")
					select {
					case <-ctx.Done():
					case <-time.After(20 * time.Millisecond):
					}
				}
				fmt.Println("ended", context.Cause(ctx) != nil)
				return grace.Outcome{Status: grace.OutcomeSucceeded}
			}, func(context.Context, dbtx.Tx, grace.Outcome) (string, error) {
				fmt.Println("recorded")
				return "", nil
			})
			return err
		},
	})
	if err != nil {
		return err
	}
	e.times = quickTimes()
	if err := e.Start(ctx); err != nil {
		return err
	}
	fmt.Println("lost", <-lost)
	return e.Stop(time.Second)
}

// TestStoodStill: a process that is stopped until another one has taken its run
// over, and then goes on, does not try once more.
func TestStoodStill(t *testing.T) {
	t.Parallel()
	database := pgtest.Start(t)
	queue := startIdle(t, database) // it only puts the run into the queue
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), frozenVariable+"="+database)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	lines := make(chan string, 10_000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	began, ended, release := make(chan string, 8), make(chan string, 8), make(chan struct{})
	queue.enqueue(t, "r1")
	if first := await(t, "the first try", lines); first != "try" {
		t.Fatal(first)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	startNode(t, database, "b", waits("b", began, ended, release))
	await(t, "the takeover", began)
	for len(lines) > 0 {
		<-lines // of before it was stopped
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	var said []string
	for line := range lines {
		said = append(said, line)
	}
	all := strings.Join(said, "\n")
	if tries := strings.Count(all, "try"); tries > 1 { // one may have been asked for already when it was stopped
		t.Errorf("it tried %d times beside its adopter", tries)
	}
	// It was refused, or its context ended before it asked.
	if !strings.Contains(all, "refused true") && !strings.Contains(all, "ended true") || !strings.Contains(all, "lost ") {
		t.Errorf("it does not know that its run is another's:\n%s", all)
	}
	if strings.Contains(all, "recorded") {
		t.Error("it recorded a step of a run that is another's")
	}
	close(release)
	await(t, "the end", ended)
}

// startIdle is an engine that drives nothing: it is never started.
func startIdle(t *testing.T, database string) *node {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	e, err := New(t.Context(), Config{PG: pool, Executor: "idle", Logger: slog.New(slog.DiscardHandler), Run: func(*Run) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return &node{Engine: e}
}

// TestForgedInput: a run that somebody without the key put into the engine, or
// whose input was changed, is not driven.
func TestForgedInput(t *testing.T) {
	t.Parallel()
	database := pgtest.Start(t)
	got := make(chan error, 8)
	n := startNode(t, database, "a", func(r *Run) error {
		var v string
		err := r.Input(&v)
		got <- err
		return err
	})
	n.enqueue(t, "good")
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	other, err := (&Engine{cfg: Config{Key: []byte("another")}}).seal("forged", inputName, "x")
	if err != nil {
		t.Fatal(err)
	}
	moved, err := n.seal("good", inputName, "x")
	if err != nil {
		t.Fatal(err)
	}
	for id, input := range map[string]sealed{"forged": other, "moved": moved, "bare": {Value: []byte(`"x"`)}} {
		if _, err := dbos.Enqueue[string](n.ctx, queueName, workflowName, input, dbos.WithEnqueueWorkflowID(id), dbos.WithEnqueueApplicationVersion(Version)); err != nil {
			t.Fatal(err)
		}
		if err := <-got; !errors.Is(err, ErrForged) {
			t.Errorf("%s: %v", id, err)
		}
	}
}
