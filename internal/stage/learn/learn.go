// Package learn knows how well remedies have done. It reads the learning log
// and answers three questions: how likely a playbook is to help ([Book.Rank]),
// how it has done over time ([Book.Rows]), and how the healing as a whole is
// going ([Measure]).
//
// # Score
//
// The score is the mean of a Beta distribution over decayed outcomes:
//
//	weight(e) = 0.5 ^ (age(e) / HalfLife)
//	s, f      = sum of the weights of successes, of failures
//	score     = (PriorAlpha + s) / (PriorAlpha + s + PriorBeta + f)
//	trials    = s + f
//
// Neutral outcomes tell nothing about the remedy and are left out. An entry
// from the future (clocks differ between replicas) has the weight 1.
//
// While a service has fewer than MinTrials trials of its own, outcomes of the
// same playbook for the same diagnosis on other services stand in: each with
// FallbackWeight of its weight, together for no more than what is missing to
// MinTrials. A service's own outcomes thus always weigh more, and from
// MinTrials on only they count.
//
// # State
//
// A [Book] is the log as it was given; it is not safe for use while [Book.Add]
// runs. Everything else only reads. The package is pure.
package learn

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"grace"
)

// Config says how outcomes turn into scores.
type Config struct {
	HalfLife       grace.Duration `yaml:"half_life" json:"half_life" doc:"age at which an outcome counts half"`
	PriorAlpha     float64        `yaml:"prior_alpha" json:"prior_alpha" doc:"successes assumed before the first outcome"`
	PriorBeta      float64        `yaml:"prior_beta" json:"prior_beta" doc:"failures assumed before the first outcome"`
	MinTrials      float64        `yaml:"min_trials" json:"min_trials" doc:"decayed outcomes of a service from which on only its own count"`
	FallbackWeight float64        `yaml:"fallback_weight" json:"fallback_weight" doc:"share with which an outcome on another service counts until then; 0 is never"`
}

// DefaultConfig gives the values that hold when nothing is said.
func DefaultConfig() Config {
	return Config{
		HalfLife: grace.Duration(14 * 24 * time.Hour), PriorAlpha: 1, PriorBeta: 1, MinTrials: 5, FallbackWeight: 0.5,
	}
}

// Validate joins every fault; each is a [grace.FieldError].
func (c Config) Validate() error {
	var errs []error
	positive := func(key string, v float64) {
		if !(v > 0) || math.IsInf(v, 0) {
			errs = append(errs, grace.Field(key, "%v: want more than 0", v))
		}
	}
	if c.HalfLife <= 0 {
		errs = append(errs, grace.Field("half_life", "%s: want more than 0s", c.HalfLife))
	}
	positive("prior_alpha", c.PriorAlpha)
	positive("prior_beta", c.PriorBeta)
	positive("min_trials", c.MinTrials)
	if !(c.FallbackWeight >= 0 && c.FallbackWeight <= 1) {
		errs = append(errs, grace.Field("fallback_weight", "%v: want 0 to 1", c.FallbackWeight))
	}
	return errors.Join(errs...)
}

// remedy is what outcomes are pooled by across services.
type remedy struct {
	code     grace.Code
	playbook grace.PlaybookID
}

// Book holds the learning log.
type Book struct {
	cfg     Config
	entries map[remedy][]grace.LearningEntry
	sums    map[remedy]*sums
}

// sums are the outcomes of a remedy, weighed as of the epoch, which is the time
// of the first one: those of a later time differ from them by one factor. With
// them a rank does not read the whole log.
type sums struct {
	epoch, newest time.Time
	wide          bool // outcomes lie so far apart that the weights cannot be held
	all           tally
	own           map[grace.ServiceID]tally
}

// wideHalfLives is how far an outcome may lie from the epoch: float64 holds
// twice that.
const wideHalfLives = 500

// New reads the log; the order of the entries does not matter. cfg must be
// valid.
func New(cfg Config, entries []grace.LearningEntry) *Book {
	b := &Book{cfg: cfg, entries: make(map[remedy][]grace.LearningEntry), sums: make(map[remedy]*sums)}
	b.Add(entries...)
	return b
}

// Add appends outcomes.
func (b *Book) Add(entries ...grace.LearningEntry) {
	for _, e := range entries {
		r := remedy{e.Diagnosis, e.Playbook}
		b.entries[r] = append(b.entries[r], e)
		s := b.sums[r]
		if s == nil {
			s = &sums{epoch: e.At, own: make(map[grace.ServiceID]tally)}
			b.sums[r] = s
		}
		if e.At.After(s.newest) {
			s.newest = e.At
		}
		s.wide = s.wide || e.At.Sub(s.epoch).Abs() > wideHalfLives*b.cfg.HalfLife.D()
		weight, own := b.decay(s.epoch.Sub(e.At)), s.own[e.Service]
		own.add(e.Result, weight)
		s.own[e.Service] = own
		s.all.add(e.Result, weight)
	}
}

// Rank gives the chance that the playbook helps the service with this condition,
// and the decayed number of outcomes behind it; see the package comment.
func (b *Book) Rank(service grace.ServiceID, code grace.Code, playbook grace.PlaybookID, now time.Time) (score, trials float64) {
	own, others := b.tallies(remedy{code, playbook}, service, now)
	if missing := b.cfg.MinTrials - own.trials(); missing > 0 && others.trials() > 0 {
		share := min(b.cfg.FallbackWeight, missing/others.trials())
		own.successes += share * others.successes
		own.failures += share * others.failures
	}
	alpha, beta := b.cfg.PriorAlpha+own.successes, b.cfg.PriorBeta+own.failures
	return alpha / (alpha + beta), own.trials()
}

// tallies weighs the outcomes of a remedy on a service and on all others.
func (b *Book) tallies(r remedy, service grace.ServiceID, now time.Time) (own, others tally) {
	s := b.sums[r]
	if s == nil {
		return own, others
	}
	if s.wide || s.newest.After(now) { // far apart, or from the future: each has to be looked at
		for _, e := range b.entries[r] {
			t := &others
			if e.Service == service {
				t = &own
			}
			t.add(e.Result, b.decay(max(now.Sub(e.At), 0)))
		}
		return own, others
	}
	since := b.decay(now.Sub(s.epoch))
	own = s.own[service]
	return own.times(since), s.all.minus(own).times(since)
}

// decay is the weight of an outcome of an age; of a negative one it is more
// than 1.
func (b *Book) decay(age time.Duration) float64 {
	return math.Exp2(-float64(age) / float64(b.cfg.HalfLife))
}

type tally struct{ successes, failures float64 }

func (t tally) trials() float64 { return t.successes + t.failures }

func (t tally) times(factor float64) tally { return tally{t.successes * factor, t.failures * factor} }

// minus leaves nothing where only the rounding of the sums is left.
func (t tally) minus(part tally) tally {
	rest := func(all, part float64) float64 {
		if all-part < rounding*all {
			return 0
		}
		return all - part
	}
	return tally{rest(t.successes, part.successes), rest(t.failures, part.failures)}
}

const rounding = 1e-9

func (t *tally) add(r grace.Result, weight float64) {
	switch r {
	case grace.ResultSuccess:
		t.successes += weight
	case grace.ResultFailure:
		t.failures += weight
	case grace.ResultNeutral:
	}
}

// ResultOf says what the end of a run tells about its remedy. Aborted counts
// as a failure, since the watchdog aborts what hangs; a run that a person
// aborted tells nothing, and its entry should be neutral.
func ResultOf(s grace.RunStatus) grace.Result {
	switch s {
	case grace.RunSucceeded:
		return grace.ResultSuccess
	case grace.RunIneffective, grace.RunRolledBack, grace.RunRollbackFailed, grace.RunEscalated, grace.RunAborted:
		return grace.ResultFailure
	case grace.RunProposed, grace.RunAwaitingApproval, grace.RunApproved, grace.RunRunning, grace.RunVerifying,
		grace.RunRollingBack, grace.RunDenied, grace.RunExpired, grace.RunCancelled, grace.RunObservedOnly:
	}
	return grace.ResultNeutral
}

// Row is the record of one playbook for one condition of one service within one
// span of time. Its counts are whole: nothing decays here.
type Row struct {
	Service           grace.ServiceID  `json:"service"`
	Diagnosis         grace.Code       `json:"diagnosis"`
	Playbook          grace.PlaybookID `json:"playbook"`
	Bucket            time.Time        `json:"bucket" doc:"when the span begins; year 1 when all of time is one span"`
	Trials            int              `json:"trials" doc:"successes and failures"`
	Successes         int              `json:"successes"`
	Failures          int              `json:"failures"`
	Neutral           int              `json:"neutral" doc:"ended without telling whether the playbook helps"`
	Rate              float64          `json:"rate" doc:"successes/trials; 0 without trials"`
	Low               float64          `json:"low" doc:"lower end of the 95 % Wilson interval of the rate"`
	High              float64          `json:"high" doc:"upper end"`
	MeanTimeToRecover grace.Duration   `json:"mean_time_to_recover" doc:"over the successes that recorded one; 0 without"`
}

// Rows gives the record by service, diagnosis, playbook and span, the oldest
// span first, then in that order. Spans are whole multiples of bucket since
// year 1 in UTC, so that days begin at midnight; without a bucket all of time
// is one. Entries after now are left out.
func (b *Book) Rows(now time.Time, bucket time.Duration) []Row {
	type key struct {
		service grace.ServiceID
		remedy  remedy
		bucket  time.Time
	}
	groups := make(map[key][]grace.LearningEntry)
	for r, entries := range b.entries {
		for _, e := range entries {
			if e.At.After(now) {
				continue
			}
			k := key{service: e.Service, remedy: r}
			if bucket > 0 {
				k.bucket = e.At.UTC().Truncate(bucket)
			}
			groups[k] = append(groups[k], e)
		}
	}
	rows := make([]Row, 0, len(groups))
	for k, entries := range groups {
		row := Row{Service: k.service, Diagnosis: k.remedy.code, Playbook: k.remedy.playbook, Bucket: k.bucket}
		row.count(entries)
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(x, y Row) int {
		return cmp.Or(x.Bucket.Compare(y.Bucket), cmp.Compare(x.Service, y.Service),
			cmp.Compare(x.Diagnosis, y.Diagnosis), cmp.Compare(x.Playbook, y.Playbook))
	})
	return rows
}

func (r *Row) count(entries []grace.LearningEntry) {
	var recovered []grace.Duration
	for _, e := range entries {
		switch e.Result {
		case grace.ResultSuccess:
			r.Successes++
			if e.TimeToRecover > 0 {
				recovered = append(recovered, e.TimeToRecover)
			}
		case grace.ResultFailure:
			r.Failures++
		case grace.ResultNeutral:
			r.Neutral++
		}
	}
	r.Trials = r.Successes + r.Failures
	r.Rate = ratio(r.Successes, r.Trials)
	r.Low, r.High = wilson(r.Successes, r.Trials)
	r.MeanTimeToRecover = mean(recovered)
}

func ratio(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func mean(ds []grace.Duration) grace.Duration {
	if len(ds) == 0 {
		return 0
	}
	var sum float64 // not in whole nanoseconds, which could overflow
	for _, d := range ds {
		sum += float64(d)
	}
	return grace.Duration(sum / float64(len(ds)))
}

// wilson gives the 95 % score interval of a rate; everything without trials.
func wilson(successes, trials int) (low, high float64) {
	if trials == 0 {
		return 0, 1
	}
	const z = 1.959963984540054
	n, p := float64(trials), float64(successes)/float64(trials)
	center := p + z*z/(2*n)
	spread := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	scale := 1 + z*z/n
	return max(0, (center-spread)/scale), min(1, (center+spread)/scale)
}
