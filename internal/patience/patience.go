// Package patience lets tests wait without a time limit of their own.
//
// How long something takes on a busy machine says nothing about whether it is
// right, so a wait ends when what is waited for has come, or shortly before
// the whole test run would be ended (go test -timeout), in time to say what
// was missing. A test that has to end by a time is judged by injected time,
// never by this.
package patience

import (
	"context"
	"testing"
	"time"
)

// margin is left to a test run for saying what failed, and for cleaning up.
const margin = 20 * time.Second

// pollEvery is how often Until asks.
const pollEvery = 10 * time.Millisecond

// Context ends with the test run, and not with the test: it also serves what
// is cleaned up.
func Context(tb testing.TB) (context.Context, context.CancelFunc) {
	deadline, ok := end(tb)
	if !ok {
		return context.WithCancel(context.Background())
	}
	return context.WithDeadline(context.Background(), deadline)
}

// end is when waits are given up; never, where the test run has no end.
func end(tb testing.TB) (time.Time, bool) {
	t, ok := tb.(interface{ Deadline() (time.Time, bool) })
	if !ok {
		return time.Time{}, false // a benchmark
	}
	deadline, ok := t.Deadline()
	if !ok {
		return time.Time{}, false
	}
	return deadline.Add(-min(margin, time.Until(deadline)/10)), true
}

// Until asks until there is no error, and fails the test with the last one at
// the end of the test run.
func Until(tb testing.TB, ask func() error) {
	tb.Helper()
	ctx, cancel := Context(tb)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			tb.Fatalf("until the end of the test run: %v", err)
		case <-time.After(pollEvery):
		}
	}
}

// Next takes from a channel, and fails the test when nothing comes until the
// end of the test run. A closed channel gives the zero value.
func Next[T any](tb testing.TB, what string, from <-chan T) T {
	tb.Helper()
	ctx, cancel := Context(tb)
	defer cancel()
	select {
	case got := <-from:
		return got
	case <-ctx.Done():
		tb.Fatalf("until the end of the test run: no %s", what)
		panic("unreachable")
	}
}
