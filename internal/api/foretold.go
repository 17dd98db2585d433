package api

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

const (
	// longestSeries bounds the labels that a prediction may name, in bytes.
	longestSeries = 2000
	// mostSuggested bounds the playbooks, and the pieces of evidence, of a prediction.
	mostSuggested = 20
)

// PredictionInput is the payload of self_heal.prediction, as others send it. All but code
// and likelihood may be left out. It has what GRACE's own events have besides, so that one
// GRACE takes what another says.
type PredictionInput struct {
	Service    grace.ServiceID    `json:"service,omitempty"` // default: the event's resource
	Metric     string             `json:"metric,omitempty"`
	Series     string             `json:"series,omitempty"` // its labels, as the ledger writes them
	Code       grace.Code         `json:"code"`
	Title      string             `json:"title,omitempty"`
	Likelihood *float64           `json:"likelihood"`
	Value      float64            `json:"value,omitempty"`
	Threshold  float64            `json:"threshold,omitempty"`
	BreachAt   *time.Time         `json:"breach_at,omitempty"` // default: the horizon of prediction from now
	Low        float64            `json:"low,omitempty"`
	High       float64            `json:"high,omitempty"`
	Band       *event.Band        `json:"band,omitempty"`                // low and high in one
	Impact     grace.Impact       `json:"impact,omitempty"`              // default: by the service's criticality
	Suggest    []grace.PlaybookID `json:"suggested_playbooks,omitempty"` // default: those that code triggers
	Evidence   []string           `json:"evidence,omitempty"`
	Shadow     bool               `json:"shadow,omitempty"` // it is not taken
	Owner      string             `json:"owner,omitempty"`
	Prediction json.RawMessage    `json:"prediction,omitempty"` // the entry of a ledger of GRACE's
}

// resourceService gives the service that an event's resource is: cart, or service/cart.
func resourceService(resource string) grace.ServiceID {
	return grace.ServiceID(strings.TrimPrefix(resource, "service/"))
}

// prediction reads what an event at a place says.
func (in PredictionInput) prediction(bad *findings, at, resource, source string, now time.Time) grace.Prediction {
	serviceAt := at + ".payload.service"
	if in.Service == "" {
		in.Service, serviceAt = resourceService(resource), at+".resource"
	}
	at += ".payload"
	serviceID(bad, serviceAt, in.Service, "the service that will breach: service/NAME or NAME, as GET /api/services lists it")
	if in.Service.Core() {
		bad.add(serviceAt, string(in.Service), "name another service", "is a part of GRACE, of which it alone tells")
	}
	name(bad, at+".code", string(in.Code), "what it will be, for example latency_spike")
	optional(bad, at+".metric", in.Metric, maxName)
	optional(bad, at+".series", in.Series, longestSeries)
	optional(bad, at+".title", in.Title, maxName)
	if in.Band != nil {
		in.Low, in.High = in.Band.Low, in.Band.High
	}
	for _, n := range []struct {
		key   string
		value float64
	}{{"value", in.Value}, {"threshold", in.Threshold}, {"low", in.Low}, {"high", in.High}} {
		number(bad, at+"."+n.key, n.value)
	}
	in.Code = in.Code.Canonical()
	out := grace.Prediction{
		ID: in.entry(), Key: grace.SignalKey(fmt.Sprintf("%s/%s/%s%s/%s", in.Service, source, in.Metric, in.Series, in.Code)),
		Service: in.Service, Metric: in.Metric, Series: in.Series, Code: in.Code,
		Title: in.Title, Likelihood: in.likelihood(bad, at), Value: in.Value, Threshold: in.Threshold, Low: in.Low, High: in.High,
		Impact: in.Impact, Suggest: in.suggested(bad, at), Evidence: in.evidence(bad, at, source), At: now,
	}
	if out.Title == "" {
		out.Title = fmt.Sprintf("%s of %s", in.Code, in.Service)
	}
	if in.BreachAt != nil {
		future(bad, at+".breach_at", in.BreachAt, now, "what has happened already is a signal, not a prediction; leave breach_at out where it is not known")
		out.BreachAt = in.BreachAt.UTC()
	}
	out.Title = grace.Printable(out.Title)
	switch in.Impact {
	case grace.ImpactUnknown, grace.ImpactLow, grace.ImpactMedium, grace.ImpactHigh, grace.ImpactCritical:
	default:
		bad.add(at+".impact", string(in.Impact), "low, medium, high or critical; without it the service's criticality says", "is not an impact")
	}
	return out
}

func (in PredictionInput) likelihood(bad *findings, at string) float64 {
	const want = "the probability that it comes, from 0 to 1: 0.85"
	switch {
	case in.Likelihood == nil:
		bad.add(at+".likelihood", nil, want, "is missing")
		return 0
	case !(*in.Likelihood >= 0 && *in.Likelihood <= 1): // also refuses NaN
		bad.add(at+".likelihood", *in.Likelihood, want, "is not a probability")
	}
	return math.Abs(*in.Likelihood) // -0 is 0
}

func (in PredictionInput) suggested(bad *findings, at string) []grace.PlaybookID {
	if len(in.Suggest) > mostSuggested {
		bad.add(at+".suggested_playbooks", nil, fmt.Sprintf("at most %d", mostSuggested), "has %d playbooks", len(in.Suggest))
		return nil
	}
	for i, id := range in.Suggest {
		name(bad, fmt.Sprintf("%s.suggested_playbooks[%d]", at, i), string(id), "the id of a playbook, as GET /api/playbooks/ lists it")
	}
	return in.Suggest
}

// evidence is what it rests on, and who says so.
func (in PredictionInput) evidence(bad *findings, at, source string) []string {
	if len(in.Evidence) > mostSuggested {
		bad.add(at+".evidence", nil, fmt.Sprintf("at most %d", mostSuggested), "has %d entries", len(in.Evidence))
		return nil
	}
	out := []string{"said by " + source}
	for i, text := range in.Evidence {
		message(bad, fmt.Sprintf("%s.evidence[%d]", at, i), text)
		out = append(out, grace.Printable(text))
	}
	return out
}

// entry gives the id that the prediction has in a ledger of GRACE's; empty for none.
func (in PredictionInput) entry() string {
	var entry struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(in.Prediction, &entry) // what is none has no id
	return entry.ID
}

// withoutEchoes leaves out what is in the ledger already: GRACE has said it itself, and
// somebody passes on what he heard.
func (s *server) withoutEchoes(ctx context.Context, list []grace.Prediction) (taken []grace.Prediction, err error) {
	for _, p := range list {
		if p.ID != "" {
			known, _, err := s.store.Predictions(ctx, s.store.Q(), store.PredictionFilter{ID: p.ID}, store.Page{Limit: 1})
			if err != nil {
				return nil, stored(err)
			}
			if len(known) > 0 {
				continue
			}
		}
		p.ID = ""
		taken = append(taken, p)
	}
	return taken, nil
}
