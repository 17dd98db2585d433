package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// alerts is what became of the storm.
type alerts struct {
	Accepted int     `json:"accepted"`
	Groups   int     `json:"webhooks"`
	Refused  int     `json:"refused_webhooks"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
}

func (s *storm) outcome() alerts {
	a := alerts{Groups: s.groups, Refused: s.refused, Seconds: s.seconds, P50: quantile(s.took, 0.5), P99: quantile(s.took, 0.99), Max: quantile(s.took, 1)}
	for _, f := range s.accepted {
		a.Accepted += len(f)
	}
	return a
}

// report is what was measured.
type report struct {
	Database        string   `json:"database"`
	Services        int      `json:"services"`
	Runs            int      `json:"runs"`
	SeedSeconds     float64  `json:"seed_seconds"`
	ProbesPerMinute float64  `json:"probes_per_minute"`
	Calm            []list   `json:"lists_calm"`
	Storm           []list   `json:"lists_in_storm"`
	Alerts          alerts   `json:"alerts"`
	SettledSeconds  float64  `json:"settled_seconds"`
	Decisions       deciding `json:"decisions"`
	RecordBytes     float64  `json:"bytes_per_decision"`
	StormIncidents  int      `json:"storm_incidents"`
	StormRuns       int      `json:"storm_runs"`
	StormActed      int      `json:"storm_runs_that_acted"`
	AuditEntries    int64    `json:"audit_entries"`
	VerifySeconds   float64  `json:"verify_seconds"`
	CalmUse         use      `json:"use_calm"`
	StormUse        use      `json:"use_storm"`
	EndUse          use      `json:"use_end"`
	Problems        []string `json:"problems"`
}

func (r *report) check(err error) {
	if err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
}

func (r *report) write(path string) error {
	if path == "" {
		return nil
	}
	return writeJSON(path, r)
}

func (r *report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t"+format+"\n", append([]any{name}, args...)...)
	}
	row("store", "%s, %d runs, %d audit entries (verified in %.1f s)", r.Database, r.Runs, r.AuditEntries, r.VerifySeconds)
	row("services", "%d, %.0f probes a minute", r.Services, r.ProbesPerMinute)
	row("alerts", "%d accepted in %d webhooks over %.0f s, %d webhooks refused for a while", r.Alerts.Accepted, r.Alerts.Groups, r.Alerts.Seconds, r.Alerts.Refused)
	row("webhook", "p50 %.1f ms, p99 %.1f ms, max %.0f ms", r.Alerts.P50, r.Alerts.P99, r.Alerts.Max)
	row("decisions", "%.0f, p50 <= %.0f ms, p99 <= %.0f ms; all triggers decided %.1f s after the storm", r.Decisions.Count, r.Decisions.P50, r.Decisions.P99, r.SettledSeconds)
	row("record", "%.0f bytes a decision on average: its document, its snapshot, and their shared parts", r.RecordBytes)
	row("storm breaker", "%d incident, %d runs, of which %d acted", r.StormIncidents, r.StormRuns, r.StormActed)
	row("memory", "calm %.0f MB, after the storm %.0f MB, peak %.0f MB", r.CalmUse.RSSMB, r.EndUse.RSSMB, r.EndUse.PeakMB)
	row("processor", "%.1f s in the storm of %.0f s", r.StormUse.CPUSeconds, r.Alerts.Seconds)
	fmt.Fprintf(w, "\nlist\tcalm p50\tp99\tmax\tstorm p50\tp99\tmax (ms)\n")
	for i, l := range r.Calm {
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f", l.Path, l.P50, l.P99, l.Max)
		if i < len(r.Storm) {
			s := r.Storm[i]
			fmt.Fprintf(w, "\t%.1f\t%.1f\t%.1f", s.P50, s.P99, s.Max)
		}
		fmt.Fprintln(w)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "\nPROBLEM\t%s\n", p)
	}
	_ = w.Flush() // to a terminal or a pipe that went away
}
