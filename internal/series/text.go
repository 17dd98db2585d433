package series

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Distinct writes the labels that tell an element from others of its service; empty when
// none does.
func Distinct(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != ServiceLabel && name != JobLabel {
			parts = append(parts, name+"="+strconv.Quote(labels[name]))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// Quantity writes a number as an operator would: 812 ms, 2.35 %, 0.00123.
func Quantity(v float64, unit string) string {
	var text string
	switch abs := math.Abs(v); {
	case abs >= 100 && abs < 1e15:
		text = strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	case abs >= 1 && abs < 100:
		text = strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
	default:
		text = strconv.FormatFloat(v, 'g', 3, 64)
	}
	if unit == "" {
		return text
	}
	return text + " " + unit
}
