package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBootstrap(t *testing.T) {
	values := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	mean := func(drawn []int) float64 {
		sum := 0.0
		for _, i := range drawn {
			sum += values[i]
		}
		return sum / float64(len(drawn))
	}
	v := bootstrap(len(values), 1, mean)
	if v.V != 5.5 || v.Lo >= 5 || v.Hi <= 6 || v.Lo < 3 || v.Hi > 8 {
		t.Errorf("mean of 1 to 10 = %v, want 5.5 with about 4.0 to 7.0", v)
	}
	if again := bootstrap(len(values), 1, mean); again != v {
		t.Errorf("a second call gives %v, the first gave %v", again, v)
	}
}

func TestWriteDocs(t *testing.T) {
	table := Table{Title: "T", What: "w", Columns: []string{"a"}, Rows: []Row{{Name: "r", Ours: true, Cells: []Value{figure(0.125, 2)}}}}
	file := filepath.Join(t.TempDir(), "e.md")
	if err := os.WriteFile(file, []byte("head\n"+docsBegin+"\nold\n"+docsEnd+"\ntail\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing more
		if err := writeDocs(file, []Table{table}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := "head\n" + docsBegin + "\n\n### T\n\nw\n\n| | a |\n|---|---|\n| **r** | 0.12 |\n\n" + docsEnd + "\ntail\n"
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeDocs(file, nil); err == nil || !strings.Contains(err.Error(), docsBegin) {
		t.Errorf("a file without marks gives %v", err)
	}
}
