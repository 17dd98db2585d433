package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"unicode"

	"grace"
	"grace/internal/api"
	"grace/internal/cli"
)

// client asks the daemon what only this program wants to know.
type client struct{ *cli.Client }

// client makes the client of the global flags.
func (a *app) client() (*client, error) {
	base, err := url.Parse(a.url)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, cli.UsageError(fmt.Sprintf("--url %q is not an address", a.url), "it has the form http://127.0.0.1:8000")
	}
	token := a.token
	if strings.ContainsFunc(token, unicode.IsControl) {
		return nil, cli.UsageError("the token of --token or GRACE_TOKEN holds a line break or another control character", "give it on one line, for example GRACE_TOKEN=$(cat FILE)")
	}
	if token == "" {
		data, err := os.ReadFile(a.tokenFile)
		switch {
		case err == nil && strings.ContainsFunc(strings.TrimSpace(string(data)), unicode.IsControl):
			return nil, cli.UsageError("the token file "+a.tokenFile+" holds more than one line", "a token file holds the token alone")
		case err == nil && strings.TrimSpace(string(data)) == "":
			return nil, cli.UsageError("the token file "+a.tokenFile+" is empty", "write the token into it, or set GRACE_TOKEN")
		case errors.Is(err, fs.ErrNotExist) && a.tokenFile != defaultTokenFile:
			return nil, &cli.Failure{Code: cli.ExitNotFound, Message: "there is no token file " + a.tokenFile, Hint: "the daemon writes one to <data_dir>/cli.token; name it with --token-file or GRACE_TOKEN_FILE, or set GRACE_TOKEN", Cause: err}
		case err == nil:
			token = strings.TrimSpace(string(data))
		case errors.Is(err, fs.ErrPermission):
			return nil, &cli.Failure{Code: cli.ExitNotAllowed, Message: "the token file " + a.tokenFile + " cannot be read", Hint: "run as the daemon's user, or set GRACE_TOKEN to a token of your own", Cause: err}
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("read token file: %w", err)
		}
	}
	return &client{cli.NewClient(base.String(), token, a.timeout.D())}, nil
}

// hinted gives a failure of that code a hint where the API gave none.
func hinted(err error, code int, hint string) error {
	f, ok := errors.AsType[*cli.Failure](err)
	if !ok || f.Code != code || f.Hint != "" {
		return err
	}
	with := *f
	with.Hint = hint
	return &with
}

// Unready gives why GRACE cannot work, and nothing when it can.
func (c *client) Unready(ctx context.Context) (string, error) {
	_, err := c.Do(ctx, http.MethodGet, "/readyz", nil, nil)
	if f, ok := errors.AsType[*cli.Failure](err); ok && f.Code == cli.ExitFailed {
		text, _, _ := strings.Cut(f.Message, " (request ")
		return strings.TrimPrefix(text, "not ready: "), nil
	}
	return "", err
}

func (c *client) Services(ctx context.Context) (cli.Answer[cli.Page[serviceView]], error) {
	return cli.CallAll[serviceView](ctx, c.Client, "/api/services")
}

func (c *client) Service(ctx context.Context, id grace.ServiceID) (cli.Answer[serviceDetail], error) {
	return cli.Call[serviceDetail](ctx, c.Client, http.MethodGet, "/api/services/"+cli.Segment(id), nil, nil)
}

func (c *client) Sensors(ctx context.Context) (cli.Answer[cli.Page[sensorView]], error) {
	return cli.CallAll[sensorView](ctx, c.Client, "/api/sensors")
}

func (c *client) Alerts(ctx context.Context) (cli.Answer[alertsView], error) {
	return cli.Call[alertsView](ctx, c.Client, http.MethodGet, "/api/alerts", nil, nil)
}

func (c *client) Run(ctx context.Context, id grace.RunID) (cli.Answer[grace.Run], error) {
	return cli.Call[grace.Run](ctx, c.Client, http.MethodGet, "/api/runs/"+cli.Segment(id), nil, nil)
}

func (c *client) Abort(ctx context.Context, id grace.RunID, reason string) (json.RawMessage, error) {
	return c.Do(ctx, http.MethodPost, "/api/runs/"+cli.Segment(id)+"/abort", nil, map[string]any{"reason": reason})
}

func (c *client) AbortAll(ctx context.Context, reason string) (cli.Answer[abortedView], error) {
	return cli.Call[abortedView](ctx, c.Client, http.MethodPost, "/api/runs/abort", nil, map[string]any{"reason": reason})
}

func (c *client) WhyService(ctx context.Context, id grace.ServiceID) (cli.Answer[whyView], error) {
	return cli.Call[whyView](ctx, c.Client, http.MethodGet, "/api/services/"+cli.Segment(id)+"/why", nil, nil)
}

func (c *client) Approvals(ctx context.Context, state grace.ApprovalState) (cli.Answer[cli.Page[grace.Approval]], error) {
	return cli.Call[cli.Page[grace.Approval]](ctx, c.Client, http.MethodGet, "/api/governance/approvals", cli.ListQuery{}.Values("state", string(state)), nil)
}

func (c *client) Playbooks(ctx context.Context) (cli.Answer[cli.Page[grace.Playbook]], error) {
	return cli.CallAll[grace.Playbook](ctx, c.Client, "/api/playbooks/")
}

func (c *client) Playbook(ctx context.Context, id grace.PlaybookID) (cli.Answer[grace.Playbook], error) {
	return cli.Call[grace.Playbook](ctx, c.Client, http.MethodGet, "/api/playbooks/"+cli.Segment(id), nil, nil)
}

func (c *client) DryRun(ctx context.Context, id grace.PlaybookID, service grace.ServiceID, params map[string]any) (cli.Answer[dryRun], error) {
	body := map[string]any{"service": service, "parameters": params}
	return cli.Call[dryRun](ctx, c.Client, http.MethodPost, "/api/playbooks/"+cli.Segment(id)+"/dry_run", nil, body)
}

func (c *client) Learning(ctx context.Context, query url.Values) (cli.Answer[learningView], error) {
	return cli.Call[learningView](ctx, c.Client, http.MethodGet, "/api/self_heal/learning", query, nil)
}

func (c *client) Predictions(ctx context.Context, query url.Values) (cli.Answer[cli.Page[grace.Prediction]], error) {
	return cli.Call[cli.Page[grace.Prediction]](ctx, c.Client, http.MethodGet, "/api/predictions", query, nil)
}

func (c *client) PredictionSummary(ctx context.Context, query url.Values) (cli.Answer[predictionView], error) {
	return cli.Call[predictionView](ctx, c.Client, http.MethodGet, "/api/predictions/summary", query, nil)
}

func (c *client) BacktestPredictions(ctx context.Context, since, step grace.Duration) (cli.Answer[api.PredictionBacktest], error) {
	body := map[string]any{"since": since, "step": step}
	return cli.Call[api.PredictionBacktest](ctx, c.Client, http.MethodPost, "/api/predictions/backtest", nil, body)
}

func (c *client) Incidents(ctx context.Context, query url.Values) (cli.Answer[cli.Page[grace.Incident]], error) {
	return cli.Call[cli.Page[grace.Incident]](ctx, c.Client, http.MethodGet, "/api/incidents", query, nil)
}

func (c *client) Incident(ctx context.Context, id grace.IncidentID) (cli.Answer[grace.Incident], error) {
	return cli.Call[grace.Incident](ctx, c.Client, http.MethodGet, "/api/incidents/"+cli.Segment(id), nil, nil)
}

func (c *client) RunByHand(ctx context.Context, id grace.PlaybookID, service grace.ServiceID, params map[string]any, reason string, override bool) (cli.Answer[grace.Decision], error) {
	body := map[string]any{"service": service, "parameters": params, "reason": reason, "override": override}
	return cli.Call[grace.Decision](ctx, c.Client, http.MethodPost, "/api/playbooks/"+cli.Segment(id)+"/run", nil, body)
}

func (c *client) Domains(ctx context.Context) (cli.Answer[cli.Page[domainView]], error) {
	return cli.CallAll[domainView](ctx, c.Client, "/api/domains")
}

func (c *client) Silences(ctx context.Context, ended bool) (cli.Answer[cli.Page[grace.Silence]], error) {
	return cli.Call[cli.Page[grace.Silence]](ctx, c.Client, http.MethodGet, "/api/silences", url.Values{"ended": {strconv.FormatBool(ended)}}, nil)
}

func (c *client) AddSilence(ctx context.Context, s grace.Silence) (cli.Answer[api.AddedSilence], error) {
	body := map[string]any{"service": s.Service, "regex": s.Regex, "labels": s.Labels, "starts": s.Starts, "ends": s.Ends, "reason": s.Reason}
	return cli.Call[api.AddedSilence](ctx, c.Client, http.MethodPost, "/api/silences", nil, body)
}

func (c *client) EndSilence(ctx context.Context, id grace.SilenceID, reason string) (cli.Answer[grace.Silence], error) {
	return cli.Call[grace.Silence](ctx, c.Client, http.MethodPost, "/api/silences/"+cli.Segment(id)+"/end", nil, map[string]any{"reason": reason})
}

func (c *client) ForgetSignal(ctx context.Context, key grace.SignalKey, reason string) error {
	_, err := cli.Call[json.RawMessage](ctx, c.Client, http.MethodPost, "/api/signals/forget", nil, map[string]any{"key": key, "reason": reason})
	return err
}

func (c *client) AuditEntries(ctx context.Context, log string, query url.Values) (cli.Answer[cli.Page[grace.AuditEntry]], error) {
	return cli.Call[cli.Page[grace.AuditEntry]](ctx, c.Client, http.MethodGet, "/api/log/"+log, query, nil)
}
