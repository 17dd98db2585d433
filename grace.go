// Package grace holds the nouns of GRACE: typed ids, the values that travel
// through the healing loop, and the interfaces that an extension implements.
//
// The way of a sample, each arrow a pure stage or an edge of its own package:
//
//	Sample -> Signal -> Trigger -> Diagnosis -> Proposal -> Decision -> Run -> LearningEntry
//	          sense     mesh       diagnose     propose     govern      heal   learn
//
// The package imports the standard library only, and every other package may
// import it. Its enums are strings that are stored and sent as they are: they
// are append-only, and the empty string is always the value that permits
// nothing (an unknown risk is not a low one).
//
// An extension is a [Domain] (what a kind of system is made of), a [Sensor]
// (where samples come from) or an [Action] (how something is done). They are
// registered with the daemon by options; nothing registers itself. Their
// contracts are tested by the suites of package gracetest.
package grace

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Typed ids. Their text is opaque, except that a PlaybookID and a ServiceID
// are the names an operator wrote.
type (
	ServiceID   string
	PlaybookID  string
	SignalKey   string
	TriggerID   string
	DiagnosisID string
	ProposalID  string
	DecisionID  string
	RunID       string
	ApprovalID  string
	IncidentID  string
	// Digest names a value by its content: 22 characters of base64url.
	Digest string
)

// CoreService is the service under which GRACE watches herself.
const CoreService ServiceID = "core"

// Core tells whether a service is GRACE itself or a part of it, of which it alone
// tells.
func (s ServiceID) Core() bool {
	return s == CoreService || strings.HasPrefix(string(s), string(CoreService)+".")
}

// Duration is a time.Duration that is written as text ("90s", "10m", "1d") in
// configuration, in the API and in the store. A day is 24 hours.
type Duration time.Duration

// D gives the standard library's form.
func (d Duration) D() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes the form of time.Duration.String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the form of time.ParseDuration, with weeks and days as
// well: 2w, 1d12h.
func (d *Duration) UnmarshalText(text []byte) error {
	rest, sum, err := string(text), time.Duration(0), error(nil)
	for _, unit := range []struct {
		suffix string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, after, found := strings.Cut(rest, unit.suffix)
		if !found {
			continue
		}
		n, wrong := strconv.ParseFloat(number, 64)
		if wrong != nil || !(math.Abs(n)*float64(unit.length) <= math.MaxInt64/2) { // also refuses NaN
			err = errors.New("not a number")
			break
		}
		sum, rest = sum+time.Duration(n*float64(unit.length)), after
	}
	if err == nil && (rest != "" || len(text) == 0) {
		var v time.Duration
		v, err = time.ParseDuration(rest)
		sum += v
	}
	if err != nil {
		return fmt.Errorf("duration %q: want a number with a unit, for example 30s, 10m, 1h30m, 1d or 2w", text)
	}
	*d = Duration(sum)
	return nil
}
