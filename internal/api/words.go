package api

import (
	"fmt"
	"strings"
	"time"

	"grace"
	"grace/console"
	"grace/internal/explain"
)

// humanize makes a code readable: circuit_breaker_open -> circuit breaker open.
func humanize(code string) string { return strings.ReplaceAll(code, "_", " ") }

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("15:04:05")
}

func span(d time.Duration) string { return console.Span(d) }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func quoted(reason string) string {
	if reason == "" {
		return ""
	}
	return fmt.Sprintf(": %q", reason)
}

func deref(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func checkName(name string, kind grace.CheckType) string {
	if name == "" {
		return string(kind)
	}
	return name
}

func verdictWords(v grace.Verdict) string {
	switch v {
	case grace.VerdictAllow:
		return "allow"
	case grace.VerdictRequireApproval:
		return "ask a person"
	case grace.VerdictObserve:
		return "observe only"
	case grace.VerdictNone:
		return "propose nothing"
	case grace.VerdictDeny:
		return "deny"
	}
	return "deny"
}

func runWords(state grace.RunStatus) string {
	if state == grace.RunAwaitingApproval {
		return "waiting for approval"
	}
	return humanize(string(state))
}

// runNow says where a run is, and what it waits for.
func runNow(r grace.Run) string {
	if waits := explain.Waits(r); waits != "" {
		return runWords(r.Status) + ", waits for " + waits
	}
	return runWords(r.Status)
}

// text lays an explanation out for a terminal.
func text(summary string, stages []Stage) string {
	var b strings.Builder
	b.WriteString(summary)
	b.WriteByte('\n')
	for _, st := range stages {
		fmt.Fprintf(&b, "\n%s\n", st.Title)
		for _, line := range st.Lines {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	return b.String()
}

// cause says what a run is for: a condition, or what a person wants.
func cause(r grace.Run) string {
	if r.Asked != nil {
		return "what " + r.Asked.Actor + " asked for: " + r.Asked.Text
	}
	return humanize(string(r.Code))
}
