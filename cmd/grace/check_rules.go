package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"grace/internal/config"
)

// rulesSummary says of every file of rules what it comes to: in numbers with examples, or
// with all names.
func rulesSummary(w io.Writer, cfg *config.Config, verbose bool) {
	names := config.Examples
	if verbose {
		names = func(list []string) string { return strings.Join(slices.Sorted(slices.Values(list)), ", ") }
	}
	for _, f := range cfg.RuleFiles {
		where := f.Path
		if f.Source != "" {
			where += " at " + f.Source
		}
		_, _ = fmt.Fprintf(w, "%s: %s, %s\n", where, count(f.Alerts, "alerting rule"), count(f.Recordings, "recording rule"))
		line := func(n int, what string, list []string) {
			if n > 0 {
				_, _ = fmt.Fprintf(w, "  %5d %s (%s)\n", n, what, names(list))
			}
		}
		line(len(f.Predicted), "predicted", f.Predicted)
		groups(f.Unpredictable, func(why string, list []string) { line(len(list), "not predictable: "+why, list) })
		groups(f.Services, func(service string, list []string) { line(len(list), "of "+service, list) })
		line(len(f.AtRunTime), "of whom the labels of what they find say", f.AtRunTime)
		groups(f.Undeclared, func(service string, list []string) { line(len(list), "of "+service+", which is not declared", list) })
		line(len(f.Unmapped), "of nobody: shown of GRACE itself", f.Unmapped)
		groups(f.Untreated, func(code string, list []string) {
			line(len(list), "with the code "+code+", which no playbook treats", list)
		})
		line(len(f.Unsent), "metrics that nothing here gives", f.Unsent)
		line(len(f.Long), "look back further than a day: so long samples are kept in memory", f.Long)
		line(len(f.Unused), "recording rules that nothing looks at: not evaluated", f.Unused)
	}
}

// groups visits lists, the longest first.
func groups(by map[string][]string, visit func(key string, list []string)) {
	keys := slices.SortedFunc(maps.Keys(by), func(a, b string) int { return cmp.Or(cmp.Compare(len(by[b]), len(by[a])), cmp.Compare(a, b)) })
	for _, key := range keys {
		visit(key, by[key])
	}
}
