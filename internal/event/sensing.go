package event

import (
	"fmt"
	"time"

	"grace"
)

// Types of messages that several packages know.
const (
	TypeSignal     = "health.signal"
	TypeAsked      = "self_heal.signals.asked"
	TypePrediction = "self_heal.prediction"
	TypeAdvice     = "self_heal.prediction.advice"
	TypeEnded      = "self_heal.prediction.ended"
	TypeResolved   = "self_heal.prediction.resolved"
	TypeSuspended  = "self_heal.prediction.suspended"
	TypeReadmitted = "self_heal.prediction.readmitted"
	TypeLearned    = "self_heal.learned"
	TypeAbort      = "self_heal.run.abort_requested"
)

// SignalChanged says that a signal is not what it was.
type SignalChanged struct {
	Signal  grace.Signal
	Trigger *grace.Trigger // that the change is, if it is one
	Quiet   bool           // state, severity and flapping are what they were: no entry
	Owner   string         // the process that saw it
	At      time.Time
}

func (e SignalChanged) derive(r *Rows) {
	s := &e.Signal
	w := word{at: e.At, action: "signal." + string(s.State), object: "signal/" + string(s.Key), service: s.Service, reason: s.Message}
	if s.Gone {
		w.action = "signal.forgotten"
	}
	r.signal(*s)
	own := w
	own.actor = e.Owner
	r.send(TypeSignal, "sense", own, s)
	if !e.Quiet {
		r.operation(w)
	}
	if e.Trigger != nil {
		r.Triggers = append(r.Triggers, *e.Trigger)
	}
}

// SignalsAsked says that a process asks the others what they see of signals.
type SignalsAsked struct {
	Keys  []grace.SignalKey
	Owner string
	At    time.Time
}

func (e SignalsAsked) derive(r *Rows) {
	r.send(TypeAsked, "sense", word{at: e.At, actor: e.Owner}, e.Keys)
}

// SignalForgotten says that a person had a signal dropped.
type SignalForgotten struct {
	Key           grace.SignalKey
	Service       grace.ServiceID
	Actor, Reason string
	At            time.Time
}

func (e SignalForgotten) derive(r *Rows) {
	r.record(word{e.At, e.Actor, "signal.forget_requested", "signal/" + string(e.Key), e.Service, e.Reason, nil})
}

// Telling says how a prediction is told.
type Telling int

// Ways to tell a prediction.
const (
	InShadow Telling = iota // kept in the ledger only
	Advice                  // told: nothing is done
	Ended                   // told: it is said no more
	Silenced                // told, and judged for the record: nothing is done
	Standing                // told, and a trigger
	Resolved                // what became of it
)

// Predicted is an entry of the ledger of predictions, new or resolved. One that was
// never told is in no other log: its row says all that there is to say.
type Predicted struct {
	Prediction grace.Prediction
	Telling    Telling
	Trigger    *grace.Trigger // of a standing one
	Owner      string
	At         time.Time
}

// Band is the interval that a forecast's value lies in, in the metric's unit.
type Band struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Foresight is the payload of the messages of a prediction.
type Foresight struct {
	Service    grace.ServiceID    `json:"service"`
	Metric     string             `json:"metric"`
	Code       grace.Code         `json:"code"`
	Title      string             `json:"title"`
	Likelihood float64            `json:"likelihood"`
	Impact     grace.Impact       `json:"impact"`
	BreachAt   time.Time          `json:"breach_at"`
	Band       Band               `json:"band"`
	Suggest    []grace.PlaybookID `json:"suggested_playbooks"`
	Evidence   []string           `json:"evidence"`
	Shadow     bool               `json:"shadow"`
	Owner      string             `json:"owner,omitempty"`
	Prediction grace.Prediction   `json:"prediction"`
}

func (e Predicted) derive(r *Rows) {
	p := e.Prediction
	r.Predictions = append(r.Predictions, p)
	if e.Trigger != nil {
		r.Triggers = append(r.Triggers, *e.Trigger)
	}
	w := word{at: e.At, action: "prediction.made", object: "prediction/" + p.ID, service: p.Service, reason: p.Title}
	kind := TypePrediction
	switch e.Telling {
	case Resolved:
		w.action, kind = "prediction."+string(p.Outcome), TypeResolved
	case InShadow:
		return
	case Advice:
		w.action, kind = "prediction.advised", TypeAdvice
	case Ended:
		w.action, kind = "prediction.ended", TypeEnded
	case Silenced, Standing:
	}
	if e.Telling != Resolved || p.Published != nil {
		r.operation(w)
	}
	w.object = "service/" + string(p.Service)
	r.send(kind, "predict", w, Foresight{
		Service: p.Service, Metric: p.Metric, Code: p.Code, Title: p.Title, Likelihood: p.Likelihood, Impact: p.Impact,
		BreachAt: p.BreachAt, Band: Band{p.Low, p.High}, Suggest: orEmpty(p.Suggest), Evidence: orEmpty(p.Evidence),
		Shadow: e.Telling == Silenced, Owner: e.Owner, Prediction: p,
	})
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// RuleJudged says that a rule of prediction may not speak any more, or again.
type RuleJudged struct {
	Rule      string
	Service   grace.ServiceID
	Back      bool // it may speak again
	False, Of int  // of its newest predictions
	Detail    any
	At        time.Time
}

func (e RuleJudged) derive(r *Rows) {
	w := word{at: e.At, action: "prediction.suspended", object: "rule/" + e.Rule, service: e.Service, detail: e.Detail}
	kind := TypeSuspended
	w.reason = fmt.Sprintf("%d of its last %d published predictions were false", e.False, e.Of)
	if e.Back {
		w.action, kind = "prediction.readmitted", TypeReadmitted
		w.reason = fmt.Sprintf("in shadow %d of its last %d predictions were false", e.False, e.Of)
	}
	r.record(w)
	r.send(kind, "predict", w, e.Detail)
}

// ClockSet says that the wall clock of a process was set.
type ClockSet struct {
	By    time.Duration
	Owner string
	At    time.Time
}

func (e ClockSet) derive(r *Rows) {
	w := word{
		at: e.At, action: "clock.stepped", object: "clock", reason: fmt.Sprintf("the wall clock was set by %s", e.By.Round(time.Millisecond)),
		detail: map[string]any{"owner": e.Owner},
	}
	r.record(w)
	r.send("self_heal.clock", "loop", w, map[string]any{"seconds": e.By.Seconds(), "owner": e.Owner})
}

// WriteRefused says that something was dropped because the database does not take it.
type WriteRefused struct {
	Key     string
	Service grace.ServiceID
	Reason  string
	At      time.Time
}

func (e WriteRefused) derive(r *Rows) {
	r.record(word{
		e.At, "", "write.refused", "queue", e.Service, fmt.Sprintf("dropped, because the store does not take it: %.1000s", e.Reason),
		map[string]string{"key": fmt.Sprintf("%.300q", e.Key)},
	})
}

// Posted are events from outside, which are passed on.
type Posted struct{ Events []grace.Event }

func (e Posted) derive(r *Rows) { r.Outbox = append(r.Outbox, e.Events...) }
