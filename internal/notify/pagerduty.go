package notify

import (
	"context"
	"net/http"
	"strings"
	"time"

	"grace/internal/event"
)

// pagerduty speaks the Events API v2. What needs a person triggers, an
// acknowledgement acknowledges, and the end resolves, under the incident's id
// or the run of the question. All else is nothing to be called for.
type pagerduty struct {
	cfg  Receiver
	http *http.Client
}

// pagerDutyAPI is where events go unless the configuration says otherwise.
const pagerDutyAPI = "https://events.pagerduty.com"

// pdEvent is the request's body.
type pdEvent struct {
	RoutingKey string     `json:"routing_key"`
	Action     string     `json:"event_action"`
	DedupKey   string     `json:"dedup_key"`
	Payload    *pdPayload `json:"payload,omitempty"`
	Links      []pdLink   `json:"links,omitempty"`
	Client     string     `json:"client,omitempty"`
	ClientURL  string     `json:"client_url,omitempty"`
}

type pdPayload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  string            `json:"severity"`
	Timestamp string            `json:"timestamp"`
	Component string            `json:"component,omitempty"`
	Details   map[string]string `json:"custom_details,omitempty"`
}

type pdLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

func (p *pagerduty) send(ctx context.Context, m *Message, _ Thread) (Thread, error) {
	e := pdEvent{DedupKey: dedupKey(m)}
	switch {
	case m.Ended:
		e.Action = "resolve"
	case m.Kind == Acknowledged:
		e.Action = "acknowledge"
	case m.Kind.needsPerson() && !m.stale:
		e.Action = "trigger"
	default:
		return Thread{unsent: true}, nil
	}
	var s secrets
	e.RoutingKey = s.expand("routing_key", p.cfg.RoutingKey)
	base := s.expand("url", p.cfg.URL)
	if s.err != nil {
		return Thread{}, s.err
	}
	if base == "" {
		base = pagerDutyAPI
	}
	if e.Action == "trigger" {
		e.Payload = &pdPayload{
			Summary: m.Title, Source: m.Where, Severity: string(m.Severity), Timestamp: m.At.UTC().Format(time.RFC3339),
			Details: map[string]string{"grace_key": m.Key},
		}
		if e.Payload.Source == "" {
			e.Payload.Source = "grace"
		}
		if len(m.Services) > 0 {
			e.Payload.Component = string(m.Services[0])
		}
		for _, part := range m.parts() {
			e.Payload.Details[strings.ToLower(part.label)] = part.text
		}
		if m.Link != "" {
			e.Links, e.Client, e.ClientURL = []pdLink{{m.Link, "Open in GRACE"}}, "GRACE", m.Link
		}
	}
	return Thread{}, s.hide(post(ctx, p.http, request{url: strings.TrimRight(base, "/") + "/v2/enqueue", body: event.Encode(e)}))
}

// dedupKey is the incident's id, else what is open.
func dedupKey(m *Message) string {
	if m.Incident != "" {
		return string(m.Incident)
	}
	return m.Subject
}
