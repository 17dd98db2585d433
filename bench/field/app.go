package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// app is the small app that is healed: it serves, leaks connections, flaps and
// crashes when it is told to. A restart ends the leak, but neither flapping nor a
// crash loop: what makes it do so is elsewhere.
type app struct {
	redis string
	files string // beginning of the names of two files: it flaps and crashes until the times in them, in ms
	mu    sync.Mutex
	conns []net.Conn
}

// flapEvery is how long a flapping app fails, and then serves.
const flapEvery = 2500 * time.Millisecond

// crashAfter is how long an app serves in a crash loop.
const crashAfter = 3 * time.Second

// serveApp is the process of an app.
func serveApp(listen, redis, files string) error {
	a := &app{redis: redis, files: files}
	if time.Now().UnixMilli() < a.until("crash") {
		time.AfterFunc(crashAfter, func() { os.Exit(1) })
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if now := time.Now(); now.UnixMilli() < a.until("flap") && now.UnixMilli()/flapEvery.Milliseconds()%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/flap", func(_ http.ResponseWriter, r *http.Request) { a.from(r, "flap") })
	mux.HandleFunc("/crash", func(_ http.ResponseWriter, r *http.Request) {
		a.from(r, "crash")
		time.AfterFunc(100*time.Millisecond, func() { os.Exit(1) }) // once this is answered
	})
	mux.HandleFunc("/leak", func(http.ResponseWriter, *http.Request) { a.leak(60) })
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		_, _ = fmt.Fprintf(w, "# TYPE open_connections gauge\nopen_connections %d\n", len(a.conns))
	})
	server := &http.Server{Addr: listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	if err := server.ListenAndServe(); err != nil {
		return fmt.Errorf("serve the app: %w", err)
	}
	return nil
}

// from begins what is to last for as long as a request says.
func (a *app) from(r *http.Request, what string) {
	d, err := time.ParseDuration(r.FormValue("for"))
	if err == nil {
		err = os.WriteFile(a.files+"."+what, strconv.AppendInt(nil, time.Now().Add(d).UnixMilli(), 10), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, what, "does not begin:", err) // the campaign misses it
	}
}

func (a *app) until(what string) int64 {
	text, err := os.ReadFile(a.files + "." + what)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (a *app) leak(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range n {
		if c, err := net.DialTimeout("tcp", a.redis, time.Second); err == nil {
			a.conns = append(a.conns, c)
		}
	}
}

const lookTimeout = 1200 * time.Millisecond

// lookPing asks a Redis for an answer.
func lookPing(address string) error {
	c, err := net.DialTimeout("tcp", address, lookTimeout)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(lookTimeout)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 16)
	n, err := c.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "+PONG") {
		return fmt.Errorf("answered %q: %w", answer[:n], err)
	}
	return nil
}

// lookOrders does what users of the database do.
func lookOrders(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*lookTimeout)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }()
	_, err = c.Exec(ctx, "SET lock_timeout = '400ms'; UPDATE orders SET n = n + 1")
	return err
}

// spoolLimit is how much the folder holds: a file system without the root that
// a small one would take.
const spoolLimit = 4 << 20

// lookSpool tells whether the folder has room.
func lookSpool(dir string) error {
	var used int64
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			used += info.Size()
		}
	}
	if used >= spoolLimit {
		return fmt.Errorf("%s holds %d bytes, its limit is %d", filepath.Base(dir), used, spoolLimit)
	}
	return nil
}

func lookHTTP(url string) error {
	client := &http.Client{
		Timeout: lookTimeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
