package probe

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"

	"grace"
	"grace/internal/exposition"
)

// How a command's output is read for numbers. Its exit code is judged besides.
const (
	FormatNagios     = "nagios"     // TEXT | label=value[unit];warn;crit;min;max, exit code 0, 1, 2 or 3
	FormatPrometheus = "prometheus" // Prometheus' text format
	FormatJSON       = "json"       // {"name": number}
)

func validFormat(format string) error {
	switch format {
	case "", FormatNagios, FormatPrometheus, FormatJSON:
		return nil
	}
	return grace.Field("format", "%q: want nagios, prometheus or json", format)
}

// read takes the numbers of a command's output, and in Nagios' format what its
// exit code means.
func read(format string, r Result, exit int, text string, more bool) Result {
	if more {
		return fault("its output has more than %d bytes", maxNumbers)
	}
	var err error
	switch format {
	case FormatNagios:
		return nagios(r, exit, text)
	case FormatPrometheus:
		r.Numbers, err = prometheusNumbers(text)
	default:
		r.Numbers, err = jsonNumbers(text)
	}
	if err != nil && r.OK {
		return fault("its output cannot be read as %s: %v", format, err)
	}
	return r
}

// nagios reads a plugin's answer: the first line up to | is for people.
func nagios(r Result, exit int, text string) Result {
	first, rest, _ := strings.Cut(strings.TrimSpace(text), "\n")
	said, perf, _ := strings.Cut(first, "|")
	// Further performance data follows the | of the long text.
	if _, more, ok := strings.Cut(rest, "|"); ok {
		perf += " " + more
	}
	r.Numbers = perfdata(perf)
	if said = strings.TrimSpace(said); said != "" {
		r.Detail = cut(said)
	}
	switch exit {
	case 0:
	case 1:
		r.Severity = grace.SeverityWarning
	case 2:
		r.Severity = grace.SeverityCritical
	default: // 3 is UNKNOWN; others are what a plugin never means
		return fault("the plugin ended with %d (unknown): %s", exit, r.Detail)
	}
	return r
}

// perfdata reads 'label'=value[unit];...; what is no number is left out.
func perfdata(text string) []Number {
	var out []Number
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		label, rest, ok := cutLabel(text)
		if !ok {
			return out
		}
		value, next := rest, ""
		if i := strings.IndexAny(rest, " \n\t"); i >= 0 {
			value, next = rest[:i], rest[i:]
		}
		text = next
		value, _, _ = strings.Cut(value, ";")
		digits := strings.TrimRightFunc(value, func(r rune) bool { return !strings.ContainsRune("0123456789.", r) })
		v, err := strconv.ParseFloat(strings.ReplaceAll(digits, ",", "."), 64)
		if err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) && label != "" {
			out = append(out, Number{Name: label, Value: v, Unit: value[len(digits):]})
		}
	}
	return out
}

// cutLabel splits 'a label'=rest; a quote within is doubled.
func cutLabel(text string) (label, rest string, ok bool) {
	if text[0] != '\'' {
		return strings.Cut(text, "=")
	}
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] != '\'':
			label += text[i : i+1]
		case strings.HasPrefix(text[i:], "''"):
			label += "'"
			i++
		default:
			rest, ok = strings.CutPrefix(text[i+1:], "=")
			return label, rest, ok
		}
	}
	return "", "", false
}

func prometheusNumbers(text string) ([]Number, error) {
	page, err := exposition.Parse([]byte(text), exposition.Text, 1000)
	if err != nil {
		return nil, err
	}
	var out []Number
	for _, p := range page.Points {
		name := p.Name
		if p.Labels.Len() > 0 {
			name += p.Labels.String()
		}
		if !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
			out = append(out, Number{Name: name, Value: p.Value})
		}
	}
	return out, nil
}

func jsonNumbers(text string) ([]Number, error) {
	var values map[string]float64
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		return nil, err
	}
	if values == nil {
		return nil, errors.New("want an object of numbers")
	}
	out := make([]Number, 0, len(values))
	for name, v := range values {
		out = append(out, Number{Name: name, Value: v})
	}
	slices.SortFunc(out, func(a, b Number) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
