package event

import (
	"strconv"
	"strings"
	"time"

	"grace"
)

// What becomes of an incident.
const (
	IncidentOpened       = "incident.opened"
	IncidentUpdated      = "incident.updated"
	IncidentResolved     = "incident.resolved"
	IncidentAcknowledged = "incident.acknowledged"
	IncidentNoted        = "incident.noted"
	IncidentRefreshed    = "incident.refreshed" // brought up to date; nobody is told
)

// IncidentChanged says what became of an incident.
type IncidentChanged struct {
	Incident grace.Incident
	What     string
	// Cause is what the permanent log calls it where it is more than an incident: a
	// circuit breaker that opens, a row that somebody forged.
	Cause         string
	Actor, Reason string
	At            time.Time
}

func (e IncidentChanged) derive(r *Rows) {
	inc := e.Incident
	w := word{at: e.At, actor: e.Actor, action: e.What, object: "incident/" + string(inc.ID), service: inc.Service, reason: e.Reason}
	r.Incidents = append(r.Incidents, inc)
	if e.What == IncidentRefreshed {
		r.operation(w)
		return
	}
	r.send(e.What, "loop", w, inc)
	if e.Cause != "" {
		w.action = e.Cause
	}
	if inc.Kind == grace.IncidentStorm && e.Cause != "" {
		r.send("self_heal."+e.Cause, "loop", w, inc)
	}
	r.record(w)
}

// SilenceChanged says that a silence was added or ended.
type SilenceChanged struct {
	Silence       grace.Silence
	Ended         bool
	Actor, Reason string
	At            time.Time
}

func (e SilenceChanged) derive(r *Rows) {
	w := word{e.At, e.Actor, "silence.added", "silence/" + string(e.Silence.ID), "", e.Reason, e.Silence}
	if e.Ended {
		w.action = "silence.ended"
	}
	r.Silences = append(r.Silences, e.Silence)
	r.record(w)
	r.send("self_heal."+w.action, "api", w, e.Silence)
}

// ModeSet puts a mode in force.
type ModeSet struct{ Mode grace.ModeSetting }

func (e ModeSet) derive(r *Rows) {
	set := e.Mode
	w := word{set.Since, set.Actor, "mode." + string(set.Mode), "mode", "", set.Reason, set}
	r.Mode = &set
	r.record(w)
	r.send("self_heal.mode", "loop", w, set)
}

// ConfigReloaded says what the trust core may do from now on; the rest is in the
// file.
type ConfigReloaded struct {
	Detail any
	Actor  string
	At     time.Time
}

func (e ConfigReloaded) derive(r *Rows) {
	w := word{e.At, e.Actor, "config.reloaded", "config", "", "", e.Detail}
	r.record(w)
	r.send("self_heal.config", "loop", w, e.Detail)
}

// DeadLetter is a message that a receiver did not take, or not for all who belong to
// it. It is sent again when somebody asked for that, or when some may get it yet.
type DeadLetter struct {
	ID       string      `json:"id"`
	Receiver string      `json:"receiver"`
	Event    grace.Event `json:"event"`
	Title    string      `json:"title"`
	Error    string      `json:"error"`
	Attempts int         `json:"attempts"`
	At       time.Time   `json:"at"`
	Retry    bool        `json:"retry,omitempty" doc:"it was asked to be sent again and waits for its turn"`
}

// LetterChanged says that a receiver did not take a message, or that somebody had it
// sent again. Without Quiet it is news for the log and others; with it the letter's
// row was brought up to date.
type LetterChanged struct {
	Letter DeadLetter
	Actor  string
	Quiet  bool
	At     time.Time
}

func (e LetterChanged) derive(r *Rows) {
	d := e.Letter
	w := word{at: e.At, actor: e.Actor, action: "notify.dead", object: "notification/" + d.ID, reason: d.Error}
	r.Letters = append(r.Letters, d)
	if e.Quiet {
		w.action = "notify.tried"
		r.operation(w)
		return
	}
	if d.Retry {
		w.action = "notify.retried"
	}
	r.record(w)
	r.send("self_heal."+w.action, "notify", w, map[string]any{"receiver": d.Receiver, "event": d.Event.ID, "title": d.Title, "error": d.Error})
}

// LetterDelivered says that a dead letter has reached its receiver.
type LetterDelivered struct {
	ID string
	At time.Time
}

func (e LetterDelivered) derive(r *Rows) {
	r.Delivered = append(r.Delivered, e.ID)
	r.operation(word{at: e.At, action: "notify.delivered", object: "notification/" + e.ID})
}

// NotifyStep is a step of the ladder by which people are told: the next rung, a
// reminder, what was held back, what is passed on to others. With a reason it is an
// entry of the permanent log.
type NotifyStep struct {
	Type    string // of the message
	Subject string
	Payload any
	Reason  string
	At      time.Time
}

func (e NotifyStep) derive(r *Rows) {
	w := word{at: e.At, action: strings.TrimPrefix(e.Type, "self_heal."), object: e.Subject, reason: e.Reason, detail: e.Payload}
	r.send(e.Type, "notify", w, e.Payload)
	if e.Reason == "" {
		w.detail = nil
		r.operation(w)
		return
	}
	r.record(w)
}

// TokenChanged says that a token was created or revoked.
type TokenChanged struct {
	Name, Role string
	Revoked    bool
	Actor      string
	At         time.Time
}

func (e TokenChanged) derive(r *Rows) {
	w := word{at: e.At, actor: e.Actor, action: "token.created", object: "token/" + e.Name, reason: "role " + e.Role}
	if e.Revoked {
		w.action, w.reason = "token.revoked", ""
	}
	r.record(w)
}

// SessionEnded says that a person has logged out.
type SessionEnded struct {
	ID, Actor string
	At        time.Time
}

func (e SessionEnded) derive(r *Rows) {
	r.record(word{at: e.At, actor: e.Actor, action: "session.ended", object: "session/" + e.ID})
}

// Pruned says that retention has removed rows.
type Pruned struct {
	Table  string
	Rows   int64
	Before time.Time
	At     time.Time
}

func (e Pruned) derive(r *Rows) {
	r.operation(word{
		at: e.At, action: "retention.pruned", object: "table/" + e.Table, reason: strconv.FormatInt(e.Rows, 10) + " rows",
		detail: map[string]any{"rows": e.Rows, "before": e.Before.UTC()},
	})
}
