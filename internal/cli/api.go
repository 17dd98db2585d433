package cli

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"grace"
	"grace/internal/api"
	"grace/internal/decide"
	"grace/internal/stage/learn"
	"grace/internal/store"
)

// What both programs ask. The rest is asked where it is needed.

// Health gives the state of every service.
func (c *Client) Health(ctx context.Context) (Answer[Page[api.HealthView]], error) {
	return CallAll[api.HealthView](ctx, c, "/api/health/state")
}

// Runs gives a page of runs, newest first.
func (c *Client) Runs(ctx context.Context, query url.Values) (Answer[Page[grace.Run]], error) {
	return Call[Page[grace.Run]](ctx, c, http.MethodGet, "/api/runs", query, nil)
}

// WhyRun explains a run: its triggers, the diagnosis, the decision.
func (c *Client) WhyRun(ctx context.Context, id grace.RunID) (Answer[api.Explanation], error) {
	return Call[api.Explanation](ctx, c, http.MethodGet, "/api/runs/"+Segment(id)+"/why", nil, nil)
}

// Approval gives what waits for a person.
func (c *Client) Approval(ctx context.Context, id grace.ApprovalID) (Answer[grace.Approval], error) {
	return Call[grace.Approval](ctx, c, http.MethodGet, "/api/governance/approvals/"+Segment(id), nil, nil)
}

// Decide answers an approval as it was seen at a revision.
func (c *Client) Decide(ctx context.Context, id grace.ApprovalID, approve bool, reason string, revision int) (Answer[grace.Approval], error) {
	decision := "deny"
	if approve {
		decision = "approve"
	}
	body := map[string]any{"decision": decision, "reason": reason, "revision": revision}
	return Call[grace.Approval](ctx, c, http.MethodPost, "/api/governance/approvals/"+Segment(id)+"/decision", nil, body)
}

// Mode gives what GRACE may do at present.
func (c *Client) Mode(ctx context.Context) (Answer[api.ModeView], error) {
	return Call[api.ModeView](ctx, c, http.MethodGet, "/api/governance/mode", nil, nil)
}

// SetMode puts a mode in force, for good or until expires.
func (c *Client) SetMode(ctx context.Context, mode grace.Mode, reason string, expires *time.Time) (Answer[api.ModeView], error) {
	body := map[string]any{"mode": mode, "reason": reason}
	if expires != nil {
		body["expires"] = expires.UTC()
	}
	return Call[api.ModeView](ctx, c, http.MethodPut, "/api/governance/mode", nil, body)
}

// Decisions gives a page of the trust core's answers, newest first.
func (c *Client) Decisions(ctx context.Context, query url.Values) (Answer[Page[grace.Decision]], error) {
	return Call[Page[grace.Decision]](ctx, c, http.MethodGet, "/api/governance/decisions", query, nil)
}

// KPIs gives the key figures.
func (c *Client) KPIs(ctx context.Context) (Answer[learn.KPIs], error) {
	return Call[learn.KPIs](ctx, c, http.MethodGet, "/api/self_heal/kpis", nil, nil)
}

// ChangeIncident resolves, acknowledges or notes an incident.
func (c *Client) ChangeIncident(ctx context.Context, id grace.IncidentID, verb, reason string) (Answer[grace.Incident], error) {
	return Call[grace.Incident](ctx, c, http.MethodPost, "/api/incidents/"+Segment(id)+"/"+verb, nil, map[string]any{"reason": reason})
}

// VerifyAudit has the daemon check the chain of its audit log, against the
// hashes that are expected in it.
func (c *Client) VerifyAudit(ctx context.Context, expect []string) (Answer[store.AuditReport], error) {
	return Call[store.AuditReport](ctx, c, http.MethodGet, "/api/log/verify", url.Values{"expect": expect}, nil)
}

// Replay has the daemon compute again what was recorded between two times.
func (c *Client) Replay(ctx context.Context, from, to time.Time) (out decide.Replayed, err error) {
	err = decide.All(func(cursor string) (string, error) {
		more, err := Call[decide.Replayed](ctx, c, http.MethodGet, "/api/replay", span(from, to, cursor), nil)
		out.Join(more.Value)
		return out.Next, err
	})
	return out, err
}

// Backtest has the daemon compute it under another configuration.
func (c *Client) Backtest(ctx context.Context, rules decide.Config, from, to time.Time) (out decide.Backtested, err error) {
	err = decide.All(func(cursor string) (string, error) {
		body := map[string]any{"rules": rules}
		more, err := Call[decide.Backtested](ctx, c, http.MethodPost, "/api/backtest", span(from, to, cursor), body)
		out.Join(more.Value)
		return out.Next, err
	})
	return out, err
}

func span(from, to time.Time, cursor string) url.Values {
	q := url.Values{"from": {from.UTC().Format(time.RFC3339Nano)}, "to": {to.UTC().Format(time.RFC3339Nano)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	return q
}

// CreatedToken is a token that was just made; its secret is shown this once.
type CreatedToken struct {
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Secret    string     `json:"secret"`
}

// CreateToken makes a token of a role, for good or until expires.
func (c *Client) CreateToken(ctx context.Context, name, role string, expires *time.Time) (CreatedToken, error) {
	body := map[string]any{"name": name, "role": role}
	if expires != nil {
		body["expires"] = expires.UTC()
	}
	got, err := Call[CreatedToken](ctx, c, http.MethodPost, "/api/tokens", nil, body)
	got.Value.ExpiresAt = expires
	return got.Value, err
}
