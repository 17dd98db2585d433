package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"grace"
	"grace/internal/api"
)

// maxAnswer bounds what is read of one answer.
const maxAnswer = 64 << 20

// client speaks the HTTP API. It never retries: what was asked once is done at
// most once.
type client struct {
	base  string
	token string
	http  *http.Client
}

// answer is what the API said, typed and as it came.
type answer[T any] struct {
	Value T
	Raw   json.RawMessage
}

// page is one page of a list, newest first.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// client makes the client of the global flags.
func (a *app) client() (*client, error) {
	base, err := url.Parse(a.url)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, usageError(fmt.Sprintf("--url %q is not an address", a.url), "it has the form http://127.0.0.1:8000")
	}
	token := a.token
	if strings.ContainsFunc(token, unicode.IsControl) {
		return nil, usageError("the token of --token or GRACE_TOKEN holds a line break or another control character", "give it on one line, for example GRACE_TOKEN=$(cat FILE)")
	}
	if token == "" {
		data, err := os.ReadFile(a.tokenFile)
		switch {
		case err == nil && strings.ContainsFunc(strings.TrimSpace(string(data)), unicode.IsControl):
			return nil, usageError("the token file "+a.tokenFile+" holds more than one line", "a token file holds the token alone")
		case err == nil && strings.TrimSpace(string(data)) == "":
			return nil, usageError("the token file "+a.tokenFile+" is empty", "write the token into it, or set GRACE_TOKEN")
		case errors.Is(err, fs.ErrNotExist) && a.tokenFile != defaultTokenFile:
			return nil, &failure{code: exitNotFound, message: "there is no token file " + a.tokenFile, hint: "the daemon writes one to <data_dir>/cli.token; name it with --token-file or GRACE_TOKEN_FILE, or set GRACE_TOKEN", cause: err}
		case err == nil:
			token = strings.TrimSpace(string(data))
		case errors.Is(err, fs.ErrPermission):
			return nil, &failure{code: exitNotAllowed, message: "the token file " + a.tokenFile + " cannot be read", hint: "run as the daemon's user, or set GRACE_TOKEN to a token of your own", cause: err}
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("read token file: %w", err)
		}
	}
	return &client{base: strings.TrimRight(base.String(), "/"), token: token, http: &http.Client{Timeout: a.timeout.D()}}, nil
}

// call does one request and decodes the answer.
func call[T any](ctx context.Context, c *client, method, path string, query url.Values, body any) (answer[T], error) {
	var got answer[T]
	raw, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return got, err
	}
	got.Raw = raw
	if len(raw) == 0 {
		return got, nil
	}
	if err := json.Unmarshal(raw, &got.Value); err != nil {
		return got, &failure{code: exitFailed, message: fmt.Sprintf("%s %s: the answer is not what this version expects: %v", method, path, err), hint: "compare grace version with the daemon's", cause: err}
	}
	return got, nil
}

func (c *client) do(ctx context.Context, method, path string, query url.Values, body any) (json.RawMessage, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, payload)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, c.unreachable(err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, c.refused(resp, data)
	}
	return data, nil
}

func (c *client) unreachable(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return &failure{
		code: exitUnreachable, message: fmt.Sprintf("no answer from %s: %v", c.base, err),
		hint: "is the daemon running? start it with: grace serve --config FILE; or name it with --url or GRACE_URL", cause: err,
	}
}

// refused turns an error answer into a failure with its exit code.
func (c *client) refused(resp *http.Response, data []byte) error {
	var p problem
	_ = json.Unmarshal(data, &p) // an answer that is no problem document has a status at least
	f := &failure{code: exitFailed, message: p.Detail, hint: p.Hint}
	if f.message == "" {
		f.message = c.base + " answered " + resp.Status
	}
	for _, e := range p.Errors {
		f.message += "\n  " + strings.TrimPrefix(e.Location+": "+e.Message, ": ")
		if e.Hint != "" {
			f.message += " (" + e.Hint + ")"
		}
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		f.code = exitNotAllowed
		if c.token == "" {
			f.hint = "give a token by GRACE_TOKEN or --token-file; the daemon wrote one to <data_dir>/cli.token"
		}
	case http.StatusNotFound:
		f.code = exitNotFound
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusGone:
		f.code = exitConflict
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		f.code = exitUsage
		if p.ExpiredAt != nil {
			f.code = exitConflict
		}
	case http.StatusTooManyRequests:
		if after := resp.Header.Get("Retry-After"); after != "" && f.hint == "" {
			f.hint = "try again in " + after + " s"
		}
	}
	if f.code == exitFailed && p.RequestID != "" {
		f.message += " (request " + p.RequestID + ")"
	}
	return f
}

// isCode tells whether err would end the program with an exit code.
func isCode(err error, code int) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.code == code
}

// hinted gives a failure of that code a hint where the API gave none.
func hinted(err error, code int, hint string) error {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.code != code || f.hint != "" {
		return err
	}
	with := *f
	with.hint = hint
	return &with
}

// listQuery holds what every list takes.
type listQuery struct {
	limit  int
	cursor string
}

func (q listQuery) values(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	if q.limit > 0 {
		v.Set("limit", strconv.Itoa(q.limit))
	}
	if q.cursor != "" {
		v.Set("cursor", q.cursor)
	}
	return v
}

func segment[S ~string](id S) string { return url.PathEscape(string(id)) }

func (c *client) Health(ctx context.Context) (answer[page[healthView]], error) {
	return whole[healthView](ctx, c, "/api/health/state")
}

func (c *client) Services(ctx context.Context) (answer[page[serviceView]], error) {
	return whole[serviceView](ctx, c, "/api/services")
}

func (c *client) Service(ctx context.Context, id grace.ServiceID) (answer[serviceView], error) {
	return call[serviceView](ctx, c, http.MethodGet, "/api/services/"+segment(id), nil, nil)
}

func (c *client) Sensors(ctx context.Context) (answer[page[sensorView]], error) {
	return whole[sensorView](ctx, c, "/api/sensors")
}

func (c *client) Alerts(ctx context.Context) (answer[alertsView], error) {
	return call[alertsView](ctx, c, http.MethodGet, "/api/alerts", nil, nil)
}

func (c *client) Runs(ctx context.Context, query url.Values) (answer[page[grace.Run]], error) {
	return call[page[grace.Run]](ctx, c, http.MethodGet, "/api/runs", query, nil)
}

func (c *client) Run(ctx context.Context, id grace.RunID) (answer[grace.Run], error) {
	return call[grace.Run](ctx, c, http.MethodGet, "/api/runs/"+segment(id), nil, nil)
}

func (c *client) Abort(ctx context.Context, id grace.RunID, reason string) (json.RawMessage, error) {
	return c.do(ctx, http.MethodPost, "/api/runs/"+segment(id)+"/abort", nil, map[string]any{"reason": reason})
}

func (c *client) AbortAll(ctx context.Context, reason string) (answer[abortedView], error) {
	return call[abortedView](ctx, c, http.MethodPost, "/api/runs/abort", nil, map[string]any{"reason": reason})
}

func (c *client) WhyRun(ctx context.Context, id grace.RunID) (answer[whyView], error) {
	return call[whyView](ctx, c, http.MethodGet, "/api/runs/"+segment(id)+"/why", nil, nil)
}

func (c *client) WhyService(ctx context.Context, id grace.ServiceID) (answer[whyView], error) {
	return call[whyView](ctx, c, http.MethodGet, "/api/services/"+segment(id)+"/why", nil, nil)
}

func (c *client) Approvals(ctx context.Context, state grace.ApprovalState) (answer[page[grace.Approval]], error) {
	return call[page[grace.Approval]](ctx, c, http.MethodGet, "/api/governance/approvals", listQuery{}.values("state", string(state)), nil)
}

func (c *client) Approval(ctx context.Context, id grace.ApprovalID) (answer[grace.Approval], error) {
	return call[grace.Approval](ctx, c, http.MethodGet, "/api/governance/approvals/"+segment(id), nil, nil)
}

// Decide answers an approval as it was seen at a revision.
func (c *client) Decide(ctx context.Context, id grace.ApprovalID, approve bool, reason string, revision int) (answer[grace.Approval], error) {
	decision := "deny"
	if approve {
		decision = "approve"
	}
	body := map[string]any{"decision": decision, "reason": reason, "revision": revision}
	return call[grace.Approval](ctx, c, http.MethodPost, "/api/governance/approvals/"+segment(id)+"/decision", nil, body)
}

func (c *client) Mode(ctx context.Context) (answer[modeView], error) {
	return call[modeView](ctx, c, http.MethodGet, "/api/governance/mode", nil, nil)
}

// SetMode puts a mode in force, for good or until expires.
func (c *client) SetMode(ctx context.Context, mode grace.Mode, reason string, expires *time.Time) (answer[modeView], error) {
	body := map[string]any{"mode": mode, "reason": reason}
	if expires != nil {
		body["expires"] = expires.UTC()
	}
	return call[modeView](ctx, c, http.MethodPut, "/api/governance/mode", nil, body)
}

func (c *client) Decisions(ctx context.Context, query url.Values) (answer[page[grace.Decision]], error) {
	return call[page[grace.Decision]](ctx, c, http.MethodGet, "/api/governance/decisions", query, nil)
}

func (c *client) Playbooks(ctx context.Context) (answer[page[grace.Playbook]], error) {
	return whole[grace.Playbook](ctx, c, "/api/playbooks/")
}

func (c *client) Playbook(ctx context.Context, id grace.PlaybookID) (answer[grace.Playbook], error) {
	return call[grace.Playbook](ctx, c, http.MethodGet, "/api/playbooks/"+segment(id), nil, nil)
}

func (c *client) DryRun(ctx context.Context, id grace.PlaybookID, service grace.ServiceID, params map[string]any) (answer[dryRun], error) {
	body := map[string]any{"service": service, "parameters": params}
	return call[dryRun](ctx, c, http.MethodPost, "/api/playbooks/"+segment(id)+"/dry_run", nil, body)
}

func (c *client) Learning(ctx context.Context, query url.Values) (answer[learningView], error) {
	return call[learningView](ctx, c, http.MethodGet, "/api/self_heal/learning", query, nil)
}

func (c *client) KPIs(ctx context.Context) (answer[kpiView], error) {
	return call[kpiView](ctx, c, http.MethodGet, "/api/self_heal/kpis", nil, nil)
}

func (c *client) Predictions(ctx context.Context, query url.Values) (answer[page[grace.Prediction]], error) {
	return call[page[grace.Prediction]](ctx, c, http.MethodGet, "/api/predictions", query, nil)
}

func (c *client) PredictionSummary(ctx context.Context, query url.Values) (answer[predictionView], error) {
	return call[predictionView](ctx, c, http.MethodGet, "/api/predictions/summary", query, nil)
}

func (c *client) Incidents(ctx context.Context, query url.Values) (answer[page[grace.Incident]], error) {
	return call[page[grace.Incident]](ctx, c, http.MethodGet, "/api/incidents", query, nil)
}

// ChangeIncident resolves, acknowledges or notes an incident.
func (c *client) ChangeIncident(ctx context.Context, id grace.IncidentID, verb, reason string) (answer[grace.Incident], error) {
	return call[grace.Incident](ctx, c, http.MethodPost, "/api/incidents/"+segment(id)+"/"+verb, nil, map[string]any{"reason": reason})
}

func (c *client) Incident(ctx context.Context, id grace.IncidentID) (answer[grace.Incident], error) {
	return call[grace.Incident](ctx, c, http.MethodGet, "/api/incidents/"+segment(id), nil, nil)
}

func (c *client) RunByHand(ctx context.Context, id grace.PlaybookID, service grace.ServiceID, params map[string]any, reason string, override bool) (answer[grace.Decision], error) {
	body := map[string]any{"service": service, "parameters": params, "reason": reason, "override": override}
	return call[grace.Decision](ctx, c, http.MethodPost, "/api/playbooks/"+segment(id)+"/run", nil, body)
}

func (c *client) Domains(ctx context.Context) (answer[page[domainView]], error) {
	return whole[domainView](ctx, c, "/api/domains")
}

func (c *client) Silences(ctx context.Context, ended bool) (answer[page[grace.Silence]], error) {
	return call[page[grace.Silence]](ctx, c, http.MethodGet, "/api/silences", url.Values{"ended": {strconv.FormatBool(ended)}}, nil)
}

func (c *client) AddSilence(ctx context.Context, s grace.Silence) (answer[api.AddedSilence], error) {
	body := map[string]any{"service": s.Service, "regex": s.Regex, "labels": s.Labels, "starts": s.Starts, "ends": s.Ends, "reason": s.Reason}
	return call[api.AddedSilence](ctx, c, http.MethodPost, "/api/silences", nil, body)
}

func (c *client) EndSilence(ctx context.Context, id grace.SilenceID, reason string) (answer[grace.Silence], error) {
	return call[grace.Silence](ctx, c, http.MethodPost, "/api/silences/"+segment(id)+"/end", nil, map[string]any{"reason": reason})
}

func (c *client) ForgetSignal(ctx context.Context, key grace.SignalKey, reason string) error {
	_, err := call[json.RawMessage](ctx, c, http.MethodPost, "/api/signals/forget", nil, map[string]any{"key": key, "reason": reason})
	return err
}

func (c *client) AuditEntries(ctx context.Context, query url.Values) (answer[page[grace.AuditEntry]], error) {
	return call[page[grace.AuditEntry]](ctx, c, http.MethodGet, "/api/log/entries", query, nil)
}

func (c *client) VerifyAudit(ctx context.Context, expect []string) (answer[auditReport], error) {
	return call[auditReport](ctx, c, http.MethodGet, "/api/log/verify", url.Values{"expect": expect}, nil)
}

// maxPage is the most the API gives in one page, maxPages the most that are
// read of a list that is shown whole.
const (
	maxPage  = 200
	maxPages = 100
)

// whole reads every page of a short list, and gives it as one page.
func whole[T any](ctx context.Context, c *client, path string) (answer[page[T]], error) {
	var all answer[page[T]]
	items := []json.RawMessage{}
	q := listQuery{limit: maxPage}
	for range maxPages {
		p, err := call[page[json.RawMessage]](ctx, c, http.MethodGet, path, q.values(), nil)
		if err != nil {
			return all, err
		}
		items = append(items, p.Value.Items...)
		if q.cursor = p.Value.Next; q.cursor == "" {
			break
		}
	}
	raw, err := json.Marshal(map[string]any{"items": items})
	if err != nil {
		return all, fmt.Errorf("join pages: %w", err)
	}
	all.Raw = raw
	if err := json.Unmarshal(raw, &all.Value); err != nil {
		return all, &failure{code: exitFailed, message: fmt.Sprintf("GET %s: the answer is not what this version expects: %v", path, err), hint: "compare grace version with the daemon's", cause: err}
	}
	return all, nil
}
