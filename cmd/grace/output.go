package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"grace"
)

// show prints an answer: raw with --json, else by human.
func (a *app) show(raw json.RawMessage, human func(w io.Writer)) error {
	if a.json {
		return a.showJSON(raw)
	}
	var buf bytes.Buffer
	human(&buf)
	if _, err := io.WriteString(a.out, forTerminal(buf.String())); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// own are the escape sequences that tint writes.
const own = "\x1b["

// forTerminal lets nothing through that a terminal would obey, but for line ends
// and our own colours: names and messages come from outside.
func forTerminal(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, ended := strings.CutSuffix(line, "\n")
		for rest := line; ; {
			before, after, found := strings.Cut(rest, own)
			b.WriteString(grace.Printable(before))
			if !found {
				break
			}
			if code, next, closed := strings.Cut(after, "m"); closed && (code == "0" || code == "31" || code == "32" || code == "33") {
				b.WriteString(own + code + "m")
				rest = next
				continue
			}
			b.WriteString(grace.Printable(own))
			rest = after
		}
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func (a *app) showJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// table is printed with aligned columns. Cells of a column named in tones are
// coloured by their word where colour is wanted.
type table struct {
	head  []string
	rows  [][]string
	tones map[int]bool
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer, colour bool) {
	widths := make([]int, len(t.head))
	for i, h := range t.head {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(cells []string, tinted bool) {
		var b strings.Builder
		for i, cell := range cells {
			padded := cell
			if i < len(cells)-1 {
				padded += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			}
			if tinted && colour && t.tones[i] {
				padded = tint(cell, padded)
			}
			b.WriteString(padded)
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	line(t.head, false)
	for _, row := range t.rows {
		line(row, true)
	}
}

// tint colours text by the tone of word: red for what failed, yellow for what
// is doubtful or waits, green for what is well. The word itself is always
// there: colour never says anything alone.
func tint(word, text string) string {
	code := ""
	switch word {
	case "critical", "failed", "escalated", "rollback_failed", "deny", "no", "broken", "FAILED", "open":
		code = "31"
	case "degraded", "rolled_back", "rolling_back", "awaiting_approval", "aborted", "expired", "denied", "require_approval", "pending", "observe_only", "stopped", "ask_always":
		code = "33"
	case "healthy", "succeeded", "allow", "ok", "yes", "autonomous", "approved":
		code = "32"
	default:
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

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

// clock prints the time of day.
func (a *app) clock(t time.Time) string {
	if a.utc {
		return t.UTC().Format("15:04:05Z")
	}
	return t.Local().Format("15:04:05")
}

// short prints a duration as a person says it: 0.4s, 12s, 3m20s, 2h5m.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + short(-d)
	case d == 0:
		return "0s"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 0, 64) + " %" }

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// count says how many: "1 run", "2 runs".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// join prints a list of named strings.
func join[S ~string](list []S) string {
	if len(list) == 0 {
		return "-"
	}
	parts := make([]string, len(list))
	for i, s := range list {
		parts[i] = string(s)
	}
	return strings.Join(parts, ", ")
}

// oneLine cuts text for a table cell.
func oneLine(s string, limit int) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-3]) + "..."
}

// gates prints a decision's reasons, the failed ones first with their hints.
func (a *app) gates(w io.Writer, reasons []grace.Reason) {
	t := table{head: []string{"  GATE", "OK", "ACTUAL", "REQUIRED", "CODE"}, tones: map[int]bool{1: true}}
	for _, want := range []bool{false, true} {
		for _, r := range reasons {
			if r.OK == want {
				t.add("  "+r.Gate, yesNo(r.OK), oneLine(orDash(r.Actual), 60), oneLine(orDash(r.Required), 60), string(r.Code))
			}
		}
	}
	t.write(w, a.colour)
	for _, r := range reasons {
		if !r.OK && r.Hint != "" {
			_, _ = fmt.Fprintf(w, "  hint (%s): %s\n", r.Gate, r.Hint)
		}
	}
}
