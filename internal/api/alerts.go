package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"grace"
	"grace/internal/explain"
	"grace/internal/healthgraph"
	"grace/internal/loop"
	"grace/internal/store"
	"grace/sensor/alertmanager"
)

const (
	webhookPath = "/api/alertmanager"
	alertsPath  = "/api/v2/alerts"
	// maxAlerts bounds a body with alerts, in bytes. Senders do not send again
	// what was too large, so it is far above what they usually send; what comes
	// after is said to be lost, and the rest is taken.
	maxAlerts = 16 << 20
	// maxAlertBodies are read at once; others are told to retry.
	maxAlertBodies = 8
)

// WebhookAnswer tells what became of the alerts of a request.
type WebhookAnswer struct {
	Accepted int                    `json:"accepted"`
	Skipped  []alertmanager.Skipped `json:"skipped" doc:"alerts that were not taken; the others were"`
}

// AlertsView is what came in and leads to no action.
type AlertsView struct {
	Undeclared []UndeclaredService `json:"undeclared" doc:"services that alerts or signals are about and that are not in the configuration: shown, never acted on"`
	Skipped    []SkippedAlerts     `json:"skipped" doc:"alerts that were not taken since GRACE started, newest first"`
	// NeverMeasured lead to nothing because nothing comes.
	NeverMeasured []loop.NeverMeasured `json:"never_measured" doc:"objectives and limits that find nothing, since nothing gives what they look at"`
}

// shownUnmeasured bounds the names of what is never measured.
const shownUnmeasured = 5

// Unmeasured says in one line what is never measured; empty when nothing is.
func (v AlertsView) Unmeasured() string {
	var names []string
	for _, n := range v.NeverMeasured {
		name := "objective " + n.Name
		if n.Limit {
			name = "limit " + n.Name
		}
		if n.Service != "" {
			name += " of " + string(n.Service)
		}
		names = append(names, grace.Printable(fmt.Sprintf("%s (%s)", name, n.Selector)))
	}
	if names == nil {
		return ""
	}
	return "Never measured, since nothing gives what is in brackets: " + explain.Some(names, shownUnmeasured)
}

// UndeclaredService is a service that is not in the configuration.
type UndeclaredService struct {
	Service grace.ServiceID `json:"service"`
	Signals int             `json:"signals" doc:"its signals that are not ok"`
	Worst   grace.Signal    `json:"worst" doc:"the one to be named first"`
	// Keys make it possible to drop what means nothing any more.
	Keys []grace.SignalKey `json:"keys" doc:"of the signals that are not ok"`

	Silenced []SilencedBy `json:"silenced,omitempty" doc:"by what it is silenced now"`
}

// SkippedAlerts are alerts that were not taken for one reason.
type SkippedAlerts struct {
	alertmanager.Skipped

	Times int       `json:"times" doc:"how often"`
	Last  time.Time `json:"last"`
}

// unused gives what came in and leads to no action.
func (s *server) unused() AlertsView {
	out := AlertsView{Undeclared: []UndeclaredService{}, Skipped: s.senders.NotTaken(), NeverMeasured: s.core.NeverMeasured()}
	by := map[grace.ServiceID][]grace.Signal{}
	for _, sig := range s.core.Signals() {
		if !s.core.Declared(sig.Service) {
			by[sig.Service] = append(by[sig.Service], sig)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(by)) {
		worst, n := healthgraph.Worst(id, by[id])
		if n == 0 {
			continue
		}
		u := UndeclaredService{Service: id, Signals: n, Worst: s.core.Latest([]grace.Signal{worst})[0], Keys: []grace.SignalKey{}}
		for _, sig := range by[id] {
			if sig.State != grace.SignalOK {
				u.Keys = append(u.Keys, sig.Key)
			}
		}
		slices.Sort(u.Keys)
		out.Undeclared = append(out.Undeclared, u)
	}
	return out
}

// registerAlerts adds the receivers of alerts. They are not huma's, which would
// read a body before it is known who sends it.
func (s *server) registerAlerts(mux *http.ServeMux, api huma.API) {
	mux.HandleFunc("POST "+webhookPath, s.alertHandler(alertmanager.ReadWebhook, http.StatusAccepted, "this is not a webhook of Alertmanager",
		"configure a webhook_config with this url"))
	mux.HandleFunc("POST "+alertsPath, s.alertHandler(alertmanager.ReadAlerts, http.StatusOK, "this is no list of alerts",
		"list GRACE's address under alerting.alertmanagers of Prometheus"))
	document := func(path, id, doc, body string, status string) {
		schema := api.OpenAPI().Components.Schemas
		answer := schema.Schema(reflect.TypeFor[WebhookAnswer](), true, "")
		responses := map[string]*huma.Response{
			status: {Description: "What became of the alerts", Content: map[string]*huma.MediaType{"application/json": {Schema: answer}}},
		}
		for _, code := range []string{"400", "401", "403", "503"} {
			responses[code] = &huma.Response{Description: "Not taken", Content: map[string]*huma.MediaType{problemType: {Schema: &huma.Schema{Ref: "#/components/schemas/Problem"}}}}
		}
		sent := &huma.Schema{Type: huma.TypeObject, Description: "as it is sent", AdditionalProperties: true}
		if path == alertsPath {
			sent = &huma.Schema{Type: huma.TypeArray, Description: "as it is sent", Items: &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}}
		}
		api.OpenAPI().AddOperation(&huma.Operation{
			Method: http.MethodPost, Path: path, OperationID: id, Summary: doc, Description: body, Tags: []string{"Telemetry"},
			Metadata:    map[string]any{metaRole: roleOperator},
			Security:    []map[string][]string{{"token": {roleOperator.String()}}},
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: sent}}},
			Responses:   responses,
		})
	}
	document(webhookPath, "alertmanager-webhook", "Alertmanager's webhook; Grafana's too",
		"Authorized by a token, by the configured bearer or by the time and HMAC in X-Signature-256", "202")
	document(alertsPath, "post-alerts", "Alerts as Prometheus sends them to an Alertmanager",
		"So that no Alertmanager is needed. Authorized as the webhook. An alert is over at its endsAt, unless it is repeated", "200")
	handle(s, api, op{
		method: http.MethodGet, path: "/api/alerts", id: "get-alerts", tag: "Telemetry", role: roleViewer,
		doc: "Alerts that lead to no action: those of services that are not declared, and those that were not taken", what: "the alerts",
	}, func(ctx context.Context, _ *struct{}) (*body[AlertsView], error) {
		q, err := s.silencer(ctx)
		if err != nil {
			return nil, err
		}
		return ok(s.alertsView(ctx, q))
	})
	handle(s, api, op{
		method: http.MethodGet, path: "/api/sensors", id: "list-sensors", tag: "Telemetry", role: roleViewer,
		doc: "Where samples come from, and what GRACE cannot see", what: "the sensors",
	}, func(ctx context.Context, in *Paging) (*body[List[SensorView]], error) {
		return ok(slicePage(s.process.Sensors(), func(v SensorView) string { return v.Name }, *in))
	})
}

type readAlerts func(body io.Reader, limit int64, m alertmanager.Mapping, received time.Time) (alertmanager.Batch, error)

func (s *server) alertHandler(read readAlerts, status int, refusal, hint string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Timeout)
		defer cancel()
		answer, err := s.alerts(ctx, r, read)
		if bad, ok := errors.AsType[*notAlerts](err); ok {
			problem(http.StatusBadRequest, "%s: %v", refusal, bad.err).hint("%s", hint).write(w)
			return
		}
		if err != nil {
			s.answer(ctx, "the alerts", err).write(w)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer) // the peer is gone if this fails
	}
}

// notAlerts is a body that cannot be read.
type notAlerts struct{ err error }

func (e *notAlerts) Error() string { return e.err.Error() }

func (s *server) alerts(ctx context.Context, r *http.Request, read readAlerts) (WebhookAnswer, error) {
	out := WebhookAnswer{Skipped: []alertmanager.Skipped{}}
	cfg := s.senders.Alertmanager()
	signature := r.Header.Get(alertmanager.SignatureHeader)
	if signature == "" {
		if p := s.admitAlerts(ctx, cfg, r.Header.Get("Authorization")); p != nil {
			return out, p
		}
	} else if len(cfg.HMAC) == 0 {
		return out, alertsRefused()
	}
	select {
	case s.alertBodies <- struct{}{}:
		defer func() { <-s.alertBodies }()
	default:
		return out, busy(time.Second, "nothing was taken: other alerts are being read").hint("send them again after the time in Retry-After")
	}
	in := io.Reader(r.Body)
	if signature != "" { // it is of the whole body
		whole, err := io.ReadAll(io.LimitReader(r.Body, maxAlerts+1))
		if err != nil {
			return out, &notAlerts{err}
		}
		if alertmanager.VerifyHMAC(whole, signature, cfg.HMAC, s.now()) != nil {
			return out, alertsRefused()
		}
		callerOf(ctx).Token = "alertmanager"
		in = bytes.NewReader(whole)
		if spent, err := s.store.Spent(ctx, s.store.Q(), spentAs(signature)); err != nil {
			return out, stored(err)
		} else if spent {
			return out, nil // sent again: by a sender that heard no answer, or by somebody else
		}
	}
	batch, err := read(in, maxAlerts, cfg.Mapping, s.now())
	if err != nil {
		return out, &notAlerts{err}
	}
	if len(batch.Skipped) > 0 {
		s.senders.Skipped(batch.Skipped)
	}
	if len(batch.Samples) > 0 {
		if err := s.core.Observe(ctx, s.senders.Heed(batch.Samples)...); err != nil {
			return out, err
		}
		s.senders.Came()
	}
	if signature != "" {
		if err := s.spend(ctx, signature); err != nil {
			return out, stored(err)
		}
	}
	out.Accepted = len(batch.Samples)
	out.Skipped = append(out.Skipped, batch.Skipped...)
	return out, nil
}

// spentAs names a signed request, however its signature is written.
func spentAs(signature string) string { return "webhook/" + strings.ToLower(signature) }

// spend has a signed request count once, on any replica and over a restart, for
// as long as its time is accepted.
func (s *server) spend(ctx context.Context, signature string) error {
	return s.store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		_, err := s.store.Spend(ctx, tx, spentAs(signature), s.now().Add(2*alertmanager.Tolerance))
		return err
	})
}

func alertsRefused() *Problem {
	return problem(http.StatusUnauthorized, "neither a token, nor the configured bearer, nor a valid signature was sent").
		hint("set authorization.credentials in the sender's configuration to alertmanager.bearer of GRACE's, or to a token of role operator")
}

// admitAlerts accepts the configured bearer, or a token. A signature that is
// there and wrong is refused whatever else was sent.
func (s *server) admitAlerts(ctx context.Context, cfg Alertmanager, authorization string) *Problem {
	if cfg.Bearer != "" && alertmanager.VerifyBearer(authorization, cfg.Bearer) == nil {
		callerOf(ctx).Token = "alertmanager"
		return nil
	}
	if strings.Contains(authorization, tokenPrefix) {
		return s.admit(ctx, authorization, roleOperator)
	}
	return alertsRefused()
}
