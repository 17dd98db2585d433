package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// unit is a process that is started, and started again.
type unit struct {
	name string
	dir  string
	argv []string
	env  []string // on top of the campaign's own
	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

func (u *unit) start() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(u.dir, u.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", u.name, err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	cmd := exec.Command(u.argv[0], u.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = u.dir, log, log
	cmd.Env = append(os.Environ(), u.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", u.name, err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(done)
	}()
	u.cmd, u.done = cmd, done
	return nil
}

// signal sends one to the process alone; group: and to its children.
func (u *unit) signal(s syscall.Signal, group bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.cmd == nil {
		return
	}
	select {
	case <-u.done:
		return // its id may be another's by now
	default:
	}
	pid := u.cmd.Process.Pid
	if group {
		pid = -pid
	}
	_ = syscall.Kill(pid, s) // it may have ended
}

func (u *unit) stop(s syscall.Signal) {
	u.mu.Lock()
	done := u.done
	u.mu.Unlock()
	if done == nil {
		return
	}
	u.signal(s, s == syscall.SIGKILL)
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		u.signal(syscall.SIGKILL, true)
		<-done
	}
}

// control is what GRACE's actions ask to start and end processes: the machine's
// supervisor. It remembers what it was asked for.
type control struct {
	*stack
	mu    sync.Mutex
	calls []call
	// wellFor tells how long a service has been well, 0 when it is not.
	wellFor func(string) time.Duration
}

// call is one action that GRACE took.
type call struct {
	at      time.Time
	service string
	verb    string
	well    time.Duration // how long it had been, by the campaign's own looks
	hushed  bool          // its alert was silenced at its source
}

// ServeHTTP does VERB on SERVICE: POST /VERB/SERVICE.
func (c *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	verb, service := r.PathValue("verb"), r.PathValue("service")
	if verb == "well" { // verification asks for a look
		if err := c.look(service); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
		return
	}
	c.mu.Lock()
	c.calls = append(c.calls, call{time.Now(), service, verb, c.wellFor(service), c.hushed.has(service)})
	c.mu.Unlock()
	if err := c.do(verb, service); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (c *control) do(verb, service string) error {
	switch verb {
	case "restart":
		u := c.units[service]
		if u == nil {
			return fmt.Errorf("no unit %q", service)
		}
		u.stop(syscall.SIGKILL)
		return u.start()
	case "clean":
		return c.clean()
	case "unlock":
		return c.unlock()
	}
	return errors.New("unknown verb " + verb)
}

func (c *control) since(t time.Time, service string) []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []call
	for _, one := range c.calls {
		if !one.at.Before(t) && one.service == service {
			out = append(out, one)
		}
	}
	return out
}
