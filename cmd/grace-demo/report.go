package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/cli"
	"grace/internal/decide"
	"grace/internal/stage/learn"
)

// demoReport is what `grace-demo --once --json` prints.
type demoReport struct {
	OK           bool                  `json:"ok"`
	Faults       []faultReport         `json:"faults"`
	QuietMinutes float64               `json:"quiet_minutes,omitempty"`
	KPIs         json.RawMessage       `json:"kpis"`
	MTTRp50      *float64              `json:"mttr_p50_s"`
	Actions      int                   `json:"actions"`
	Runs         int                   `json:"runs"`
	Decisions    map[grace.Verdict]int `json:"decisions"`
	AuditOK      bool                  `json:"audit_ok"`
	Replay       decide.Replayed       `json:"replay"`
	Detail       string                `json:"detail,omitempty"`
}

// newReport sums up what GRACE did since a time.
func newReport(ctx context.Context, c *cli.Client, from time.Time, faults []faultReport) (demoReport, error) {
	r := demoReport{Faults: faults, Decisions: map[grace.Verdict]int{}, MTTRp50: median(faults)}
	if r.Faults == nil {
		r.Faults = []faultReport{}
	}
	kpis, err := c.KPIs(ctx)
	if err != nil {
		return r, err
	}
	r.KPIs = kpis.Raw
	runs, err := remote{c}.runs(ctx, from)
	if err != nil {
		return r, err
	}
	r.Runs = len(runs)
	for _, run := range runs {
		if run.StartedAt != nil {
			r.Actions++
		}
	}
	decisions, err := c.Decisions(ctx, cli.ListQuery{Limit: cli.MaxPage}.Values("from", from.UTC().Format(time.RFC3339Nano)))
	if err != nil {
		return r, err
	}
	for _, d := range decisions.Value.Items {
		r.Decisions[d.Verdict]++
	}
	audit, err := c.VerifyAudit(ctx, nil)
	if err != nil {
		return r, err
	}
	again, err := c.Replay(ctx, from.Add(-time.Hour), time.Now().Add(time.Hour))
	if err != nil {
		return r, err
	}
	r.Replay = again
	r.AuditOK = audit.Value.OK
	if !r.AuditOK {
		r.Detail = "the audit log is broken: " + audit.Value.Detail
	}
	return r, nil
}

// median of the times to recover of the faults that GRACE healed.
func median(faults []faultReport) *float64 {
	var times []float64
	for _, f := range faults {
		if f.healed && f.RecoveredS != nil {
			times = append(times, *f.RecoveredS)
		}
	}
	if len(times) == 0 {
		return nil
	}
	slices.Sort(times)
	m := times[len(times)/2]
	if len(times)%2 == 0 {
		m = (m + times[len(times)/2-1]) / 2
	}
	return &m
}

// text is the closing account.
func (r demoReport) text(k learn.KPIs, colour bool) string {
	var b strings.Builder
	if len(r.Faults) > 0 {
		t := cli.Table{Head: []string{"FAULT", "SERVICE", "AS TOLD", "DETECTED s", "ACTED s", "RECOVERED s", "OUTCOME"}, Tones: map[int]bool{2: true}}
		for _, f := range r.Faults {
			t.Add(f.Name, f.Service, cli.YesNo(f.OK), seconds(f.DetectedS), seconds(f.ActedS), seconds(f.RecoveredS), f.Outcome)
		}
		t.Write(&b, colour)
		for _, f := range r.Faults {
			if f.Detail != "" {
				_, _ = fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Detail)
			}
		}
		b.WriteString("\n")
	}
	_, _ = fmt.Fprintf(&b, "Median time to recover of what GRACE healed: %s s. Actions: %d in %d runs. Audit log intact: %s.\n", seconds(r.MTTRp50), r.Actions, r.Runs, cli.YesNo(r.AuditOK))
	_, _ = fmt.Fprintf(&b, "KPIs: %s, proposals %s a minute.\n", cli.KeyFigures(k), cli.Number(k.ProposalsPerMin))
	_, _ = fmt.Fprintf(&b, "Every decision computed again from its record: %s.\n", r.Replay)
	if r.Detail != "" {
		b.WriteString(r.Detail + "\n")
	}
	return b.String()
}
