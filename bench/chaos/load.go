package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"grace"
)

const (
	// Workers post at once; each waits for its run before it goes on. On
	// PostgreSQL many of them wait for takeovers.
	workersSQLite   = 8
	workersPostgres = 30
	// postAgain is the pause after a refused or failed request.
	postAgain = 50 * time.Millisecond
	lookAgain = 100 * time.Millisecond
	// stuckAfter so many looks a run that shows nothing new waits for something.
	stuckAfter = 30
	// thinking bounds the time between a worker's services.
	thinking = time.Second
)

// load makes one service after the other sick, and well again when its run has
// ended.
type load struct {
	replicas []*replica
	services int
	workers  int
	client   *http.Client

	next     atomic.Int64
	mu       sync.Mutex
	accepted []grace.ServiceID
}

func newLoad(replicas []*replica, services, workers int) *load {
	// No connection outlives its request: the next process has another port.
	return &load{replicas: replicas, services: services, workers: workers, client: &http.Client{
		Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
	}}
}

func serviceName(i int64) grace.ServiceID { return grace.ServiceID(fmt.Sprintf("svc%d", i)) }

// run posts until more is done, and then sees its last runs to their end. An
// error is what remained open when ctx ended.
func (l *load) run(ctx, more context.Context) []error {
	var group sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for range l.workers {
		group.Go(func() {
			for more.Err() == nil && ctx.Err() == nil {
				i := l.next.Add(1) - 1
				if i >= int64(l.services) {
					return
				}
				if err := l.heal(ctx, serviceName(i)); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
				sleep(more, rand.N(thinking))
			}
		})
	}
	group.Wait()
	return errs
}

// heal makes a service sick, waits for the end of its run, and makes it well.
func (l *load) heal(ctx context.Context, service grace.ServiceID) error {
	alert := map[string]any{
		"service": service, "kind": "alert", "code": "service_down", "severity": "critical", "message": "down",
	}
	// Some alert senders send to every replica.
	for range rand.IntN(3) {
		go func() { _ = l.post(ctx, alert, false) }()
	}
	if err := l.persist(ctx, alert, false); err != nil {
		return fmt.Errorf("%s: the trigger was never accepted: %w", service, err)
	}
	l.mu.Lock()
	l.accepted = append(l.accepted, service)
	l.mu.Unlock()
	shown, still := "", 0
	for {
		var page struct {
			Items []grace.Run `json:"items"`
		}
		ok, _ := l.request(ctx, http.MethodGet, "/api/runs?service="+string(service), nil, &page)
		if ok && len(page.Items) > 0 {
			if page.Items[0].Status.Terminal() {
				break
			}
			run := &page.Items[0]
			if now := fmt.Sprint(run.ID, run.Status, len(run.Steps)); now != shown {
				shown, still = now, 0
			}
			still++
			l.playSource(ctx, run, alert, still > stuckAfter)
		} else if still++; ok && still > stuckAfter {
			// A source repeats what still fires: GRACE may have been killed before it decided.
			_ = l.post(ctx, alert, false)
			still = 0
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: no run that ended: %+v", service, page.Items)
		case <-time.After(lookAgain):
		}
	}
	if err := l.persist(ctx, alert, true); err != nil {
		return fmt.Errorf("%s: the end of the alert was never accepted: %w", service, err)
	}
	return nil
}

// playSource does what the source of an alert does: it resolves it when the
// service is well, and repeats it while GRACE may wait for fresh evidence: before a run
// begins, and while one that a process left which was killed does not go on. Of one that
// goes on it would be a new occurrence, said after the end.
func (l *load) playSource(ctx context.Context, run *grace.Run, alert map[string]any, stuck bool) {
	resolved := run.Status == grace.RunVerifying
	waits := run.Status == grace.RunApproved && len(run.Reasons) > 0 || run.Status == grace.RunRunning && stuck
	if !resolved && !waits {
		return
	}
	// The process may be away: then it is said again.
	_ = l.post(ctx, alert, resolved)
}

// persist posts an alert until it is accepted.
func (l *load) persist(ctx context.Context, alert map[string]any, resolved bool) error {
	for {
		if l.post(ctx, alert, resolved) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(postAgain):
		}
	}
}

// post says whether an alert fires or is over now: what a process that was stopped meanwhile
// takes later is of that time, as a source dates it.
func (l *load) post(ctx context.Context, alert map[string]any, resolved bool) (accepted bool) {
	signal := maps.Clone(alert)
	signal["at"], signal["resolved"] = time.Now().UTC(), resolved
	accepted, _ = l.request(ctx, http.MethodPost, "/api/health/ingest_signal", signal, nil)
	return accepted
}

// request asks any replica; ok means that it was answered 2xx.
func (l *load) request(ctx context.Context, method, path string, body, into any) (ok bool, err error) {
	base, token := l.replicas[rand.IntN(len(l.replicas))].address()
	if base == "" {
		return false, nil
	}
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return false, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, in)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := l.client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		return false, err
	}
	if into == nil {
		return true, nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return false, err
	}
	return true, nil
}
