// Package systemd is the action "systemd": a job on a unit, over D-Bus.
//
// Settings of a step:
//
//	unit: nginx          ".service" is added to a name without one (php8.2-fpm has none)
//	verb: restart        restart | start | stop | status
//	bus: system          system (default) | user
//
// The action looks first and then acts: starting an active unit and stopping an
// inactive one is done at once. It waits for the job's result, and after a start
// or restart it looks again, because a program that dies at once has been
// "started" too. A unit that has reached its start limit is reset first. status
// changes nothing; it is meant for snapshots.
//
// How a call ends:
//
//	job done, unit as wanted               succeeded
//	job failed, timeout, canceled, ...     failed, retryable
//	no such unit, masked, not permitted    failed
//	manager not reached                    failed, retryable
//	time over, or connection lost, while
//	the job ran                            unknown: the job goes on in systemd
//
// Outcome.Data holds active_state and sub_state of the unit as they were before.
//
// The user manager is the one of GRACE's own user, found by XDG_RUNTIME_DIR: its
// private socket, which needs no D-Bus daemon, or else the session bus.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"grace"
)

// Name under which the action is registered.
const Name = "systemd"

// The verbs.
const (
	verbRestart = "restart"
	verbStart   = "start"
	verbStop    = "stop"
	verbStatus  = "status"
)

// The buses.
const (
	busSystem = "system"
	busUser   = "user"
)

// Option changes an Action.
type Option func(*Action)

// WithRuntimeDir sets where the user manager is found, in place of
// XDG_RUNTIME_DIR.
func WithRuntimeDir(dir string) Option { return func(a *Action) { a.runtimeDir = dir } }

// Action is the action "systemd". It is safe for concurrent use: every call
// has a connection of its own.
type Action struct {
	runtimeDir string
}

var _ grace.Action = (*Action)(nil)

// New makes the action.
func New(opts ...Option) *Action {
	a := &Action{}
	for _, opt := range opts {
		opt(a)
	}
	return a
}

// Name gives "systemd".
func (*Action) Name() string { return Name }

type settings struct {
	Unit grace.Text `json:"unit"`
	Verb grace.Text `json:"verb"`
	Bus  grace.Text `json:"bus"`
}

// Validate judges settings in which ${} are still in place.
func (*Action) Validate(with map[string]any) error {
	_, err := decode(with)
	return err
}

func decode(with map[string]any) (settings, error) {
	var s settings
	if err := grace.DecodeSettings(with, &s); err != nil {
		return s, err
	}
	if s.Bus == "" {
		s.Bus = busSystem
	}
	unit := string(s.Unit)
	switch {
	case unit == "":
		return s, grace.Field("unit", "is missing: say which unit, for example nginx.service")
	case strings.ContainsAny(unit, " \t\n/*?[]"):
		return s, grace.Field("unit", "%q: want the name of one unit", unit)
	case !slices.Contains([]grace.Text{verbRestart, verbStart, verbStop, verbStatus}, s.Verb) && !strings.Contains(string(s.Verb), "${"):
		return s, grace.Field("verb", "%q: want restart, start, stop or status", s.Verb)
	case s.Bus != busSystem && s.Bus != busUser && !strings.Contains(string(s.Bus), "${"):
		return s, grace.Field("bus", "%q: want system or user", s.Bus)
	}
	if !strings.HasSuffix(unit, "}") {
		s.Unit = grace.Text(withSuffix(unit))
	}
	return s, nil
}

// withSuffix gives a unit's whole name. A dot alone is no suffix: php8.2-fpm is
// php8.2-fpm.service.
func withSuffix(unit string) string {
	kinds := []string{"service", "socket", "target", "timer", "path", "mount", "automount", "swap", "slice", "scope", "device"}
	if i := strings.LastIndexByte(unit, '.'); i >= 0 && slices.Contains(kinds, unit[i+1:]) {
		return unit
	}
	return unit + ".service"
}

// Do runs the job and waits for it.
func (a *Action) Do(ctx context.Context, req grace.ActionRequest) grace.Outcome {
	started := time.Now()
	out := a.do(ctx, req)
	out.Error = grace.CleanOutput(out.Error)
	out.Started, out.Ended = started, time.Now()
	return out
}

func (a *Action) do(ctx context.Context, req grace.ActionRequest) grace.Outcome {
	if ctx.Err() != nil {
		return failed(true, errors.New("not started"))
	}
	s, err := decode(req.With)
	if err != nil {
		return failed(false, err)
	}
	if text := string(s.Unit + s.Verb + s.Bus); strings.Contains(text, "${") {
		return failed(false, fmt.Errorf("unit, verb and bus take no secrets: %q", text))
	}
	s.Unit = grace.Text(withSuffix(string(s.Unit)))
	conn, err := a.connect(ctx, string(s.Bus))
	if err != nil {
		return failed(true, fmt.Errorf("reach the %s manager of systemd: %w", s.Bus, err))
	}
	defer conn.Close()
	j := job{conn: conn, unit: string(s.Unit), verb: string(s.Verb)}
	return j.do(ctx)
}

func failed(retryable bool, err error) grace.Outcome {
	return grace.Outcome{Status: grace.OutcomeFailed, Retryable: retryable, Error: err.Error()}
}

func (a *Action) connect(ctx context.Context, bus string) (*sd.Conn, error) {
	if bus == busSystem {
		return sd.NewWithContext(ctx)
	}
	dir := a.runtimeDir
	if dir == "" {
		dir = os.Getenv("XDG_RUNTIME_DIR")
	}
	if dir == "" {
		return nil, errors.New("XDG_RUNTIME_DIR is not set; run GRACE as a logged-in user, or enable lingering and set it")
	}
	conn, err := sd.NewConnection(func() (*dbus.Conn, error) {
		return dial(ctx, "unix:path="+filepath.Join(dir, "systemd", "private"))
	})
	if err != nil && a.runtimeDir == "" {
		return sd.NewUserConnectionContext(ctx)
	}
	return conn, err
}

// dial opens systemd's own socket. There is no bus behind it, hence no Hello.
func dial(ctx context.Context, address string) (*dbus.Conn, error) {
	conn, err := dbus.Dial(address, dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// job is one verb on one unit.
type job struct {
	conn *sd.Conn
	unit string
	verb string
}

type state struct{ load, active, sub, result string }

func (s state) String() string { return s.active + " (" + s.sub + ")" }

func (j job) do(ctx context.Context) grace.Outcome {
	before, err := j.state(ctx)
	if err != nil {
		return failed(ctx.Err() != nil || !permanent(err), fmt.Errorf("look at %s: %w", j.unit, err))
	}
	if before.load == "not-found" || before.load == "bad-setting" || before.load == "error" {
		return failed(false, fmt.Errorf("unit %s is %s; see systemctl status %s", j.unit, before.load, j.unit))
	}
	out := j.act(ctx, before)
	out.Data = map[string]string{"active_state": before.active, "sub_state": before.sub}
	return out
}

func (j job) act(ctx context.Context, before state) grace.Outcome {
	switch {
	case j.verb == verbStatus:
		return done("%s is %s", j.unit, before)
	case j.verb == verbStart && before.active == "active":
		return done("%s was already %s", j.unit, before)
	case j.verb == verbStop && (before.active == "inactive" || before.active == "failed"):
		return done("%s was already %s", j.unit, before)
	}
	// systemd refuses to start what was started too often lately, also when what
	// made it fail is mended. Of a failed unit it does not tell whether that was
	// why: its count begins anew in any case.
	if before.active == "failed" && j.verb != verbStop {
		if err := j.reset(ctx); err != nil {
			return failed(!permanent(err), err)
		}
	}
	out := j.start(ctx, before)
	if out.Status == grace.OutcomeFailed && j.verb != verbStop && j.limited(ctx) { // by this very restart
		if err := j.reset(ctx); err != nil {
			return failed(!permanent(err), err)
		}
		if out = j.start(ctx, before); out.Status == grace.OutcomeSucceeded {
			out.Output += "; it had reached its start limit, which was reset"
		}
	}
	return out
}

// reset clears the unit's failure and how often it was started.
func (j job) reset(ctx context.Context) error {
	if err := j.conn.ResetFailedUnitContext(ctx, j.unit); err != nil {
		return fmt.Errorf("%s %s: it failed before, and was not reset: %w; run: systemctl reset-failed %s", j.verb, j.unit, err, j.unit)
	}
	return nil
}

// startLimit is the result of a unit that was started too often.
const startLimit = "start-limit-hit"

// start runs the job and judges its end.
func (j job) start(ctx context.Context, before state) grace.Outcome {
	result, err := j.run(ctx)
	switch {
	case err != nil && refused(err):
		return failed(!permanent(err), fmt.Errorf("%s %s: %w", j.verb, j.unit, err))
	case err != nil:
		why := ""
		if ctx.Err() == nil { // else the caller says why
			why = fmt.Sprintf(" (%v)", err)
		}
		return grace.Outcome{
			Status: grace.OutcomeUnknown,
			Error:  fmt.Sprintf("%s %s: no word of the job's end%s; it may go on", j.verb, j.unit, why),
		}
	case result != "done" && j.limited(ctx):
		return failed(false, fmt.Errorf("%s %s: it was started too often and systemd starts it no more (start-limit-hit); see journalctl -u %s for why it ends, and StartLimitIntervalSec and StartLimitBurst", j.verb, j.unit, j.unit))
	case result != "done":
		return failed(result != "skipped", fmt.Errorf("%s %s: the job ended %q, want done; see journalctl -u %s", j.verb, j.unit, result, j.unit))
	}
	return j.confirm(ctx, before)
}

// limited tells whether the unit has reached its start limit.
func (j job) limited(ctx context.Context) bool {
	now, err := j.state(ctx)
	return err == nil && now.result == startLimit
}

// run queues the job and waits for its result.
func (j job) run(ctx context.Context) (result string, err error) {
	// Without a subscription a manager on a bus does not tell of its jobs. On
	// its private socket it tells always, and refuses to be asked.
	_ = j.conn.Subscribe()
	results := make(chan string, 1)
	const mode = "replace"
	switch j.verb {
	case verbStart:
		_, err = j.conn.StartUnitContext(ctx, j.unit, mode, results)
	case verbStop:
		_, err = j.conn.StopUnitContext(ctx, j.unit, mode, results)
	default:
		_, err = j.conn.RestartUnitContext(ctx, j.unit, mode, results)
	}
	if err != nil {
		return "", err
	}
	select {
	case result = <-results:
		return result, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// confirm looks at the unit after the job: a program that died at once was
// started all the same.
func (j job) confirm(ctx context.Context, before state) grace.Outcome {
	after, err := j.state(ctx)
	if err != nil {
		return grace.Outcome{
			Status: grace.OutcomeUnknown,
			Error:  fmt.Sprintf("%s %s: done, but its state is not known: %v", j.verb, j.unit, err),
		}
	}
	if j.verb != verbStop && after.active == "failed" {
		return failed(true, fmt.Errorf("%s %s: it is %s right after; see journalctl -u %s", j.verb, j.unit, after, j.unit))
	}
	return done("%s: %s, before %s", j.unit, after, before)
}

func (j job) state(ctx context.Context) (state, error) {
	props, err := j.conn.GetAllPropertiesContext(ctx, j.unit)
	if err != nil {
		return state{}, err
	}
	text := func(key string) string {
		s, _ := props[key].(string)
		return s
	}
	return state{load: text("LoadState"), active: text("ActiveState"), sub: text("SubState"), result: text("Result")}, nil
}

func done(format string, args ...any) grace.Outcome {
	return grace.Outcome{Status: grace.OutcomeSucceeded, Output: fmt.Sprintf(format, args...)}
}

// refused tells an answer of the manager from a connection that broke.
func refused(err error) bool {
	_, ok := errors.AsType[dbus.Error](err)
	return ok
}

// permanent tells errors that waiting does not mend.
func permanent(err error) bool {
	derr, ok := errors.AsType[dbus.Error](err)
	return ok && slices.Contains([]string{
		"org.freedesktop.systemd1.NoSuchUnit",
		"org.freedesktop.systemd1.UnitMasked",
		"org.freedesktop.systemd1.LoadFailed",
		"org.freedesktop.systemd1.BadUnitSetting",
		"org.freedesktop.DBus.Error.AccessDenied",
		"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
		"org.freedesktop.DBus.Error.InvalidArgs",
	}, derr.Name)
}
