package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// nabFile is one series of the Numenta Anomaly Benchmark with its labels.
type nabFile struct {
	name, folder string
	at           []int64 // unix milliseconds, as UTC
	values       []float64
	windows      []window // in order
	first        int      // the first row that is scored
}

// scoredDays is the time from the end of the probation to the last row.
func (f nabFile) scoredDays() float64 {
	if len(f.at) == 0 {
		return 0
	}
	return float64(f.at[len(f.at)-1]-f.at[f.first]) / (24 * 3600 * 1000)
}

// ops are the folders with measurements of machines and services. Only the
// report looks at it.
func (f nabFile) ops() bool {
	return f.folder == "realAWSCloudwatch" || f.folder == "realKnownCause"
}

// readNAB reads all files that have labels, sorted by name.
func readNAB(data string) ([]nabFile, error) {
	file := filepath.Join(data, "nab", "labels", "combined_windows.json")
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read labels: %w", err)
	}
	var labels map[string][][2]string
	if err := json.Unmarshal(b, &labels); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	var out []nabFile
	for name, limits := range labels {
		f, err := readNABFile(filepath.Join(data, "nab", "data", filepath.FromSlash(name)), name, limits)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b nabFile) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

func readNABFile(file, name string, limits [][2]string) (nabFile, error) {
	f := nabFile{name: name, folder: path.Dir(name)}
	b, err := os.ReadFile(file)
	if err != nil {
		return f, fmt.Errorf("read series: %w", err)
	}
	rowOf := map[int64]int{} // the first of a time, as in NAB
	lines := bufio.NewScanner(bytes.NewReader(b))
	for n := 0; lines.Scan(); n++ {
		if n == 0 { // timestamp,value
			continue
		}
		stamp, number, _ := strings.Cut(lines.Text(), ",")
		at, err := nabTime(stamp)
		if err != nil {
			return f, fmt.Errorf("%s, line %d: %w", name, n+1, err)
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil {
			return f, fmt.Errorf("%s, line %d: %w", name, n+1, err)
		}
		if _, ok := rowOf[at]; !ok {
			rowOf[at] = len(f.at)
		}
		f.at = append(f.at, at)
		f.values = append(f.values, v)
	}
	if err := lines.Err(); err != nil {
		return f, fmt.Errorf("read %s: %w", name, err)
	}
	f.first = probation(len(f.at))
	for _, l := range limits {
		var rows [2]int
		for i, stamp := range l {
			at, err := nabTime(stamp)
			if err != nil {
				return f, fmt.Errorf("window of %s: %w", name, err)
			}
			row, ok := rowOf[at]
			if !ok {
				return f, fmt.Errorf("window of %s: no row at %s", name, stamp)
			}
			rows[i] = row
		}
		f.windows = append(f.windows, window{left: rows[0], right: rows[1]})
	}
	slices.SortFunc(f.windows, func(a, b window) int { return a.left - b.left })
	return f, nil
}

// nabTime reads "2014-04-01 00:00:00", with or without a fraction.
func nabTime(s string) (int64, error) {
	t, err := time.Parse("2006-01-02 15:04:05", strings.TrimSpace(s))
	return t.UnixMilli(), err
}
