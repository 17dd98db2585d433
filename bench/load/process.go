package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// probed is what the sensors look at: it is always well.
type probed struct {
	url    string
	server *http.Server
	hits   atomic.Int64
}

func newProbed() *probed {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // before anything could be cancelled
	if err != nil {
		panic(err) // no loopback: nothing can be measured
	}
	p := &probed{url: "http://" + l.Addr().String()}
	p.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.hits.Add(1)
		w.WriteHeader(http.StatusOK)
	})}
	go p.server.Serve(l) //nolint:errcheck // ends with close
	return p
}

func (p *probed) count() int64 { return p.hits.Load() }

func (p *probed) close() { _ = p.server.Close() }

// process is the GRACE that is measured.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	base   string
	token  string
	client *http.Client // with the pages' session
}

// start starts GRACE and waits until it is ready.
func start(ctx context.Context, o options) (*process, error) {
	listen, err := free()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(configFile(o))
	if err != nil {
		return nil, err
	}
	text = bytes.Replace(text, []byte("127.0.0.1:0"), []byte(listen), 1)
	if err := os.WriteFile(configFile(o), text, 0o600); err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, o.grace, "serve", "--config", configFile(o)), exited: make(chan struct{}), base: "http://" + listen}
	p.client = &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	p.cmd.Env = append(os.Environ(), databaseVariable+"="+o.database)
	p.cmd.Stdout, p.cmd.Stderr = io.Discard, os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s (make build makes it): %w", o.grace, err)
	}
	go func() { defer close(p.exited); _ = p.cmd.Wait() }()
	for deadline := time.Now().Add(30 * time.Second); ; {
		if status, _, err := p.get(ctx, "/readyz"); err == nil && status == http.StatusOK {
			break
		}
		select {
		case <-p.exited:
			return nil, errors.New("grace ended at once; see above")
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.kill()
			return nil, errors.New("grace is not ready after 30 s")
		}
	}
	token, err := os.ReadFile(filepath.Join(dataDir(o), "cli.token"))
	if err != nil {
		p.kill()
		return nil, err
	}
	p.token = strings.TrimSpace(string(token))
	return p, nil
}

func free() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// login begins a session of the pages.
func (p *process) login(ctx context.Context) error {
	form := url.Values{"token": {p.token}, "next": {"lite"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+"/lite/login", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasSuffix(resp.Request.URL.Path, "/lite") {
		return fmt.Errorf("login: %s at %s", resp.Status, resp.Request.URL.Path)
	}
	return nil
}

func (p *process) get(ctx context.Context, path string) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+path, nil)
	if err != nil {
		return 0, nil, err
	}
	if !strings.HasPrefix(path, "/lite") {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// read gets a JSON answer.
func (p *process) read(ctx context.Context, path string, into any) error {
	status, answer, err := p.get(ctx, path)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("GET %s: %d %s", path, status, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}

// use is what the process has used.
type use struct {
	CPUSeconds float64 `json:"cpu_seconds"`
	RSSMB      float64 `json:"rss_mb"`
	PeakMB     float64 `json:"peak_mb"`
}

func (u use) since(before use) use {
	u.CPUSeconds -= before.CPUSeconds
	return u
}

// use reads /proc; elsewhere it is zero.
func (p *process) use() use {
	var u use
	dir := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	if stat, err := os.ReadFile(dir + "stat"); err == nil {
		_, rest, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(rest); len(fields) > 12 {
			const ticks = 100 // a second, on every Linux that Go runs on
			user, _ := strconv.ParseFloat(fields[11], 64)
			system, _ := strconv.ParseFloat(fields[12], 64)
			u.CPUSeconds = (user + system) / ticks
		}
	}
	if status, err := os.ReadFile(dir + "status"); err == nil {
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(line, ":")
			kb, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			switch name {
			case "VmRSS":
				u.RSSMB = kb / 1024
			case "VmHWM":
				u.PeakMB = kb / 1024
			}
		}
	}
	return u
}
