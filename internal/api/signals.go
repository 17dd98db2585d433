package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"grace"
)

// SignalInput is one signal as POST /api/health/ingest_signal takes it.
type SignalInput struct {
	Service     grace.ServiceID   `json:"service" doc:"whom it is about" example:"checkout"`
	Metric      string            `json:"metric,omitempty" doc:"the series within the service; an alert may leave it out" example:"latency_p99_ms"`
	Value       *float64          `json:"value,omitempty" doc:"of a metric in unit, of a probe 1 passed or 0 failed; an alert has none"`
	Kind        grace.SampleKind  `json:"kind,omitempty" enum:"metric,probe,alert" doc:"default metric"`
	Unit        string            `json:"unit,omitempty" example:"ms"`
	At          *time.Time        `json:"at,omitempty" doc:"when it was measured; default: when it arrives"`
	Code        grace.Code        `json:"code,omitempty" doc:"what an alert or a failed probe means; required of an alert" example:"latency_spike"`
	Severity    grace.Severity    `json:"severity,omitempty" enum:"info,warning,critical" doc:"of an alert or a probe; default warning"`
	Resolved    bool              `json:"resolved,omitempty" doc:"the alert is over"`
	Message     string            `json:"message,omitempty"`
	Fingerprint string            `json:"fingerprint,omitempty" doc:"an alert's identity; default: its metric and code"`
	Labels      map[string]string `json:"labels,omitempty"`
}

// Accepted tells how much was taken.
type Accepted struct {
	Accepted int `json:"accepted"`
	Ignored  int `json:"ignored,omitempty" doc:"of them: predictions that GRACE itself has said, or that are marked as shadow"`
}

// rawInput is a body that the handler reads itself, to say more exactly than
// a schema can what is wrong with it.
type rawInput struct {
	RawBody []byte `contentType:"application/json"`
}

const (
	// maxIntake bounds the requests with telemetry that are taken at once. They
	// all end in the same queue of writers: more at once only wait longer, and
	// hold their memory meanwhile.
	maxIntake = 64
	// ingestSensor names signals that came by the API.
	ingestSensor = "ingest"
)

func (s *server) registerSignals(api huma.API) {
	handle(s, api, op{
		method: http.MethodPost, path: "/api/health/ingest_signal", id: "ingest-signal", tag: "Telemetry", role: roleOperator,
		doc: "Give GRACE a signal, or a list of them: all or none are taken", what: "the signals", status: http.StatusAccepted,
		errors: []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusTooManyRequests}, schema: oneOrMore[SignalInput](api),
	}, s.ingest)
	handle(s, api, op{
		method: http.MethodPost, path: "/api/events", id: "post-events", tag: "Telemetry", role: roleOperator,
		doc:  "Put an event, or a list of them, on the mesh: all or none. health.signal and self_heal.prediction are taken as what their payload says",
		what: "the events", status: http.StatusAccepted,
		errors: []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusTooManyRequests}, schema: oneOrMore[EventInput](api),
	}, s.postEvents)
}

// oneOrMore describes a body that is a T or a list of T.
func oneOrMore[T any](api huma.API) *huma.Schema {
	one := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
	most := maxBatch
	return &huma.Schema{OneOf: []*huma.Schema{one, {Type: huma.TypeArray, Items: one, MaxItems: &most}}}
}

// admitIntake lets a request with telemetry in, or refuses it at once. leave is
// nil with an error.
func (s *server) admitIntake() (leave func(), err error) {
	select {
	case s.intake <- struct{}{}:
		return func() { <-s.intake }, nil
	default:
		return nil, busy(time.Second, "nothing was taken: %d requests with telemetry are in flight", maxIntake).
			hint("send it again after the time in Retry-After")
	}
}

func (s *server) ingest(ctx context.Context, in *rawInput) (*body[Accepted], error) {
	leave, err := s.admitIntake()
	if err != nil {
		return nil, err
	}
	defer leave()
	inputs, err := decodeBatch[SignalInput](in.RawBody)
	if err != nil {
		return nil, err
	}
	var bad findings
	samples := make([]grace.Sample, 0, len(inputs))
	for i, input := range inputs {
		samples = append(samples, input.sample(&bad, place(i, len(inputs)), s.now()))
	}
	if err := bad.problem("no signal was taken"); err != nil {
		return nil, err
	}
	if err := s.report(ctx, samples, nil); err != nil {
		return nil, err
	}
	if err := s.core.Observe(ctx, samples...); err != nil {
		return nil, err
	}
	return ok(Accepted{Accepted: len(samples)})
}

// place names the item of a batch: a body that is one item has no index.
func place(i, n int) string {
	if n == 1 {
		return "body"
	}
	return fmt.Sprintf("body[%d]", i)
}

// findings collects what is wrong with a body.
type findings []*Detail

func (f *findings) add(location string, value any, hint, format string, args ...any) {
	*f = append(*f, &Detail{Location: location, Message: fmt.Sprintf(format, args...), Value: cut(value), Hint: hint})
}

func (f findings) problem(consequence string) error {
	if len(f) == 0 {
		return nil
	}
	p := problem(http.StatusUnprocessableEntity, "%s: %s: %s", consequence, f[0].Location, f[0].Message)
	if len(f) > 1 {
		p.Detail += fmt.Sprintf(" (and %d more)", len(f)-1)
	}
	p.Errors = f
	return p
}

// sample checks the input and gives it as the loop takes it.
func (in SignalInput) sample(bad *findings, at string, now time.Time) grace.Sample {
	out := grace.Sample{
		Service: in.Service, Sensor: ingestSensor, Metric: in.Metric, Kind: in.Kind, Unit: in.Unit, At: now,
		Code: in.Code, Severity: in.Severity, Resolved: in.Resolved, Fingerprint: in.Fingerprint, Message: in.Message, Labels: in.Labels,
	}
	serviceID(bad, at+".service", in.Service, "the name of a service, as GET /api/services lists it")
	if in.Service.Core() {
		bad.add(at+".service", string(in.Service), "name another service", "is a part of GRACE, of which it alone tells")
	}
	in.texts(bad, at)
	if out.Kind == "" {
		out.Kind = grace.SampleMetric
	}
	if in.Value != nil {
		out.Value = *in.Value
		number(bad, at+".value", out.Value)
	}
	switch out.Kind {
	case grace.SampleMetric, grace.SampleProbe:
		name(bad, at+".metric", in.Metric, "the name of the series, for example latency_p99_ms")
		if in.Value == nil {
			bad.add(at+".value", nil, "a number; to say that something is wrong without one, send kind alert with a code", "is missing")
		} else if out.Kind == grace.SampleProbe && out.Value != 0 && out.Value != 1 {
			bad.add(at+".value", out.Value, "1 when the probe passed, 0 when it failed", "is neither 0 nor 1")
		}
	case grace.SampleAlert:
		name(bad, at+".code", string(in.Code), "what the alert means, for example service_down or latency_spike")
		if out.Metric == "" {
			out.Metric = string(in.Code)
		}
		if out.Fingerprint == "" {
			out.Fingerprint = out.Metric + "/" + string(in.Code)
		}
	default:
		bad.add(at+".kind", string(in.Kind), "metric, probe or alert", "is not a kind of signal")
	}
	if out.Kind != grace.SampleMetric && out.Severity == "" {
		out.Severity = grace.SeverityWarning
	}
	if !slices.Contains([]grace.Severity{"", grace.SeverityInfo, grace.SeverityWarning, grace.SeverityCritical}, in.Severity) {
		bad.add(at+".severity", string(in.Severity), "info, warning or critical", "is not a severity")
	}
	if in.At != nil {
		out.At = measuredAt(bad, at+".at", *in.At, now)
	}
	out.Message = grace.Printable(in.Message)
	return out
}

// texts judges what is optional.
func (in SignalInput) texts(bad *findings, at string) {
	if in.Kind == grace.SampleAlert {
		optional(bad, at+".metric", in.Metric, maxName)
	} else {
		optional(bad, at+".code", string(in.Code), maxName)
	}
	optional(bad, at+".unit", in.Unit, maxUnit)
	optional(bad, at+".fingerprint", in.Fingerprint, maxName)
	message(bad, at+".message", in.Message)
	labels(bad, at+".labels", in.Labels)
}

// decodeBatch reads one T or a list of T, strictly.
func decodeBatch[T any](data []byte) ([]T, error) {
	trimmed := bytes.TrimSpace(data)
	if len(trimmed) == 0 {
		return nil, problem(http.StatusBadRequest, "the body is empty").hint("send one object or a list of objects as JSON")
	}
	var raws []json.RawMessage
	if trimmed[0] != '[' {
		raws = []json.RawMessage{trimmed}
	} else if err := json.Unmarshal(trimmed, &raws); err != nil {
		return nil, notJSON(err)
	}
	if len(raws) == 0 || len(raws) > maxBatch {
		return nil, problem(http.StatusUnprocessableEntity, "the list has %d items", len(raws)).hint("send 1 to %d at once", maxBatch)
	}
	var bad findings
	out := make([]T, len(raws))
	for i, raw := range raws {
		if err := decodeStrict(raw, &out[i]); err != nil {
			var syntax *json.SyntaxError
			if errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, notJSON(err)
			}
			location, message := decodeFault(place(i, len(raws)), err)
			bad.add(location, nil, "see the schema of this operation in /openapi.json", "%s", message)
		}
	}
	if err := bad.problem("nothing was taken"); err != nil {
		return nil, err
	}
	return out, nil
}

func notJSON(err error) error {
	return problem(http.StatusBadRequest, "the body is not JSON: %v", err).hint("send one object or a list of objects as JSON")
}

func decodeStrict(data []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &json.SyntaxError{Offset: dec.InputOffset()}
	}
	return nil
}

// decodeFault words an error of encoding/json with the place it is about.
func decodeFault(at string, err error) (location, message string) {
	if wrong, isType := errors.AsType[*json.UnmarshalTypeError](err); isType {
		if wrong.Field != "" {
			at += "." + wrong.Field
		}
		return at, fmt.Sprintf("is a %s, want %s", wrong.Value, jsonKind(wrong.Type))
	}
	if field, isUnknown := strings.CutPrefix(err.Error(), "json: unknown field "); isUnknown {
		return at + "." + strings.Trim(field, `"`), "is not a known field"
	}
	return at, strings.TrimPrefix(err.Error(), "json: ")
}

func jsonKind(t reflect.Type) string {
	switch t.Kind() { //nolint:exhaustive // the rest is an object to the client
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64, reflect.Int, reflect.Int64:
		return "a number"
	case reflect.Slice:
		return "a list"
	}
	if t == reflect.TypeFor[time.Time]() {
		return "a time like 2026-03-01T09:31:00Z"
	}
	return "an object"
}
