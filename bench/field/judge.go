package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"grace"
)

const (
	patience         = 30 * time.Second // escalate_after
	patienceCritical = 15 * time.Second
	// slack is what looking, ticking and a restart of GRACE may add.
	slack = 20 * time.Second
	// approveAfter is how long the person takes who is asked.
	approveAfter = 3 * time.Second
)

// judge looks at the services and at what GRACE says, all the time.
type judge struct {
	*stack
	mu        sync.Mutex
	sick      map[string]time.Time // since when, by own looks
	wellAt    map[string]time.Time // last seen well
	wellSince map[string]time.Time
	hush      map[string]time.Time // since when nobody says or does anything
	incidents []grace.Incident     // all that were ever seen
	toldAt    map[grace.IncidentID]time.Time
	heard     time.Time // GRACE was asked last, and answered
	asked     map[grace.RunID]question
	runs      map[grace.RunID]grace.Run
	silences  []string
	untrue    []string
}

type question struct {
	service string
	at      time.Time
}

func newJudge(s *stack) *judge {
	return &judge{
		stack: s, sick: map[string]time.Time{}, wellAt: map[string]time.Time{}, wellSince: map[string]time.Time{}, hush: map[string]time.Time{},
		toldAt: map[grace.IncidentID]time.Time{}, asked: map[grace.RunID]question{}, runs: map[grace.RunID]grace.Run{},
	}
}

func (j *judge) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, name := range append(services(), "alertmanager") {
		all.Go(func() {
			for ctx.Err() == nil {
				j.saw(name, j.look(name) == nil, time.Now())
				wait(ctx, 300*time.Millisecond)
			}
		})
	}
	all.Go(func() {
		for ctx.Err() == nil {
			j.listen()
			wait(ctx, 700*time.Millisecond)
		}
	})
	all.Wait()
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (j *judge) saw(name string, well bool, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if well {
		if _, sick := j.sick[name]; sick || j.wellSince[name].IsZero() {
			j.wellSince[name] = now
		}
		j.wellAt[name] = now
		delete(j.sick, name)
		return
	}
	if _, is := j.sick[name]; !is {
		j.sick[name] = now
	}
}

// noticed is how long after a service is well GRACE may still act on it: its
// sensors look once a second.
const noticed = 2 * time.Second

func (j *judge) wellFor(name string) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, sick := j.sick[name]; sick {
		return 0
	}
	return time.Since(j.wellSince[name])
}

func (j *judge) isWell(name string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, sick := j.sick[name]
	return !sick && time.Since(j.wellAt[name]) < 3*time.Second
}

// listen reads what GRACE says, answers its questions, and looks for silence.
func (j *judge) listen() {
	var incidents, runs, approvals struct {
		Items json.RawMessage `json:"items"`
	}
	var open []grace.Incident
	var ran []grace.Run
	var pending []grace.Approval
	began := time.Now()
	if j.ask(http.MethodGet, "/api/incidents?limit=200", nil, &incidents) != nil || json.Unmarshal(incidents.Items, &open) != nil ||
		j.ask(http.MethodGet, "/api/runs?limit=200", nil, &runs) != nil || json.Unmarshal(runs.Items, &ran) != nil ||
		j.ask(http.MethodGet, "/api/governance/approvals?limit=200", nil, &approvals) != nil || json.Unmarshal(approvals.Items, &pending) != nil {
		j.away()
		return
	}
	now := time.Now()
	j.mu.Lock()
	j.incidents = open
	for _, r := range ran {
		before, known := j.runs[r.ID]
		if r.Status == grace.RunSucceeded && (!known || before.Status != grace.RunSucceeded) {
			j.helped(r)
		}
		j.runs[r.ID] = r
	}
	for _, i := range open {
		if _, known := j.toldAt[i.ID]; !known {
			j.toldAt[i.ID] = now
		}
	}
	j.heard = began
	j.quiet(open, ran, now)
	j.mu.Unlock()
	for _, a := range pending {
		if a.State != grace.ApprovalPending {
			continue
		}
		j.mu.Lock()
		q, known := j.asked[a.Run]
		if !known {
			q = question{string(a.Service), now}
			j.asked[a.Run] = q
		}
		j.mu.Unlock()
		if now.Sub(q.at) >= approveAfter {
			// Asked again at the next look if it fails.
			_ = j.ask(http.MethodPost, "/api/governance/approvals/"+string(a.ID)+"/decision",
				map[string]any{"decision": "approve", "reason": "the campaign's person says yes", "revision": a.Revision}, nil)
		}
	}
}

// away: GRACE is not there. Whoever watches it is told of that.
func (j *judge) away() {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.hush)
	j.heard = time.Time{}
}

// helped holds a success against the campaign's own looks: it came after GRACE
// was asked last. Times that GRACE says are of no use, its clock may be set. The
// caller holds the lock.
func (j *judge) helped(r grace.Run) {
	if since, sick := j.sick[string(r.Service)]; sick && j.heard.Sub(since) > time.Second {
		j.untrue = append(j.untrue, fmt.Sprintf("%s: run %s succeeded, and it had been sick for %s", r.Service, r.ID, j.heard.Sub(since).Round(time.Second)))
	}
}

// quiet looks for what is sick for too long while nobody acts, asks or tells.
// The caller holds the lock.
func (j *judge) quiet(incidents []grace.Incident, runs []grace.Run, now time.Time) {
	for _, name := range services() {
		since, sick := j.sick[name]
		limit := patience
		if name == "db" {
			limit = patienceCritical
		}
		covered := slices.ContainsFunc(incidents, func(i grace.Incident) bool {
			return i.State == grace.IncidentOpen && i.Covers(grace.ServiceID(name))
		}) || slices.ContainsFunc(runs, func(r grace.Run) bool { return string(r.Service) == name && !r.Status.Terminal() })
		if !sick || now.Sub(since) < limit || covered || j.hushed.has(name) {
			delete(j.hush, name)
			continue
		}
		first, hushed := j.hush[name]
		if !hushed {
			j.hush[name], first = now, now
		}
		if now.Sub(first) >= slack {
			j.silences = append(j.silences, fmt.Sprintf("%s was sick for %s, and nobody acted, asked or said so", name, now.Sub(since).Round(time.Second)))
			j.hush[name] = now.Add(time.Hour) // once
		}
	}
}

func (j *judge) ask(method, path string, body, into any) error {
	token, err := os.ReadFile(filepath.Join(j.dir, "data", "cli.token"))
	if err != nil {
		return err
	}
	var in io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = strings.NewReader(string(data))
	}
	req, err := http.NewRequest(method, "http://"+j.at("grace")+path, in)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return answer(req, into)
}

// answer sends a request and reads the JSON that is answered.
func answer(req *http.Request, into any) error {
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, data)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(data, into)
}

func get(url string) (string, error) {
	client := &http.Client{Timeout: lookTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	return string(data), err
}
