package series

import (
	"maps"
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
