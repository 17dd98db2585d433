package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sources are the folders of the data, and how each is read.
func sources() []source {
	return []source{
		{"nab", readNAB},
		{"microsoft", readMicrosoft},
		{"alibaba", readLong(func(file, name string) (group, metric string) { return name, strings.TrimSuffix(file, ".csv") })},
		{"exathlon", readLong(func(file, name string) (group, metric string) { return strings.TrimSuffix(file, ".csv"), name })},
		{"m4hourly", readHourly},
	}
}

type source struct {
	name string
	read func(folder string) ([]*series, error)
}

// load reads one half of a source, ordered by name. Times and values are those of
// the files; what is not a number, or not newer than what came before, is left out.
func (src source) load(data string, h half) ([]*series, error) {
	all, err := src.read(filepath.Join(data, src.name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", src.name, err)
	}
	var out []*series
	for _, s := range all {
		s.source = src.name
		if h.has(s.source, s.group) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *series) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

// fewest rows that a series must have to be looked at.
const fewest = 40

// inOrder gives the series whose limit can be said, without rows that are not newer
// than the one before: a clock that was set back.
func inOrder(all []*series) []*series {
	var out []*series
	for _, s := range all {
		c := *s
		c.at, c.values = nil, nil
		for i, at := range s.at {
			if len(c.at) == 0 || at > c.at[len(c.at)-1] {
				c.at, c.values = append(c.at, at), append(c.values, s.values[i])
			}
		}
		if len(c.at) < fewest {
			continue
		}
		c.prepare()
		out = append(out, &c)
	}
	return out
}

// eachRow gives the fields of every line but the first.
func eachRow(file string, row func(fields []string) error) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for n := 1; lines.Scan(); n++ {
		if n == 1 {
			continue
		}
		if err := row(strings.Split(strings.TrimSpace(lines.Text()), ",")); err != nil {
			return fmt.Errorf("%s, line %d: %w", file, n, err)
		}
	}
	return lines.Err()
}

// add takes a row; one whose value is missing is a gap.
func (s *series) add(at int64, number string) error {
	number = strings.TrimSpace(number)
	if number == "" || number == "NA" {
		return nil
	}
	v, err := strconv.ParseFloat(number, 64)
	if err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		s.at, s.values = append(s.at, at), append(s.values, v)
	}
	return err
}

// clock reads "2014-04-01 00:00:00", with or without a fraction.
func clock(s string) (int64, error) {
	t, err := time.Parse("2006-01-02 15:04:05", strings.TrimSpace(s))
	return t.UnixMilli(), err
}

// readMicrosoft reads a folder of services with a file of timestamp, value and label
// for each series. A run of labelled rows is an anomaly.
func readMicrosoft(folder string) ([]*series, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.csv"))
	if err != nil {
		return nil, err
	}
	var out []*series
	for _, file := range files {
		service := filepath.Base(filepath.Dir(file))
		name := service + "/" + strings.TrimSuffix(filepath.Base(file), ".csv")
		s := &series{name: name, group: name, service: service, role: roleOf(name), labelled: true}
		var labels []bool
		if err := eachRow(file, func(f []string) error {
			at, err := clock(f[0])
			if err != nil {
				return err
			}
			before := len(s.at)
			err = s.add(at, f[1])
			if len(s.at) > before {
				labels = append(labels, len(f) > 2 && f[2] == "1")
			}
			return err
		}); err != nil {
			return nil, err
		}
		s.windows = windowsOf(labels)
		out = append(out, s)
	}
	return out, nil
}

// readLong reads files of series, unix seconds and value.
func readLong(names func(file, name string) (group, metric string)) func(folder string) ([]*series, error) {
	return func(folder string) ([]*series, error) {
		files, err := filepath.Glob(filepath.Join(folder, "*.csv"))
		if err != nil {
			return nil, err
		}
		var out []*series
		for _, file := range files {
			of := map[string]*series{}
			if err := eachRow(file, func(f []string) error {
				s := of[f[0]]
				if s == nil {
					group, metric := names(filepath.Base(file), f[0])
					s = &series{name: group + "/" + metric, group: group, service: group, role: roleOf(metric)}
					of[f[0]] = s
					out = append(out, s)
				}
				seconds, err := strconv.ParseInt(f[1], 10, 64)
				if err != nil {
					return err
				}
				return s.add(1000*seconds, f[2])
			}); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
}

// readHourly reads M4 Hourly: a line is a name and the values of its hours; the test
// goes on where the training ends. There are no dates, so all begin with the same
// hour of a Monday.
func readHourly(folder string) ([]*series, error) {
	const monday = 4 * 24 // hours from the beginning of the epoch
	of := map[string]*series{}
	var out []*series
	for _, file := range []string{"Hourly-train.csv", "Hourly-test.csv"} {
		if err := eachRow(filepath.Join(folder, file), func(f []string) error {
			s := of[f[0]]
			if s == nil {
				s = &series{name: f[0], group: f[0], service: f[0]}
				of[f[0]] = s
				out = append(out, s)
			}
			for _, number := range f[1:] {
				if number == "" || number == "NA" {
					break // the line is as long as the longest series
				}
				if err := s.add(int64(monday+len(s.at))*hourMillis, number); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

const (
	hourMillis = int64(time.Hour / time.Millisecond)
	dayMillis  = 24 * hourMillis
)
