package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a receiver that runs.
type process struct {
	cmd *exec.Cmd
	url string // that requests are written to
	dir string
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-ended
	}
	_ = os.RemoveAll(p.dir)
}

// ticks of the kernel's clock in a second; it has been 100 on every Linux.
const ticks = 100

// cpu is the user and system time of a process so far.
func (p *process) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("read the processor time: %w", err)
	}
	// The name of the program may hold anything, up to the last bracket.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("read the processor time: /proc/PID/stat is short")
	}
	var sum int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the processor time: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

// memory is what is resident, in bytes.
func (p *process) memory() int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[1], 10, 64)
	return n * int64(os.Getpagesize())
}

// startGrace runs this program again, as the receiver.
func startGrace(evaluation int) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "serve", strconv.Itoa(evaluation))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start GRACE's receiver: %w", err)
	}
	p := &process{cmd: cmd}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("start GRACE's receiver: %w", err)
	}
	p.url = "http://" + strings.TrimSpace(line) + "/api/v1/write"
	return p, nil
}

// startPrometheus runs one that has nothing to scrape.
func startPrometheus(ctx context.Context, program string) (*process, error) {
	dir, err := os.MkdirTemp("", "ingest")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {scrape_interval: 15s}\n"), 0o600); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(
		program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--web.enable-remote-write-receiver", "--log.level=error",
	)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("start Prometheus (install it with: apt-get install prometheus): %w", err)
	}
	p := &process{cmd: cmd, url: "http://" + addr + "/api/v1/write", dir: dir}
	for range 600 {
		if resp, err := http.Get("http://" + addr + "/-/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return p, nil
			}
		}
		select {
		case <-ctx.Done():
			p.stop()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	p.stop()
	return nil, errors.New("start Prometheus: it is not ready after 30 s")
}

// tookGrace gives how many samples were taken so far: a receiver that drops
// them is fast.
func tookGrace(p *process) (float64, error) {
	return counter(strings.Replace(p.url, "/api/v1/write", "/stats", 1), "taken ")
}

// tookPrometheus asks for its own count.
func tookPrometheus(p *process) (float64, error) {
	return counter(strings.Replace(p.url, "/api/v1/write", "/metrics", 1), `prometheus_tsdb_head_samples_appended_total{type="float"} `)
}

func counter(page, name string) (float64, error) {
	resp, err := http.Get(page)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(data), "\n"+name)
	if !found {
		return 0, fmt.Errorf("%s does not say %q", page, name)
	}
	number, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseFloat(number, 64)
}
