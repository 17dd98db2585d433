// Package alertmanager reads alerts that others judged: Alertmanager's webhook
// ([ReadWebhook]; Grafana's is the same), what Prometheus sends to an
// Alertmanager ([ReadAlerts]), and the list of alerts that an Alertmanager holds
// ([Reader]). It also proves who sent them.
//
// Every alert that a [Mapping] leads to a service becomes a sample. One that it
// does not lead anywhere, or that is malformed, is a [Skipped], and the others
// are still taken: a sender does not send again what was refused, so refusing a
// whole group for one stray alert would lose the rest. Alerts that Alertmanager
// itself left out (max_alerts), or that did not fit into the limit of a body,
// are one problem more.
//
// An alert's fingerprint is its identity: the resolved message carries that of
// the firing one. One that has none, or that names the replica of a pair, gets
// it from its labels, in Alertmanager's way. A sample's time is when it was
// received, because a repeated message is news ("still firing") although its
// startsAt is old; startsAt tells occurrences apart, so that the end of an older
// one does not clear a newer one.
package alertmanager

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"grace"
)

// The sensor names of the samples: what came by way of an Alertmanager, and
// what a Prometheus sent itself.
const (
	Sensor           = "alertmanager"
	SensorPrometheus = "prometheus-alerts"
)

// Limits of what is kept of an alert.
const (
	MaxName   = 200  // characters of a service, code, alert name or fingerprint
	maxText   = 4000 // characters of an annotation
	maxLabels = 64
	// maxAhead is how far a sender's clock may run before GRACE's.
	maxAhead = 5 * time.Minute
	// maxValid bounds how long an alert counts as firing that is not repeated.
	maxValid = 24 * time.Hour
	// usualValid is assumed of one that does not say.
	usualValid = 5 * time.Minute
)

// The kinds of problems.
const (
	KindMalformed = "malformed"
	KindNoService = "no_service"
	KindTooLong   = "too_long"
	KindCore      = "core_service"
	KindTruncated = "truncated"
)

// Skipped is an alert, or several, that did not become a sample.
type Skipped struct {
	Kind        string `json:"kind" enum:"malformed,no_service,too_long,core_service,truncated"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Alert       string `json:"alert"`
	Reason      string `json:"reason"`
	Count       uint64 `json:"count" doc:"how many alerts it stands for"`
}

func (p Skipped) String() string {
	return fmt.Sprintf("alert %s (%s): %s", p.Alert, p.Fingerprint, p.Reason)
}

// Batch is what was read.
type Batch struct {
	Samples []grace.Sample
	Skipped []Skipped
}

// alert is one of any source.
type alert struct {
	Status      json.RawMessage   `json:"status"` // a text, or an object in a list of Alertmanager's
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	UpdatedAt   time.Time         `json:"updatedAt"` // of a list: when it was sent last
	Fingerprint string            `json:"fingerprint"`
}

// source says how the alerts of a body are to be read.
type source struct {
	sensor string
	// timed: an alert says by its endsAt whether it is over, and until when it
	// fires unless it is repeated.
	timed bool
}

// ReadWebhook reads one payload of a webhook. The error means that it is none:
// not JSON, or without alerts. What lies beyond limit bytes is not read and
// is a problem.
func ReadWebhook(body io.Reader, limit int64, m Mapping, received time.Time) (Batch, error) {
	b, err := read(body, limit, m, received, source{sensor: Sensor})
	if err != nil {
		return Batch{}, fmt.Errorf("read the webhook: %w", err)
	}
	return b, nil
}

// ReadAlerts reads a list of alerts as Prometheus sends it to an Alertmanager.
func ReadAlerts(body io.Reader, limit int64, m Mapping, received time.Time) (Batch, error) {
	b, err := read(body, limit, m, received, source{sensor: SensorPrometheus, timed: true})
	if err != nil {
		return Batch{}, fmt.Errorf("read the alerts: %w", err)
	}
	return b, nil
}

// reading is one body on its way.
type reading struct {
	batch    Batch
	mapper   *mapper
	received time.Time
	source   source
	listed   bool // a list of alerts was there
}

func read(body io.Reader, limit int64, m Mapping, received time.Time, src source) (Batch, error) {
	mapper, err := m.compile()
	if err != nil {
		return Batch{}, err
	}
	limited := &io.LimitedReader{R: body, N: limit}
	r := reading{mapper: mapper, received: received, source: src}
	dec := json.NewDecoder(limited)
	if err = r.document(dec); err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is more after the JSON")
		}
	}
	if err != nil && limited.N <= 0 && r.listed {
		// What was read is taken: a refusal would lose it.
		r.problem(Skipped{Kind: KindTruncated, Alert: "the rest of the body", Count: 1, Reason: fmt.Sprintf(
			"the body has more than %d bytes; what comes after was not read: group alerts by service, or set max_alerts of the webhook", limit)})
		err = nil
	}
	if err == nil && !r.listed {
		err = errors.New("no alerts")
	}
	return r.batch, err
}

// document reads a list of alerts, or an object that holds one. It decodes
// alert by alert: a group may be large.
func (r *reading) document(dec *json.Decoder) error {
	first, err := dec.Token()
	if err != nil {
		return err
	}
	switch first {
	case json.Delim('['):
		return r.alerts(dec)
	case json.Delim('{'):
	default:
		return errors.New("want a JSON object with alerts, or a list of them")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		switch key {
		case "alerts":
			open, err := dec.Token()
			if err != nil {
				return err
			}
			if open == nil {
				continue // null
			}
			if open != json.Delim('[') {
				return errors.New("alerts is no list")
			}
			if err := r.alerts(dec); err != nil {
				return err
			}
		case "truncatedAlerts":
			var n json.Number
			if err := dec.Decode(&n); err != nil {
				return fmt.Errorf("truncatedAlerts: %w", err)
			}
			if count, err := n.Int64(); err == nil && count > 0 {
				r.problem(Skipped{Kind: KindTruncated, Alert: "truncatedAlerts", Count: uint64(count), Reason: fmt.Sprintf(
					"Alertmanager left %d alerts out: set max_alerts of the webhook to 0, or alertmanager.url so that GRACE reads them itself", count)})
			}
		default:
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return err
			}
		}
	}
	_, err = dec.Token()
	return err
}

func (r *reading) alerts(dec *json.Decoder) error {
	for dec.More() {
		r.listed = true
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		r.take(raw)
	}
	_, err := dec.Token()
	r.listed = r.listed || err == nil && r.source.timed // an empty list of Prometheus' is one
	return err
}

func (r *reading) problem(p Skipped) {
	r.batch.Skipped = append(r.batch.Skipped, p)
}

func (r *reading) take(raw json.RawMessage) {
	var a alert
	if err := json.Unmarshal(raw, &a); err != nil {
		r.problem(Skipped{Kind: KindMalformed, Alert: "alert", Reason: fmt.Sprintf("read the alert: %v", err), Count: 1})
		return
	}
	s, p := r.mapper.sample(a, r.received, r.source)
	if p != nil {
		r.problem(*p)
		return
	}
	r.batch.Samples = append(r.batch.Samples, s)
}

// sample reads one alert, or says why it cannot be taken.
func (m *mapper) sample(a alert, received time.Time, src source) (s grace.Sample, p *Skipped) {
	defer func() {
		if p != nil {
			p.Fingerprint, p.Alert, p.Count = s.Fingerprint, s.Metric, 1
		}
	}()
	s = grace.Sample{
		Sensor: src.sensor, Metric: cut(grace.Printable(a.Labels["alertname"]), MaxName), Kind: grace.SampleAlert, At: received,
		Message: a.message(), StartsAt: bounded(a.StartsAt, received),
	}
	if s.Metric == "" {
		s.Metric = "alert"
	}
	s.Fingerprint = m.fingerprint(a)
	if err := a.judge(&s, received, src); err != nil {
		return s, &Skipped{Kind: KindMalformed, Reason: err.Error()}
	}
	if !s.Resolved {
		s.Value = 1
	}
	s, p = m.resolve(s, a.Labels)
	s.Labels = kept(a.Labels)
	return s, p
}

// judge tells whether the alert fires.
func (a alert) judge(s *grace.Sample, received time.Time, src source) error {
	var status string
	if len(a.Status) > 0 && a.Status[0] == '"' {
		_ = json.Unmarshal(a.Status, &status) // it is a text
	}
	switch strings.ToLower(status) {
	case "firing", "active", "alerting":
	case "resolved", "inactive", "normal", "ok":
		s.Resolved = true
	case "":
		if !src.timed {
			return errors.New("it has no status: want firing or resolved")
		}
		s.Resolved = !a.EndsAt.IsZero() && !a.EndsAt.After(received)
	default:
		return fmt.Errorf("status %.40q: want firing or resolved", status)
	}
	if !s.Resolved && src.timed {
		s.Expires = received.Add(usualValid)
		if !a.EndsAt.IsZero() {
			s.Expires = a.EndsAt.UTC()
		}
		if latest := received.Add(maxValid); s.Expires.After(latest) {
			s.Expires = latest
		}
	}
	return nil
}

// bounded gives a time that can be stored: not before 1970, and not of the
// future.
func bounded(t, received time.Time) time.Time {
	switch {
	case t.Unix() < 0:
		return time.Time{}
	case t.After(received.Add(maxAhead)):
		return received
	}
	return t.UTC()
}

// fingerprint is the sender's, or made from the labels without the replica's,
// as Alertmanager makes it.
func (m *mapper) fingerprint(a alert) string {
	given := grace.Printable(a.Fingerprint)
	_, replica := a.Labels[m.ReplicaLabel]
	if given != "" && !replica && utf8.RuneCountInString(given) <= MaxName {
		return given
	}
	set := model.LabelSet{}
	for name, value := range a.Labels {
		if name != m.ReplicaLabel {
			set[model.LabelName(name)] = model.LabelValue(value)
		}
	}
	if len(set) == 0 && given != "" {
		set["fingerprint"] = model.LabelValue(given) // too long to be kept
	}
	return set.Fingerprint().String()
}

func (a alert) message() string {
	for _, key := range []string{"summary", "description", "message"} {
		if text := strings.TrimSpace(a.Annotations[key]); text != "" {
			return cut(grace.Printable(text), maxText)
		}
	}
	return ""
}

// kept bounds the labels that stay with a sample, to the first by name.
func kept(labels map[string]string) map[string]string {
	out := make(map[string]string, min(len(labels), maxLabels))
	for _, k := range slices.Sorted(maps.Keys(labels))[:min(len(labels), maxLabels)] {
		out[cut(grace.Printable(k), MaxName)] = cut(grace.Printable(labels[k]), MaxName)
	}
	return out
}

// cut shortens a text to so many characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
