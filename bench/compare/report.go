package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"grace/examples/shop"
)

// report is a whole comparison; its JSON is comparison.json.
type report struct {
	At       time.Time         `json:"at"`
	Minutes  float64           `json:"minutes"`
	Parallel int               `json:"parallel"`
	Machine  string            `json:"machine"`
	Versions map[string]string `json:"versions"`
	Story    []planned         `json:"story"`
	Healers  []result          `json:"healers"`
}

// summary is one healer's row.
type summary struct {
	Faults, Recovered int
	P50, P95          float64 // over all faults; one not recovered counts as the time it was given
	P50Over, P95Over  bool    // the value is such a one: it was longer than that
	BothP50           float64 // over the faults that a restart cures
	BothP50Over       bool
	FirstP50          float64 // time to the first action, of the faults that had one
	Breach            int
	Actions, Wrong    int
}

func summarise(r result) summary {
	var s summary
	var all, both, first []float64
	for _, o := range r.Faults {
		s.Faults++
		if o.Recovered {
			s.Recovered++
		}
		all = append(all, o.RecoveredS)
		if restartCures(o.Kind) {
			both = append(both, o.RecoveredS)
		}
		if o.FirstActionS != nil {
			first = append(first, *o.FirstActionS)
		}
		s.Breach += o.BreachS
		s.Wrong += o.Wrong
		s.Actions += o.done()
	}
	s.P50, s.P95, s.BothP50, s.FirstP50 = quantile(all, .5), quantile(all, .95), quantile(both, .5), quantile(first, .5)
	s.P50Over, s.P95Over, s.BothP50Over = s.P50 >= r.GivenS, s.P95 >= r.GivenS, s.BothP50 >= r.GivenS
	return s
}

// seconds words a time; one that ran out is only a lower bound.
func seconds(v float64, over bool) string {
	switch {
	case v != v:
		return "-"
	case over:
		return fmt.Sprintf("> %.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// overview is the main table: a header and a row for each healer.
func (r report) overview() [][]string {
	rows := [][]string{{
		"healer", "recovered", "p50 s", "p95 s", "crash, leak: p50 s", "first action p50 s", "SLO breach s", "actions", "wrong", "CPU s/min", "peak RSS MiB",
	}}
	for _, h := range r.Healers {
		s := summarise(h)
		perMinute := "-"
		if h.Cost.Minutes > 0 {
			perMinute = fmt.Sprintf("%.2f", h.Cost.CPUSeconds/h.Cost.Minutes)
		}
		rows = append(rows, []string{
			h.Title, fmt.Sprintf("%d of %d", s.Recovered, s.Faults), seconds(s.P50, s.P50Over), seconds(s.P95, s.P95Over),
			seconds(s.BothP50, s.BothP50Over), seconds(s.FirstP50, false), fmt.Sprint(s.Breach), fmt.Sprint(s.Actions), fmt.Sprint(s.Wrong),
			perMinute, fmt.Sprintf("%.0f", h.Cost.PeakMiB),
		})
	}
	return rows
}

// faults is the second table: each fault's time to recovered by healer.
func (r report) faults() [][]string {
	return r.each(func(o outcome) string {
		cell := seconds(o.RecoveredS, !o.Recovered)
		if o.Wrong > 0 {
			cell += fmt.Sprintf(" (%d wrong)", o.Wrong)
		}
		return cell
	})
}

// touches is the third: when the faulty service was first acted on.
func (r report) touches() [][]string {
	return r.each(func(o outcome) string {
		if after, ok := o.touched(); ok {
			return seconds(after, false)
		}
		return "-"
	})
}

// each makes a table with a row for each fault and a column for each healer.
func (r report) each(word func(outcome) string) [][]string {
	header := []string{"fault"}
	for _, h := range r.Healers {
		header = append(header, h.Title)
	}
	rows := [][]string{header}
	for i, p := range r.Story {
		row := []string{string(p.Kind) + ", " + p.Service}
		for _, h := range r.Healers {
			cell := "-"
			if i < len(h.Faults) {
				cell = word(h.Faults[i])
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return rows
}

// tables for a terminal.
func (r report) tables() string {
	var out strings.Builder
	for _, rows := range [][][]string{r.overview(), r.faults()} {
		w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		for _, row := range rows {
			_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
		}
		_ = w.Flush()
		out.WriteString("\n")
	}
	for _, line := range r.findings() {
		out.WriteString("- " + line + "\n")
	}
	return out.String()
}

// markdown is a table for a page.
func markdown(rows [][]string) string {
	var out strings.Builder
	for i, row := range rows {
		out.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			out.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return out.String()
}

// find gives a healer's result.
func (r report) find(name string) (result, bool) {
	for _, h := range r.Healers {
		if h.Name == name {
			return h, true
		}
	}
	return result{}, false
}

// findings holds GRACE against each other healer, whichever way it comes out.
func (r report) findings() []string {
	g, ok := r.find("grace")
	if !ok {
		return nil
	}
	mine := summarise(g)
	var out []string
	for _, h := range r.Healers {
		if h.Name == "grace" {
			continue
		}
		his := summarise(h)
		out = append(out, fmt.Sprintf("%s recovered %d of %d faults, GRACE %d of %d.", h.Title, his.Recovered, his.Faults, mine.Recovered, mine.Faults))
		if line := ratios(h, g); line != "" {
			out = append(out, line)
		}
		if line := earlier(h, g); line != "" {
			out = append(out, line)
		}
		for _, c := range []struct {
			what      string
			his, mine float64
			over      bool
		}{
			{"median time to recovered, all faults", his.P50, mine.P50, his.P50Over},
			{"median time to recovered, crash and leak only", his.BothP50, mine.BothP50, his.BothP50Over},
			{"median time to the first action", his.FirstP50, mine.FirstP50, false},
			{"seconds of SLO breach", float64(his.Breach), float64(mine.Breach), false},
			{"wrong actions", float64(his.Wrong), float64(mine.Wrong), false},
			{"CPU seconds per minute", per(h.Cost.CPUSeconds, h.Cost.Minutes), per(g.Cost.CPUSeconds, g.Cost.Minutes), false},
			{"peak memory, MiB", h.Cost.PeakMiB, g.Cost.PeakMiB, false},
		} {
			if line := contrast(h.Title, c.what, c.his, c.mine, c.over); line != "" {
				out = append(out, line)
			}
		}
		for _, k := range kinds() {
			if line := contrastKind(h, g, k); line != "" {
				out = append(out, line)
			}
		}
	}
	return out
}

// ratios compares fault by fault those that both healed: a median can hide the
// kind at which the advantage is small.
func ratios(other, g result) string {
	least, most, n := 0.0, 0.0, 0
	for i, o := range g.Faults {
		if i >= len(other.Faults) || !o.Recovered || !other.Faults[i].Recovered || o.RecoveredS <= 0 {
			continue
		}
		r := other.Faults[i].RecoveredS / o.RecoveredS
		if n == 0 || r < least {
			least = r
		}
		most = max(most, r)
		n++
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("Of the %d faults that both healed, %s took between %.1f and %.1f times as long as GRACE.", n, other.Title, least, most)
}

// earlier names the faults whose service the other acted on before GRACE did:
// with the right remedy it would have healed them sooner.
func earlier(other, g result) string {
	var cases []string
	for i, o := range g.Faults {
		if i >= len(other.Faults) {
			break
		}
		mine, acted := o.touched()
		if his, ok := other.Faults[i].touched(); ok && (!acted || his < mine) {
			when := "never"
			if acted {
				when = seconds(mine, false)
			}
			cases = append(cases, fmt.Sprintf("%s of %s (%.1f s, GRACE %s)", o.Kind, o.Service, his, when))
		}
	}
	if len(cases) == 0 {
		return ""
	}
	return fmt.Sprintf("**%s was earlier than GRACE** to act on the faulty service at %s: with a remedy that helps, it would have healed sooner.", other.Title, strings.Join(cases, ", "))
}

func per(v, minutes float64) float64 {
	if minutes <= 0 {
		return 0
	}
	return v / minutes
}

// contrast words one figure where less is better; "" when either is missing.
func contrast(other, what string, his, mine float64, over bool) string {
	than := fmt.Sprintf("%.4g", his)
	if over {
		than = "more than " + than
	}
	switch {
	case his != his || mine != mine:
		return ""
	case mine < his && mine > 0:
		return fmt.Sprintf("GRACE is better than %s: %s %.4g, against %s (%.1f times).", other, what, mine, than, his/mine)
	case mine < his:
		return fmt.Sprintf("GRACE is better than %s: %s %.4g, against %s.", other, what, mine, than)
	case mine == his:
		return fmt.Sprintf("GRACE and %s are equal: %s %.4g.", other, what, mine)
	default:
		return fmt.Sprintf("**%s is better than GRACE**: %s %s, against %.4g.", other, what, than, mine)
	}
}

// contrastKind says so when the other heals a kind of fault faster.
func contrastKind(other, g result, k shop.Kind) string {
	his, mine := meanOf(other, k), meanOf(g, k)
	if his < mine {
		return fmt.Sprintf("**%s is better than GRACE** at %s: recovered after %.1f s on average, against %.1f s.", other.Title, k, his, mine)
	}
	return ""
}

func meanOf(r result, k shop.Kind) float64 {
	sum, n := 0.0, 0
	for _, o := range r.Faults {
		if o.Kind == k {
			sum += o.RecoveredS
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// write makes comparison.md and comparison.json.
func (r report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of the report: %w", err)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "comparison.json"), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "comparison.md"), []byte(r.page()), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// load reads what write wrote.
func load(dir string) (report, error) {
	var r report
	data, err := os.ReadFile(filepath.Join(dir, "comparison.json"))
	if err != nil {
		return r, fmt.Errorf("read the report: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("decode the report: %w", err)
	}
	return r, nil
}
