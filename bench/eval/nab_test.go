package main

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// made writes a folder like nab/: one file of 14 days with a day's rhythm, and
// 12 h of another level in the window.
func made(t *testing.T, folder string) string {
	t.Helper()
	data := t.TempDir()
	for _, dir := range []string{"nab/labels", "nab/data/" + folder} {
		if err := os.MkdirAll(filepath.Join(data, filepath.FromSlash(dir)), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)
	var rows strings.Builder
	rows.WriteString("timestamp,value\n")
	for i := range 4032 {
		v := math.Sin(2*math.Pi*float64(i)/288) + 0.1*math.Sin(float64(i*i))
		if i >= 3000 && i < 3144 {
			v += 4
		}
		rows.WriteString(start.Add(time.Duration(i)*5*time.Minute).Format("2006-01-02 15:04:05") + "," + figure(v, 6).String() + "\n")
	}
	at := func(i int) string {
		return start.Add(time.Duration(i) * 5 * time.Minute).Format("2006-01-02 15:04:05.000000")
	}
	for name, content := range map[string]string{
		"nab/data/" + folder + "/a.csv":    rows.String(),
		"nab/labels/combined_windows.json": `{"` + folder + `/a.csv": [["` + at(2990) + `", "` + at(3190) + `"]]}`,
	} {
		if err := os.WriteFile(filepath.Join(data, filepath.FromSlash(name)), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

func TestReadNAB(t *testing.T) {
	files, err := readNAB(made(t, "realKnownCause"))
	if err != nil {
		t.Fatal(err)
	}
	f := files[0]
	if len(files) != 1 || len(f.at) != 4032 || len(f.windows) != 1 || f.windows[0] != (window{2990, 3190}) || !f.ops() {
		t.Errorf("read %d files; the first has %d rows, windows %v, ops %v", len(files), len(f.at), f.windows, f.ops())
	}
	if days := f.scoredDays(); math.Abs(days-(4031-604)/288.0) > 1e-9 {
		t.Errorf("%v scored days", days)
	}
	if _, err := readNAB(t.TempDir()); err == nil {
		t.Error("an empty folder is no error")
	}
}

func TestJudgeNAB(t *testing.T) {
	f := nabFile{folder: "realAWSCloudwatch", at: make([]int64, 100), values: make([]float64, 100), windows: []window{{40, 49}, {70, 79}}, first: 15}
	scores := make([]float64, 100)
	for _, row := range []int{3, 30, 42, 44, 90} { // 3 is not scored
		scores[row] = 0.5
	}
	got := judgeNAB(f, 0.5, scores)
	if got.windows != 2 || got.hit != 1 || got.right != 2 || got.wrong != 2 || got.base != -2 || !got.ops {
		t.Errorf("judgeNAB = %+v; want 1 of 2 windows hit, 2 detections right, 2 wrong, base -2, ops", got)
	}
}

// The tables hold together, and the default finds what is there to be found.
func TestNABTables(t *testing.T) {
	tables, err := nab(context.Background(), made(t, "realKnownCause"))
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		for _, row := range table.Rows {
			if len(row.Cells) != len(table.Columns) {
				t.Errorf("%s, %s: %d cells for %d columns", table.Title, row.Name, len(row.Cells), len(table.Columns))
			}
			if row.Ours && (row.Cells[0].V < 80 || row.Cells[2].V != 1) {
				t.Errorf("%s, %s: standard score %v, recall %v", table.Title, row.Name, row.Cells[0], row.Cells[2])
			}
		}
	}
	// Without ops files there is nothing to say about them.
	tables, err = nab(context.Background(), made(t, "other"))
	if err != nil {
		t.Fatal(err)
	}
	rows := tables[0].Rows
	if got := rows[len(rows)-2].Cells[2].String(); got != "-" {
		t.Errorf("recall of no ops files = %s", got)
	}
}

// What a detector says of a row may not depend on what comes later.
func TestCausal(t *testing.T) {
	files, err := readNAB(made(t, "other"))
	if err != nil {
		t.Fatal(err)
	}
	f := files[0]
	const cut = 3050
	for _, d := range nabDetectors() {
		whole, part := d.scores(f.at, f.values), d.scores(f.at[:cut], f.values[:cut])
		for i := range part {
			if whole[i] != part[i] {
				t.Errorf("%s: row %d scores %v, and %v when nothing follows row %d", d.name, i, whole[i], part[i], cut)
				break
			}
		}
	}
}

func TestDisturb(t *testing.T) {
	f := nabFile{at: make([]int64, 1000), values: make([]float64, 1000), windows: []window{{400, 499}}, first: 150}
	for i := range f.at {
		f.at[i], f.values[i] = int64(i)*300_000, float64(i)
	}
	got := disturbance{shift: 7, skip: 0.2, every: 2}.apply(f) // 30 rows are cut
	if len(got.at) != 485 || got.at[0] != 30*300_000+7 || got.values[1] != 32 || got.windows[0] != (window{185, 235}) || got.first != 60 {
		t.Errorf("%d rows, the first at %d, the second %v, windows %v, scored from %d", len(got.at), got.at[0], got.values[1], got.windows, got.first)
	}
}
