package api

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"grace/internal/event"
	"grace/internal/patience"

	"grace"
)

// follow opens the stream on a real connection and gives its lines.
func (e *env) follow(path string, header ...string) (lines <-chan string, stop func()) {
	e.t.Helper()
	srv := httptest.NewUnstartedServer(e.handler)
	srv.Config.ReadTimeout = streamReadTimeout
	srv.Start()
	ctx, cancel := context.WithCancel(e.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+e.tokens["viewer"])
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || ct != "text/event-stream" {
		e.t.Fatalf("status %d, %s", resp.StatusCode, ct)
	}
	out := make(chan string, 1000)
	go func() {
		defer close(out)
		for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
			out <- sc.Text()
		}
	}()
	return out, func() { cancel(); _ = resp.Body.Close(); srv.Close() }
}

// await reads lines until one begins with want, and gives those that did not.
func await(t *testing.T, lines <-chan string, want string) (before []string) {
	t.Helper()
	ctx, cancel := patience.Context(t)
	defer cancel()
	for {
		select {
		case line, open := <-lines:
			if !open {
				t.Fatalf("the stream ended before %q", want)
			}
			if strings.HasPrefix(line, want) {
				return before
			}
			before = append(before, line)
		case <-ctx.Done():
			t.Fatalf("no %q", want)
		}
	}
}

func (e *env) emit(types ...string) {
	e.t.Helper()
	var events []grace.Event
	for _, typ := range types {
		events = append(events, grace.Event{Type: typ, Source: "test", Timestamp: testNow})
	}
	before, err := e.store.LastEventID(e.t.Context(), e.store.Q())
	if err != nil {
		e.t.Fatal(err)
	}
	e.apply(event.Given{Outbox: events})
	stored, err := e.store.Events(e.t.Context(), e.store.Q(), before, nil, 100)
	if err != nil {
		e.t.Fatal(err)
	}
	e.bus.Publish(stored...)
}

func TestStreamResumesAndGoesOn(t *testing.T) {
	e := newEnv(t)
	e.emit("self_heal.a", "other.b", "self_heal.c")
	lines, stop := e.follow("/api/events/stream?types=self_heal.*", "Last-Event-ID", "1")
	defer stop()
	for _, line := range await(t, lines, "id: 3") {
		if strings.HasPrefix(line, "id:") {
			t.Errorf("sent again, or not asked for: %s", line)
		}
	}
	await(t, lines, `data: {"id":3,"event_type":"self_heal.c"`)
	await(t, lines, ": alive")
	e.emit("other.d", "self_heal.e")
	for _, line := range await(t, lines, "id: 5") {
		if strings.HasPrefix(line, "id:") {
			t.Errorf("not asked for: %s", line)
		}
	}
}

// streamReadTimeout is the server's time for reading a request in these tests.
const streamReadTimeout = 50 * time.Millisecond

// The time a server gives for reading a request must not end a stream.
func TestStreamOutlivesTheReadTimeout(t *testing.T) {
	e := newEnv(t)
	lines, stop := e.follow("/api/events/stream")
	defer stop()
	for range 20 { // at 20 ms each, well beyond it
		await(t, lines, ": alive")
	}
}

func TestStreamStartsNow(t *testing.T) {
	e := newEnv(t)
	e.emit("a.old")
	lines, stop := e.follow("/api/events/stream")
	defer stop()
	await(t, lines, ": alive")
	e.emit("a.new")
	for _, line := range await(t, lines, "id: 2") {
		if strings.HasPrefix(line, "id:") {
			t.Errorf("an old event came: %s", line)
		}
	}
}

// An id from a store that was lost must not mute the stream.
func TestStreamWithAnIDFromTheFuture(t *testing.T) {
	e := newEnv(t)
	e.emit("a.old")
	lines, stop := e.follow("/api/events/stream?after=9000")
	defer stop()
	await(t, lines, ": alive")
	e.emit("a.new")
	await(t, lines, "id: 2")
}

func TestStreamNeedsTheStore(t *testing.T) {
	e := newEnv(t)
	problemOf(t, e.call("", "GET", "/api/events/stream", ""), http.StatusUnauthorized)
	e.store.Close()
	problemOf(t, e.call("viewer", "GET", "/api/events/stream", ""), http.StatusServiceUnavailable)
}

// A client that falls behind the bus is brought back to the store: it gets
// every event once and in order.
func TestStreamCatchesUpAfterLagging(t *testing.T) {
	e := newEnv(t)
	lines, stop := e.follow("/api/events/stream")
	defer stop()
	await(t, lines, ": alive")
	const batches = 8
	var events []grace.Event
	for range batches * streamBuffer {
		events = append(events, grace.Event{Type: "a.b", Source: "test", Timestamp: testNow})
	}
	e.apply(event.Given{Outbox: events})
	for i := range events {
		events[i].ID = int64(i + 1)
	}
	e.bus.Publish(events...) // far more than a subscription holds, at once
	want := int64(1)
	ctx, cancel := patience.Context(t)
	defer cancel()
	for want <= int64(len(events)) {
		select {
		case line, open := <-lines:
			if !open {
				t.Fatal("the stream ended")
			}
			if id, isID := strings.CutPrefix(line, "id: "); isID {
				if atoi(id) != int(want) {
					t.Fatalf("id %s, want %d", id, want)
				}
				want++
			}
		case <-ctx.Done():
			t.Fatalf("stuck before event %d", want)
		}
	}
}
