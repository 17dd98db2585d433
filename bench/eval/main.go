// Command eval measures GRACE's predictions on real series and puts the usual
// tools beside them, in the same run.
//
//	$GRACE_EVAL_DATA (nab/, m4hourly/)  ->  the production code  ->  tables
//
// Every table runs the code that the daemon runs, strictly causally (a value is
// not known before its time), with one configuration for every series: the
// defaults. Nothing depends on a file's name, and levels and units of the series
// mean nothing. Rows have 90 % intervals, by drawing series anew with a seed.
//
// # Output
//
// Text by default, JSON with --json; --docs FILE writes Markdown between the
// lines `<!-- eval:begin -->` and `<!-- eval:end -->` of FILE and leaves the
// rest as it is. A target that is missed is said, and is no error: the exit code
// is 1 when the data are missing or a table cannot be made.
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

// maker makes one table or several from the folder of the data.
type maker struct {
	name string
	make func(ctx context.Context, data string) ([]Table, error)
}

func makers() []maker {
	return []maker{
		{"m4", m4},
		{"nab", nab},
		{"early", early},
		{"reliability", reliability},
	}
}

func main() {
	data := flag.String("data", os.Getenv("GRACE_EVAL_DATA"), "folder with nab/ and m4hourly/ (default: $GRACE_EVAL_DATA)")
	only := flag.String("only", "", "comma-separated tables: "+strings.Join(names(), ", ")+" (default: all)")
	docs := flag.String("docs", "", "write Markdown between the marks of this file")
	asJSON := flag.Bool("json", false, "print JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *data, *only, *docs, *asJSON); err != nil {
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

func run(ctx context.Context, data, only, docs string, asJSON bool) error {
	if data == "" {
		return fmt.Errorf("no data: set GRACE_EVAL_DATA or --data to a folder with nab/ and m4hourly/")
	}
	wanted := names()
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	var tables []Table
	for _, name := range wanted {
		i := slices.IndexFunc(makers(), func(m maker) bool { return m.name == name })
		if i < 0 {
			return fmt.Errorf("no table %q; there are %s", name, strings.Join(names(), ", "))
		}
		made, err := makers()[i].make(ctx, data)
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
		tables = append(tables, made...)
		if !asJSON {
			for _, t := range made {
				fmt.Println(t.Text())
			}
		}
	}
	if docs != "" {
		if err := writeDocs(docs, tables); err != nil {
			return err
		}
	}
	if asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(tables)
	}
	return nil
}
