// Command eval measures GRACE's predictions on real series and puts the usual
// tools beside them, in the same run.
//
//	$GRACE_EVAL_DATA -> one half of the series -> the production code -> tables, targets
//
// Every table runs the code that the daemon runs, strictly causally (a value is not
// known before its time, and no gap is filled), with one configuration for every
// series: the defaults. Levels and units of the series mean nothing. Rows have 90 %
// intervals, by drawing groups of series anew with a seed.
//
// Constants are chosen by what --half choose shows, figures are those of --half
// report. A run reads one half of the series and never the other.
//
// # Output
//
// Text by default, JSON with --json; --docs FILE writes Markdown between the
// lines `<!-- eval:begin -->` and `<!-- eval:end -->` of FILE and leaves the
// rest as it is. The last lines name each target, reached or missed. A target that is
// missed is no error: the exit code is 1 when the data are missing or a table cannot
// be made.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// maker makes one table or several of what was run.
type maker struct {
	name string
	make func(ctx context.Context, e *evaluation) ([]Table, error)
}

func makers() []maker {
	return []maker{
		{"headline", func(_ context.Context, e *evaluation) ([]Table, error) { return headlines(e.half, e.runs), nil }},
		{"firstday", func(ctx context.Context, e *evaluation) ([]Table, error) {
			days, err := e.firstDays(ctx)
			return firstDayTables(e.half, days), err
		}},
		{"anomaly", anomalies},
		{"m4", m4},
		{"reliability", reliability},
		{"diagnosis", diagnosis},
		{"targets", targets},
	}
}

// evaluation is what all tables are made of.
type evaluation struct {
	half half
	runs []*run
	days []*firstDays // once they are needed
	cold []*player    // those that began cold
}

// firstDays makes the tables of the first day.
func (e *evaluation) firstDays(ctx context.Context) (days []*firstDays, err error) {
	if e.days == nil {
		e.days, e.cold, err = runFirstDays(ctx, e.runs)
	}
	return e.days, err
}

type options struct {
	data, half, only, docs string
	json                   bool
}

func main() {
	var o options
	flag.StringVar(&o.data, "data", os.Getenv("GRACE_EVAL_DATA"), "folder of the data (default: $GRACE_EVAL_DATA)")
	flag.StringVar(&o.half, "half", string(report), "half of the series: choose or report")
	flag.StringVar(&o.only, "only", "", "comma-separated tables: "+strings.Join(names(), ", ")+" (default: all)")
	flag.StringVar(&o.docs, "docs", "", "write Markdown between the marks of this file")
	flag.BoolVar(&o.json, "json", false, "print JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "eval:", err)
		os.Exit(1)
	}
}

func names() []string {
	var out []string
	for _, m := range makers() {
		out = append(out, m.name)
	}
	return out
}

func (o *options) run(ctx context.Context) error {
	if o.data == "" {
		return fmt.Errorf("no data: set GRACE_EVAL_DATA or --data")
	}
	h, err := halfOf(o.half)
	if err != nil {
		return err
	}
	if o.docs != "" && h != report {
		return fmt.Errorf("the documentation holds half %q", report)
	}
	e, err := evaluate(ctx, o.data, h)
	if err != nil {
		return err
	}
	wanted := names()
	if o.only != "" {
		wanted = strings.Split(o.only, ",")
	}
	var tables []Table
	for _, name := range wanted {
		i := slices.IndexFunc(makers(), func(m maker) bool { return m.name == name })
		if i < 0 {
			return fmt.Errorf("no table %q; there are %s", name, strings.Join(names(), ", "))
		}
		made, err := makers()[i].make(ctx, e)
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
		tables = append(tables, made...)
		if !o.json {
			for _, t := range made {
				fmt.Println(t.Text())
			}
		}
	}
	if o.docs != "" {
		if err := writeDocs(o.docs, tables); err != nil {
			return err
		}
	}
	if o.json {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(tables)
	}
	return nil
}

// atOnce is how many sources are run at the same time.
const atOnce = 2

// evaluate runs the agent on every source.
func evaluate(ctx context.Context, data string, h half) (*evaluation, error) {
	e := &evaluation{half: h, runs: make([]*run, len(sources()))}
	var jobs []func() error
	// The last source takes longest.
	for i, src := range slices.Backward(sources()) {
		jobs = append(jobs, func() (err error) {
			e.runs[i], err = runSource(ctx, data, src, h)
			return err
		})
	}
	return e, together(jobs)
}
