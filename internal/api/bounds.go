package api

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"grace"
)

// Limits of what a client may send at once or call a thing. They are bounds of
// what GRACE can store, show and calculate with, so they hold at every edge.
const (
	maxBatch   = 1000
	maxName    = 200
	maxText    = 4000
	maxPayload = 64 << 10
	maxLabels  = 64
	maxUnit    = 32
	// maxNumber in magnitude: squares and differences of such numbers are finite.
	maxNumber = 1e100
	// maxAhead is how far a sender's clock may run before ours. What is ahead by
	// less counts as of now: a sample of the future would make those of others,
	// until then, look late.
	maxAhead = time.Minute
	// slightlyAhead is what clocks are off in any case. A sample that is ahead by more the
	// loop takes as of now once: a sender may say the same for ever.
	slightlyAhead = 10 * time.Second
)

// MaxHorizon bounds what somebody says of the future: a breach, an expiry, the
// end of a silence.
const MaxHorizon = 10 * 366 * 24 * time.Hour

// name judges what identifies something and must be there.
func name(bad *findings, at, text, hint string) {
	if strings.TrimSpace(text) == "" {
		bad.add(at, nil, hint, "is missing")
		return
	}
	optional(bad, at, text, maxName)
}

// optional judges a short text that may be empty.
func optional(bad *findings, at, text string, limit int) {
	switch {
	case len(text) > limit:
		bad.add(at, text, fmt.Sprintf("at most %d characters", limit), "is too long")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, hidden):
		bad.add(at, fmt.Sprintf("%q", text), "leave out control characters and those that change the direction of writing", "has a character that cannot be shown")
	}
}

// hidden tells characters that a name has no use for: controls, and those that
// make a reader see another text than there is.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError || r == '\u2028' || r == '\u2029'
}

// message judges a text for people, of several lines.
func message(bad *findings, at, text string) {
	switch {
	case len(text) > maxText:
		bad.add(at, text, fmt.Sprintf("at most %d characters", maxText), "is too long")
	case strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text):
		bad.add(at, fmt.Sprintf("%.40q", text), "send UTF-8 without NUL", "is not text")
	}
}

// serviceID judges the id of a service. It becomes part of addresses and command
// lines, so it has the form that the configuration has for one.
func serviceID(bad *findings, at string, id grace.ServiceID, hint string) {
	if strings.TrimSpace(string(id)) == "" || len(id) > maxName {
		name(bad, at, string(id), hint)
	} else if !id.Valid() {
		bad.add(at, fmt.Sprintf("%.80q", string(id)), "letters, digits, dot, dash and underscore, beginning with a letter or digit", "is not the name of a service")
	}
}

func labels(bad *findings, at string, set map[string]string) {
	if len(set) > maxLabels {
		bad.add(at, nil, fmt.Sprintf("at most %d", maxLabels), "has %d labels", len(set))
		return
	}
	for k, v := range set {
		optional(bad, at, k, maxName)
		message(bad, at+"."+fmt.Sprintf("%.40s", k), v)
	}
}

// number judges a value that GRACE will calculate with.
func number(bad *findings, at string, v float64) {
	if math.IsNaN(v) || math.Abs(v) > maxNumber {
		bad.add(at, fmt.Sprint(v), fmt.Sprintf("between -%g and %g", float64(maxNumber), float64(maxNumber)), "is not a number that GRACE can calculate with")
	}
}

// past judges when something was measured or happened, and gives it, not later
// than now.
func past(bad *findings, at string, t, now time.Time) time.Time {
	switch {
	case t.After(now.Add(maxAhead)):
		bad.add(at, t.Format(time.RFC3339), "set the sender's clock, or leave "+lastPart(at)+" out", "lies in the future (it is now %s)", now.UTC().Format(time.RFC3339))
	case before1970(bad, at, t):
	case t.After(now):
		return now
	}
	return t.UTC()
}

// measuredAt judges when a sample was measured.
func measuredAt(bad *findings, at string, t, now time.Time) time.Time {
	if judged := past(bad, at, t, now); !t.After(now.Add(slightlyAhead)) {
		return judged
	}
	return t.UTC()
}

func before1970(bad *findings, at string, t time.Time) bool {
	early := t.Before(time.Unix(0, 0))
	if early {
		bad.add(at, t.Format(time.RFC3339), "a time from 1970 on", "lies before 1970")
	}
	return early
}

// future judges a time that is to come. It may be nil where there is none.
func future(bad *findings, at string, t *time.Time, now time.Time, hint string) {
	switch {
	case t == nil:
	case !t.After(now):
		bad.add(at, t.Format(time.RFC3339), hint, "lies in the past (it is now %s)", now.UTC().Format(time.RFC3339))
	case t.After(now.Add(MaxHorizon)):
		bad.add(at, t.Format(time.RFC3339), "at most ten years ahead", "lies too far in the future")
	}
}

func lastPart(at string) string { return at[strings.LastIndexByte(at, '.')+1:] }

// payload judges what an event carries: it is kept and shown as it is.
func payload(bad *findings, at string, raw json.RawMessage) {
	if len(raw) > maxPayload {
		bad.add(at, nil, fmt.Sprintf("at most %d bytes", maxPayload), "is too long: %d bytes", len(raw))
	}
}
