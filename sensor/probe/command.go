package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"grace"
)

// maxDetail bounds what is kept of a command's output: its newest line is what
// a person reads.
const maxDetail = 300

// maxNumbers bounds what is read of a command's output for its numbers.
const maxNumbers = 1 << 20

// lineBuffer keeps the newest output of a program.
type lineBuffer struct {
	secrets []string
	buf     []byte
}

// Write redacts before it drops: no half of a secret stays at the cut.
func (b *lineBuffer) Write(p []byte) (int, error) {
	const keep = 32 << 10
	b.buf = append(b.buf, p...)
	if len(b.buf) > 2*keep {
		clean := grace.Redact(string(b.buf), b.secrets)
		b.buf = append(b.buf[:0], clean[max(0, len(clean)-keep):]...)
	}
	return len(p), nil
}

func (b *lineBuffer) text() string { return grace.Redact(string(b.buf), b.secrets) }

// newest gives the last line.
func (b *lineBuffer) newest() string {
	text := strings.TrimSpace(b.text())
	return cut(text[strings.LastIndexByte(text, '\n')+1:])
}

func cut(line string) string {
	if len(line) > maxDetail {
		line = strings.ToValidUTF8(line[:maxDetail], "") + "..."
	}
	return line
}

// head keeps the beginning of what is written.
type head struct {
	buf  []byte
	more bool // and there was more
}

// Write never fails: a program must not be ended for saying much.
func (h *head) Write(p []byte) (int, error) {
	room := min(len(p), maxNumbers-len(h.buf))
	h.buf = append(h.buf, p[:room]...)
	h.more = h.more || room < len(p)
	return len(p), nil
}

// command runs a program in a process group of its own, which is killed when
// the time is over.
func (c *Checker) command(ctx context.Context) Result {
	argv := c.target.Argv
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{}
	for _, name := range []string{"PATH", "HOME", "LANG"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	var secrets []string
	for name, text := range c.target.Env {
		value, found, err := grace.ExpandSecrets(text)
		if err != nil {
			return fault("env %s: %v", name, err)
		}
		if strings.ContainsRune(value, 0) {
			return fault("env %s: its value holds a NUL", name)
		}
		secrets = append(secrets, found...)
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	said, errs, out := &lineBuffer{secrets: secrets}, &lineBuffer{secrets: secrets}, &head{}
	cmd.Stdout, cmd.Stderr = said, errs
	if c.target.Format != "" {
		cmd.Stdout = out
	}
	cmd.WaitDelay = 100 * time.Millisecond
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	switch {
	case cmd.ProcessState == nil && (ctx.Err() == nil || !errors.Is(err, ctx.Err())):
		return fault("%v", err) // it could not be started
	case ctx.Err() != nil:
		return Result{Detail: fmt.Sprintf("%s: %v", argv[0], context.Cause(ctx)), Code: grace.CodeServiceDown}
	}
	r := c.exited(cmd.ProcessState, said, errs)
	if c.target.Format != "" && !r.Fault {
		text := grace.Redact(string(out.buf), secrets)
		r = read(c.target.Format, r, cmd.ProcessState.ExitCode(), text, out.more)
	}
	return r
}

// exited judges how a program ended, and what it said last. One that failed says
// why among its errors, if it says anything there.
func (c *Checker) exited(state *os.ProcessState, said, errs *lineBuffer) Result {
	name, line := c.target.Argv[0], cmp.Or(said.newest(), errs.newest())
	if !state.Success() {
		line = cmp.Or(errs.newest(), line)
	}
	detail := fmt.Sprintf("%s: %s", name, state)
	if line != "" {
		detail += ": " + line
	}
	switch {
	case state.Success():
		if line == "" {
			line = name + " passed"
		}
		return Result{OK: true, Answered: true, Detail: line}
	case state.ExitCode() == 126 || state.ExitCode() == 127:
		// What a shell or env says of a program that it cannot run or find.
		return fault("%s: a program in it cannot be run", detail)
	case state.Exited() && broken.MatchString(errs.text()):
		return fault("%s: the script itself does not work; run it by hand as the user GRACE runs as", detail)
	}
	return Result{Answered: true, Detail: detail, Code: grace.CodeServiceDown}
}
