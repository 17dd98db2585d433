package main

import (
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// target is the system that is healed. It records and absorbs nothing: a call
// that comes again has its effect again.
//
//	POST /do/NAME has an effect, some time after the call came and before it is answered
//	GET  /do/NAME 200 when the effect is there
//	GET  /ok      200
type target struct {
	URL string
	srv *http.Server

	mu      sync.Mutex
	effects map[string]int // by idempotency key
	there   map[string]bool
}

// targetPause bounds the time before, and again after, an effect.
const targetPause = 40 * time.Millisecond

func newTarget() (*target, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &target{URL: "http://" + listener.Addr().String(), effects: map[string]int{}, there: map[string]bool{}}
	t.srv = &http.Server{Handler: t, ReadHeaderTimeout: time.Minute}
	go func() { _ = t.srv.Serve(listener) }() // until close
	return t, nil
}

func (t *target) close() { _ = t.srv.Close() }

// ServeHTTP meets http.Handler.
func (t *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, isStep := strings.CutPrefix(r.URL.Path, "/do/")
	switch {
	case !isStep:
	case r.Method == http.MethodPost:
		time.Sleep(rand.N(targetPause))
		t.mu.Lock()
		t.effects[r.Header.Get("Idempotency-Key")]++
		t.there[name] = true
		t.mu.Unlock()
		time.Sleep(rand.N(targetPause))
	default:
		t.mu.Lock()
		there := t.there[name]
		t.mu.Unlock()
		if !there {
			w.WriteHeader(http.StatusNotFound)
		}
	}
}

func (t *target) counts() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.effects)
}
