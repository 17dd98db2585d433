package loop

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/event"
	"grace/internal/stage/diagnose"
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

// predictionWrite is a prediction on its way to the store.
type predictionWrite struct {
	grace.Prediction

	state event.Telling
	owner string // of the agent that resolved it
}

// foresee makes what is to be written of what an agent found.
func (f *forecaster) foresee(st *stages, r predict.Result) []pendingWrite {
	f.mirror.turned(r.Retracted)
	f.mirror.lost(r.Lost)
	told := event.Standing
	if st.Govern.PredictiveShadow {
		told = event.Silenced
	}
	out := make([]pendingWrite, 0, len(r.Published)+len(r.Shadow)+len(r.Advice)+len(r.Resolved)+len(r.Suspended))
	add := func(list []grace.Prediction, state event.Telling) {
		for _, p := range list {
			if state != event.Resolved {
				p.Suggest = st.suggest(p, &f.memory)
			}
			out = append(out, pendingWrite{prediction: &predictionWrite{Prediction: p, state: state, owner: f.Owner}})
		}
	}
	// What ends first: a claim that is made anew is another entry.
	add(r.Resolved, event.Resolved)
	for _, list := range [][]grace.Prediction{r.Withdrawn, r.Retracted, r.Lost} {
		add(list, event.Ended)
	}
	add(r.Shadow, event.InShadow)
	add(r.Advice, event.Advice)
	add(r.Published, told)
	for i := range r.Suspended {
		out = append(out, pendingWrite{suspension: &r.Suspended[i]})
	}
	return out
}

// suggest names the playbooks for what is foreseen, the most proven first.
func (st *stages) suggest(p grace.Prediction, rank *scoreCache) []grace.PlaybookID {
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

// stepShards looks at the next part of every shard's series, so that all have
// been looked at once in PredictEvery, and hands on what was found in each.
func (f *forecaster) stepShards(st *stages, now time.Time, found func(r predict.Result)) {
	if f.Shards == nil {
		return
	}
	parts := max(int(st.PredictEvery/time.Second), 1)
	for i := range f.Shards.Shards() {
		for left, first := 0, true; first || left > 0; first = false {
			var r predict.Result
			f.Shards.Do(i, func(a *predict.Agent) {
				if first {
					left = (a.Places() + parts - 1) / parts
				}
				r, _ = a.Step(now, min(left, lookAtOnce))
			})
			left -= lookAtOnce
			f.agents.Lock()
			f.drifts.Take(&r)
			f.agents.Unlock()
			if !r.Empty() {
				found(r)
			}
		}
	}
}

// posted takes what other systems predict. Where the series is measured it is
// held to account like our own. What they leave open is filled in.
func (f *forecaster) posted(predictions []grace.Prediction) []pendingWrite {
	state, st := event.Standing, f.stages.Load()
	if st.Govern.PredictiveShadow {
		state = event.Silenced
	}
	out := make([]pendingWrite, 0, len(predictions))
	now := f.Now()
	f.agents.Lock()
	defer f.agents.Unlock()
	for _, p := range predictions {
		if p.BreachAt.IsZero() {
			p.BreachAt = now.Add(st.Predict.Horizon.D())
		}
		if p.Impact == grace.ImpactUnknown {
			p.Impact = diagnose.ForeseenImpact("", criticalityOf(st.Services, p.Service))
		}
		if len(p.Suggest) == 0 {
			p.Suggest = st.suggest(p, &f.memory)
		}
		entry, ok := f.foretell(p, now)
		if !ok {
			p.Metric = cmp.Or(p.Metric, string(p.Code))
			p.Rule, p.Made, p.ID = predict.RuleExternal, p.At, fmt.Sprintf("%s@%d", p.Key, p.At.UnixMilli())
			if entry = p; state == event.Standing {
				entry.Published = &entry.Made
			}
		}
		out = append(out, pendingWrite{prediction: &predictionWrite{Prediction: entry, state: state}})
	}
	return out
}

// foretell gives another system's prediction to the agent that has the series it
// is about: the own one or a shard's. The caller holds f.agents.
func (f *forecaster) foretell(p grace.Prediction, now time.Time) (entry grace.Prediction, ok bool) {
	least, found := f.predict.Distance(p)
	shard := -1
	if f.Shards != nil {
		for i := range f.Shards.Shards() {
			f.Shards.Do(i, func(a *predict.Agent) {
				if far, ok := a.Distance(p); ok && (!found || far < least) {
					least, found, shard = far, true, i
				}
			})
		}
	}
	if shard < 0 {
		return f.predict.Foretell(p, now)
	}
	f.Shards.Do(shard, func(a *predict.Agent) { entry, ok = a.Foretell(p, now) })
	return entry, ok
}

// event says what a prediction is: an entry of the ledger and, where it is to be acted
// on, a trigger.
func (f *predictionWrite) event(now time.Time) event.Predicted {
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
func standingOf(batch []pendingWrite) []grace.Prediction {
	var out []grace.Prediction
	for i := range batch {
		if f := batch[i].prediction; f != nil && (f.state == event.Standing || f.state == event.Silenced) {
			out = append(out, f.Prediction)
		}
	}
	return out
}

// hearPrediction takes from an event what the agents want to know.
func (f *forecaster) hearPrediction(e grace.Event) {
	switch e.Type {
	case event.TypePrediction, event.TypeResolved:
		var body event.Foresight
		if json.Unmarshal(e.Payload, &body) != nil || body.Prediction.Key == "" {
			return // it has no entry of the ledger
		}
		if e.Type == event.TypePrediction {
			f.mirror.predictions([]grace.Prediction{body.Prediction})
			return
		}
		if body.Owner != f.Owner {
			f.Gate.Learn(body.Prediction)
		}
	case eventRunning:
		var run struct {
			Service grace.ServiceID `json:"service"`
		}
		if json.Unmarshal(e.Payload, &run) == nil && run.Service != "" {
			f.acted(run.Service, grace.RunID(strings.TrimPrefix(e.Resource, "run/")))
		}
	}
}

// reconfigure gives the agents their limits and zones, and the own one its targets: series that
// others send are held against thresholds by what expressions make of them.
func (f *forecaster) reconfigure(st *stages, own []predict.Target) {
	f.Gate.Reconfigure(st.Predict.Gate)
	f.agents.Lock()
	defer f.agents.Unlock()
	f.eachAgent(func(a *predict.Agent) {
		var targets []predict.Target
		if a == f.predict {
			targets = own
			a.Depend(st.rules.Graph.Nearest)
		}
		a.Reconfigure(st.Predict, targets)
		a.Localize(st.zones)
		a.Silence(st.Govern.PredictiveShadow)
	})
}

// acted tells the agents that a run acts on a service.
func (f *forecaster) acted(service grace.ServiceID, run grace.RunID) {
	f.agents.Lock()
	defer f.agents.Unlock()
	f.eachAgent(func(a *predict.Agent) { a.Acted(service, run) })
}

// Predicted gives every rule's record since this process began, and the
// breaches that no published prediction foresaw.
func (f *forecaster) Predicted() (records []predict.RuleStats, missed int64) {
	now := f.Now()
	f.agents.Lock()
	defer f.agents.Unlock()
	f.eachAgent(func(a *predict.Agent) {
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
