package predict

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"grace"
)

// Backtest lives through a past as a watch that began with it, knowing nothing, would have:
// with the rules as they are, and a gate of its own that nobody has taught. Values come in
// the order of their times, over all series.
type Backtest struct {
	agent    *Agent
	fit      func(*Refit)
	drifts   Drifts
	round    time.Time // when the joint series were last looked at
	series   map[identity]bool
	values   int
	from, to time.Time
	rules    map[recordKey]*BacktestRecord
	leads    map[recordKey]*backtestLeads
	breaches map[breachKey]*foreseen
}

// recordKey is a rule on the series of a service; empty for all services.
type recordKey struct {
	rule    int
	service grace.ServiceID
}

type breachKey struct {
	key       grace.SignalKey
	threshold float64
	began     int64
}

// foreseen tells which rules look at the series of a breach, which claimed it, and which of
// these may have acted: a bit each.
type foreseen struct {
	service                     grace.ServiceID
	looked, claimed, publishing uint16
}

type backtestLeads struct{ all, published []time.Duration }

// Backtested is what the rules would have said of a past, and what came.
type Backtested struct {
	From              time.Time      `json:"from" doc:"of the oldest value"`
	To                time.Time      `json:"to" doc:"of the newest value"`
	Series            int            `json:"series"`
	Values            int            `json:"values"`
	Breaches          int            `json:"breaches" doc:"that began"`
	Foreseen          int            `json:"foreseen" doc:"of them, those that any claim foresaw"`
	PublishedForeseen int            `json:"published_foreseen" doc:"of them, those that a claim foresaw which would have been published: it may have acted"`
	Rules             []RuleBacktest `json:"rules"`
}

// RuleBacktest is what a rule would have said, over all and by service.
type RuleBacktest struct {
	BacktestRecord

	Rule     string              `json:"rule"`
	Services []ServiceBacktested `json:"services"`
}

// ServiceBacktested is what a rule would have said of a service.
type ServiceBacktested struct {
	BacktestRecord

	Service grace.ServiceID `json:"service"`
}

// BacktestRecord counts what became of claims. Those that would have been published, and
// so may have acted, are among all of them.
type BacktestRecord struct {
	Claims                  int            `json:"claims" doc:"each counted once, however often it was said"`
	TruePositives           int            `json:"true_positives" doc:"a breach began in the time that was said"`
	FalsePositives          int            `json:"false_positives" doc:"none did"`
	Unresolved              int            `json:"unresolved" doc:"too few values to tell, or said when the breach had begun"`
	Open                    int            `json:"open" doc:"the past ends before their time"`
	MedianLead              grace.Duration `json:"median_lead" doc:"from the claim to the breach, of the true positives"`
	Published               int            `json:"published" doc:"claims that would have been published: they may have acted"`
	PublishedTruePositives  int            `json:"published_true_positives"`
	PublishedFalsePositives int            `json:"published_false_positives"`
	PublishedMedianLead     grace.Duration `json:"published_median_lead"`
	Precision               float64        `json:"precision" doc:"share of the true positives among the positives that would have been published; 0 without any"`
	Low                     float64        `json:"low" doc:"lower edge of the 80 % interval of the precision"`
	High                    float64        `json:"high" doc:"upper edge of the 80 % interval of the precision"`
	Breaches                int            `json:"breaches" doc:"of series that the rule looks at"`
	Foreseen                int            `json:"foreseen" doc:"of the breaches, those that a claim of the rule foresaw"`
	PublishedForeseen       int            `json:"published_foreseen" doc:"of the breaches, those that a claim of the rule foresaw which would have been published"`
}

// NewBacktest makes a backtest of the series that targets name. fit makes the forecasts, near
// is that of Agent.Depend.
func NewBacktest(cfg Config, targets []Target, zones Zones, near func(grace.ServiceID) []grace.ServiceID, lock Locker, fit func(*Refit)) *Backtest {
	b := &Backtest{
		agent: New(cfg, targets, NewGate(cfg.Gate, lock)), fit: fit, series: map[identity]bool{},
		rules: map[recordKey]*BacktestRecord{}, leads: map[recordKey]*backtestLeads{}, breaches: map[breachKey]*foreseen{},
	}
	b.agent.Localize(zones)
	b.agent.Depend(near)
	return b
}

// Take takes the next value.
func (b *Backtest) Take(name Series, at time.Time, value float64) {
	if _, known := b.agent.judged(name); !known {
		return
	}
	if b.values++; b.values == 1 {
		b.from = at
	}
	if at.After(b.to) {
		b.drift()
	}
	b.to = at
	b.series[name.identity()] = true
	r := b.agent.relive(name, at, value, b.fit)
	b.drifts.Take(&r)
	b.took(&r)
}

// drift ends a round of all series, which have been looked at as of the newest value.
func (b *Backtest) drift() {
	if b.to.Sub(b.round) < b.agent.cfg.Every.D() {
		return
	}
	b.round = b.to
	var r Result
	b.agent.Drift(&b.drifts, b.to, &r)
	b.took(&r)
}

func (b *Backtest) took(r *Result) {
	for i := range r.Resolved {
		b.resolved(&r.Resolved[i])
	}
}

// resolved counts what became of a claim, or that a breach was missed.
func (b *Backtest) resolved(p *grace.Prediction) {
	if p.Block {
		return // what a forecast said of a block of hours is no claim
	}
	rule := ruleNumber(p.Rule)
	if p.Breach != nil {
		b.breach(p, rule)
	}
	if rule < 0 {
		return
	}
	for _, service := range []grace.ServiceID{"", p.Service} {
		k := recordKey{rule, service}
		r, leads := entryOf(b.rules, k), entryOf(b.leads, k)
		r.Claims++
		told := p.Published != nil
		if told {
			r.Published++
		}
		switch p.Outcome {
		case grace.PredictionTruePositive:
			r.TruePositives++
			leads.all = append(leads.all, p.Lead.D())
			if told {
				r.PublishedTruePositives++
				leads.published = append(leads.published, p.Lead.D())
			}
		case grace.PredictionFalsePositive:
			r.FalsePositives++
			if told {
				r.PublishedFalsePositives++
			}
		case grace.PredictionUnresolved, grace.PredictionPrevented:
			r.Unresolved++
		case grace.PredictionOpen:
			r.Open++
		case grace.PredictionFalseNegative: // has no rule
		}
	}
}

// breach notes who foresaw a breach: it comes once for every claim that did, and once more
// if none of these would have been published.
func (b *Backtest) breach(p *grace.Prediction, rule int) {
	f := entryOf(b.breaches, breachKey{p.Key, p.Threshold, p.Breach.UnixMilli()})
	f.service = p.Service
	for _, name := range p.Evaluated {
		f.looked |= 1 << ruleNumber(name)
	}
	if p.Outcome == grace.PredictionTruePositive {
		f.claimed |= 1 << rule
		if p.Published != nil {
			f.publishing |= 1 << rule
		}
	}
}

// Report closes the books: what is open stays so.
func (b *Backtest) Report() Backtested {
	b.drift()
	for h := range Handle(b.agent.places) {
		s := b.agent.at(h)
		if s == nil {
			continue
		}
		for i := range s.watches {
			for j := range s.watches[i].open {
				o := &s.watches[i].open[j]
				p := b.agent.published(s, &s.watches[i], o.rule, &o.Claim)
				b.resolved(&p)
			}
		}
	}
	out := Backtested{From: b.from, To: b.to, Series: len(b.series), Values: b.values, Breaches: len(b.breaches), Rules: []RuleBacktest{}}
	for _, f := range b.breaches {
		if f.claimed != 0 {
			out.Foreseen++
		}
		if f.publishing != 0 {
			out.PublishedForeseen++
		}
	}
	for i, rule := range b.agent.rules {
		all := RuleBacktest{BacktestRecord: b.record(recordKey{rule: i}), Rule: rule.name, Services: []ServiceBacktested{}}
		if all.Claims == 0 && all.Breaches == 0 {
			continue
		}
		for _, service := range b.services(i) {
			all.Services = append(all.Services, ServiceBacktested{b.record(recordKey{i, service}), service})
		}
		out.Rules = append(out.Rules, all)
	}
	return out
}

// services are those that a rule said something of, or whose breaches it could have foreseen.
func (b *Backtest) services(rule int) []grace.ServiceID {
	found := map[grace.ServiceID]bool{}
	for k := range b.rules {
		if k.rule == rule && k.service != "" {
			found[k.service] = true
		}
	}
	for _, f := range b.breaches {
		if f.looked&(1<<rule) != 0 {
			found[f.service] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func (b *Backtest) record(k recordKey) BacktestRecord {
	var r BacktestRecord
	if known := b.rules[k]; known != nil {
		r = *known
		r.MedianLead, r.PublishedMedianLead = middle(b.leads[k].all), middle(b.leads[k].published)
	}
	r.Precision, r.Low, r.High = Share(r.PublishedTruePositives, r.PublishedFalsePositives)
	for _, f := range b.breaches {
		if f.looked&(1<<k.rule) == 0 || k.service != "" && f.service != k.service {
			continue
		}
		r.Breaches++
		if f.claimed&(1<<k.rule) != 0 {
			r.Foreseen++
		}
		if f.publishing&(1<<k.rule) != 0 {
			r.PublishedForeseen++
		}
	}
	return r
}

func middle(of []time.Duration) grace.Duration {
	if len(of) == 0 {
		return 0
	}
	slices.SortFunc(of, cmp.Compare)
	return grace.Duration(of[len(of)/2])
}
