package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Of billing and ledger GRACE has no sensor: it knows only what Prometheus
// alerts on, and what Alertmanager tells it and lists.

const (
	// bearer is what Alertmanager says who it is with.
	bearer = "from-alertmanager"
	// resend is how soon Prometheus sends an alert again: an Alertmanager that was
	// started again knows none.
	resend = 10 * time.Second
)

const rules = `groups:
  - name: services
    rules:
      - alert: Down
        expr: up{job="alerting"} == 0
        for: 1s
        labels: {severity: critical, code: service_down}
`

func (s *stack) alertmanager() string {
	return fmt.Sprintf(`route: {receiver: grace, group_by: [service], group_wait: 500ms, group_interval: 2s, repeat_interval: 4h}
receivers:
  - name: grace
    webhook_configs:
      - url: http://%s/api/alertmanager
        send_resolved: true
        http_config: {authorization: {type: Bearer, credentials: %s}}
`, s.at("grace"), bearer)
}

// hushed are the services whose alert is silenced at Alertmanager, with the id
// of the silence.
type hushed struct {
	mu sync.Mutex
	by map[string]string
}

func (h *hushed) has(service string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by[service] != ""
}

// set gives the silence that there was.
func (h *hushed) set(service, id string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = map[string]string{}
	}
	before := h.by[service]
	h.by[service] = id
	return before
}

// silence has Alertmanager keep the alert of a service to itself.
func (s *stack) silence(service string) error {
	now := time.Now().UTC()
	var made struct {
		ID string `json:"silenceID"`
	}
	err := s.askAlertmanager(http.MethodPost, "/api/v2/silences", map[string]any{
		"matchers": []any{map[string]any{"name": "service", "value": service, "isRegex": false, "isEqual": true}},
		"startsAt": now, "endsAt": now.Add(time.Hour), "createdBy": "the campaign", "comment": "maintenance of " + service,
	}, &made)
	if err != nil {
		return err
	}
	s.hushed.set(service, made.ID)
	return nil
}

func (s *stack) endSilence(service string) error {
	return s.askAlertmanager(http.MethodDelete, "/api/v2/silence/"+s.hushed.set(service, ""), nil, nil)
}

// listed tells whether Alertmanager lists an alert of a service.
func (s *stack) listed(service string) bool {
	var alerts []struct {
		Labels map[string]string `json:"labels"`
	}
	if s.askAlertmanager(http.MethodGet, "/api/v2/alerts", nil, &alerts) != nil {
		return false
	}
	for _, a := range alerts {
		if a.Labels["service"] == service {
			return true
		}
	}
	return false
}

// untilListed waits until the alert of a service fires, or does not any more.
func (s *stack) untilListed(ctx context.Context, service string, fires bool) error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && ctx.Err() == nil; wait(ctx, 200*time.Millisecond) {
		if s.listed(service) == fires {
			return nil
		}
	}
	return fmt.Errorf("the alert of %s did not come or go as it should (to fire: %v)", service, fires)
}

func (s *stack) askAlertmanager(method, path string, body, into any) error {
	var in io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(data)
	}
	req, err := http.NewRequest(method, "http://"+s.at("alertmanager")+path, in)
	if err != nil {
		return err
	}
	return answer(req, into)
}

// silenced silences the alert of a service before it is broken.
func silenced(service string, inject func(*stack) error) func(*stack) error {
	return func(s *stack) error {
		if err := s.silence(service); err != nil {
			return err
		}
		return inject(s)
	}
}

// maintained has a person repair a service whose alert is silenced, and then end
// the silence.
func maintained(service string, lasts time.Duration) func(context.Context, *stack) error {
	return func(ctx context.Context, s *stack) error {
		end := time.Now().Add(lasts)
		if err := s.untilListed(ctx, service, true); err != nil {
			return err
		}
		wait(ctx, time.Until(end))
		if err := s.units[service].start(); err != nil {
			return err
		}
		if err := s.untilListed(ctx, service, false); err != nil {
			return err
		}
		return s.endSilence(service)
	}
}

// silenceEnds ends the silence although the service is as sick as before.
func silenceEnds(service string, after time.Duration) func(context.Context, *stack) error {
	return func(ctx context.Context, s *stack) error {
		wait(ctx, after)
		return s.endSilence(service)
	}
}

// killedWhileAlerted kills GRACE when it has heard of an alert and has not acted
// yet.
func killedWhileAlerted(service string) func(context.Context, *stack) error {
	return func(ctx context.Context, s *stack) error {
		if err := s.untilListed(ctx, service, true); err != nil {
			return err
		}
		return restart(syscall.SIGKILL, time.Second)(ctx, s)
	}
}

// lostWhileAlerted has Alertmanager go away while an alert fires: what comes back
// knows of none.
func lostWhileAlerted(service string) func(context.Context, *stack) error {
	return func(ctx context.Context, s *stack) error {
		if err := s.untilListed(ctx, service, true); err != nil {
			return err
		}
		wait(ctx, time.Second)
		return away("alertmanager", 10*time.Second)(ctx, s)
	}
}
