package loop

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/event"
	"grace/internal/stage/predict"
)

const (
	eventRunning = "self_heal.run.running"

	// lookAtOnce series of a shard are looked at under one hold of its lock, so
	// that its intake waits for milliseconds.
	lookAtOnce = 256
)

// Predictors are agents beside the loop's own: one for every shard of what
// takes telemetry in. Do runs f under the shard's lock.
type Predictors interface {
	Shards() int
	Do(shard int, f func(*predict.Agent))
}

// Targets are the thresholds of a configuration, for the agents of shards too: it
// makes a forecast of every objective whose metric itself is held
// against the threshold. A counter, which is judged by its rate, always rises:
// its own value says nothing.
func Targets(cfg *Config) []predict.Target {
	var out []predict.Target
	for _, o := range cfg.Objectives {
		switch o.Aggregation {
		case "rate", "increase", "count", "sum", "burn_rate":
			continue
		}
		out = append(out, predict.Target{
			Service: o.Service, Metric: o.Metric, Op: o.Op, Threshold: o.Threshold, Code: o.Code, Unit: o.Unit,
			Impact: grace.ImpactLow,
		})
	}
	return append(out, cfg.Limits...)
}

// foreseen is a prediction on its way to the store.
type foreseen struct {
	grace.Prediction

	state event.Telling
	owner string // of the agent that resolved it
}

// foresee makes what is to be written of what an agent found. from is the shard
// that it came from, nil for the loop's own agent.
func (l *Loop) foresee(st *stages, r predict.Result, from *int) []said {
	l.mirror.turned(r.Turned)
	l.mirror.lost(r.Lost)
	told := event.Standing
	if st.Govern.PredictiveShadow {
		told = event.Silenced
	}
	out := make([]said, 0, len(r.Spoken)+len(r.Shadow)+len(r.Resolved)+len(r.Demoted))
	add := func(list []grace.Prediction, state event.Telling) {
		for _, p := range list {
			if state != event.Resolved {
				p.Suggest = st.suggest(p, &l.memory)
			}
			out = append(out, said{foreseen: &foreseen{Prediction: p, state: state, owner: l.Owner}})
		}
	}
	// What ends first: a claim that is made anew is another entry.
	add(r.Resolved, event.Resolved)
	add(r.Shadow, event.InShadow)
	add(r.Spoken, told)
	for i := range r.Demoted {
		out = append(out, said{demotion: &r.Demoted[i]})
	}
	l.teach(r.Resolved, from)
	return out
}

// teach tells what one agent resolved to the others of this process. The caller
// holds l.mu.
func (l *Loop) teach(list []grace.Prediction, from *int) {
	if len(list) == 0 || l.Shards == nil {
		return
	}
	for i := range l.Shards.Shards() {
		if from != nil && *from == i {
			continue
		}
		l.Shards.Do(i, func(a *predict.Agent) {
			for _, p := range list {
				a.Learn(p)
			}
		})
	}
	if from != nil {
		for _, p := range list {
			l.predict.Learn(p)
		}
	}
}

// suggest names the playbooks for what is foreseen, the most proven first.
func (st *stages) suggest(p grace.Prediction, rank *memory) []grace.PlaybookID {
	var out []grace.PlaybookID
	for i := range st.Playbooks {
		if slices.Contains(st.Playbooks[i].Triggers, p.Code) {
			out = append(out, st.Playbooks[i].ID)
		}
	}
	if len(out) > 1 {
		score := func(id grace.PlaybookID) float64 {
			s, _ := rank.Rank(p.Service, p.Code, id, p.At)
			return s
		}
		slices.SortStableFunc(out, func(a, b grace.PlaybookID) int { return cmp.Compare(score(b), score(a)) })
	}
	return out
}

// lookAtShards looks at the next part of every shard's series, so that all have
// been looked at once in PredictEvery.
func (l *Loop) lookAtShards(st *stages, now time.Time) {
	if l.Shards == nil {
		return
	}
	parts := max(int(st.PredictEvery/time.Second), 1)
	for i := range l.Shards.Shards() {
		for left, first := 0, true; first || left > 0; first = false {
			var r predict.Result
			l.Shards.Do(i, func(a *predict.Agent) {
				if first {
					left = (a.Places() + parts - 1) / parts
				}
				r, _ = a.Step(now, min(left, lookAtOnce))
			})
			left -= lookAtOnce
			if r.Empty() {
				continue
			}
			l.mu.Lock()
			l.keep(nil, l.foresee(st, r, &i)...)
			l.mu.Unlock()
		}
	}
}

// foretold takes what other systems predict. Where the series is measured it is
// held to account like our own.
func (l *Loop) foretold(ctx context.Context, predictions []grace.Prediction) error {
	if len(predictions) == 0 {
		return l.persist(ctx, nil)
	}
	state := event.Standing
	if l.stages.Load().Govern.PredictiveShadow {
		state = event.Silenced
	}
	more := make([]said, 0, len(predictions))
	now := l.Now()
	l.mu.Lock()
	for _, p := range predictions {
		entry, ok := l.foretell(p, now)
		if !ok {
			p.Rule, p.Made, p.ID = predict.RuleExternal, p.At, fmt.Sprintf("%s@%d", p.Key, p.At.UnixMilli())
			entry = p
		}
		more = append(more, said{foreseen: &foreseen{Prediction: entry, state: state}})
	}
	l.keep(nil, more...)
	l.mu.Unlock()
	return l.flush(ctx)
}

// foretell gives another system's prediction to the agent that has the series it
// is about: the own one or a shard's. The caller holds l.mu.
func (l *Loop) foretell(p grace.Prediction, now time.Time) (entry grace.Prediction, ok bool) {
	least, found := l.predict.Distance(p)
	shard := -1
	if l.Shards != nil {
		for i := range l.Shards.Shards() {
			l.Shards.Do(i, func(a *predict.Agent) {
				if far, ok := a.Distance(p); ok && (!found || far < least) {
					least, found, shard = far, true, i
				}
			})
		}
	}
	if shard < 0 {
		return l.predict.Foretell(p, now)
	}
	l.Shards.Do(shard, func(a *predict.Agent) { entry, ok = a.Foretell(p, now) })
	return entry, ok
}

// event says what a prediction is: an entry of the ledger and, where it is to be acted
// on, a trigger.
func (f *foreseen) event(now time.Time) event.Predicted {
	p := f.Prediction
	e := event.Predicted{Prediction: p, Telling: f.state, Owner: f.owner, At: now}
	if f.state == event.Standing {
		breach := p.BreachAt
		e.Trigger = &grace.Trigger{
			// A new id for every breach time would make a trigger every
			// evaluation: one an hour and series is enough to be decided.
			ID:   grace.TriggerID("t-" + content.ID("prediction", p.Key, now.Truncate(time.Hour))),
			Kind: grace.TriggerProactive, State: grace.TriggerPending, Service: p.Service, Code: p.Code,
			Severity: grace.SeverityWarning, Signal: p.Key, Likelihood: p.Likelihood, BreachAt: &breach,
			Source: "predict", Fingerprint: "prediction/" + string(p.Key), Message: p.Title, At: now,
		}
	}
	return e
}

// standingOf gives the predictions of a batch that are to be acted on or
// judged.
func standingOf(batch []said) []grace.Prediction {
	var out []grace.Prediction
	for i := range batch {
		if f := batch[i].foreseen; f != nil && (f.state == event.Standing || f.state == event.Silenced) {
			out = append(out, f.Prediction)
		}
	}
	return out
}

// hearPrediction takes from an event what the agents want to know.
func (l *Loop) hearPrediction(e grace.Event) {
	switch e.Type {
	case event.TypePrediction, event.TypeResolved:
		var body event.Foresight
		if json.Unmarshal(e.Payload, &body) != nil || body.Prediction.Key == "" {
			return // an event from outside, which says it otherwise
		}
		if e.Type == event.TypePrediction {
			l.mirror.predictions([]grace.Prediction{body.Prediction})
			return
		}
		if body.Owner != l.Owner {
			l.mu.Lock()
			l.eachAgent(func(a *predict.Agent) { a.Learn(body.Prediction) })
			l.mu.Unlock()
		}
	case eventRunning:
		var run struct {
			Service grace.ServiceID `json:"service"`
		}
		if json.Unmarshal(e.Payload, &run) == nil && run.Service != "" {
			l.acted(run.Service, grace.RunID(strings.TrimPrefix(e.Resource, "run/")))
		}
	}
}

// reconfigurePredict gives the agents their limits and targets. The caller holds l.mu.
func (l *Loop) reconfigurePredict(st *stages) {
	all := Targets(&st.Config)
	l.eachAgent(func(a *predict.Agent) {
		a.Reconfigure(st.Predict, all)
		a.Silence(st.Govern.PredictiveShadow)
	})
}

// acted tells the agents that a run acts on a service.
func (l *Loop) acted(service grace.ServiceID, run grace.RunID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachAgent(func(a *predict.Agent) { a.Acted(service, run) })
}

// Predicted gives every rule's record since this process began, and the
// breaches that no spoken prediction foresaw.
func (l *Loop) Predicted() (records []predict.RuleStats, missed int64) {
	now := l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachAgent(func(a *predict.Agent) {
		more, m := a.Stats(now)
		missed += m
		if records == nil {
			records = more
			return
		}
		for i := range more {
			records[i].Add(more[i])
		}
	})
	return records, missed
}
