// Package alertmanager reads what Prometheus' Alertmanager sends to a webhook
// (payload version 4) and proves who sent it.
//
// [Parse] makes a sample of every alert, firing or resolved, that a [Mapping]
// leads to a service and a code. An alert that it does not lead anywhere, or
// that is malformed, is handed back as a [Problem] and the others are still
// taken: Alertmanager does not send again what was answered with 4xx, so
// refusing a whole group for one stray alert would lose the rest. Every alert of
// a payload ends as exactly one sample or one problem; alerts that Alertmanager
// itself left out (max_alerts) are one problem more.
//
// An alert's fingerprint is its identity: the resolved message carries that of
// the firing one. The sample's time is when it was received, because a repeated
// message is news ("still firing") although its startsAt is old.
package alertmanager

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"grace"
)

// Sensor is the sensor name of the samples.
const Sensor = "alertmanager"

// version of the payload that is understood.
const version = "4"

// The statuses of an alert.
const (
	firing   = "firing"
	resolved = "resolved"
)

// Problem is an alert that did not become a sample.
type Problem struct {
	Fingerprint string `json:"fingerprint"`
	Alert       string `json:"alert"`
	Reason      string `json:"reason"`
}

func (p Problem) String() string {
	return fmt.Sprintf("alert %s (%s): %s", p.Alert, p.Fingerprint, p.Reason)
}

type payload struct {
	Version   string            `json:"version"`
	Alerts    []json.RawMessage `json:"alerts"`
	Truncated uint64            `json:"truncatedAlerts"`
}

type alert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
	Fingerprint string            `json:"fingerprint"`
}

// Parse reads one payload. The error means that it is none: not JSON, another
// version, or without alerts.
func Parse(body []byte, m Mapping, received time.Time) ([]grace.Sample, []Problem, error) {
	var p payload
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, nil, fmt.Errorf("read the Alertmanager payload: %w", err)
	}
	if p.Version != version {
		return nil, nil, fmt.Errorf("read the Alertmanager payload: version %q, want %q", p.Version, version)
	}
	if len(p.Alerts) == 0 {
		return nil, nil, errors.New("read the Alertmanager payload: no alerts")
	}
	m = m.withDefaults()
	var samples []grace.Sample
	var problems []Problem
	for _, raw := range p.Alerts {
		sample, err := m.sample(raw, received)
		if err != nil {
			problems = append(problems, Problem{Fingerprint: sample.Fingerprint, Alert: sample.Metric, Reason: err.Error()})
			continue
		}
		samples = append(samples, sample)
	}
	if p.Truncated > 0 {
		problems = append(problems, Problem{
			Alert:  "truncatedAlerts",
			Reason: fmt.Sprintf("Alertmanager left %d alerts out: set max_alerts of the webhook to 0", p.Truncated),
		})
	}
	return samples, problems, nil
}

// sample reads one alert. With an error it still holds the alert's name and
// fingerprint, as far as they are known.
func (m Mapping) sample(raw json.RawMessage, received time.Time) (grace.Sample, error) {
	var a alert
	if err := json.Unmarshal(raw, &a); err != nil {
		return grace.Sample{}, fmt.Errorf("read the alert: %w", err)
	}
	a.clean()
	s := grace.Sample{
		Sensor: Sensor, Metric: a.Labels["alertname"], Kind: grace.SampleAlert, At: received,
		Resolved: a.Status == resolved, Fingerprint: a.Fingerprint, Labels: a.Labels, Message: a.message(),
	}
	if s.Metric == "" {
		s.Metric = "alert"
	}
	if !s.Resolved {
		s.Value = 1
	}
	if err := a.check(); err != nil {
		return s, err
	}
	return m.lead(s)
}

// clean makes the texts fit to be stored.
func (a *alert) clean() {
	a.Fingerprint = grace.CleanOutput(a.Fingerprint)
	labels := make(map[string]string, len(a.Labels))
	for k, v := range a.Labels {
		labels[grace.CleanOutput(k)] = grace.CleanOutput(v)
	}
	a.Labels = labels
}

func (a alert) check() error {
	switch {
	case a.Status != firing && a.Status != resolved:
		return fmt.Errorf("status %q: want firing or resolved", a.Status)
	case a.Fingerprint == "":
		return errors.New("it has no fingerprint")
	case a.StartsAt.IsZero():
		return errors.New("it has no startsAt")
	case a.Status == resolved && a.EndsAt.Before(a.StartsAt):
		return errors.New("it is resolved and its endsAt is before its startsAt")
	}
	return nil
}

func (a alert) message() string {
	for _, key := range []string{"summary", "description", "message"} {
		if text := a.Annotations[key]; text != "" {
			return grace.CleanOutput(text)
		}
	}
	return ""
}
