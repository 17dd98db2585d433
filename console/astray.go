package console

import "time"

// Astray is what came in and leads to no action.
type Astray struct {
	Undeclared     []UndeclaredRow
	MoreUndeclared int // not shown because there are so many
	Skipped        []SkippedRow
	MoreSkipped    int
	NeverMeasured  string
}

// CountUndeclared counts them, shown or not.
func (a Astray) CountUndeclared() int { return len(a.Undeclared) + a.MoreUndeclared }

// CountSkipped counts the kinds of alerts that were not taken, shown or not.
func (a Astray) CountSkipped() int { return len(a.Skipped) + a.MoreSkipped }

// UndeclaredRow is a service that only alerts or signals speak of.
type UndeclaredRow struct {
	ID       string
	Service  Link
	What     string
	Detail   string
	Since    time.Time
	Silenced []string
}

// SkippedRow is a kind of alerts that were not taken.
type SkippedRow struct {
	Alert string
	Why   string
	Times int
	Last  time.Time
}
