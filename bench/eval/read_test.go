package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"grace"
)

// write makes files below a new folder.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		file := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func tiny(t *testing.T) string {
	return write(t, map[string]string{
		"nab/labels/combined_windows.json": `{"realKnownCause/a_latency.csv": [["2024-03-01 00:05:00.000000", "2024-03-01 00:15:00.000000"]]}`,
		"nab/data/realKnownCause/a_latency.csv": "timestamp,value\n2024-03-01 00:00:00,1\n2024-03-01 00:05:00,2\n" +
			"2024-03-01 00:10:00,\n2024-03-01 00:15:00,4\n",
		"microsoft/app-crash-rate/one.csv": "timestamp,value,label\n2024-03-01 00:00:00,1,0\n2024-03-01 01:00:00,,1\n2024-03-01 02:00:00,3,1\n",
		"alibaba/pod_memory_util.csv":      "series,unix_seconds,value\np,60,0.5\nq,60,1\np,120,NaN\np,180,0.7\n",
		"exathlon/trace1.csv":              "series,unix_seconds,value\nnode_CPU,15,1\nnode_CPU,30,2\n",
		"m4hourly/Hourly-train.csv":        "V1,V2,V3\nH1,1,2\nH2,5,6,7\n",
		"m4hourly/Hourly-test.csv":         "V1\nH1,3\nH2,8\n",
	})
}

// All sources are read into the same shape, and what is missing stays missing.
func TestRead(t *testing.T) {
	data := tiny(t)
	got := map[string]*series{}
	for _, src := range sources() {
		for _, h := range []half{choose, report} {
			read, err := src.load(data, h)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range read {
				if got[s.source+":"+s.name] != nil {
					t.Errorf("%s is in both halves", s.name)
				}
				got[s.source+":"+s.name] = s
			}
		}
	}
	for name, want := range map[string]struct {
		role   grace.Role
		values []float64
		step   float64 // minutes, the first
	}{
		"nab:realKnownCause/a_latency":   {grace.RoleLatency, []float64{1, 2, 4}, 5},
		"microsoft:app-crash-rate/one":   {grace.RoleErrors, []float64{1, 3}, 120},
		"alibaba:p/pod_memory_util":      {grace.RoleCapacity, []float64{0.5, 0.7}, 2},
		"alibaba:q/pod_memory_util":      {grace.RoleCapacity, []float64{1}, 0},
		"exathlon:trace1/node_CPU":       {grace.RoleSaturation, []float64{1, 2}, 0.25},
		"m4hourly:H1":                    {grace.RoleNone, []float64{1, 2, 3}, 60},
		"m4hourly:H2":                    {grace.RoleNone, []float64{5, 6, 7, 8}, 60},
		"microsoft:app-crash-rate/other": {},
	} {
		s := got[name]
		if want.values == nil {
			continue
		}
		if s == nil || s.role != want.role || !slices.Equal(s.values, want.values) || len(s.at) > 1 && float64(s.at[1]-s.at[0])/60e3 != want.step {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if s := got["nab:realKnownCause/a_latency"]; !slices.Equal(s.windows, []window{{1, 2}}) || !s.ops() {
		t.Errorf("windows %v", s.windows)
	}
	if s := got["microsoft:app-crash-rate/one"]; !slices.Equal(s.windows, []window{{1, 1}}) {
		t.Errorf("windows %v", s.windows)
	}
	if _, err := sources()[0].load(t.TempDir(), report); err == nil {
		t.Error("an empty folder is no error")
	}
}

// A group is in one half, by its name alone, and about as many are in each.
func TestHalves(t *testing.T) {
	n := 0
	for i := range 1000 {
		group := strings.Repeat("H", i%3) + string(rune('a'+i%26)) + figure(float64(i), 0).String()
		if choose.has("x", group) == report.has("x", group) {
			t.Fatalf("%s is in both halves or in none", group)
		}
		if choose.has("x", group) {
			n++
		}
	}
	if n < 450 || n > 550 {
		t.Errorf("%d of 1000 in the first half", n)
	}
	if _, err := halfOf("both"); err == nil {
		t.Error("there is a half of both")
	}
}

// A clock that was set back, and a series too short to have a limit.
func TestInOrder(t *testing.T) {
	long := marked(strings.Repeat(".", 60))
	long.at[30] = long.at[29]
	long.at[31] = 0
	got := inOrder([]*series{long, marked("....")})
	if len(got) != 1 || len(got[0].at) != 58 || !slices.IsSorted(got[0].at) || got[0].history != 23 {
		t.Errorf("%d series; the first has %d rows", len(got), len(got[0].at))
	}
}

func TestWindowsOf(t *testing.T) {
	labels := make([]bool, 100)
	for _, i := range []int{20, 50, 51, 99} { // three runs; each gets 3 rows
		labels[i] = true
	}
	if got := windowsOf(labels); !slices.Equal(got, []window{{19, 21}, {50, 51}, {98, 99}}) {
		t.Errorf("%v", got)
	}
	if got := windowsOf(make([]bool, 10)); got != nil {
		t.Errorf("%v without labels", got)
	}
}

func TestQuantile(t *testing.T) {
	if got := quantile([]float64{4, 1, 3, 2}, 0.5); math.Abs(got-2.5) > 1e-12 {
		t.Errorf("median %v", got)
	}
}
