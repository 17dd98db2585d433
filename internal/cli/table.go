package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table is printed with aligned columns. Cells of a column named in Tones are
// coloured by their word where colour is wanted.
type Table struct {
	Head  []string
	Rows  [][]string
	Tones map[int]bool
}

// Add adds a row: one cell for each word of Head.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write prints the head and all rows.
func (t *Table) Write(w io.Writer, colour bool) {
	widths := make([]int, len(t.Head))
	for i, h := range t.Head {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range t.Rows {
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
			if tinted && colour && t.Tones[i] {
				padded = Tint(cell, padded)
			}
			b.WriteString(padded)
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	line(t.Head, false)
	for _, row := range t.Rows {
		line(row, true)
	}
}

// Tint colours text by the tone of word: red for what failed, yellow for what
// is doubtful or waits, green for what is well. The word itself is always
// there: colour never says anything alone.
func Tint(word, text string) string {
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
