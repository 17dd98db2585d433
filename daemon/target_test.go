package daemon_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"grace/internal/patience"
)

// target is a system to heal. Every path can be held (the request waits), cut
// (the effect is there, the answer waits) or made to fail; every request with
// an idempotency key is counted by it.
//
//	POST /do/NAME    has an effect       GET /do/NAME   200 when the effect is there
//	POST /undo/NAME  takes it away       GET /undo/NAME 200 when it is not
//	GET  /any/thing  200
type target struct {
	URL string

	mu      sync.Mutex
	effects map[string]bool  // by name
	calls   map[string]int   // by idempotency key
	order   []string         // keys in the order of their first call
	gates   map[string]*gate // by method and path
	fails   map[string]bool
	again   int // effects asked for that were there
}

// gate stops requests until it is opened.
type gate struct {
	after   bool // the effect happens first
	reached chan struct{}
	once    sync.Once
	open    chan struct{}
	gone    chan struct{} // closed when a held caller went away
	leave   sync.Once
}

func newTarget(t *testing.T) *target {
	t.Helper()
	g := &target{effects: map[string]bool{}, calls: map[string]int{}, gates: map[string]*gate{}, fails: map[string]bool{}}
	srv := httptest.NewServer(g)
	t.Cleanup(func() {
		g.release()
		srv.CloseClientConnections()
		srv.Close()
	})
	g.URL = srv.URL
	return g
}

// hold makes requests wait, before their effect or (after) with it.
func (g *target) hold(method, path string, after bool) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := &gate{after: after, reached: make(chan struct{}), open: make(chan struct{}), gone: make(chan struct{})}
	g.gates[method+" "+path] = h
	return h
}

// fail makes requests fail for good.
func (g *target) fail(method, path string, on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fails[method+" "+path] = on
}

// release opens every gate.
func (g *target) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, h := range g.gates {
		close(h.open)
	}
	clear(g.gates)
}

// wait until a request is held.
func (h *gate) wait(t *testing.T, what string) {
	t.Helper()
	patience.Next(t, "call of "+what, h.reached)
}

func (h *gate) pass(r *http.Request) {
	h.once.Do(func() { close(h.reached) })
	select {
	case <-h.open:
	case <-r.Context().Done():
		h.leave.Do(func() { close(h.gone) })
	}
}

// deserted waits until the held caller is gone.
func (h *gate) deserted(t *testing.T, what string) {
	t.Helper()
	patience.Next(t, "end of the caller of "+what, h.gone)
}

// ServeHTTP meets http.Handler.
func (g *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	h := g.gates[r.Method+" "+r.URL.Path]
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		if g.calls[key] == 0 {
			g.order = append(g.order, key)
		}
		g.calls[key]++
	}
	g.mu.Unlock()
	if h != nil && !h.after {
		h.pass(r)
		if r.Context().Err() != nil {
			return // the caller is gone: nothing happened
		}
	}
	status := g.serve(r)
	if h != nil && h.after {
		h.pass(r)
	}
	w.WriteHeader(status)
	fmt.Fprintln(w, "{}")
}

func (g *target) serve(r *http.Request) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fails[r.Method+" "+r.URL.Path] {
		return http.StatusConflict
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/do/"); ok {
		if r.Method == http.MethodPost {
			if g.effects[name] {
				g.again++
			}
			g.effects[name] = true
		} else if !g.effects[name] {
			return http.StatusNotFound
		}
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/undo/"); ok {
		if r.Method == http.MethodPost {
			delete(g.effects, name)
		} else if g.effects[name] {
			return http.StatusConflict
		}
	}
	return http.StatusOK
}

// called tells how often an idempotency key was used.
func (g *target) called(key string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls[key]
}

// has tells whether an effect is there.
func (g *target) has(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.effects[name]
}

// repeated tells how often an effect was asked for that was there already.
func (g *target) repeated() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.again
}
