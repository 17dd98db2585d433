package heal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/stage/verify"
)

const (
	defaultInterval = time.Second
	// DefaultMinSamples of a check are wanted unless it says otherwise.
	DefaultMinSamples = 3
	resultsKey        = "results"
	sinceKey          = "since"
	unseenKey         = "unseen"
	// unseenFor is how long, after RecoverIn, a sample is waited for that shows whether
	// what began a run has cleared.
	unseenFor = 2 * time.Minute
)

// takeBaseline records what capacity checks compare with, before anything is
// changed.
func (x *execution) takeBaseline() error {
	wanted := false
	for _, c := range x.run.Playbook.Verify {
		wanted = wanted || c.Type == grace.CheckCapacity
	}
	if !wanted {
		return nil
	}
	_, err := x.step("baseline", func(ctx context.Context) grace.Outcome {
		o := grace.Outcome{Status: grace.OutcomeSucceeded, Data: map[string]string{}, Started: x.Clock.Now()}
		for _, c := range x.run.Playbook.Verify {
			if c.Type != grace.CheckCapacity {
				continue
			}
			c = expandCheck(c, x.vars())
			// A capacity reading from shortly before the condition is the honest
			// one: during it, crashed instances are missing already.
			since := x.run.SickSince.Add(-time.Minute)
			if r := x.Prober.Probe(ctx, x.run.Service, c, since); r.OK {
				o.Data[baselineKey(c)] = strconv.FormatFloat(r.Value, 'g', -1, 64)
			}
		}
		o.Ended = x.Clock.Now()
		return o
	}, func(run *grace.Run, _ Checkpoint, o grace.Outcome) outcome {
		run.Baseline = o.Data
		return outcome{moves: []event.Move{{Action: "baseline", Reason: "serving capacity before the first step", Detail: o.Data}}}
	})
	return err
}

// verify watches the checks until all of them have held for the soak period.
// Failing samples before the settle time is over only start the soak anew.
func (x *execution) verify() (*failure, error) {
	// The step's record already says "verifying": the last step's transaction
	// moved the run on.
	var results []grace.CheckResult
	var recovered time.Time
	o, err := x.step("verify", x.watch, func(run *grace.Run, m Checkpoint, o grace.Outcome) outcome {
		results, recovered = decodeWatch(o)
		run.Checks = results
		if o.Status == grace.OutcomeSucceeded && m.Abort == nil {
			return succeeded(run, m, recovered)
		}
		return outcome{moves: []event.Move{{Action: "verification_failed", Reason: o.Error, Detail: results}}}
	})
	if err != nil {
		return nil, err
	}
	if x.run.Status == grace.RunSucceeded {
		return nil, nil
	}
	unseen := o.Data[unseenKey] != ""
	if f := x.interrupted(); f != nil && (f.abort != nil || !unseen) {
		return f, nil
	}
	return &failure{reason: "verification: " + o.Error, ineffective: !unseen, unseen: unseen}, nil
}

func decodeWatch(o grace.Outcome) (results []grace.CheckResult, recovered time.Time) {
	// Both were encoded by watch; what cannot be read is a failed result.
	if err := json.Unmarshal([]byte(o.Data[resultsKey]), &results); err != nil {
		return nil, time.Time{}
	}
	if t, err := time.Parse(time.RFC3339Nano, o.Data[sinceKey]); err == nil {
		recovered = t
	}
	return results, recovered
}

// watch probes until the verdict is clear.
func (x *execution) watch(ctx context.Context) grace.Outcome {
	began := x.Clock.Now()
	ctx, done := x.interruptible(ctx, x.watchdogLeft())
	defer done()
	w := newWatcher(x, began)
	for {
		now := w.now()
		w.sample(ctx, now)
		w.lookAtCondition(ctx, now)
		results, verdict := w.judge(now)
		switch {
		case ctx.Err() == nil:
		case verdict == verdictOpen && w.unseen(now):
			verdict = verdictUnseen
		default:
			verdict = verdictFailed
		}
		if verdict != verdictOpen {
			return watchOutcome(ctx, w, results, verdict, x.Clock.Now())
		}
		x.Clock.Sleep(ctx, w.tick)
	}
}

func watchOutcome(ctx context.Context, w *watcher, results []grace.CheckResult, v verdict, now time.Time) grace.Outcome {
	o := grace.Outcome{Status: grace.OutcomeFailed, Started: w.began, Ended: now, Data: map[string]string{}}
	if b, err := json.Marshal(results); err == nil {
		o.Data[resultsKey] = string(b)
	}
	switch {
	case v == verdictPassed:
		o.Status = grace.OutcomeSucceeded
		o.Data[sinceKey] = later(w.since, w.clearSince).Format(time.RFC3339Nano)
	case v == verdictUnseen:
		o.Error, o.Data[unseenKey] = "every check held, but nothing shows whether what began it has cleared: "+w.condition.Text, "true"
	case ctx.Err() != nil:
		o.Error = "interrupted: " + context.Cause(ctx).Error()
	case w.worsened(now):
		o.Error = "it got worse: " + w.condition.Worse
	case verify.Passed(results) && len(results) > 0:
		o.Error = "every check held, but what began it has not cleared: " + w.condition.Text
	case len(results) == 0:
		o.Error = "the playbook declares no check, so nothing shows that it helped"
	default:
		o.Error = whyFailed(results)
	}
	return o
}

// whyFailed names the check that failed, before one that only had too little
// to go by: when one fails the soak begins anew for all.
func whyFailed(results []grace.CheckResult) string {
	i := slices.IndexFunc(results, func(r grace.CheckResult) bool { return !r.Passed && r.Failed > 0 })
	if i < 0 {
		i = slices.IndexFunc(results, func(r grace.CheckResult) bool { return !r.Passed })
	}
	if i < 0 {
		return "no check failed, but not all held for the soak period"
	}
	return fmt.Sprintf("%s: wanted %s, got %s", results[i].Name, results[i].Wanted, results[i].Actual)
}

type verdict int

const (
	verdictOpen verdict = iota
	verdictPassed
	verdictFailed
	verdictUnseen // the checks held, and nothing shows whether it helped
)

// watcher holds the samples of the current soak.
type watcher struct {
	x            *execution
	checks       []grace.Check
	samples      [][]verify.Sample
	looks        []int // probes taken in the current soak, with an answer or without
	newest       []grace.Reading
	due          []time.Time
	began, since time.Time // of the watch, of the current soak
	drift        Drift     // of the wall clock, since it was looked at last
	settle, soak time.Duration
	tick         time.Duration
	slowest      time.Duration // in which enough measurements of every check come

	condition  Condition // of the newest look
	clearSince time.Time // zero while it is not clear
	openSince  time.Time // zero while something shows whether it is
	held       bool      // the checks, when they were judged last
	worseSince time.Time // zero while it is not worse
}

func newWatcher(x *execution, began time.Time) *watcher {
	p := x.run.Playbook
	w := &watcher{
		x: x, began: began, since: began,
		settle: or(p.Settle, DefaultSettle), soak: or(p.Soak, DefaultSoak), tick: defaultInterval,
		samples: make([][]verify.Sample, len(p.Verify)), due: make([]time.Time, len(p.Verify)),
		looks: make([]int, len(p.Verify)), newest: make([]grace.Reading, len(p.Verify)),
	}
	w.drift.Moved(began, x.Clock.Elapsed())
	for _, c := range p.Verify {
		w.checks = append(w.checks, expandCheck(c, x.vars()))
		w.tick = min(w.tick, or(c.Interval, defaultInterval))
	}
	return w
}

// now gives the time. When the wall clock was set the watch has lasted as long as
// before, and the soak begins anew: measurements of both times do not go together.
func (w *watcher) now() time.Time {
	now := w.x.Clock.Now()
	step := w.drift.Moved(now, w.x.Clock.Elapsed())
	if step.Abs() < ClockStep {
		return now
	}
	w.began = w.began.Add(step)
	for _, t := range []*time.Time{&w.clearSince, &w.openSince, &w.worseSince} {
		if !t.IsZero() {
			*t = t.Add(step)
		}
	}
	clear(w.due)
	w.soakAnew(now)
	return now
}

func (w *watcher) soakAnew(now time.Time) {
	w.since = now
	for i := range w.samples {
		w.samples[i] = nil
		w.looks[i] = 0
	}
}

func (w *watcher) sample(ctx context.Context, now time.Time) {
	for i, c := range w.checks {
		if now.Before(w.due[i]) {
			continue
		}
		w.due[i] = now.Add(or(c.Interval, defaultInterval))
		w.looks[i]++
		r := w.x.Prober.Probe(ctx, w.x.run.Service, c, w.since)
		w.newest[i] = r
		w.slowest = max(w.slowest, time.Duration(minSamples(c)+1)*r.Every)
		if !r.OK {
			continue // judged by too few samples
		}
		if n := len(w.samples[i]); n > 0 && !r.At.After(w.samples[i][n-1].At) {
			continue // the same measurement again
		}
		w.samples[i] = append(w.samples[i], verify.Sample{At: r.At, Value: r.Value, OK: true, Detail: r.Detail})
	}
}

// lookAtCondition looks at what began the run. A run that nothing began, or that
// nobody can look at, has a clear one.
func (w *watcher) lookAtCondition(ctx context.Context, now time.Time) {
	w.condition = Condition{Clear: true}
	if w.x.Condition != nil && w.x.run.Kind != grace.TriggerManual {
		w.condition = w.x.Condition(ctx, w.x.run)
	}
	mark := func(t *time.Time, is bool) {
		switch {
		case !is:
			*t = time.Time{}
		case t.IsZero():
			*t = now
		}
	}
	mark(&w.clearSince, w.condition.Clear)
	mark(&w.openSince, w.condition.Open)
	mark(&w.worseSince, w.condition.Worse != "")
}

// recovered tells whether what began the run has been clear for the hold-down.
func (w *watcher) recovered(now time.Time) bool {
	rests := len(w.x.run.Condition) > 0 || w.x.run.Kind == grace.TriggerProactive
	return !w.clearSince.IsZero() && (!rests || now.Sub(w.clearSince) >= w.x.run.HoldDown.D())
}

// unseen tells whether the checks hold, it was time for the condition to have cleared,
// and nothing shows whether it has.
func (w *watcher) unseen(now time.Time) bool {
	return w.held && w.condition.Open && now.Sub(w.began) >= w.x.run.RecoverIn.D()
}

// worsened tells whether the service has been clearly worse than before the
// first step for longer than a remedy may disturb it: half the settle time, at
// least 10 s.
func (w *watcher) worsened(now time.Time) bool {
	return !w.worseSince.IsZero() && now.Sub(w.worseSince) >= max(w.settle/2, leastWorse)
}

const leastWorse = 10 * time.Second

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (w *watcher) judge(now time.Time) ([]grace.CheckResult, verdict) {
	results := make([]grace.CheckResult, len(w.checks))
	bad := false
	for i, c := range w.checks {
		results[i] = verify.Judge(c, w.samples[i], w.x.baseline(c))
		enough := results[i].Samples >= minSamples(c)
		bad = bad || (!results[i].Passed && enough) || (results[i].Failed > 0 && c.Tolerate == 0)
		if r := w.newest[i]; !r.OK { // what was seen before is no more: it may come again
			blind := verify.Judge(c, append(slices.Clone(w.samples[i]), verify.Sample{At: now, Detail: r.Detail}), w.x.baseline(c))
			blind.Samples, blind.Failed = results[i].Samples, results[i].Failed
			results[i] = blind
		}
	}
	settled := now.Sub(w.began) >= w.settle
	// Time alone does not fail a remedy: a process that was not scheduled for a
	// while has looked too rarely to say that there is no data.
	late := now.Sub(w.since) >= w.settle+max(w.soak, w.slowest)+5*w.tick && w.lookedOften()
	held := verify.Passed(results) && now.Sub(w.since) >= w.soak
	w.held = held
	switch {
	case held && w.recovered(now):
		return results, verdictPassed
	case w.worsened(now):
		return results, verdictFailed
	case held && (len(w.x.run.Condition) > 0 && !w.clearSince.IsZero() || now.Sub(w.began) < w.x.run.RecoverIn.D()):
		return results, verdictOpen // the condition clears more slowly than the checks, or must stay clear
	case w.unseen(now) && now.Sub(later(w.openSince, w.began.Add(w.x.run.RecoverIn.D()))) < unseenFor:
		return results, verdictOpen
	case w.unseen(now):
		return results, verdictUnseen
	case bad && settled, late, held, len(w.checks) == 0:
		return results, verdictFailed
	case bad:
		w.soakAnew(now)
	}
	return results, verdictOpen
}

func (w *watcher) lookedOften() bool {
	for i, c := range w.checks {
		if w.looks[i] < minSamples(c) {
			return false
		}
	}
	return true
}

func minSamples(c grace.Check) int {
	if c.MinSamples > 0 {
		return c.MinSamples
	}
	return DefaultMinSamples
}

// baselineKey tells the baselines of a run apart: two sources may be asked the same.
func baselineKey(c grace.Check) string {
	if c.Source == "" {
		return c.Expr
	}
	return c.Source + ": " + c.Expr
}

func (x *execution) baseline(c grace.Check) *float64 {
	v, err := strconv.ParseFloat(x.run.Baseline[baselineKey(c)], 64)
	if err != nil {
		return nil
	}
	return &v
}

// holds judges a single reading.
func holds(c grace.Check, value float64) bool {
	c.MinSamples = 1
	return verify.Judge(c, []verify.Sample{{Value: value, OK: true}}, nil).Passed
}
