package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"grace/internal/stage/learn"
)

// Short prints a duration as a person says it: 0.4s, 12s, 3m20s, 2h5m.
func Short(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + Short(-d)
	case d == 0:
		return "0s"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
}

// Percent prints a share, 0 to 1, in whole percent.
func Percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 0, 64) + " %" }

// Number prints at most four significant digits.
func Number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// YesNo prints a bool.
func YesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// OrDash prints a dash where there is no text.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Join prints a list of named strings, a dash where it is empty.
func Join[S ~string](list []S) string {
	if len(list) == 0 {
		return "-"
	}
	parts := make([]string, len(list))
	for i, s := range list {
		parts[i] = string(s)
	}
	return strings.Join(parts, ", ")
}

// Because prints the reason of an ending after a colon, and nothing where there
// is none.
func Because(text string) string {
	if text == "" {
		return ""
	}
	return ": " + OneLine(text, 140)
}

// OneLine cuts text for a table cell.
func OneLine(s string, limit int) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-3]) + "..."
}

// Parameters prints a playbook's parameters as the command line takes them.
func Parameters(m map[string]any) string {
	parts := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s=%v", k, m[k]))
	}
	return strings.Join(parts, " ")
}

// KeyFigures words the KPIs of the last day; what rests on nothing is a dash,
// not a zero.
func KeyFigures(k learn.KPIs) string {
	success, approval, recovery := "-", "-", "-"
	if k.Succeeded24h+k.Failed24h > 0 {
		success = Percent(k.SuccessRate)
	}
	if k.Decided24h > 0 {
		approval = Percent(k.ApprovalRate)
	}
	if k.Succeeded24h > 0 {
		recovery = Short(k.MeanTimeToRecover.D())
	}
	return fmt.Sprintf("success %s, approval %s, mean time to recover %s, rollbacks %d, auto-approved %d",
		success, approval, recovery, k.Rollbacks24h, k.AutoApproved24h)
}

// Criteria shows what healing must achieve, and whether it does.
func Criteria(list []learn.Criterion) Table {
	t := Table{Head: []string{"  TARGET", "", "NOW", "95 % INTERVAL", "OF", ""}, Tones: map[int]bool{5: true}}
	for _, c := range list {
		text := Percent
		if c.InSeconds() {
			text = func(v float64) string {
				return Short(time.Duration(v * float64(time.Second)).Round(100 * time.Millisecond))
			}
		}
		now, interval := "-", "-"
		if c.N > 0 {
			now, interval = text(c.Value), text(c.Low)+" to "+text(c.High)
		}
		t.Add("  "+c.Name, c.Target, now, interval, strconv.Itoa(c.N), strings.ReplaceAll(c.Met, "_", " "))
	}
	return t
}
