// Command rules loads every file of rules below some folders, as rule_files and slos would, and
// tells what is in them and what is wrong: make rules RULES=folder. It ends with exit code
// 1 when some rule cannot be used.
package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"grace/internal/rulefile"
	"grace/internal/series"
)

func main() {
	flag.Parse()
	bad, err := run(os.Stdout, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "rules:", err)
	}
	if err != nil || bad > 0 {
		os.Exit(1)
	}
}

// sum is what was found altogether.
type sum struct {
	files, alerts, records, slos, problems int
	unpredictable                          map[string]int
}

func run(w io.Writer, folders []string) (bad int, err error) {
	if len(folders) == 0 {
		return 0, errors.New("name a folder with rule files")
	}
	total := sum{unpredictable: map[string]int{}}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if ext := filepath.Ext(path); err != nil || !d.Type().IsRegular() || ext != ".yaml" && ext != ".yml" {
				return err
			}
			return total.read(w, path)
		})
		if err != nil {
			return 0, fmt.Errorf("walk: %w", err)
		}
	}
	if total.files == 0 {
		return 0, errors.New("there is no .yaml or .yml file")
	}
	_, _ = fmt.Fprintf(w, "\n%d files: %d alerting rules, %d recording rules, %d SLOs, %d problems\n", total.files, total.alerts, total.records, total.slos, total.problems)
	can := total.alerts
	reasons := slices.SortedFunc(maps.Keys(total.unpredictable), func(a, b string) int {
		return cmp.Or(cmp.Compare(total.unpredictable[b], total.unpredictable[a]), cmp.Compare(a, b))
	})
	for _, reason := range reasons {
		can -= total.unpredictable[reason]
		_, _ = fmt.Fprintf(w, "  %4d not predictable: %s\n", total.unpredictable[reason], reason)
	}
	_, _ = fmt.Fprintf(w, "  %4d predictable\n", can)
	return total.problems, nil
}

// read reads a file: as one of rules, or of SLOs where it holds those.
func (s *sum) read(w io.Writer, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	file, problems := rulefile.Read(data)
	slos, wrong := rulefile.ReadSLOs(data)
	if len(file.Groups) == 0 && (bytes.Contains(data, []byte("slos:")) || bytes.Contains(data, []byte("kind: SLO"))) {
		problems = wrong
	}
	for i := range slos {
		file.Groups = append(file.Groups, slos[i].Group(0))
	}
	alerts, records := 0, 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			e, err := series.CompileAt(r.Expr, "")
			switch {
			case err != nil:
				problems = append(problems, rulefile.Problem{Place: r.ExprAt, Group: g.Name, Rule: r.Alert + r.Record, Message: err.Error()})
			case r.Record != "":
				records++
			default:
				alerts++
				if why := e.Unpredictable(); why != "" {
					s.unpredictable[why]++
				}
			}
		}
	}
	s.files, s.alerts, s.records, s.slos, s.problems = s.files+1, s.alerts+alerts, s.records+records, s.slos+len(slos), s.problems+len(problems)
	_, _ = fmt.Fprintf(w, "%4d alerting %4d recording %3d problems  %s\n", alerts, records, len(problems), path)
	for _, p := range problems {
		_, _ = fmt.Fprintf(w, "    %s:%d:%d: %s\n", path, p.Line, p.Column, p)
	}
	return nil
}
