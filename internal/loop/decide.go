package loop

import (
	"strings"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/event"
)

// signature tells whether a "no" is the one that was said before.
func signature(d grace.Decision) string {
	codes := []string{string(d.Verdict)}
	for _, r := range d.Failed() {
		codes = append(codes, string(r.Code))
	}
	return strings.Join(codes, ",")
}

// decisionEvent says what a decision is, with the run that it makes.
func decisionEvent(s grace.Snapshot, dec grace.Decision, run *grace.Run, ttl time.Duration) event.Decided {
	return event.Decided{Decision: dec, Snapshot: decide.RecordDecision(s, dec), Run: run, Answer: dec.At.Add(ttl)}
}
