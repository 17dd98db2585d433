package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// small is a folder with enough of each source to make every table, the names such that
// both halves have some.
func small(t *testing.T) string {
	files := map[string]string{}
	start := time.Date(2024, 3, 4, 0, 0, 0, 0, time.UTC)
	wave := func(i, season, series int) float64 {
		v := 50 + 40*math.Sin(2*math.Pi*float64(i)/float64(season)) + float64((i*7919+series*31)%11)/5
		if i%(7*season) > 6*season {
			v += 8
		}
		return v
	}
	dated := func(rows int, step time.Duration, season, series int, label string) string {
		b := strings.Builder{}
		b.WriteString("timestamp,value\n")
		for i := range rows {
			fmt.Fprintf(&b, "%s,%.3f%s\n", start.Add(time.Duration(i)*step).Format("2006-01-02 15:04:05"), wave(i, season, series), label)
		}
		return b.String()
	}
	long := func(rows, step int) string {
		b := strings.Builder{}
		b.WriteString("series,unix_seconds,value\n")
		for s := range 4 {
			for i := range rows {
				fmt.Fprintf(&b, "s%d,%d,%.3f\n", s, int(start.Unix())+i*step, wave(i, 60, s))
			}
		}
		return b.String()
	}
	labels := []string{}
	for s := range 4 {
		name := fmt.Sprintf("realKnownCause/a_latency_%d.csv", s)
		labels = append(labels, fmt.Sprintf("%q: [[\"2024-03-05 00:00:00.000000\", \"2024-03-05 02:00:00.000000\"]]", name))
		files["nab/data/"+name] = dated(600, 5*time.Minute, 288, s, "")
		files[fmt.Sprintf("microsoft/app-crash-rate/one-%d.csv", s)] = dated(380, time.Hour, 24, s, ",0")
		files[fmt.Sprintf("exathlon/trace%d.csv", s)] = long(180, 15)
	}
	files["nab/labels/combined_windows.json"] = "{" + strings.Join(labels, ",") + "}"
	files["alibaba/pod_memory_util.csv"] = long(300, 57)
	hours := func(from, to int) string {
		b := strings.Builder{}
		b.WriteString("V1,V2\n")
		for s := range 4 {
			fmt.Fprintf(&b, "H%d", s)
			for i := from; i < to; i++ {
				fmt.Fprintf(&b, ",%.3f", wave(i, 24, s))
			}
			b.WriteString(",\n")
		}
		return b.String()
	}
	files["m4hourly/Hourly-train.csv"], files["m4hourly/Hourly-test.csv"] = hours(0, 400), hours(400, 448)
	return write(t, files)
}

// All tables are made of either half, and hold together; two runs give the same.
func TestTables(t *testing.T) {
	data := small(t)
	for _, h := range []half{choose, report} {
		var printed [2]string
		for i := range printed {
			e, err := evaluate(t.Context(), data, h)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range makers() {
				tables, err := m.make(t.Context(), e)
				if err != nil {
					t.Fatalf("%s: %v", m.name, err)
				}
				if len(tables) == 0 && (m.name != "diagnosis" || h == choose) {
					t.Errorf("%s has no tables of half %q", m.name, h)
				}
				for _, table := range tables {
					printed[i] += table.Text() + table.Markdown()
					for _, row := range table.Rows {
						if len(row.Cells) != len(table.Columns) {
							t.Errorf("%s, %s: %d cells for %d columns", table.Title, row.Name, len(row.Cells), len(table.Columns))
						}
					}
				}
			}
			if h == report { // once is enough
				printed[1] = printed[0]
				break
			}
		}
		if printed[0] != printed[1] {
			t.Errorf("two runs of half %q differ", h)
		}
		lines := strings.Split(strings.TrimSpace(printed[0]), "\n")
		if !strings.Contains(printed[0], "\ntarget what acts, precision, all sources: wanted >= 0.90, got ") || len(lines) < 50 {
			t.Errorf("half %q names no targets", h)
		}
	}
}

func TestStarts(t *testing.T) {
	s := marked(strings.Repeat(".", 600)) // 50 h
	for name, want := range map[string]struct {
		live, end int
		ok        bool
	}{
		"a cold start":         {0, 288, true},
		"1 day of history":     {288, 576, true},
		"3 days of history":    {600, 600, false},
		"watching for 1 h":     {12, 300, true},
		"watching for 4 weeks": {600, 600, false},
	} {
		for _, st := range starts() {
			if st.name != name {
				continue
			}
			if got, ok := st.stretchOf(s); got.live != want.live || got.end != want.end || ok != want.ok {
				t.Errorf("%s: rows %d to %d, %v", name, got.live, got.end, ok)
			}
		}
	}
}

func TestReliabilityRows(t *testing.T) {
	var said []prediction
	for i := range 400 {
		said = append(said, prediction{0.25, i%4 == 0}, prediction{0.85, i%4 == 0})
	}
	rows := reliabilityRows("x", [][]prediction{said, {{0.5, true}}})
	if len(rows) != 2 || rows[0].Cells[3].V != 0 || math.Abs(rows[1].Cells[3].V+60) > 1e-9 {
		t.Errorf("%v", rows)
	}
}

func TestTargetRows(t *testing.T) {
	for _, c := range []struct {
		got  Value
		want string
	}{{figure(0.9, 2), "reached"}, {figure(0.899, 2), "missed"}, {figure(math.NaN(), 2), "missed"}} {
		if row := atLeast("x", 0.9, 2, c.got); row.Cells[2].Text != c.want || row.Cells[0].Text != ">= 0.90" {
			t.Errorf("%v: %v", c.got, row.cells())
		}
	}
}
