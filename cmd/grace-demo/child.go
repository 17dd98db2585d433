package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"grace/internal/cli"
)

// Bounds of the child's life.
const (
	readyTime   = 5 * time.Minute
	stopTime    = time.Minute
	maxRestarts = 20
	answerTime  = 15 * time.Second // of one request
)

// child keeps `grace serve` running: whoever kills it finds it started again,
// on the same data.
type child struct {
	command []string
	log     string // its stderr goes there
	tell    *teller

	mu     sync.Mutex
	cmd    *exec.Cmd
	ending bool
	ended  chan struct{} // closed when it will not be started again
	err    error         // why, unless it was asked to
}

// start starts the process and keeps it.
func (c *child) start() error {
	c.ended = make(chan struct{})
	first := make(chan error, 1)
	go c.keep(first)
	return <-first
}

// keep is one goroutine on one thread: the kernel's signal at the parent's
// death is bound to the thread that started the child.
func (c *child) keep(first chan<- error) {
	runtime.LockOSThread()
	defer close(c.ended)
	for n := range maxRestarts {
		cmd, err := c.launch()
		if n == 0 {
			first <- err
		}
		if err != nil {
			c.err = err
			return
		}
		if n > 0 {
			c.tell.say(voiceStory, "GRACE was started again (pid %d); it goes on where it was", cmd.Process.Pid)
		}
		err = cmd.Wait()
		c.mu.Lock()
		ending := c.ending
		c.mu.Unlock()
		if ending {
			return
		}
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
			c.err = fmt.Errorf("GRACE ended by itself (%w): %s", err, tailOf(c.log))
			return
		}
		c.tell.say(voiceStory, "GRACE was killed (%v); the shop does not notice", err)
	}
	c.err = fmt.Errorf("GRACE was killed %d times", maxRestarts)
}

func (c *child) launch() (*exec.Cmd, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of GRACE: %w", err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.Command(c.command[0], c.command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = plainEnvironment(os.Environ())
	ownGroup(cmd)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return nil, errors.New("the demo ends")
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start GRACE: %w", err)
	}
	c.cmd = cmd
	return cmd, nil
}

// plainEnvironment leaves out what would make GRACE another than the demo's
// configuration says.
func plainEnvironment(env []string) []string {
	return slices.DeleteFunc(env, func(pair string) bool {
		return strings.HasPrefix(pair, "SELF_HEAL_") || strings.HasPrefix(pair, "GRACE_")
	})
}

// pid of the running process.
func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cmd.Process.Pid
}

// stop ends the process: politely, then with its whole group.
func (c *child) stop() {
	c.mu.Lock()
	c.ending = true
	pid := c.cmd.Process.Pid
	c.mu.Unlock()
	_ = syscall.Kill(pid, syscall.SIGTERM) // it may have ended
	select {
	case <-c.ended:
	case <-time.After(stopTime):
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		<-c.ended
	}
}

// ready waits until GRACE serves.
func (c *child) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		select {
		case <-c.ended:
			return c.err
		default:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
		if err != nil {
			return fmt.Errorf("ask whether GRACE is ready: %w", err)
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if !pause(ctx, lookEvery) {
			return fmt.Errorf("GRACE was not ready in %s: %s", cli.Short(readyTime), tailOf(c.log))
		}
	}
}

// tailOf gives the end of a log, for an error that says what happened.
func tailOf(path string) string {
	const most = 800
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-most):])
}
