package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"grace/examples/shop"
)

// proxy stands between a healer and the platform's control and records what
// the healer does to the fault that is on.
type proxy struct {
	faults func(context.Context) ([]shop.Fault, error) // all there were, by the platform
	server *http.Server

	mu      sync.Mutex
	fault   *shop.Fault // nil before the first
	over    time.Time   // since when it is cured or relieved; zero while it is not
	actions []action
	total   int // actions carried out since the start, with a fault or without
}

// maxControl bounds a control request.
const maxControl = 64 << 10

func openProxy(platform, addr string, faults func(context.Context) ([]shop.Fault, error)) (*proxy, error) {
	target, err := url.Parse(platform)
	if err != nil {
		return nil, fmt.Errorf("parse the platform's address: %w", err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for control requests: %w", err)
	}
	p := &proxy{faults: faults}
	p.server = &http.Server{Handler: p.record(httputil.NewSingleHostReverseProxy(target)), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = p.server.Serve(ln) }() // ends with close
	return p, nil
}

func (p *proxy) close() { _ = p.server.Close() }

// begin sets the fault that actions are held against from now on.
func (p *proxy) begin(f shop.Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.over, p.actions = &f, time.Time{}, nil
}

// state gives since when the fault is over (zero if it is not) and what was
// done.
func (p *proxy) state() (over time.Time, actions []action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over, append([]action{}, p.actions...)
}

// done counts all actions that the platform carried out.
func (p *proxy) done() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// status keeps what the platform answered.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (p *proxy) record(next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		service, does, ok := strings.Cut(strings.TrimPrefix(req.URL.Path, "/services/"), "/")
		if req.Method != http.MethodPost || !ok {
			next.ServeHTTP(w, req)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxControl))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		a := action{At: time.Now().UTC(), Service: service, Does: does, Body: string(body)}
		out := &status{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(out, req)
		a.Status = out.code
		if a.Status/100 == 2 && w.Header().Get("Idempotency-Replayed") == "true" {
			return // the platform did nothing
		}
		p.settle(context.WithoutCancel(req.Context()), a)
	}
}

// settle asks the platform what the action did to the fault.
func (p *proxy) settle(ctx context.Context, a action) {
	all, err := p.faults(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.done() {
		p.total++
	}
	if p.fault == nil {
		p.actions = append(p.actions, a)
		return
	}
	a.AfterS = a.At.Sub(p.fault.Since).Seconds()
	if err != nil {
		a.Why = "the platform did not say: " + err.Error()
		p.actions = append(p.actions, a)
		return
	}
	before := p.over
	for _, f := range all {
		if f.ID == p.fault.ID {
			p.over = overSince(f, before, time.Now().UTC())
		}
	}
	a.Right, a.Why = verdict(a, p.fault.Service, before, p.over)
	p.actions = append(p.actions, a)
}

// overSince gives when the fault was over, or zero. A relief has no time of its
// own: it is when it was first seen.
func overSince(f shop.Fault, before, now time.Time) time.Time {
	switch {
	case f.CuredAt != nil:
		return *f.CuredAt
	case f.Relieved && !before.IsZero():
		return before
	case f.Relieved:
		return now
	}
	return time.Time{}
}

// verdict tells whether an action was right: the one by which the fault on its
// service was over.
func verdict(a action, faulty string, before, after time.Time) (right bool, why string) {
	switch {
	case !a.done():
		return false, "refused"
	case a.Service != faulty:
		return false, "not the faulty service"
	case after.IsZero():
		return false, "did not cure the fault"
	case !before.IsZero():
		return false, "the fault was over"
	}
	return true, ""
}
