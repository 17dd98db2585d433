package api

import (
	"strings"

	"grace/console"
)

// shownAstray bounds each list of what leads to no action.
const shownAstray = 20

// astray is what came in and leads to no action, as the pages show it: of the
// undeclared services those whose name contains want.
func astray(v AlertsView, want string) (a console.Astray) {
	for _, u := range v.Undeclared {
		if !strings.Contains(strings.ToLower(string(u.Service)), want) {
			continue
		}
		if len(a.Undeclared) == shownAstray {
			a.MoreUndeclared++
			continue
		}
		row := console.UndeclaredRow{Service: serviceLink(u.Service), ID: string(u.Service), Silenced: silencedLines(u.Silenced)}
		row.What, row.Detail, row.Since = conditionOf(u.Worst, u.Signals)
		a.Undeclared = append(a.Undeclared, row)
	}
	if want != "" {
		return a
	}
	a.NeverMeasured = v.Unmeasured()
	for _, one := range v.Skipped {
		if len(a.Skipped) == shownAstray {
			a.MoreSkipped++
			continue
		}
		a.Skipped = append(a.Skipped, console.SkippedRow{Alert: one.Alert, Why: one.Reason, Times: one.Times, Last: one.Last})
	}
	return a
}
