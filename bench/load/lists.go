package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
)

// list is how long one list took, in milliseconds.
type list struct {
	Path     string  `json:"path"`
	Requests int     `json:"requests"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
}

// listPaths are what people look at, with the filters that they use.
func listPaths() []string {
	return []string{
		"/api/runs", "/api/runs?limit=200", "/api/runs?open=true", "/api/runs?service=svc-0007", "/api/runs?status=rolled_back",
		"/api/runs?status=awaiting_approval", "/api/runs?playbook=restart_service",
		"/api/incidents", "/api/incidents?state=open", "/api/incidents?service=svc-0000",
		"/api/governance/decisions", "/api/governance/decisions?service=svc-0007", "/api/governance/decisions?decision=deny",
		"/api/governance/approvals?state=pending", "/api/log/entries", "/api/log/operations", "/api/log/entries?object=run/r-00000700", "/api/log/entries?service=svc-0007",
		"/api/self_heal/learning", "/api/self_heal/learning?service=svc-0007", "/api/self_heal/kpis",
		"/api/services", "/api/services/svc-0007", "/api/services/svc-0007/why", "/api/health/state", "/lite", "/lite/services",
	}
}

// lists asks for every list in turn, one at a time, for a while.
func (p *process) lists(ctx context.Context, d time.Duration) ([]list, error) {
	paths := listPaths()
	took := make([][]float64, len(paths))
	for deadline := time.Now().Add(d); time.Now().Before(deadline) && ctx.Err() == nil; {
		for i, path := range paths {
			began := time.Now()
			status, answer, err := p.get(ctx, path)
			if err != nil {
				return nil, err
			}
			if status != http.StatusOK {
				return nil, fmt.Errorf("GET %s: %d %s", path, status, answer)
			}
			took[i] = append(took[i], float64(time.Since(began).Microseconds())/1e3)
		}
	}
	var out []list
	for i, path := range paths {
		out = append(out, list{Path: path, Requests: len(took[i]), P50: quantile(took[i], 0.5), P99: quantile(took[i], 0.99), Max: quantile(took[i], 1)})
	}
	return out, ctx.Err()
}

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(math.Ceil(q*float64(len(sorted))))-1)]
}

// metrics reads /metrics: name with labels to value.
func (p *process) metrics(ctx context.Context) (map[string]float64, error) {
	status, answer, err := p.get(ctx, "/metrics")
	if err != nil || status != http.StatusOK {
		return nil, errors.Join(err, fmt.Errorf("GET /metrics: %d", status))
	}
	out := map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(answer)); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasPrefix(name, "#") {
			if v, err := strconv.ParseFloat(value, 64); err == nil {
				out[name] = v
			}
		}
	}
	return out, nil
}

// deciding is how long deciding transactions took.
type deciding struct {
	Count float64 `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
}

// decisions reads the histogram of deciding: quantiles are upper edges of its
// buckets.
func (p *process) decisions(ctx context.Context) (deciding, error) {
	m, err := p.metrics(ctx)
	if err != nil {
		return deciding{}, err
	}
	const name = "grace_decision_duration_seconds_"
	d := deciding{Count: m[name+"count"]}
	edges := map[float64]float64{}
	for k, v := range m {
		if edge, ok := strings.CutPrefix(k, name+`bucket{le="`); ok {
			if le, err := strconv.ParseFloat(strings.TrimSuffix(edge, `"}`), 64); err == nil {
				edges[le] = v
			}
		}
	}
	at := func(q float64) float64 {
		best := math.Inf(1)
		for le, n := range edges {
			if n >= q*d.Count {
				best = min(best, le)
			}
		}
		return 1000 * best
	}
	d.P50, d.P99 = at(0.5), at(0.99)
	return d, nil
}

// breaker looks for the one incident of the storm, and for runs that should not
// be.
func (p *process) breaker(ctx context.Context, r *report) error {
	var incidents, runs struct {
		Items []struct {
			ID    string          `json:"id"`
			State grace.RunStatus `json:"status"`
		} `json:"items"`
	}
	if err := p.read(ctx, "/api/incidents?state=open&limit=200", &incidents); err != nil {
		return err
	}
	for _, inc := range incidents.Items {
		if strings.HasPrefix(inc.ID, "storm-") {
			r.StormIncidents++
		}
	}
	if r.StormIncidents != 1 {
		return fmt.Errorf("%d incidents of the storm, want 1", r.StormIncidents)
	}
	if err := p.read(ctx, "/api/runs?limit=200&from="+time.Now().Add(-30*time.Minute).UTC().Format(time.RFC3339), &runs); err != nil {
		return err
	}
	for _, run := range runs.Items {
		r.StormRuns++
		if run.State == grace.RunSucceeded || run.State.Mutating() {
			r.StormActed++
		}
	}
	return nil
}

func (p *process) audit(ctx context.Context, r *report) error {
	var v struct {
		OK      bool   `json:"ok"`
		Entries int64  `json:"entries"`
		Detail  string `json:"detail"`
	}
	began := time.Now()
	if err := p.read(ctx, "/api/log/verify", &v); err != nil {
		return err
	}
	r.AuditEntries, r.VerifySeconds = v.Entries, time.Since(began).Seconds()
	if !v.OK {
		return fmt.Errorf("the audit log does not verify: %s", v.Detail)
	}
	return nil
}
