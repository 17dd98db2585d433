package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"grace"
)

// groupSize alerts are in a webhook, all of one service: Alertmanager grouped
// by service.
const groupSize = 50

// senders post at once, as several Alertmanagers would.
const senders = 16

// storm is what became of the webhooks.
type storm struct {
	mu       sync.Mutex
	accepted map[grace.ServiceID][]string // fingerprints by service
	groups   int
	refused  int
	took     []float64 // ms, of accepted ones
	seconds  float64
	problems []string
}

func (s *storm) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.problems) < 10 {
		s.problems = append(s.problems, fmt.Sprintf(format, args...))
	}
}

// storm sends all alerts, evenly over the time, and again what was refused.
func (p *process) storm(ctx context.Context, o options) *storm {
	s := &storm{accepted: map[grace.ServiceID][]string{}}
	groups := make(chan int, o.alerts/groupSize)
	began := time.Now()
	var done sync.WaitGroup
	for range senders {
		done.Go(func() {
			for g := range groups {
				p.post(ctx, s, serviceName(g%o.services), g)
			}
		})
	}
	n := o.alerts / groupSize
	for g := range n {
		time.Sleep(time.Until(began.Add(o.storm * time.Duration(g) / time.Duration(n))))
		groups <- g
	}
	close(groups)
	done.Wait()
	s.seconds = time.Since(began).Seconds()
	return s
}

// post sends one webhook until it is accepted.
func (p *process) post(ctx context.Context, s *storm, service grace.ServiceID, g int) {
	body, fingerprints := webhook(service, g)
	for try := 0; try < 100 && ctx.Err() == nil; try++ {
		began := time.Now()
		status, wait, err := p.send(ctx, body)
		took := time.Since(began)
		switch {
		case err != nil:
			s.problem("webhook: %v", err)
		case status/100 == 2:
			s.mu.Lock()
			s.groups++
			s.took = append(s.took, float64(took.Microseconds())/1e3)
			s.accepted[service] = append(s.accepted[service], fingerprints...)
			s.mu.Unlock()
			return
		case (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) && wait > 0:
			s.mu.Lock()
			s.refused++
			s.mu.Unlock()
		default:
			s.problem("webhook: status %d, Retry-After %s", status, wait)
			return
		}
		time.Sleep(max(wait, 100*time.Millisecond))
	}
	s.problem("webhook of %s was never accepted", service)
}

func (p *process) send(ctx context.Context, body []byte) (status int, wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+"/api/alertmanager", bytes.NewReader(body))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, 0, err
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return resp.StatusCode, time.Duration(seconds) * time.Second, nil
}

// webhook is a payload as Alertmanager sends it.
func webhook(service grace.ServiceID, g int) (body []byte, fingerprints []string) {
	type alert map[string]any
	var alerts []alert
	for i := range groupSize {
		fingerprint := fmt.Sprintf("%08x%08x", g, i)
		fingerprints = append(fingerprints, fingerprint)
		alerts = append(alerts, alert{
			"status": "firing", "fingerprint": fingerprint, "startsAt": time.Now().UTC(), "endsAt": time.Time{},
			"labels": map[string]string{
				"alertname": fmt.Sprintf("Pod%dDown", i), "service": string(service), "code": "service_down", "severity": "critical",
				"namespace": "shop", "pod": fmt.Sprintf("%s-%d", service, i),
			},
			"annotations":  map[string]string{"summary": fmt.Sprintf("pod %d of %s is down", i, service)},
			"generatorURL": "http://127.0.0.1/graph",
		})
	}
	body, err := json.Marshal(map[string]any{
		"version": "4", "groupKey": "{}:{service=\"" + string(service) + "\"}", "status": "firing", "receiver": "grace",
		"groupLabels": map[string]string{"service": string(service)}, "commonLabels": map[string]string{}, "commonAnnotations": map[string]string{},
		"externalURL": "http://127.0.0.1", "truncatedAlerts": 0, "alerts": alerts,
	})
	if err != nil {
		panic(err) // texts and times always have JSON
	}
	return body, fingerprints
}

// lost looks every accepted alert up among the signals of its service.
func (p *process) lost(ctx context.Context, s *storm) error {
	lost := 0
	for service, fingerprints := range s.accepted {
		var detail struct {
			Signals []grace.Signal `json:"signals"`
		}
		if err := p.read(ctx, "/api/services/"+string(service), &detail); err != nil {
			return err
		}
		firing := map[string]bool{}
		for _, sig := range detail.Signals {
			if sig.State == grace.SignalFiring {
				key := string(sig.Key)
				firing[key[max(0, len(key)-16):]] = true
			}
		}
		lost += len(slices.DeleteFunc(fingerprints, func(f string) bool { return firing[f] }))
	}
	if lost > 0 {
		return fmt.Errorf("%d accepted alerts are lost", lost)
	}
	return nil
}

// settled waits until no trigger waits for a decision.
func (p *process) settled(ctx context.Context, within time.Duration) error {
	for deadline := time.Now().Add(within); ; time.Sleep(200 * time.Millisecond) {
		m, err := p.metrics(ctx)
		if err != nil {
			return err
		}
		waiting := m[`grace_queue_depth{kind="triggers"}`]
		if waiting == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%.0f triggers still wait for a decision after %s", waiting, within)
		}
	}
}
