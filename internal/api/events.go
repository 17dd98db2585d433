package api

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"grace"
	"grace/internal/event"
)

// EventInput is an event as POST /api/events takes it: the mesh's shape.
type EventInput struct {
	Type      string          `json:"event_type" doc:"dotted; GRACE's own types (self_heal.*, incident.*) are not taken, self_heal.prediction excepted" example:"deploy.finished"`
	Source    string          `json:"source" doc:"what sends it" example:"ci"`
	Actor     string          `json:"actor,omitempty" doc:"on whose behalf; recorded as: token:NAME for ACTOR"`
	Resource  string          `json:"resource,omitempty" doc:"whom it is about" example:"checkout"`
	Payload   json.RawMessage `json:"payload,omitempty"`
	Timestamp *time.Time      `json:"timestamp,omitempty" doc:"default: when it arrives"`
}

// post is what POST /api/events was found to hold.
type post struct {
	events      []grace.Event
	samples     []grace.Sample
	predictions []grace.Prediction // ID is that of the entry of a ledger of GRACE's, if it comes from one
	shadow      int                // that nothing is to be done about: they are not taken
}

func (s *server) postEvents(ctx context.Context, in *rawInput) (*body[Accepted], error) {
	leave, err := s.admitIntake()
	if err != nil {
		return nil, err
	}
	defer leave()
	inputs, err := decodeBatch[EventInput](in.RawBody)
	if err != nil {
		return nil, err
	}
	var (
		bad  findings
		post post
	)
	for i, input := range inputs {
		s.readEvent(ctx, input, place(i, len(inputs)), &post, &bad)
	}
	if err := bad.problem("no event was taken"); err != nil {
		return nil, err
	}
	if err := s.report(ctx, post.samples, post.predictions); err != nil {
		return nil, err
	}
	taken, err := s.withoutEchoes(ctx, post.predictions)
	if err != nil {
		return nil, err
	}
	if err := s.core.Post(ctx, post.events, post.samples, taken); err != nil {
		return nil, err
	}
	return ok(Accepted{Accepted: len(inputs), Ignored: post.shadow + len(post.predictions) - len(taken)})
}

func (s *server) readEvent(ctx context.Context, in EventInput, at string, post *post, bad *findings) {
	now := s.now()
	name(bad, at+".event_type", in.Type, "a dotted name, for example deploy.finished")
	name(bad, at+".source", in.Source, "what sends the event")
	optional(bad, at+".resource", in.Resource, maxName)
	payload(bad, at+".payload", in.Payload)
	actorName(bad, at+".actor", in.Actor)
	// incident.* goes to people by the webhook, on GRACE's word.
	own := in.Type == "self_heal" || strings.HasPrefix(in.Type, "self_heal.") || strings.HasPrefix(in.Type, "incident.")
	if own && in.Type != event.TypePrediction {
		bad.add(at+".event_type", in.Type, "choose another type; of GRACE's own only "+event.TypePrediction+" is taken", "only GRACE itself says this")
	}
	if (in.Type == event.TypeSignal || in.Type == event.TypePrediction) && s.cfg.Reserved(in.Source) {
		bad.add(at+".source", in.Source, "name the source after what sends the event", "a sensor of GRACE has this name: others cannot speak for it")
	}
	posted := grace.Event{
		Type: in.Type, Source: in.Source, Actor: callerOf(ctx).actor(), Resource: in.Resource, Payload: in.Payload, Timestamp: now,
	}
	if in.Actor != "" {
		posted.Actor += " for " + in.Actor
	}
	if in.Timestamp != nil {
		posted.Timestamp = past(bad, at+".timestamp", *in.Timestamp, now)
	}
	switch in.Type {
	case event.TypeSignal:
		var payload SignalInput
		if s.readPayload(in.Payload, &payload, at, bad) {
			if payload.Service == "" {
				payload.Service = resourceService(in.Resource)
			}
			if payload.At == nil {
				payload.At = in.Timestamp
			}
			sample := payload.sample(bad, at+".payload", now)
			sample.Sensor = in.Source
			post.samples = append(post.samples, sample)
		}
	case event.TypePrediction:
		var payload PredictionInput
		if s.readPayload(in.Payload, &payload, at, bad) {
			p := payload.prediction(bad, at, in.Resource, in.Source, now)
			if payload.Shadow {
				post.shadow++
			} else {
				post.predictions = append(post.predictions, p)
			}
		}
		return // what is said of it to others is an event of GRACE's own
	}
	post.events = append(post.events, posted)
}

// actorName judges a name that stands beside those of tokens in the audit log:
// in ASCII, so that none looks like another.
func actorName(bad *findings, at, text string) {
	optional(bad, at, text, maxName)
	if strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) {
		bad.add(at, fmt.Sprintf("%+q", text), "write the name in ASCII; letters of other scripts look like it", "has letters that look like others")
	}
}

func (s *server) readPayload(payload json.RawMessage, into any, at string, bad *findings) bool {
	if len(payload) == 0 {
		bad.add(at+".payload", nil, "events of this type say what they are about in the payload", "is missing")
		return false
	}
	if err := decodeStrict(payload, into); err != nil {
		location, message := decodeFault(at+".payload", err)
		bad.add(location, nil, "see the API's documentation of the event", "%s", message)
		return false
	}
	return true
}
