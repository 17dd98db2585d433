package sense

import (
	"strconv"
	"strings"
	"time"

	"grace"
	"grace/internal/annotation"
	"grace/internal/explain"
	"grace/internal/series"
)

// signal gives the published signal with its message. Messages are written
// when a signal is read, not with every sample.
func (e *entry) signal(cfg *Config) grace.Signal {
	s := e.sig
	s.Message = e.message(cfg)
	s.FailingSince = e.failingSince(s)
	s.Interval = grace.Duration(e.sampleInterval())
	if s.Flapping {
		s.Message += "; flapping: " + strconv.Itoa(len(e.transitions)) + " changes within " + short(e.flapWindow(cfg))
	}
	return s
}

// failingSince tells since when a signal fails whose newest sample did.
func (e *entry) failingSince(s grace.Signal) time.Time {
	switch {
	case e.pended:
		return e.breachSince
	case s.State == grace.SignalFiring && !e.passing:
		return e.breachSince
	case s.State == grace.SignalStale && e.held == grace.SignalFiring && s.Fired.Equal(s.At):
		return e.firingSince // the next process goes on from there
	}
	return time.Time{}
}

func (e *entry) message(cfg *Config) string {
	switch e.sig.State {
	case grace.SignalUnknown:
		if e.fails > 0 && e.kind == kindProbe {
			return withNote(e.sig.Metric+" failed "+times(e.fails)+", fires after "+strconv.Itoa(cfg.FailAfter), e.note)
		}
		if e.pended {
			return e.facts()
		}
		return e.sig.Metric + ": no data yet" + e.late() + e.whyNone()
	case grace.SignalStale:
		if e.fault != "" {
			return e.sig.Metric + ": sensor error: " + e.fault
		}
		since := e.sig.At.UTC().Format("15:04:05 MST")
		if e.lack != "" {
			return e.sig.Metric + ": not all of it seen since " + since + ": " + e.lack
		}
		return e.sig.Metric + ": no data since " + since + e.late() + e.whyNone()
	case grace.SignalOK, grace.SignalFiring, grace.SignalUnstable:
	}
	switch e.kind {
	case kindProbe:
		return e.probeMessage(cfg)
	case kindObjective:
		return e.objectiveMessage()
	case kindAlert:
	}
	text := e.sig.Metric + " firing"
	if e.held != grace.SignalFiring {
		text = e.sig.Metric + " resolved"
	}
	return withNote(text+silenced(e.sig.Silenced), e.note)
}

// late tells people what to do about data that comes too late to show anything.
func (e *entry) late() string {
	if e.lag == 0 {
		return ""
	}
	return "; its samples are " + short(e.lag.Round(time.Second)) + " old when they come, too old to count: raise sense.stale_after"
}

// whyNone tells people why an objective finds nothing, and what to do about it.
func (e *entry) whyNone() string {
	switch u := e.unmeasured; {
	case u.Selector == "":
		return ""
	case u.Named:
		return "; nothing is " + u.Selector + " so far: (...) or 0 * sum(METRIC), of a metric that is always there, has it count as 0"
	case len(e.sensors) == 0:
		return "; nothing gives " + u.Selector + ": is it spelt right, and does a sensor read it?"
	default:
		return "; nothing gives " + u.Selector + ": is it spelt right? What comes only once it happens is written (...) or vector(0)"
	}
}

// silenced words what keeps an alert silent at its source: a silence, or what
// says of itself that it inhibits or mutes the alert.
func silenced(by string) string {
	switch {
	case by == "":
		return ""
	case strings.HasPrefix(by, "inhibited "), strings.HasPrefix(by, "muted "), by == "suppressed":
		return ", " + by
	}
	return ", silenced by " + by
}

func (e *entry) probeMessage(cfg *Config) string {
	switch {
	case e.fails > 0:
		return withNote(e.sig.Metric+" failed "+times(e.fails), e.note)
	case e.held != grace.SignalFiring:
		return e.sig.Metric + " passed"
	case e.passes > 0:
		return e.sig.Metric + " passed " + times(e.passes) + ", ok after " + strconv.Itoa(cfg.RecoverAfter)
	default:
		return withNote(e.sig.Metric+" failed when last seen", e.note)
	}
}

func times(n int) string {
	if n == 1 {
		return "1 time"
	}
	return strconv.Itoa(n) + " times"
}

// maxText bounds what an objective's own text says, in bytes.
const maxText = 2000

// objectiveMessage is the objective's own text, where it has one, and what was found.
func (e *entry) objectiveMessage() string {
	o := e.objective
	facts := e.facts()
	if o.Labels != nil && e.sig.Service == grace.CoreService {
		facts += "; it names no service: map it to one with rules.map"
	}
	if o.Text == "" || e.failed == 0 || e.held != grace.SignalFiring {
		return facts
	}
	text := strings.Join(strings.Fields(grace.Printable(annotation.Expand(o.Text, e.sig.Labels, e.sig.Value, e.sig.At))), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text + " (" + facts + ")"
}

// facts reads "latency_ms 812 ms > 500 ms for 10s", and of several elements which it is
// about.
func (e *entry) facts() string {
	o := e.objective
	var b strings.Builder
	b.WriteString(e.sig.Metric)
	op := o.expr.Op()
	switch {
	case op == "" && e.failed > 0 && o.Text != "":
		b.WriteString(": " + explain.Quantity(e.sig.Value, o.Unit))
	case op == "" && e.failed == 0:
		b.WriteString(": " + o.Name + " gives nothing")
	case e.total == 0:
		b.WriteString(": nothing found, as where all is well")
	case op == "":
		b.WriteString(": " + o.Name + " gives " + explain.Quantity(e.sig.Value, o.Unit))
	default:
		if e.failed == 0 {
			op, _ = opposite(op)
		}
		b.WriteString(" " + explain.Quantity(e.sig.Value, o.Unit) + " " + op + " " + explain.Quantity(e.sig.Threshold, o.Unit))
	}
	if e.total > 1 {
		b.WriteString(", " + strconv.Itoa(e.failed) + " of " + strconv.Itoa(e.total) + " series")
		if labels := series.Distinct(e.sig.Labels); labels != "" {
			b.WriteString(", the worst " + labels)
		}
	}
	switch {
	case e.failed == 0 || o.For == 0:
	case e.held == grace.SignalFiring:
		b.WriteString(" for " + short(o.For.D()))
	default:
		b.WriteString(", fires after " + short(o.For.D()))
	}
	return b.String()
}

func withNote(text, note string) string {
	if note == "" {
		return text
	}
	return text + ": " + note
}

// short writes 1m for 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
