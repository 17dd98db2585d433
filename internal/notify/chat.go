package notify

import (
	"context"
	"net/http"
	"strings"

	"grace"
	"grace/internal/event"
)

// teams posts an adaptive card to a workflow's webhook.
type teams struct {
	cfg  Receiver
	http *http.Client
}

func (t *teams) send(ctx context.Context, m *Message, _ Thread) (Thread, error) {
	var s secrets
	url := s.expand("url", t.cfg.URL)
	if s.err != nil {
		return Thread{}, s.err
	}
	colour := "default"
	switch {
	case m.Ended:
		colour = "good"
	case m.Severity == grace.SeverityCritical:
		colour = "attention"
	case m.Severity == grace.SeverityWarning:
		colour = "warning"
	}
	facts := []map[string]string{}
	for _, p := range m.parts() {
		facts = append(facts, map[string]string{"title": p.label, "value": markdown(p.text)})
	}
	card := map[string]any{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
		"body": []any{
			map[string]any{"type": "TextBlock", "text": markdown(m.Title), "weight": "bolder", "size": "medium", "wrap": true, "color": colour},
			map[string]any{"type": "FactSet", "facts": facts},
		},
	}
	if m.Link != "" {
		card["actions"] = []any{map[string]any{"type": "Action.OpenUrl", "title": "Open in GRACE", "url": m.Link}}
	}
	body := map[string]any{"type": "message", "attachments": []any{
		map[string]any{"contentType": "application/vnd.microsoft.card.adaptive", "content": card},
	}}
	return Thread{}, s.hide(post(ctx, t.http, request{url: url, body: event.Encode(body)}))
}

// markdown takes from text what Markdown would read as a mark: what is shown
// came from outside in part.
func markdown(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`, "<", "&lt;", "@", "@\u200b").Replace(text)
}

// ntfy publishes as JSON.
type ntfy struct {
	cfg  Receiver
	http *http.Client
}

func (n *ntfy) send(ctx context.Context, m *Message, _ Thread) (Thread, error) {
	var s secrets
	url, token := s.expand("url", n.cfg.URL), s.expand("token", n.cfg.Token)
	if s.err != nil {
		return Thread{}, s.err
	}
	if url == "" {
		url = "https://ntfy.sh"
	}
	priority := map[grace.Severity]int{grace.SeverityCritical: 5, grace.SeverityWarning: 4}[m.Severity]
	if priority == 0 || m.over() {
		priority = 3
	}
	body := map[string]any{"topic": n.cfg.Topic, "title": m.Title, "message": m.Text(), "priority": priority, "tags": []string{string(m.Kind)}}
	if m.Link != "" {
		body["click"] = m.Link
	}
	r := request{url: url, body: event.Encode(body), headers: map[string]string{}}
	if token != "" {
		r.headers["Authorization"] = "Bearer " + token
	}
	return Thread{}, s.hide(post(ctx, n.http, r))
}

// mattermost posts to an incoming webhook.
type mattermost struct {
	cfg  Receiver
	http *http.Client
}

func (t *mattermost) send(ctx context.Context, m *Message, _ Thread) (Thread, error) {
	var s secrets
	url := s.expand("url", t.cfg.URL)
	if s.err != nil {
		return Thread{}, s.err
	}
	fields := []map[string]any{}
	for _, p := range m.parts() {
		fields = append(fields, map[string]any{"title": p.label, "value": markdown(p.text), "short": false})
	}
	attachment := map[string]any{"fallback": m.Title, "title": markdown(m.Title), "fields": fields}
	if m.Link != "" {
		attachment["title_link"] = m.Link
	}
	body := map[string]any{"username": "GRACE", "attachments": []any{attachment}}
	if t.cfg.Channel != "" {
		body["channel"] = t.cfg.Channel
	}
	return Thread{}, s.hide(post(ctx, t.http, request{url: url, body: event.Encode(body)}))
}
