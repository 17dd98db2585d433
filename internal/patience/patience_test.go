package patience_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"grace/internal/patience"
)

// ending is a test run that ends at once.
type ending struct {
	testing.TB
	said string
}

func (e *ending) Helper()                     {}
func (e *ending) Deadline() (time.Time, bool) { return time.Now(), true }
func (e *ending) Fatalf(format string, args ...any) {
	for _, a := range args {
		if err, ok := a.(error); ok {
			e.said += err.Error()
		} else if s, ok := a.(string); ok {
			e.said += s
		}
	}
	panic(e)
}

func says(t *testing.T, f func(testing.TB)) (said string) {
	t.Helper()
	e := &ending{TB: t}
	defer func() {
		if recover() == nil {
			t.Error("it went on")
		}
		said = e.said
	}()
	f(e)
	return ""
}

// TestEnd: a wait ends before the test run, and says what was missing.
func TestEnd(t *testing.T) {
	if said := says(t, func(tb testing.TB) { patience.Until(tb, func() error { return errors.New("no run of shop") }) }); !strings.Contains(said, "no run of shop") {
		t.Error(said)
	}
	if said := says(t, func(tb testing.TB) { patience.Next(tb, "answer", make(chan int)) }); !strings.Contains(said, "answer") {
		t.Error(said)
	}
}

func TestComes(t *testing.T) {
	tries := 0
	patience.Until(t, func() error {
		if tries++; tries < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	c := make(chan int, 1)
	c <- 7
	if got := patience.Next(t, "seven", c); got != 7 {
		t.Error(got)
	}
	ctx, cancel := patience.Context(t)
	defer cancel()
	if at, ok := ctx.Deadline(); ok && time.Until(at) <= 0 {
		t.Error("it has ended already")
	}
}
