package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// setClock sets the wall clock of GRACE, of nothing else, to so much ahead of
// the machine's.
func (s *stack) setClock(ahead time.Duration) error {
	text := make([]byte, 8)
	binary.LittleEndian.PutUint64(text, uint64(int64(ahead/time.Second))) //nolint:gosec // a clock may be behind
	f, err := os.OpenFile(s.clock, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(text, 0); err != nil { // in place: GRACE has it in its memory
		_ = f.Close()
		return fmt.Errorf("set GRACE's clock: %w", err)
	}
	return f.Close()
}

// steps sets GRACE's clock while something is under way.
func steps(ahead time.Duration) func(context.Context, *stack) error {
	return func(ctx context.Context, s *stack) error {
		wait(ctx, time.Second)
		return s.setClock(ahead)
	}
}

// withClock goes on with the GRACE whose clock can be set.
func withClock(program string) func(context.Context, *judge) error {
	return func(ctx context.Context, j *judge) error {
		path, err := filepath.Abs(program)
		if err != nil {
			return err
		}
		j.clock = filepath.Join(j.dir, "clock")
		if err := j.setClock(0); err != nil {
			return err
		}
		j.grace.stop(syscall.SIGTERM)
		j.grace.argv[0], j.grace.env = path, append(j.grace.env, "GRACE_FIELD_CLOCK="+j.clock)
		if err := j.grace.start(); err != nil {
			return err
		}
		var status map[string]any
		for end := time.Now().Add(time.Minute); j.ask(http.MethodGet, "/api/runs", nil, &status) != nil; wait(ctx, 300*time.Millisecond) {
			if time.Now().After(end) || ctx.Err() != nil {
				return fmt.Errorf("GRACE with a clock that can be set does not answer (%s)", program)
			}
		}
		wait(ctx, 4*time.Second) // it looks at everything
		return nil
	}
}
