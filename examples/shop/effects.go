package shop

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// idempotencyHeader names a request so that it can be sent again.
const idempotencyHeader = "Idempotency-Key"

// maxBody bounds a control request.
const maxBody = 64 << 10

// Effect is what became of one idempotency key.
type Effect struct {
	Key    string    `json:"key"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Times  int       `json:"times"`  // how often it came
	Effect bool      `json:"effect"` // whether anything was changed by it
	Status int       `json:"status"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

// change is what a control request did.
type change struct {
	status int
	body   any
	effect bool
}

// effects remembers the answers by key.
type effects struct {
	mu    sync.Mutex
	byKey map[string]*remembered
}

type remembered struct {
	Effect
	request []byte
	answer  []byte
	done    chan struct{} // closed when the answer is there
}

// once wraps a control request: with a key it is done once.
func (e *effects) once(do func(*http.Request) change) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
		if err != nil {
			reply(w, http.StatusRequestEntityTooLarge, problem{err.Error()})
			return
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		key := req.Header.Get(idempotencyHeader)
		if key == "" {
			c := do(req)
			reply(w, c.status, c.body)
			return
		}
		m, isFirst := e.take(key, req, body)
		if isFirst {
			c := do(req)
			e.settle(m, c)
			reply(w, c.status, c.body)
			return
		}
		if m.Method != req.Method || m.Path != req.URL.Path || !bytes.Equal(m.request, body) {
			reply(w, http.StatusUnprocessableEntity, problem{"this " + idempotencyHeader + " was used for another request"})
			return
		}
		<-m.done
		w.Header().Set("Idempotency-Replayed", "true")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(m.Status)
		_, _ = w.Write(m.answer)
	}
}

// take finds a key or makes it. An earlier answer of 5xx is forgotten, so that
// a retry can act.
func (e *effects) take(key string, req *http.Request, body []byte) (m *remembered, isFirst bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now().UTC()
	m = e.byKey[key]
	if m != nil && m.Status < 500 {
		m.Times++
		m.Last = now
		return m, false
	}
	times, first := 1, now
	if m != nil {
		times, first = m.Times+1, m.First
	}
	m = &remembered{
		Effect:  Effect{Key: key, Method: req.Method, Path: req.URL.Path, Times: times, First: first, Last: now},
		request: body, done: make(chan struct{}),
	}
	if e.byKey == nil {
		e.byKey = map[string]*remembered{}
	}
	e.byKey[key] = m
	return m, true
}

func (e *effects) settle(m *remembered, c change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	// What reply writes, byte by byte.
	var answer bytes.Buffer
	_ = json.NewEncoder(&answer).Encode(c.body)
	m.Status, m.Effect.Effect, m.answer = c.status, c.effect, answer.Bytes()
	close(m.done)
}

// list gives every key in the order they first came.
func (e *effects) list() []Effect {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := []Effect{}
	for _, m := range e.byKey {
		out = append(out, m.Effect)
	}
	slices.SortFunc(out, func(a, b Effect) int {
		if c := a.First.Compare(b.First); c != 0 {
			return c
		}
		return strings.Compare(a.Key, b.Key)
	})
	return out
}
