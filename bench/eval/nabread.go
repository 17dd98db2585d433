package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// readNAB reads all files of the Numenta Anomaly Benchmark that have labels.
func readNAB(folder string) ([]*series, error) {
	file := filepath.Join(folder, "labels", "combined_windows.json")
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read labels: %w", err)
	}
	var labels map[string][][2]string
	if err := json.Unmarshal(b, &labels); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	var out []*series
	for name, limits := range labels {
		s, err := readNABFile(filepath.Join(folder, "data", filepath.FromSlash(name)), name, limits)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func readNABFile(file, name string, limits [][2]string) (*series, error) {
	name = strings.TrimSuffix(name, ".csv")
	s := &series{name: name, group: name, service: name, role: roleOf(name), labelled: true}
	if err := eachRow(file, func(f []string) error {
		at, err := clock(f[0])
		if err != nil {
			return err
		}
		return s.add(at, f[1])
	}); err != nil {
		return nil, err
	}
	rowOf := map[int64]int{} // the first of a time, as in NAB
	for i, at := range slices.Backward(s.at) {
		rowOf[at] = i
	}
	for _, l := range limits {
		var rows [2]int
		for i, stamp := range l {
			at, err := clock(stamp)
			if err != nil {
				return nil, fmt.Errorf("window of %s: %w", name, err)
			}
			row, ok := rowOf[at]
			if !ok {
				return nil, fmt.Errorf("window of %s: no row at %s", name, stamp)
			}
			rows[i] = row
		}
		s.windows = append(s.windows, window{left: rows[0], right: rows[1]})
	}
	slices.SortFunc(s.windows, func(a, b window) int { return a.left - b.left })
	return s, nil
}

// ops are the series of machines and services. Only the report looks at it.
func (s *series) ops() bool {
	switch s.source {
	case "microsoft":
		return true
	case "nab":
		folder := path.Dir(s.name)
		return folder == "realAWSCloudwatch" || folder == "realKnownCause"
	}
	return false
}
