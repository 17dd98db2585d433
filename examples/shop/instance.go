package shop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	startPatience = 10 * time.Second // for a process to come up
	drainPatience = 2 * time.Second  // for its last requests
	pollPatience  = 5 * time.Second
	// missedPolls in a row take a replica that still runs out of the balancer.
	missedPolls = 3
)

// spawner starts all children on one thread that lives as long as the
// platform: on Linux a child is killed when the thread that started it ends,
// and the Go runtime ends threads as it likes.
type spawner struct {
	command []string // this binary, up to the subcommand
	log     io.Writer
	jobs    chan func()
}

func newSpawner(command []string, log io.Writer) *spawner {
	s := &spawner{command: command, log: log, jobs: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// process is a child of the platform.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
	exited chan struct{}
}

// start runs a subcommand and gives it its settings.
func (s *spawner) start(subcommand string, settings any) (*process, error) {
	line, err := json.Marshal(settings)
	if err != nil {
		return nil, fmt.Errorf("encode settings of %s: %w", subcommand, err)
	}
	args := append(append([]string{}, s.command[1:]...), subcommand)
	cmd := exec.Command(s.command[0], args...)
	cmd.Stderr = s.log
	dieWithParent(cmd)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", subcommand, err)
	}
	out, in := io.Pipe()
	cmd.Stdout = in
	started := make(chan error)
	s.jobs <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", subcommand, err)
	}
	p := &process{cmd: cmd, stdin: stdin, stdout: bufio.NewReader(out), exited: make(chan struct{})}
	go func() {
		// How it ended does not matter: whoever waits for exited knows why, or
		// it is a crash, which is to be seen and not to be mended here.
		_ = cmd.Wait()
		_ = in.Close()
		close(p.exited)
	}()
	if _, err := stdin.Write(append(line, '\n')); err != nil {
		p.kill()
		return nil, fmt.Errorf("give %s its settings: %w", subcommand, err)
	}
	return p, nil
}

// stop ends the process: kindly, then not.
func (p *process) stop() {
	_ = p.stdin.Close()
	select {
	case <-p.exited:
	case <-time.After(drainPatience):
		p.kill()
	}
}

// kill is kill -9, and waits until the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// instance is a replica as the platform sees it.
type instance struct {
	*process
	id       string
	base     string
	proxy    *httputil.ReverseProxy
	inFlight atomic.Int64
	missed   atomic.Int64
	last     atomic.Pointer[report]
}

// launch starts a replica and waits until it answers.
func (p *platform) launch(ctx context.Context, s *service, id string) (*instance, error) {
	settings := replicaSettings{Service: s.spec.name, ID: id, Peers: p.peers(s.spec), State: s.desired()}
	proc, err := p.spawner.start("service", settings)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	inst, err := p.greet(ctx, proc, id, settings.State)
	if err == nil && s.spec.name == Cache && !settings.State.Cold {
		// A new replica of the cache starts warm where it can; without store it
		// fills as it is asked.
		if items, err := p.dump(ctx); err == nil {
			_, _ = request(ctx, p.client, http.MethodPut, inst.base+"/admin/cache", warmRequest{TTL: fillTTL, Items: items}, nil)
		}
	}
	if err != nil {
		proc.kill()
		return nil, fmt.Errorf("start %s: %w", id, err)
	}
	return inst, nil
}

// greet reads a new process's address and asks it for its first report.
func (p *platform) greet(ctx context.Context, proc *process, id string, state replicaState) (*instance, error) {
	stop := context.AfterFunc(ctx, func() { _ = proc.cmd.Process.Kill() })
	defer stop()
	line, err := proc.stdout.ReadBytes('\n')
	if err != nil {
		return nil, errors.New("it ended before it listened; see the log")
	}
	go func() { _, _ = io.Copy(p.log, proc.stdout) }()
	var h hello
	if err := json.Unmarshal(line, &h); err != nil {
		return nil, fmt.Errorf("read its address: %w", err)
	}
	target := &url.URL{Scheme: "http", Host: h.Addr}
	inst := &instance{process: proc, id: id, base: target.String()}
	inst.proxy = &httputil.ReverseProxy{
		Transport:    p.transport,
		ErrorHandler: proxyError,
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}
	return inst, inst.poll(ctx, p.client, state)
}

// poll tells a replica what it is to be and hears how it is.
func (i *instance) poll(ctx context.Context, client *http.Client, state replicaState) error {
	ctx, cancel := context.WithTimeout(ctx, pollPatience)
	defer cancel()
	var r report
	if _, err := request(ctx, client, http.MethodPut, i.base+"/admin/state", state, &r); err != nil {
		i.missed.Add(1)
		return fmt.Errorf("poll %s: %w", i.id, err)
	}
	i.missed.Store(0)
	i.last.Store(&r)
	return nil
}

func (i *instance) serving() bool { return i.running() && i.missed.Load() < missedPolls }

// retire lets a replica, already out of the balancer, end its requests.
func (i *instance) retire() {
	deadline := time.Now().Add(drainPatience)
	for i.inFlight.Load() > 0 && i.running() && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	i.stop()
}

// proxyError answers for a replica that could not.
func proxyError(w http.ResponseWriter, req *http.Request, err error) {
	if req.Context().Err() != nil {
		reply(w, statusGone, problem{"the caller gave up"})
		return
	}
	reply(w, http.StatusBadGateway, problem{"the instance did not answer: " + err.Error()})
}
