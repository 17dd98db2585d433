package predict

import (
	"errors"
	"math/bits"
	"time"

	"grace"
	"grace/internal/breach"
)

// LedgerConfig says what a breach is and how predictions are held to it.
type LedgerConfig struct {
	Merge   grace.Duration `json:"merge" doc:"a breach that begins sooner after the last one ended is the same breach"`
	Witness float64        `json:"witness" doc:"share of the samples that a series usually sends without which a prediction cannot be called false"`
}

// DefaultLedgerConfig merges breaches less than an hour apart.
func DefaultLedgerConfig() LedgerConfig {
	return LedgerConfig{Merge: grace.Duration(time.Hour), Witness: 0.5}
}

// Validate names every setting that cannot work.
func (c LedgerConfig) Validate() error {
	var errs []error
	if c.Merge < 0 {
		errs = append(errs, grace.Field("merge", "%s is negative", c.Merge))
	}
	if !(c.Witness >= 0 && c.Witness <= 1) {
		errs = append(errs, grace.Field("witness", "%v is not between 0 and 1", c.Witness))
	}
	return errors.Join(errs...)
}

// A breach is breachSamples of breachWindow samples beyond the threshold.
const (
	breachWindow  = 4
	breachSamples = 3
	// bygone is the age in ms from which on a breach that is seen only now is
	// history.
	bygone = int64(time.Hour / time.Millisecond)
)

// breachState tells when a series is beyond its threshold, by hysteresis. It
// never looks back further than breachWindow samples. All times are unix ms.
type breachState struct {
	began int64  // of the newest breach: the first of the samples that make it one
	ended int64  // the newest sample of the newest breach
	calm  int64  // a claim from before a restart was made then, so no breach lasted; 0: there is none
	count uint32 // samples seen
	mask  uint8  // which of the newest were beyond; bit 0 is the newest
	on    bool
	news  bool // a breach began that the ledger was not told of
}

// append takes the newest sample of a ring. merge is in ms.
func (b *breachState) append(r *ring, beyond bool, merge int64) {
	at := r.last()
	b.count++
	b.mask = b.mask << 1 & (1<<breachWindow - 1)
	if beyond {
		b.mask |= 1
	}
	in := bits.OnesCount8(b.mask) >= breachSamples
	switch {
	case in && b.calm != 0 && at > b.calm:
		// The claim knew more than a history with few points.
		b.began, b.news, b.calm = max(b.onset(r), b.calm), true, 0
	case in && !b.on && (b.ended == 0 || at-b.ended >= merge):
		// Nobody can foresee what is there when the series begins.
		b.began, b.news = b.onset(r), b.count > breachWindow
	}
	if b.on = in; in {
		b.ended = max(b.ended, at)
	}
}

// onset is the time of the first of the newest samples that was beyond.
func (b *breachState) onset(r *ring) int64 {
	back := bits.Len8(b.mask) // 1: the newest
	_, at := r.point(max(r.len()-back, 0))
	return at
}

// near tells whether one of the newest samples is beyond: what begins now, if anything,
// has begun.
func (b *breachState) near() bool { return b.mask&(1<<breachSamples-1) != 0 }

// lasts tells whether a breach is on, or is so recent that the next one would
// be the same. Nothing is foretold then.
func (b *breachState) lasts(now, merge int64) bool {
	return b.on || b.ended != 0 && now-b.ended < merge
}

// Claim is what one rule says of one series and threshold: a breach begins
// soon. From the first time it is said until it is resolved it is one claim.
type Claim struct {
	Made      int64 // when it was first said; all times are unix ms
	Published int64 // when it was first published; 0 while in shadow
	Advised   int64 // when it was first told as advice
	Ended     int64 // since when it is not said any more, of what was published or told as advice
	Likely    int64 // when it was first likely enough to be published; 0: never, or it was published first
	Renewed   int64 // when it was last said
	Until     int64 // the breach must begin before, as was said at From
	BreachAt  int64

	firstUntil int64 // as was said when it was made

	First      float64 // score as the rule gave it when it was made; 0: before a restart
	Score      float64 // the same when it was first likely enough to be published, or published; else First
	Likelihood float64 // what the gate made of it
	Low, High  float64 // the 80 % interval of the value at BreachAt

	// WouldBreach: without a remedy the series breaches, says the band of the
	// forecast. It is looked at when the breach does not come after a run acted.
	WouldBreach bool
	Acted       bool
	Run         grace.RunID // that acted
	Stands      bool        // it was said at the last look: the trend has not turned
	Silent      bool        // nothing is published: the gate let it pass, and it stays in shadow
	Scored      bool        // the gate let it pass, or would have, were the rule not suspended
	told        advice
	samples     uint32 // that the series had when it was made
	id          string
	title       string
	value       float64
	proof       []string
}

// From is the time that a claim is judged from, and a lead counted: when it was
// first published; of one in shadow, when it was first likely enough to be, if it
// was. What would be published is judged as if it were.
func (c *Claim) From() int64 { return max(c.Made, c.Likely, c.Published) }

// open is the claim of one rule.
type open struct {
	rule int
	Claim
}

// watch is one threshold of one series: whether it is breached, and what is
// claimed of it. There is at most one open claim a rule.
type watch struct {
	target    *Target
	threshold float64 // the target's, or what was learned
	learned   bool
	breach    breachState
	open      []open
	early     *breach.State // what its past teaches
	outlook   *outlook      // what the forecast says; nil before the first
}

func (w *watch) claim(rule int) *Claim {
	for i := range w.open {
		if w.open[i].rule == rule {
			return &w.open[i].Claim
		}
	}
	return nil
}

// resolved is a claim with its outcome; of a miss there is no claim.
type resolved struct {
	rule    int // -1: nobody foresaw it
	claim   Claim
	outcome grace.PredictionOutcome
	began   int64 // of the breach
	at      int64
	shadow  bool // of a miss: a claim in shadow had foreseen it
}

// leadTime is the time from the claim to the breach, never negative: a claim may be
// published after its sample.
func (r *resolved) leadTime() time.Duration {
	return time.Duration(max(r.began-r.claim.From(), 0)) * time.Millisecond
}

// resolve gives what can be said now of the claims on a watch and removes them.
// newest is the time of the newest sample, step the usual time between two samples in ms.
func (w *watch) resolve(now, newest, step int64, cfg LedgerConfig, out []resolved) []resolved {
	if w.breach.news {
		w.breach.news = false
		out = w.resolveHits(now, step, out)
	}
	kept := w.open[:0]
	for _, o := range w.open {
		// Its last sample may come late, and a breach that began may not be one yet.
		late := now <= o.Until+breachWindow*step && (newest < o.Until || w.breach.near())
		if now < o.Until || late {
			kept = append(kept, o)
			continue
		}
		out = append(out, resolved{
			rule: o.rule, claim: o.Claim, at: now,
			outcome: w.verdict(&o.Claim, step, cfg),
		})
	}
	w.open = kept
	if len(kept) == 0 {
		w.open = nil
	}
	return out
}

// resolveHits resolves the claims that a breach makes true: that were said before its
// first sample. If none of those that were published were, it was missed; unless it is of
// a history, when nobody was there to foresee it.
func (w *watch) resolveHits(now, step int64, out []resolved) []resolved {
	began := w.breach.began
	published, shadow := false, false
	kept := w.open[:0]
	for _, o := range w.open {
		if began > o.Until {
			kept = append(kept, o)
			continue
		}
		res := resolved{rule: o.rule, claim: o.Claim, outcome: grace.PredictionTruePositive, began: began, at: now}
		if o.From() > began+step { // a sample may come that late
			res.outcome = grace.PredictionUnresolved
			out = append(out, res)
			continue
		}
		told := o.Published != 0 && !o.Silent
		published, shadow = published || told, shadow || !told
		out = append(out, res)
	}
	w.open = kept
	if !published && now-began < bygone {
		out = append(out, resolved{rule: -1, outcome: grace.PredictionFalseNegative, began: began, at: now, shadow: shadow})
	}
	return out
}

// verdict of a claim whose time is over without a breach.
func (w *watch) verdict(c *Claim, step int64, cfg LedgerConfig) grace.PredictionOutcome {
	seen := int64(w.breach.count - c.samples)
	usual := (c.Until - c.Made) / max(step, 1)
	switch {
	case c.Acted && c.WouldBreach:
		return grace.PredictionPrevented
	case c.Acted: // the remedy may be the reason, or there was nothing
		return grace.PredictionUnresolved
	case seen < min(breachWindow, max(usual, 1)) || float64(seen) < cfg.Witness*float64(usual):
		return grace.PredictionUnresolved
	}
	return grace.PredictionFalsePositive
}
