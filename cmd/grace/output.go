package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"grace"
	"grace/internal/cli"
	"grace/internal/explain"
)

// at prints a time: local, or UTC marked with Z.
func (a *app) at(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	if a.utc {
		return t.UTC().Format("2006-01-02 15:04:05Z")
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func (a *app) atMaybe(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return a.at(*t)
}

// count says how many: "1 run", "2 runs".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// gates prints a decision's reasons, the failed ones first with their hints.
func (a *app) gates(w io.Writer, reasons []grace.Reason) {
	t := cli.Table{Head: []string{"  GATE", "OK", "ACTUAL", "REQUIRED", "CODE"}, Tones: map[int]bool{1: true}}
	for _, want := range []bool{false, true} {
		for _, r := range reasons {
			if r.OK == want {
				t.Add("  "+r.Gate, cli.YesNo(r.OK), cli.OneLine(explain.Actual(r), 60), cli.OneLine(explain.Required(r), 60), string(r.Code))
			}
		}
	}
	t.Write(w, a.Colour)
	for _, r := range reasons {
		if hint := explain.Hint(r); hint != "" {
			_, _ = fmt.Fprintf(w, "  hint (%s): %s\n", r.Gate, hint)
		}
	}
}
