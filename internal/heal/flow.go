package heal

import (
	"context"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
)

// Flow makes one run durable. Names are unique within the run.
type Flow interface {
	// Tx runs fn in one transaction, once; a replay returns the recorded Mark.
	Tx(name string, fn func(j Journal) (Checkpoint, error)) (Checkpoint, error)
	// Step calls do (at least once, and not again once recorded) and commits
	// record with the checkpoint.
	Step(name string, do func(ctx context.Context) grace.Outcome,
		record func(j Journal, o grace.Outcome) (Checkpoint, error)) (grace.Outcome, Checkpoint, error)
	// Owned tells whether this process still drives the run: asked before every
	// try, since a process that stood still does not know it by itself.
	Owned(ctx context.Context) error
	// Control waits for a message (ok) or until a time.
	Control(until time.Time) (m grace.ControlMessage, ok bool, err error)
}

// Acts tells by a step's name whether it changes something outside. The others
// only look, and may be broken off and begun anew.
func Acts(step string) bool {
	return strings.HasPrefix(step, doPrefix) || strings.HasPrefix(step, undoPrefix)
}

const (
	doPrefix   = "do/"
	undoPrefix = "undo/"
)

// Journal is the store within one transaction.
type Journal interface {
	Now() time.Time
	Approval(id grace.ApprovalID) (grace.Approval, error)
	Abort(id grace.RunID) (*grace.AbortRequest, error)
	// Admit asks again, right before the first step, what may have changed
	// since the decision: mode and trust, change window, whether the trigger is still
	// there, and whether other runs hold the cone or all places.
	Admit(run grace.Run) (Admission, error)
	// OpenIncident gives the open incident about what a run was for; nil if there
	// is none.
	OpenIncident(run grace.Run) (*grace.Incident, error)
	// Lasting gives the signals of a run's condition that are not shown to be over.
	Lasting(run grace.Run) ([]grace.SignalKey, error)
	// Save writes what has happened.
	Save(events ...event.Event) error
}

// Admission is the answer to whether a run may start now.
type Admission struct {
	End     grace.RunStatus `json:"end,omitempty"` // it may never: the state to end in
	Wait    time.Time       `json:"wait,omitzero"` // not yet: ask again then
	Reasons []grace.Reason  `json:"reasons,omitempty"`
	// Before is what is wrong with the service when it may start: verification
	// tells by it what has become worse.
	Before []grace.Symptom `json:"before,omitempty"`
}

// Condition is what the newest evidence says of what began a run.
type Condition struct {
	Clear bool   // it is gone, and something has shown that
	Open  bool   // not clear: nothing shows yet, or any more, whether it is
	Text  string // for people
	// Worse names what is critically wrong with the service and was not before
	// the first step; empty when nothing is.
	Worse string
}

// Checkpoint is what a transaction leaves for the run's further way. It is recorded,
// so a replay sees the same.
type Checkpoint struct {
	At       time.Time           `json:"at"`
	Owner    string              `json:"owner"`
	Elapsed  time.Duration       `json:"elapsed"` // on the owner's Clock
	Abort    *grace.AbortRequest `json:"abort,omitempty"`
	Approval *grace.Approval     `json:"approval,omitempty"`
	Admit    Admission           `json:"admit,omitzero"`
	Invalid  string              `json:"invalid,omitempty"`
}

// Clock is the time that actions and verification live in.
type Clock interface {
	Now() time.Time
	// Elapsed is the time since some moment of this process, as no step of the
	// wall clock moves it.
	Elapsed() time.Duration
	// Sleep waits for d or until ctx ends.
	Sleep(ctx context.Context, d time.Duration)
}

// ClockStep is what the wall clock may move by, against time that passes, without
// being taken as set. It is corrected in smaller steps all the time.
const ClockStep = 2 * time.Second

// Drift holds a wall clock against time that passes. Its zero value begins with
// the first look. It is not safe for concurrent use.
type Drift struct {
	wall    time.Time
	elapsed time.Duration
}

// Moved tells by how much the wall clock has moved since the last look beyond the
// time that has passed; 0 at the first.
func (d *Drift) Moved(wall time.Time, elapsed time.Duration) time.Duration {
	before := *d
	d.wall, d.elapsed = wall, elapsed
	if before.wall.IsZero() {
		return 0
	}
	return wall.Sub(before.wall) - (elapsed - before.elapsed)
}

// Deadlines is met by a Clock that is not the machine's: what takes too long by
// that clock ends by it.
type Deadlines interface {
	WithTimeoutCause(ctx context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc)
}

// withTimeout ends a context after d on the runner's clock.
func (r *Runner) withTimeout(ctx context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	if own, ok := r.Clock.(Deadlines); ok {
		return own.WithTimeoutCause(ctx, d, cause)
	}
	return context.WithTimeoutCause(ctx, d, cause)
}

// WallClock is the machine's clock.
type WallClock struct{ began time.Time }

// NewWallClock begins to count Elapsed.
func NewWallClock() WallClock { return WallClock{time.Now()} }

// Now gives the machine's time in UTC.
func (WallClock) Now() time.Time { return time.Now().UTC() }

// Elapsed is the time since the clock was made.
func (c WallClock) Elapsed() time.Duration { return time.Since(c.began) }

// Sleep waits for d or until ctx ends.
func (WallClock) Sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
