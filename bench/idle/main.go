// Command idle measures what GRACE costs while nothing happens (make idle): one process
// that watches services of one host, each by an HTTP probe and a page of metrics with an
// objective, every 10 s. It prints the seconds of processor time a minute and the memory
// in use, after a while to settle.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	grace := flag.String("grace", "bin/grace", "the binary that is measured")
	services := flag.Int("services", 50, "how many it watches")
	settle := flag.Duration("settle", 30*time.Second, "before it is measured")
	lasts := flag.Duration("for", time.Minute, "how long it is measured")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := idle(ctx, *grace, *services, *settle, *lasts)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "idle:", err)
		os.Exit(1)
	}
}

func idle(ctx context.Context, grace string, services int, settle, lasts time.Duration) error {
	host, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // before anything could be cancelled
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(page), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(host) //nolint:errcheck // ends with the process
	defer server.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return err
	}
	listen := free.Addr().String()
	_ = free.Close()
	dir, err := os.MkdirTemp("", "grace-idle-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "grace.yaml")
	if err := os.WriteFile(file, []byte(configuration(listen, dir, "http://"+host.Addr().String(), services)), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, grace, "serve", "--config", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s (make build makes it): %w", grace, err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	if err := wait(ctx, settle); err != nil {
		return err
	}
	resp, err := http.Get("http://" + listen + "/readyz") //nolint:noctx // it answers or is not there
	if err != nil || resp.StatusCode != http.StatusOK {
		return errors.Join(err, errors.New("grace is not ready"))
	}
	_ = resp.Body.Close()
	before, err := processor(cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := wait(ctx, lasts); err != nil {
		return err
	}
	after, err := processor(cmd.Process.Pid)
	if err != nil {
		return err
	}
	memory, err := resident(cmd.Process.Pid)
	if err != nil {
		return err
	}
	fmt.Printf("%d services: %.2f s of processor time a minute, %d MB\n", services, (after-before).Seconds()*float64(time.Minute)/float64(lasts), memory>>20)
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// page is that of any service: it is well, and has some series.
func page(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/metrics") {
		return
	}
	n := time.Now().Unix()
	_, _ = fmt.Fprintf(w, "# TYPE requests_total counter\nrequests_total %d\n# TYPE queue_depth gauge\nqueue_depth %d\n", 10*n, n%50)
}

func configuration(listen, dir, host string, services int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: %s\ndata_dir: %s\nlog: {level: error}\nservices:\n", listen, filepath.Join(dir, "data"))
	for i := range services {
		fmt.Fprintf(&b, "  - {name: s%d, criticality: low}\n", i)
	}
	b.WriteString("sensors:\n")
	for i := range services {
		fmt.Fprintf(&b, "  - {name: h%d, type: http, service: s%d, interval: 10s, url: %s/s%d}\n", i, i, host, i)
		fmt.Fprintf(&b, "  - {name: m%d, type: prometheus, service: s%d, interval: 10s, url: %s/s%d/metrics}\n", i, i, host, i)
	}
	b.WriteString("objectives:\n")
	for i := range services {
		fmt.Fprintf(&b, "  - {name: queue, service: s%d, expr: 'queue_depth{service=\"s%d\"} > 100', code: capacity}\n", i, i)
	}
	return b.String()
}

// processor gives the processor time that a process has had.
func processor(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, i := range []int{11, 12} { // utime, stime
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read /proc: %w", err)
		}
		ticks += n
	}
	const hertz = 100
	return time.Duration(ticks) * time.Second / hertz, nil
}

// resident gives the memory that a process has in use.
func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
