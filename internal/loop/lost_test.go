package loop

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// TestLostSick: the incident of what was sick when last seen, and is forgotten
// since nothing is heard of it any more, does not resolve itself; a replica that
// knows nothing of a service does not resolve what others see.
func TestLostSick(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 2, nil)
	now := l.Now()
	open := func(id grace.IncidentID, service grace.ServiceID) grace.Incident {
		inc := grace.Incident{
			ID: id, Kind: grace.IncidentUnhealed, State: grace.IncidentOpen, Service: service, Severity: grace.SeverityCritical, OpenedAt: now,
		}
		if err := l.Store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
			return l.Store.Append(ctx, tx, event.Given{Incidents: []grace.Incident{inc}})
		}); err != nil {
			t.Fatal(err)
		}
		return inc
	}
	state := func(id grace.IncidentID) grace.Incident {
		inc, err := l.Store.Incident(t.Context(), l.Store.Q(), id)
		if err != nil {
			t.Fatal(err)
		}
		return inc
	}
	open("i-lost", "ghost")
	gone := grace.Signal{
		Key: "ghost/alertmanager/Down", Service: "ghost", Metric: "Down", Severity: grace.SeverityCritical, At: now, Gone: true, Lost: true,
	}
	l.heard(gone, false)
	if err := l.keepLost(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if inc := state("i-lost"); !inc.NeedsPerson() || !strings.Contains(inc.News, "sick when last seen") {
		t.Errorf("%+v", inc)
	}
	if err := l.resolveIncident(t.Context(), state("i-lost"), now); err != nil || state("i-lost").State != grace.IncidentOpen {
		t.Errorf("%v: %+v", err, state("i-lost"))
	}

	second := gone
	second.Key = "ghost/alertmanager/Slow"
	l.heard(second, false)
	if err := l.keepLost(t.Context(), now); err != nil || len(state("i-lost").Unseen) != 2 {
		t.Fatalf("%v: %+v: want both that were lost", err, state("i-lost"))
	}
	back := []grace.Signal{{Key: gone.Key, Service: "ghost", State: grace.SignalOK, Severity: grace.SeverityCritical}}
	if err := l.watchedAgain(t.Context(), state("i-lost"), back, now); err != nil || !slices.Equal(state("i-lost").Unseen, []string{string(second.Key)}) {
		t.Errorf("%v: %+v: one is back, the other is not", err, state("i-lost"))
	}

	blind := grace.Incident{
		ID: "i-blind", Kind: grace.IncidentBlind, State: grace.IncidentOpen, Sensor: "alertmanager", Services: []grace.ServiceID{"ghost"}, OpenedAt: now,
	}
	other := blind
	other.ID, other.Sensor = "i-probe", "probe"
	l.apply(t, event.Given{Incidents: []grace.Incident{blind, other}})
	gone.Sensor = "alertmanager"
	l.heard(gone, false)
	if err := l.keepLost(t.Context(), now); err != nil || len(state("i-blind").Unseen) != 1 || len(state("i-probe").Unseen) != 0 {
		t.Errorf("its source: %+v, another: %+v (%v)", state("i-blind"), state("i-probe"), err)
	}

	inc := open("i-elsewhere", benchService(0))
	firing := grace.Signal{Key: "x", Service: benchService(0), Metric: "m", State: grace.SignalFiring, Severity: grace.SeverityCritical, At: now, Since: now}
	write := func(s grace.Signal) {
		if err := l.Store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
			return l.Store.Append(ctx, tx, event.Given{Signals: []grace.Signal{s}})
		}); err != nil {
			t.Fatal(err)
		}
	}
	write(firing)
	if err := l.resolveIncident(t.Context(), inc, now); err != nil || state(inc.ID).State != grace.IncidentOpen {
		t.Errorf("%v: %+v", err, state(inc.ID))
	}
	old := firing
	old.Gone, old.At = true, now.Add(-time.Minute)
	write(old) // who forgot it had seen it before
	if err := l.resolveIncident(t.Context(), inc, now); err != nil || state(inc.ID).State != grace.IncidentOpen {
		t.Errorf("%v: %+v", err, state(inc.ID))
	}
	firing.State, firing.At = grace.SignalOK, now.Add(time.Second)
	write(firing)
	if err := l.resolveIncident(t.Context(), inc, now); err != nil || state(inc.ID).State != grace.IncidentResolved {
		t.Errorf("%v: %+v", err, state(inc.ID))
	}
}

// TestRestartsPutNothingOff: what is known from before a start alone is told soon
// after it, with the time since when it lasts.
func TestRestartsPutNothingOff(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := began.Add(10 * time.Minute)
	l := unwired(t, func() time.Time { return now })
	l.epoch.Store(now.UnixMilli())
	stored := []grace.Signal{{
		Key: "web/alertmanager/Down", Service: "web", Metric: "Down", Kind: grace.SignalAlert, Severity: grace.SeverityCritical,
		State: grace.SignalFiring, At: began, Since: began,
	}}
	l.sense.Restore(stored, now)
	l.mirror.unconfirm(stored, now)
	st := l.stages.Load()
	for range 60 {
		l.watchConditions(st, l.mirror.allSignals(), now)
		due := l.overdue(st, nil, now)
		since := now.Sub(time.UnixMilli(l.epoch.Load()))
		if told := len(due) == 1; told != (since >= confirmGrace) {
			t.Fatalf("%s after the start: %+v", since, due)
		}
		if len(due) == 1 && !due[0].since.Equal(began) {
			t.Fatalf("said to last since %s", due[0].since)
		}
		now = now.Add(time.Second)
	}
}
