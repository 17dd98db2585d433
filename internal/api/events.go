package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
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

// longestSeries bounds the labels that a prediction may name, in bytes.
const longestSeries = 2000

// PredictionInput is the payload of self_heal.prediction.
type PredictionInput struct {
	Service    grace.ServiceID `json:"service"`
	Metric     string          `json:"metric"`
	Series     string          `json:"series,omitempty"` // its labels, as the ledger writes them
	Code       grace.Code      `json:"code"`
	Title      string          `json:"title,omitempty"`
	Likelihood float64         `json:"likelihood"`
	Value      float64         `json:"value,omitempty"`
	Threshold  float64         `json:"threshold,omitempty"`
	BreachAt   *time.Time      `json:"breach_at"`
	Low        float64         `json:"low,omitempty"`
	High       float64         `json:"high,omitempty"`
	Impact     grace.Impact    `json:"impact,omitempty"`
}

// post is what POST /api/events was found to hold.
type post struct {
	events      []grace.Event
	samples     []grace.Sample
	predictions []grace.Prediction
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
	if err := s.core.Post(ctx, post.events, post.samples, post.predictions); err != nil {
		return nil, err
	}
	return ok(Accepted{Accepted: len(inputs)})
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
				payload.Service = grace.ServiceID(in.Resource)
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
			post.predictions = append(post.predictions, payload.prediction(bad, at+".payload", in.Source, now))
		}
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

func (in PredictionInput) prediction(bad *findings, at, source string, now time.Time) grace.Prediction {
	serviceID(bad, at+".service", in.Service, "the service that will breach")
	name(bad, at+".metric", in.Metric, "the series that will breach")
	name(bad, at+".code", string(in.Code), "what it will be, for example latency_spike")
	optional(bad, at+".series", in.Series, longestSeries)
	optional(bad, at+".title", in.Title, maxName)
	for _, n := range []struct {
		key   string
		value float64
	}{{"value", in.Value}, {"threshold", in.Threshold}, {"low", in.Low}, {"high", in.High}} {
		number(bad, at+"."+n.key, n.value)
	}
	if in.Likelihood <= 0 || in.Likelihood > 1 || math.IsNaN(in.Likelihood) {
		bad.add(at+".likelihood", in.Likelihood, "a probability above 0, at most 1", "is not a probability")
	}
	out := grace.Prediction{
		Key:     grace.SignalKey(fmt.Sprintf("%s/%s/%s%s/%s", in.Service, source, in.Metric, in.Series, in.Code)),
		Service: in.Service, Metric: in.Metric, Series: in.Series, Code: in.Code,
		Title: in.Title, Likelihood: in.Likelihood, Value: in.Value, Threshold: in.Threshold, Low: in.Low, High: in.High,
		Impact: in.Impact, At: now,
	}
	if out.Title == "" {
		out.Title = fmt.Sprintf("%s of %s", in.Code, in.Service)
	}
	if in.BreachAt == nil {
		bad.add(at+".breach_at", nil, "when the threshold will be passed", "is missing")
	} else {
		future(bad, at+".breach_at", in.BreachAt, now, "what has happened already is a signal, not a prediction")
		out.BreachAt = in.BreachAt.UTC()
	}
	out.Title = grace.Printable(out.Title)
	switch in.Impact {
	case grace.ImpactUnknown, grace.ImpactLow, grace.ImpactMedium, grace.ImpactHigh, grace.ImpactCritical:
	default:
		bad.add(at+".impact", string(in.Impact), "low, medium, high or critical", "is not an impact")
	}
	return out
}
