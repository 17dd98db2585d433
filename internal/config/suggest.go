package config

import (
	"slices"
	"strings"
)

// minSuggested is the shortest name that is likened to others: everything is
// near to a shorter one.
const minSuggested = 3

// maxEdits is how far a name may be off to be likened to another.
const maxEdits = 4

// nearest gives the known name that was probably meant, or "".
func nearest(got string, known []string) string {
	got = strings.ToLower(got)
	if len(got) < minSuggested || len(got) > maxCompared {
		return ""
	}
	best, bestDistance := "", 1+min(max(1, len(got)/3), maxEdits)
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := distance(got, strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best != "" {
		return best
	}
	for _, k := range slices.Sorted(slices.Values(known)) {
		if strings.HasPrefix(k, got) || strings.HasPrefix(got, k) && len(k) > 3 {
			return k
		}
	}
	return ""
}

// Suggest gives the known name that was probably meant, or "".
func Suggest(got string, known []string) string { return nearest(got, known) }

// maxListed names are spelled out in a hint; more would bury it.
const maxListed = 12

// didYouMean is the hint for a name that is not among the known ones.
func didYouMean(got string, known []string) string {
	if k := nearest(got, known); k != "" {
		return "did you mean " + k + "?"
	}
	known = slices.Compact(slices.Sorted(slices.Values(known)))
	known = slices.DeleteFunc(known, func(k string) bool { return k == "" })
	if len(known) == 0 || len(known) > maxListed {
		return ""
	}
	return "known: " + strings.Join(known, ", ")
}

// maxCompared bounds the work for a hostile name; no key of ours is longer.
const maxCompared = 64

// distance counts the edits (insert, delete, replace, swap of neighbours) that
// turn a into b.
func distance(a, b string) int {
	if len(a) > maxCompared || len(b) > maxCompared {
		return maxCompared
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
