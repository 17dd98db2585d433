package probe

import (
	"context"
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

// newest gives the last line.
func (b *lineBuffer) newest() string {
	text := strings.TrimSpace(grace.Redact(string(b.buf), b.secrets))
	line := text[strings.LastIndexByte(text, '\n')+1:]
	if len(line) > maxDetail {
		line = strings.ToValidUTF8(line[:maxDetail], "") + "..."
	}
	return line
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
			return Result{Detail: fmt.Sprintf("env %s: %v", name, err)}
		}
		secrets = append(secrets, found...)
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out := &lineBuffer{secrets: secrets}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 100 * time.Millisecond
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	line := out.newest()
	switch {
	case ctx.Err() != nil:
		return Result{Detail: fmt.Sprintf("%s: %v", argv[0], context.Cause(ctx))}
	case cmd.ProcessState == nil:
		return Result{Detail: err.Error()}
	case cmd.ProcessState.Success():
		if line == "" {
			line = argv[0] + " passed"
		}
		return Result{OK: true, Answered: true, Detail: line}
	}
	detail := fmt.Sprintf("%s: %s", argv[0], cmd.ProcessState)
	if line != "" {
		detail += ": " + line
	}
	return Result{Answered: true, Detail: detail}
}
