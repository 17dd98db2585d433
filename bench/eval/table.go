package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Table is one table of the evaluation.
type Table struct {
	Title   string   `json:"title"`
	What    string   `json:"what"`    // what is measured, in a paragraph
	Columns []string `json:"columns"` // without the first, which names the row
	Rows    []Row    `json:"rows"`
	Notes   []string `json:"notes,omitempty"`
	lines   bool     // targets: a line each, for a terminal
}

// Row is one method's or one target's line.
type Row struct {
	Name  string  `json:"name"`
	Ours  bool    `json:"ours,omitempty"` // what the daemon does by default
	Cells []Value `json:"cells"`
}

// Value is a figure with its interval, or a text, such as a target's.
type Value struct {
	V      float64 `json:"value"`
	Lo     float64 `json:"low,omitempty"`  // 5 % quantile of the bootstrap; Lo = Hi = 0: none
	Hi     float64 `json:"high,omitempty"` // 95 %
	Digits int     `json:"-"`              // behind the point
	Text   string  `json:"text,omitempty"` // instead of the figure
}

func (v Value) String() string {
	if v.Text != "" {
		return v.Text
	}
	number := func(x float64) string { return strconv.FormatFloat(x, 'f', v.Digits, 64) }
	switch {
	case math.IsNaN(v.V):
		return "-"
	case v.Lo == 0 && v.Hi == 0:
		return number(v.V)
	}
	return number(v.V) + " (" + number(v.Lo) + " to " + number(v.Hi) + ")"
}

// text stands where there is no figure.
func text(s string) Value { return Value{Text: s} }

// figure is a number without an interval. NaN, which JSON has no form for, is a
// dash.
func figure(v float64, digits int) Value {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return text("-")
	}
	return Value{V: v, Digits: digits}
}

// bootstrap gives a statistic over all n series, and its 90 % interval over
// sets of n series that are drawn with replacement. The same call gives the
// same interval.
func bootstrap(n, digits int, statistic func(series []int) float64) Value {
	const draws = 200
	v := figure(statistic(all(n)), digits)
	if v.Text != "" || n < 2 {
		return v
	}
	random := rand.New(rand.NewPCG(1, uint64(n)))
	var got []float64
	drawn := make([]int, n)
	for range draws {
		for i := range drawn {
			drawn[i] = random.IntN(n)
		}
		if s := statistic(drawn); !math.IsNaN(s) && !math.IsInf(s, 0) {
			got = append(got, s)
		}
	}
	if len(got) > 1 {
		slices.Sort(got)
		v.Lo, v.Hi = got[len(got)/20], got[len(got)-1-len(got)/20]
	}
	return v
}

func all(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// Text is the table for a terminal.
func (t Table) Text() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%s\n", t.Title, strings.Repeat("=", len([]rune(t.Title))))
	for _, r := range t.Rows {
		if c := r.cells(); t.lines {
			fmt.Fprintf(&b, "target %s: wanted %s, got %s: %s\n", r.Name, c[0], c[1], c[2])
		}
	}
	if t.lines {
		return b.String()
	}
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\t"+strings.Join(t.Columns, "\t"))
	for _, r := range t.Rows {
		mark := ""
		if r.Ours {
			mark = "* "
		}
		fmt.Fprintln(w, mark+r.Name+"\t"+strings.Join(r.cells(), "\t"))
	}
	_ = w.Flush() // into memory
	for _, n := range t.Notes {
		fmt.Fprintln(&b, n)
	}
	return b.String()
}

// Markdown is the table for the documentation.
func (t Table) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s\n\n| |%s|\n|---|%s\n", t.Title, t.What, " "+strings.Join(t.Columns, " | ")+" ", strings.Repeat("---|", len(t.Columns)))
	for _, r := range t.Rows {
		name := r.Name
		if r.Ours {
			name = "**" + name + "**"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, strings.Join(r.cells(), " | "))
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	return b.String()
}

func (r Row) cells() []string {
	var out []string
	for _, c := range r.Cells {
		out = append(out, c.String())
	}
	return out
}

const (
	docsBegin = "<!-- eval:begin -->"
	docsEnd   = "<!-- eval:end -->"
)

// writeDocs replaces what stands between the marks of a file.
func writeDocs(file string, tables []Table) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	before, rest, ok := strings.Cut(string(old), docsBegin)
	_, after, closed := strings.Cut(rest, docsEnd)
	if !ok || !closed {
		return fmt.Errorf("%s has no lines %s and %s, one after the other", file, docsBegin, docsEnd)
	}
	var b strings.Builder
	b.WriteString(before + docsBegin + "\n\n")
	for _, t := range tables {
		b.WriteString(t.Markdown() + "\n")
	}
	b.WriteString(docsEnd + after)
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
