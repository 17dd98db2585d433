package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"grace/daemon"
)

// childConfig makes this program a daemon with that configuration.
const childConfig = "GRACE_CHAOS_CONFIG"

// serve is one daemon: it prints where it listens, and stops on SIGTERM.
func serve(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, problems := daemon.Load(path)
	if cfg == nil {
		return problems.Err()
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	d, err := daemon.New(cfg, daemon.WithConfigFile(path), daemon.WithLogger(log))
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-time.After(5 * time.Millisecond):
		}
		if healthy(d) {
			fmt.Println(d.Addr())
			return <-ended
		}
	}
}

// healthy tells whether a daemon's API answers.
func healthy(d *daemon.Daemon) bool {
	if d.Addr() == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.Addr().String()+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// replica is a place where a process lives, again and again.
type replica struct {
	name, dir, config string
	env               []string
	log               *os.File

	mu      sync.Mutex
	cmd     *exec.Cmd
	exited  chan struct{}
	base    string // of the API, "" while it does not answer
	stopped bool   // it was stopped for long, and may find its runs taken
}

func newReplica(dir, name, text string, env []string, logs string) (*replica, error) {
	r := &replica{name: name, dir: filepath.Join(dir, name), env: env}
	r.config = r.dir + ".yaml"
	text = "listen: 127.0.0.1:0\ndata_dir: " + r.dir + "\n" + text
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if logs == "" {
		logs = dir
	}
	var err error
	r.log, err = os.OpenFile(filepath.Join(logs, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return r, err
}

// start begins a process and waits for its API only as long as ctx lasts.
func (r *replica) start(ctx context.Context) error {
	cmd := exec.Command(os.Args[0]) //nolint:noctx // it is killed on purpose, not by a context
	cmd.Env = append(os.Environ(), append(r.env, childConfig+"="+r.config)...)
	cmd.Stderr = r.log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", r.name, err)
	}
	exited := make(chan struct{})
	r.mu.Lock()
	r.cmd, r.exited, r.base, r.stopped = cmd, exited, "", false
	r.mu.Unlock()
	address := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n') // empty when it ends before
		address <- strings.TrimSpace(line)
		_ = cmd.Wait()
		close(exited)
	}()
	select {
	case addr := <-address:
		if addr == "" {
			<-exited
			return errEnded
		}
		r.mu.Lock()
		r.base = "http://" + addr
		r.mu.Unlock()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errEnded = errors.New("the process ended before it served")

// signal is sent to the process that lives here now.
func (r *replica) signal(s syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.cmd.Process.Signal(s)
}

// kill is kill -9. It gives the process's id.
func (r *replica) kill() (pid int) {
	r.mu.Lock()
	cmd, exited := r.cmd, r.exited
	r.base = ""
	r.mu.Unlock()
	if cmd == nil {
		return 0
	}
	_ = cmd.Process.Kill()
	<-exited
	return cmd.Process.Pid
}

// address gives the API and the token, "" while there is none.
func (r *replica) address() (base, token string) {
	r.mu.Lock()
	base = r.base
	r.mu.Unlock()
	if base == "" {
		return "", ""
	}
	secret, err := os.ReadFile(filepath.Join(r.dir, "cli.token"))
	if err != nil {
		return "", ""
	}
	return base, strings.TrimSpace(string(secret))
}

// gone tells whether the process has ended by itself, and whether it had been
// stopped for long before.
func (r *replica) gone() (gone, stopped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.exited:
		return true, r.stopped
	default:
		return false, r.stopped
	}
}

// end stops the process in order.
func (r *replica) end() error {
	r.mu.Lock()
	cmd, exited := r.cmd, r.exited
	r.mu.Unlock()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(30 * time.Second):
		r.kill()
		return fmt.Errorf("%s does not stop on SIGTERM", r.name)
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s stopped with exit code %d", r.name, code)
	}
	return nil
}
