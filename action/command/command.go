// Package command is the action "command": one program on this host.
//
// Settings of a step:
//
//	argv: [/usr/sbin/nginx, -s, reload]   never a shell
//	env: {TOKEN: "${env:NGINX_TOKEN}"}    secrets go here and nowhere else
//	inherit: [XDG_RUNTIME_DIR]            besides PATH, HOME and LANG
//	dir: /srv/shop
//	ok_codes: [0, 3]                      default [0]
//	kill_after: 5s                        between SIGTERM and SIGKILL
//
// argv is seen by every user of the host, so Validate refuses a secret in it.
// Secrets of env are redacted from what is kept; inherited values are taken for
// no secrets. The program also gets
// GRACE_RUN, GRACE_STEP, GRACE_SERVICE, GRACE_PHASE, GRACE_ATTEMPT and
// GRACE_IDEMPOTENCY_KEY, the last the same for every try of a step, so that a
// script can check before it acts.
//
// How a call ends:
//
//	exit code in ok_codes       succeeded
//	another code                failed, retryable
//	ended by a signal           unknown, retryable: it was somewhere in its work
//	not started                 failed; retryable only when its context had ended
//	time over or aborted        unknown: SIGTERM, then SIGKILL, to its process group
//
// A program never outlives GRACE: when that process dies, or stands still until
// the step's time is over, a guard process (package guard) ends the program's
// group in the same way.
//
// A program that leaves a child behind (a daemon) has ended when it itself has:
// the child is left alone and named in the output, and what it writes later is
// not kept.
//
// Output and errors are kept together, the newest 64 KiB; a failure ends with the
// newest line of the errors. When the last line
// of standard output is a JSON object, its scalar fields become Outcome.Data.
package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
	"grace/internal/guard"
)

// Name under which the action is registered.
const Name = "command"

// outputGrace is how long output is still read after the program has ended,
// for a child that holds the pipe open.
const outputGrace = 500 * time.Millisecond

// guardGrace is how long after the end of its context a program is ended though
// this process did not: in its usual life the process is the first, and says why.
const guardGrace = 250 * time.Millisecond

// Action is the action "command". It is safe for concurrent use.
type Action struct{}

var _ grace.Action = (*Action)(nil)

// New makes the action.
func New() *Action { return &Action{} }

// Name gives "command".
func (*Action) Name() string { return Name }

// Validate judges settings in which ${} are still in place.
func (*Action) Validate(with map[string]any) error {
	_, err := decode(with)
	return err
}

// Do runs the program.
func (*Action) Do(ctx context.Context, req grace.ActionRequest) grace.Outcome {
	started := time.Now()
	out := do(ctx, req)
	out.Started, out.Ended = started, time.Now()
	return out
}

func do(ctx context.Context, req grace.ActionRequest) grace.Outcome {
	if ctx.Err() != nil {
		return failed(true, errors.New("not started"))
	}
	s, err := decode(req.With)
	if err != nil {
		return failed(false, err)
	}
	env, secrets, err := s.environment(req)
	if err != nil {
		return failed(false, err)
	}
	p := process{settings: s, all: newTail(secrets), stdout: newTail(secrets), stderr: newTail(secrets)}
	if err := p.start(ctx, env); err != nil {
		return p.notStarted(err)
	}
	end, err := p.guarded.Wait(ctx)
	out := p.judge(end, err)
	out.Output = p.all.text()
	if left := p.leftBehind(); left != "" && end.Stopped == nil && !errors.Is(err, guard.ErrLost) {
		out.Output = strings.TrimPrefix(out.Output+"\n["+left+"]", "\n")
	}
	out.Data = p.data()
	out.Error = grace.CleanOutput(grace.Redact(out.Error, secrets))
	return out
}

func failed(retryable bool, err error) grace.Outcome {
	return grace.Outcome{Status: grace.OutcomeFailed, Retryable: retryable, Error: err.Error()}
}

// environment is what the program gets, with the secrets that went into it.
func (s settings) environment(req grace.ActionRequest) (env, secrets []string, err error) {
	for _, name := range slices.Concat([]string{"PATH", "HOME", "LANG"}, s.Inherit) {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	env = append(env,
		"GRACE_RUN="+string(req.Run),
		"GRACE_STEP="+req.Step,
		"GRACE_SERVICE="+string(req.Service),
		"GRACE_PHASE="+string(req.Phase),
		"GRACE_ATTEMPT="+strconv.Itoa(req.Attempt),
		"GRACE_IDEMPOTENCY_KEY="+req.IdempotencyKey,
	)
	for name, text := range s.Env {
		value, found, err := grace.ExpandSecrets(string(text))
		if err != nil {
			return nil, nil, fmt.Errorf("env %s: %w", name, err)
		}
		secrets = append(secrets, found...)
		env = append(env, name+"="+value)
	}
	return env, secrets, nil
}

// process is one program on its way.
type process struct {
	settings settings
	guarded  *guard.Process
	all      *tail // output and errors as they came
	stdout   *tail
	stderr   *tail
}

func (p *process) start(ctx context.Context, env []string) error {
	argv := p.settings.argv()
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // its guard ends the whole group
	cmd.Dir = string(p.settings.Dir)
	cmd.Env = env
	cmd.Stdout = both{p.all, p.stdout}
	cmd.Stderr = both{p.all, p.stderr}
	cmd.WaitDelay = outputGrace
	limits := guard.Limits{KillAfter: p.settings.killAfter()}
	if deadline, ok := ctx.Deadline(); ok {
		limits.Limit = max(0, time.Until(deadline)) + guardGrace
	}
	var err error
	p.guarded, err = guard.Start(cmd, limits)
	return err
}

func (p *process) notStarted(err error) grace.Outcome {
	name := p.settings.Argv[0]
	if errors.Is(err, guard.ErrLost) {
		return grace.Outcome{
			Status: grace.OutcomeUnknown, Retryable: true,
			Error: fmt.Sprintf("start %s: %v; it may have taken effect", name, err),
		}
	}
	if errors.Is(err, guard.ErrNotGuarded) {
		return failed(true, fmt.Errorf("start %s: %w; a guard needs /proc, two file descriptors and a process", name, err))
	}
	return failed(false, fmt.Errorf("start %s: %w; is it installed, and is its path right?", name, err))
}

func (p *process) judge(end guard.End, err error) grace.Outcome {
	name := p.settings.Argv[0]
	if end.Stopped != nil {
		why := "its time was over"
		if errors.Is(end.Stopped, context.Canceled) {
			why = "the run was aborted"
		}
		return grace.Outcome{
			Status: grace.OutcomeUnknown,
			Error:  fmt.Sprintf("%s was stopped because %s; it may have taken effect", name, why),
		}
	}
	if errors.Is(err, guard.ErrLost) {
		return grace.Outcome{
			Status: grace.OutcomeUnknown, Retryable: true,
			Error: fmt.Sprintf("%s was killed because %v; it may have taken effect", name, err),
		}
	}
	if end.Status.Signaled() {
		return grace.Outcome{
			Status: grace.OutcomeUnknown, Retryable: true,
			Error: fmt.Sprintf("%s was ended by signal %v; it may have taken effect", name, end.Status.Signal()),
		}
	}
	if code := end.Status.ExitStatus(); !p.settings.accepts(code) {
		return failed(true, fmt.Errorf("%s exited with code %d, want %s%s", name, code, p.settings.wanted(), p.lastLine()))
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return failed(true, fmt.Errorf("read the output of %s: %w", name, err))
	}
	return grace.Outcome{Status: grace.OutcomeSucceeded}
}

// lastLine is the newest line of the errors, else of the output, which mostly
// says what went wrong.
func (p *process) lastLine() string {
	line := newestLine(p.stderr.text())
	if line == "" {
		line = newestLine(p.all.text())
	}
	if line == "" {
		return ""
	}
	const limit = 200
	if len(line) > limit {
		line = strings.ToValidUTF8(line[:limit], "") + "..."
	}
	return ": " + line
}
