package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/dbtx"
)

// PredictionFilter selects entries of the ledger of predictions; zero fields
// select all. From and To are about the time when an entry was made.
type PredictionFilter struct {
	ID       string
	Service  grace.ServiceID
	Rule     string
	Outcome  grace.PredictionOutcome
	Told     []Told // any of these
	From, To time.Time
}

// Told is how much a prediction was told.
type Told int

// Ways in which a prediction was told.
const (
	ToldNobody Told = iota // it was made in shadow, or is a miss
	ToldToAct              // published
	ToldAdvice             // and nothing acts on it
)

// ToldOf tells how much a prediction was told.
func ToldOf(p *grace.Prediction) Told {
	switch {
	case p.Published != nil:
		return ToldToAct
	case p.Advised != nil:
		return ToldAdvice
	}
	return ToldNobody
}

func (f PredictionFilter) where() where {
	var w where
	w.equal("id", f.ID)
	w.equal("service", string(f.Service))
	w.equal("rule", f.Rule)
	w.equal("outcome", string(f.Outcome))
	if len(f.Told) > 0 {
		marks, args := make([]string, len(f.Told)), make([]any, len(f.Told))
		for i, t := range f.Told {
			marks[i], args[i] = "?", int(t)
		}
		w.add("published IN ("+strings.Join(marks, ", ")+")", args...)
	}
	w.between("at", f.From, f.To)
	return w
}

// Predictions reads a page of the ledger, the last made first.
func (s *Store) Predictions(ctx context.Context, q Querier, f PredictionFilter, p Page) (predictions []grace.Prediction, next string, err error) {
	return pageOf[grace.Prediction](ctx, s, q, table{"grace_predictions", "at"}, f.where(), p)
}

// ledgerLimit bounds what Ledger reads: older entries would teach little.
const ledgerLimit = 20000

// Ledger reads what teaches, what is open and which breaches were missed, made
// since a time, oldest first:
// at most the newest 20,000.
func (s *Store) Ledger(ctx context.Context, q Querier, since time.Time) ([]grace.Prediction, error) {
	list, err := docsOf[grace.Prediction](ctx, s, q, "ledger of predictions", `SELECT doc FROM grace_predictions
		WHERE outcome IN ('open', 'true_positive', 'false_positive', 'false_negative') AND at >= $1 ORDER BY at DESC, id DESC LIMIT $2`, millis(since), ledgerLimit)
	slices.Reverse(list)
	return list, err
}

// RuleRecord counts what became of the predictions of one rule. Published ones, advice
// and shadow ones are counted apart; a rule "" holds the misses.
type RuleRecord struct {
	Rule      string
	Published map[grace.PredictionOutcome]int
	Advice    map[grace.PredictionOutcome]int
	Shadow    map[grace.PredictionOutcome]int
	Leads     []time.Duration // of the true positives among the published ones, shortest first
	Met       int             // breaches that a published prediction of the rule foresaw
	Missed    int             // others, of series that the rule looks at
}

// Reliability counts the published predictions with about one likelihood.
type Reliability struct {
	From, To  float64 // of the likelihood
	Mean      float64 // likelihood of those in it
	Resolved  int     // true and false positives
	CameTrue  int
	summation float64
}

// PredictionRecord is what the ledger says of a time.
type PredictionRecord struct {
	Rules       []RuleRecord // by name
	Breaches    int          // all, foreseen or not
	Reliability []Reliability
}

// reliabilityBins is the grain of Reliability.
const reliabilityBins = 10

// counting is a PredictionRecord being made.
type counting struct {
	byRule   map[string]*RuleRecord
	breaches map[string]map[string]bool // that the published predictions of a rule foresaw
	looked   map[string]map[string]bool // breaches of series that a rule looks at
	bins     [reliabilityBins]Reliability
}

func (c *counting) of(rule string) *RuleRecord {
	r := c.byRule[rule]
	if r == nil {
		r = &RuleRecord{Rule: rule, Published: map[grace.PredictionOutcome]int{}, Advice: map[grace.PredictionOutcome]int{}, Shadow: map[grace.PredictionOutcome]int{}}
		c.byRule[rule] = r
		c.breaches[rule], c.looked[rule] = map[string]bool{}, map[string]bool{}
	}
	return r
}

// tally takes a count of entries that agree.
func (c *counting) tally(row dbtx.Row) error {
	var rule, outcome string
	var published, n int
	if err := row.Scan(&rule, &outcome, &published, &n); err != nil {
		return err
	}
	counts := c.of(rule).Shadow
	switch Told(published) {
	case ToldToAct:
		counts = c.of(rule).Published
	case ToldAdvice:
		counts = c.of(rule).Advice
	case ToldNobody:
	}
	counts[grace.PredictionOutcome(outcome)] += n
	return nil
}

// judged takes an entry that was published and came true or not.
func (c *counting) judged(row dbtx.Row) error {
	var rule, outcome, breach string
	var lead int64
	var likelihood float64
	if err := row.Scan(&rule, &outcome, &breach, &lead, &likelihood); err != nil {
		return err
	}
	b := &c.bins[min(max(int(likelihood*reliabilityBins), 0), reliabilityBins-1)]
	b.Resolved++
	b.summation += likelihood
	if outcome == string(grace.PredictionTruePositive) {
		b.CameTrue++
		r := c.of(rule)
		r.Leads = append(r.Leads, time.Duration(lead)*time.Millisecond)
		c.breaches[rule][breach] = true
	}
	return nil
}

// began takes an entry of a breach, whoever foresaw it.
func (c *counting) began(row dbtx.Row) error {
	var breach, doc string
	if err := row.Scan(&breach, &doc); err != nil {
		return err
	}
	var entry struct {
		Evaluated []string `json:"evaluated"`
	}
	if err := json.Unmarshal([]byte(doc), &entry); err != nil {
		return fmt.Errorf("read an entry of the breach %s: %w", breach, err)
	}
	for _, rule := range entry.Evaluated {
		if c.byRule[rule] != nil { // a rule that never spoke has no record
			c.looked[rule][breach] = true
		}
	}
	return nil
}

// PredictionRecord counts the entries that a filter selects.
func (s *Store) PredictionRecord(ctx context.Context, q Querier, f PredictionFilter) (PredictionRecord, error) {
	var out PredictionRecord
	c := counting{byRule: map[string]*RuleRecord{}, breaches: map[string]map[string]bool{}, looked: map[string]map[string]bool{}}
	for _, part := range []struct {
		columns, condition, end string
		scan                    func(dbtx.Row) error
	}{
		{"rule, outcome, published, count(*)", "", " GROUP BY rule, outcome, published", c.tally},
		{"count(DISTINCT breach)", "breach <> ''", "", func(row dbtx.Row) error { return row.Scan(&out.Breaches) }},
		{"rule, outcome, breach, lead, likelihood", "published = 1 AND outcome IN ('true_positive', 'false_positive')", "", c.judged},
		{"breach, doc", "breach <> ''", "", c.began},
	} {
		w := f.where()
		if part.condition != "" {
			w.add(part.condition)
		}
		text := "SELECT " + part.columns + " FROM grace_predictions" + w.String() + part.end
		if err := each(ctx, q, s.dialect.rewrite(text), w.args, part.scan); err != nil {
			return out, fmt.Errorf("count predictions: %w", err)
		}
	}
	for rule, r := range c.byRule {
		slices.Sort(r.Leads)
		r.Met = len(c.breaches[rule])
		for breach := range c.looked[rule] {
			if !c.breaches[rule][breach] {
				r.Missed++
			}
		}
		out.Rules = append(out.Rules, *r)
	}
	slices.SortFunc(out.Rules, func(a, b RuleRecord) int { return strings.Compare(a.Rule, b.Rule) })
	for i, b := range c.bins {
		if b.Resolved > 0 {
			b.From, b.To = float64(i)/reliabilityBins, float64(i+1)/reliabilityBins
			b.Mean = b.summation / float64(b.Resolved)
			out.Reliability = append(out.Reliability, b)
		}
	}
	return out, nil
}
