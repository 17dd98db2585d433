package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"grace"
	"grace/internal/mesh"
)

type streamInput struct {
	Types       string `query:"types" doc:"exact types, prefix.* or *, separated by commas; default all" example:"self_heal.*"`
	LastEventID string `header:"Last-Event-ID" doc:"go on after this event; absent: from now on"`
	After       string `query:"after" doc:"the same as Last-Event-ID, for clients that cannot set headers"`
}

const (
	// streamBuffer is how many events a client may lag behind before the
	// stream goes back to reading them from the store.
	streamBuffer = 256
	streamBatch  = 200
	// streamWrite is how long a client may take to accept one event.
	streamWrite = 10 * time.Second
	// streamRetry is what a client is told to wait before it comes back.
	streamRetry = 2 * time.Second
)

func (s *server) registerStream(api huma.API) {
	handle(s, api, op{
		method: http.MethodGet, path: "/api/events/stream", id: "stream-events", tag: "Events", role: roleViewer,
		doc: "Events as they happen (server-sent events); resumes after Last-Event-ID without a gap", what: "the stream",
		errors: []int{http.StatusBadRequest}, meta: map[string]any{metaStream: true},
		edit: func(o *huma.Operation) {
			o.Responses = map[string]*huma.Response{"200": {
				Description: "Messages with an id and, as data, an event",
				Content: map[string]*huma.MediaType{"text/event-stream": {
					Schema: api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[grace.Event](), true, ""),
				}},
			}}
		},
	}, s.stream)
}

// stream answers 400 and 503 as problems; once it has begun, a fault ends it
// and the client comes back with the last id it saw.
func (s *server) stream(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
	patterns := splitTypes(in.Types)
	after, err := s.streamStart(ctx, in)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, w := humago.Unwrap(hctx)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no")
		w.WriteHeader(http.StatusOK)
		out := &eventWriter{w: w, rc: http.NewResponseController(w), last: after, log: s.log}
		// The server's time for reading a request has nothing to say about how
		// long a stream lasts. (A test's recorder has no deadlines.)
		_ = out.rc.SetReadDeadline(time.Time{})
		if err := s.pump(hctx.Context(), out, patterns); err != nil && hctx.Context().Err() == nil {
			s.log.WarnContext(hctx.Context(), "event stream ended", "error", err, "request_id", callerOf(hctx.Context()).Request)
		}
	}}, nil
}

func splitTypes(types string) []string {
	var out []string
	for t := range strings.SplitSeq(types, ",") {
		if t = strings.TrimSpace(t); t != "" {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return []string{"*"}
	}
	return out
}

// from reads after which event the stream goes on; given is false when it is to
// begin now.
func (in *streamInput) from() (after int64, given bool, err error) {
	from := in.LastEventID
	if from == "" {
		from = in.After
	}
	if from == "" {
		return 0, false, nil
	}
	after, err = strconv.ParseInt(from, 10, 64)
	if err != nil || after < 0 {
		return 0, false, problem(http.StatusBadRequest, "Last-Event-ID %q is not an event's id", cut(from)).hint("send the id of the last event that was received, or none")
	}
	return after, true, nil
}

func (s *server) streamStart(ctx context.Context, in *streamInput) (int64, error) {
	after, given, err := in.from()
	if err != nil {
		return 0, err
	}
	last, err := s.store.LastEventID(ctx, s.store.Q())
	if err != nil {
		return 0, stored(err)
	}
	if !given {
		return last, nil
	}
	// An id from another store's life would mute the stream until it is reached.
	return min(after, last), nil
}

// pump sends what the store holds, then what the bus brings. It subscribes
// before it reads, so nothing falls between; what comes twice is dropped by
// its id. A client too slow for the bus is brought back to the store.
func (s *server) pump(ctx context.Context, out *eventWriter, patterns []string) error {
	if err := out.comment(fmt.Sprintf("retry in %s", streamRetry)); err != nil {
		return err
	}
	for {
		sub := s.bus.Subscribe(streamBuffer, patterns...)
		err := s.catchUp(ctx, out, patterns)
		if err == nil {
			err = s.follow(ctx, out, sub)
		}
		lagged := sub.Lagged()
		sub.Close()
		if err != nil || !lagged {
			return err
		}
	}
}

func (s *server) catchUp(ctx context.Context, out *eventWriter, patterns []string) error {
	for {
		events, err := s.store.Events(ctx, s.store.Q(), out.last, patterns, streamBatch)
		if err != nil {
			return fmt.Errorf("read events after %d: %w", out.last, err)
		}
		for _, e := range events {
			if err := out.event(e); err != nil {
				return err
			}
		}
		if len(events) < streamBatch {
			return nil
		}
	}
}

// follow sends live events until the subscription or the request ends.
func (s *server) follow(ctx context.Context, out *eventWriter, sub *mesh.Subscription) error {
	beat := time.NewTicker(s.cfg.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			if err := s.stillAdmitted(ctx); err != nil {
				return err
			}
			if err := out.comment("alive"); err != nil {
				return err
			}
		case e, open := <-sub.C():
			if !open {
				return nil
			}
			if err := out.event(e); err != nil {
				return err
			}
		}
	}
}

// stillAdmitted ends a stream whose token was revoked, or has expired, since it
// began. While the store is away the stream goes on.
func (s *server) stillAdmitted(ctx context.Context) error {
	p := s.admitHash(ctx, callerOf(ctx).hash, roleViewer)
	if p != nil && (p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden) {
		return errors.New("its token is no longer valid")
	}
	return nil
}

// eventWriter writes server-sent events and remembers the last id.
type eventWriter struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	last int64
	log  *slog.Logger
}

func (o *eventWriter) comment(text string) error {
	return o.send(fmt.Appendf(nil, "retry: %d\n: %s\n\n", streamRetry.Milliseconds(), text))
}

func (o *eventWriter) event(e grace.Event) error {
	if e.ID <= o.last {
		return nil
	}
	o.last = e.ID
	data, err := json.Marshal(e)
	if err != nil {
		// It would end this stream, and every one that resumes before it.
		o.log.Error("an event cannot be written and is left out", "event", e.ID, "type", e.Type, "error", err)
		return nil
	}
	return o.send(fmt.Appendf(nil, "id: %d\ndata: %s\n\n", e.ID, data))
}

func (o *eventWriter) send(frame []byte) error {
	// A connection that cannot have a deadline (a test's recorder) has no peer
	// that could stall it either.
	_ = o.rc.SetWriteDeadline(time.Now().Add(streamWrite))
	if _, err := o.w.Write(frame); err != nil {
		return err
	}
	return o.rc.Flush()
}
