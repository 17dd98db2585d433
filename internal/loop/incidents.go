package loop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/decide"
	"grace/internal/event"
	"grace/internal/explain"
	"grace/internal/store"
)

const sickWhenSeen = "; it was sick when last seen"

// wasSick tells whether the last that was seen of what is not seen any more was
// bad.
func wasSick(s grace.Signal) bool {
	return s.State == grace.SignalStale && !s.At.IsZero() && s.Fired.Equal(s.At)
}

// keepLost has a person resolve the incidents of what was sick when it was last
// seen, and is forgotten since: nothing is left that could show it well.
func (d *decider) keepLost(ctx context.Context, now time.Time) error {
	lost := d.in.takeLost()
	if len(lost) == 0 {
		return nil
	}
	err := d.deciding(ctx, func(ctx context.Context, tx store.Tx) error {
		incidents, err := d.Store.OpenIncidents(ctx, tx)
		if err != nil {
			return fmt.Errorf("read the open incidents: %w", err)
		}
		for _, inc := range incidents {
			i, known := -1, len(inc.Unseen)
			for k, s := range lost {
				if inc.Covers(s.Service) && (inc.Kind != grace.IncidentBlind || inc.Sensor == sourceOf(s)) && !slices.Contains(inc.Unseen, string(s.Key)) {
					i, inc.Unseen = k, append(slices.Clone(inc.Unseen), string(s.Key))
				}
			}
			if i < 0 || inc.Manual {
				continue
			}
			if known > 0 { // people know that it is theirs
				if err := d.Store.Append(ctx, tx, incidentChange(inc, event.IncidentRefreshed, grace.Self, "", now)); err != nil {
					return err
				}
				continue
			}
			inc.News = fmt.Sprintf("nothing is heard of %s any more, which was sick when last seen at %s: only a person can tell whether %s is well",
				lost[i].Metric, lost[i].At.UTC().Format(time.RFC3339), lost[i].Service)
			if err := d.Store.Append(ctx, tx, incidentChange(inc, event.IncidentUpdated, grace.Self, inc.News, now)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		d.in.giveBackLost(lost)
		return fmt.Errorf("keep the incidents of what is not heard of any more: %w", err)
	}
	return nil
}

// blindness gives an incident for every sensor or source that should show
// something and has not for longer than its services may be unseen.
func (d *decider) blindness(st *stages, signals []grace.Signal, now time.Time) []grace.Incident {
	began := time.UnixMilli(d.looking.Load()).UTC()
	maps.DeleteFunc(d.unseen, func(k grace.SignalKey, _ time.Time) bool {
		_, there := slices.BinarySearchFunc(signals, k, byKey)
		return !there
	})
	by, soon := map[string]*grace.Incident{}, map[string][]grace.ServiceID{}
	for _, s := range signals {
		since := s.At
		switch {
		case s.State == grace.SignalStale && s.At.IsZero(), s.State == grace.SignalUnknown && s.Configured && !s.Pending():
			since = began // it never could look
		case s.State == grace.SignalStale:
		case s.Pending() && now.Sub(s.FailingSince) < st.escalateAfter(s.Service):
			continue // seen by fits and starts it never fires
		default:
			delete(d.unseen, s.Key)
			continue
		}
		// Changes of the configuration, however often, put nothing off.
		first, known := d.unseen[s.Key]
		if !known {
			first = later(since, began)
			if s.State == grace.SignalStale && !s.At.IsZero() && s.Since.Before(began) {
				// That it is not seen was known before the start already.
				first = earlier(first, later(s.Since, now.Add(confirmGrace-st.escalateAfter(s.Service))))
			}
			if c := d.conditions[s.Service]; c != nil && c.worst.Key == s.Key && wasSick(s) { // and is not well because it is not seen any more
				first = earlier(first, c.since)
			}
			d.unseen[s.Key] = first
		}
		if !s.Severity.Serious() || now.Before(d.looks) {
			continue
		}
		sensor := sourceOf(s)
		if now.Sub(first) < st.escalateAfter(s.Service) {
			soon[sensor] = append(soon[sensor], s.Service)
			continue
		}
		inc := by[sensor]
		if inc == nil {
			inc = &grace.Incident{
				ID: grace.IncidentID("i-" + content.ID("blind", sensor, now)), Kind: grace.IncidentBlind, State: grace.IncidentOpen, Sensor: sensor,
				Severity: grace.SeverityWarning, Since: since, OpenedAt: now, Detail: string(s.Service) + ": " + s.Message,
			}
			by[sensor] = inc
		}
		if wasSick(s) && !strings.HasSuffix(inc.Detail, sickWhenSeen) {
			inc.Detail = string(s.Service) + ": " + s.Message + sickWhenSeen
		}
		inc.Since = earlier(inc.Since, since)
		if !slices.Contains(inc.Services, s.Service) {
			inc.Services = append(inc.Services, s.Service)
		}
	}
	seen := map[grace.ServiceID]bool{} // by another sensor
	for i := range signals {
		if s := &signals[i]; len(by) > 0 && s.State != grace.SignalStale && s.State != grace.SignalUnknown {
			seen[s.Service] = true
		}
	}
	out := make([]grace.Incident, 0, len(by))
	for _, sensor := range slices.Sorted(maps.Keys(by)) {
		inc, what := by[sensor], "sees nothing of"
		for _, id := range soon[sensor] { // one message, not one a second for each that is due next
			if !slices.Contains(inc.Services, id) {
				inc.Services = append(inc.Services, id)
			}
		}
		if slices.ContainsFunc(inc.Services, func(id grace.ServiceID) bool { return seen[id] }) {
			what = "does not see part of"
		}
		inc.Title = fmt.Sprintf("GRACE "+what+" %s: no data from %s since %s", explain.List(inc.Services), sensor, inc.Since.UTC().Format(time.RFC3339))
		out = append(out, *inc)
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// unseen gives the services of a blind incident that an open one does not
// cover yet.
func unseen(open, now grace.Incident) []grace.ServiceID {
	return slices.DeleteFunc(slices.Clone(now.Services), func(id grace.ServiceID) bool { return open.Covers(id) })
}

// openIncident opens an incident about a sensor, or adds the services that it
// does not see to the one that is open, unless another replica was faster.
func (d *decider) openIncident(ctx context.Context, st *stages, inc grace.Incident, now time.Time) error {
	err := d.deciding(ctx, func(ctx context.Context, tx store.Tx) error {
		incidents, err := d.Store.OpenIncidents(ctx, tx)
		if err != nil {
			return fmt.Errorf("read the open incidents: %w", err)
		}
		if i := slices.IndexFunc(incidents, func(i grace.Incident) bool { return i.Kind == grace.IncidentBlind && i.Sensor == inc.Sensor }); i >= 0 {
			old := incidents[i]
			more := unseen(old, inc)
			if len(more) == 0 {
				return nil
			}
			old.Services = append(old.Services, more...)
			old.Title, old.Detail, old.News = inc.Title, inc.Detail, "it does not see "+explain.List(more)+" either"
			return d.Store.Append(ctx, tx, incidentChange(old, event.IncidentUpdated, grace.Self, old.News, now))
		}
		if now.Sub(inc.Since) < min(st.EscalateAfter, st.EscalateCritical) { // it was seen a moment ago, sick
			open, err := d.Store.OpenRunHeads(ctx, tx)
			if err != nil {
				return fmt.Errorf("read open runs: %w", err)
			}
			if slices.ContainsFunc(open, func(h store.RunHead) bool { return inc.Covers(h.Service) && h.State.Acting() }) {
				return nil
			}
		}
		return d.Store.Append(ctx, tx, incidentChange(inc, event.IncidentOpened, grace.Self, inc.Detail, now))
	})
	if err != nil {
		return fmt.Errorf("tell of sensor %s: %w", inc.Sensor, err)
	}
	return nil
}

// resolveIncidents resolves the incidents of services that have been well for
// the hold-down, and says who or what healed them. Where something may have been
// left half done a person does.
func (d *decider) resolveIncidents(ctx context.Context, st *stages, incidents, blind []grace.Incident, signals []grace.Signal, now time.Time) error {
	well, watched := d.wellSince(signals, now), watchedBy(signals)
	var failed error // about one, which keeps nothing from the others
	for _, inc := range incidents {
		unwatched := d.unwatched(inc, well, watched)
		if left := notOver(inc.Stopped, signals, st.HoldDown, now); len(left) < len(inc.Stopped) && len(inc.Unseen) == 0 {
			failed = errors.Join(failed, d.stoppedNoMore(ctx, inc, left, now))
		}
		switch {
		case len(unwatched) == 0 && len(stillUnseen(inc, signals)) < len(inc.Unseen):
			failed = errors.Join(failed, d.watchedAgain(ctx, inc, signals, now))
		case inc.Kind == grace.IncidentBlind:
			still := slices.ContainsFunc(blind, func(b grace.Incident) bool { return b.Sensor == inc.Sensor }) || d.stillBlind(inc, signals)
			if !still && !inc.NeedsPerson() {
				failed = errors.Join(failed, d.resolveIncident(ctx, inc, now))
			}
		case !isStorm(inc) && !inc.Manual && len(unwatched) > 0:
			failed = errors.Join(failed, d.keepUnwatched(ctx, inc, unwatched, now))
		case isStorm(inc), inc.NeedsPerson(), !allWell(inc, well, st.HoldDown, now):
			failed = errors.Join(failed, d.noteRecovered(ctx, inc, well, st.HoldDown, now))
		default:
			failed = errors.Join(failed, d.resolveIncident(ctx, inc, now))
		}
	}
	return failed
}

// whileOpen does something with an incident, as it is stored, while nobody else
// decides; nothing with one that was resolved meanwhile.
func (d *decider) whileOpen(ctx context.Context, id grace.IncidentID, do func(context.Context, store.Tx, grace.Incident) error) error {
	return d.deciding(ctx, func(ctx context.Context, tx store.Tx) error {
		inc, err := d.Store.Incident(ctx, tx, id)
		if err != nil || inc.State != grace.IncidentOpen {
			return err
		}
		return do(ctx, tx, inc)
	})
}

// sourceOf names what a blind incident is about: the sensor of a signal, or the
// metric of an objective that has had none yet.
func sourceOf(s grace.Signal) string { return cmp.Or(s.Sensor, s.Metric) }

// concerned gives all services of an incident.
func concerned(inc grace.Incident) []grace.ServiceID {
	if inc.Service == "" {
		return inc.Services
	}
	return append([]grace.ServiceID{inc.Service}, inc.Services...)
}

func (d *decider) stillBlind(inc grace.Incident, signals []grace.Signal) bool {
	return slices.ContainsFunc(signals, func(s grace.Signal) bool {
		return sourceOf(s) == inc.Sensor && s.Severity.Serious() &&
			(s.State == grace.SignalStale || !s.Pending() && (s.State == grace.SignalUnknown && s.Configured || s.Unconfirmed && !over(s)))
	})
}

// over tells whether a signal is an alert that is over, which nobody repeats.
func over(s grace.Signal) bool { return s.Kind == grace.SignalAlert && s.State == grace.SignalOK }

// allWell tells whether every service of an incident has been well for the
// hold-down, since it was opened.
func allWell(inc grace.Incident, well map[grace.ServiceID]time.Time, holdDown time.Duration, now time.Time) bool {
	ids := concerned(inc)
	return len(ids) > 0 && !slices.ContainsFunc(ids, func(id grace.ServiceID) bool { return !wellFor(inc, id, well, holdDown, now) })
}

// wellFor tells whether a service has been well for the hold-down since an
// incident was opened.
func wellFor(inc grace.Incident, id grace.ServiceID, well map[grace.ServiceID]time.Time, holdDown time.Duration, now time.Time) bool {
	since, is := well[id]
	if !inc.OpenedAt.After(now) { // the clock may have been set back
		since = later(since, inc.OpenedAt)
	}
	return is && now.Sub(since) >= holdDown
}

// unwatched gives the services of an incident of which nothing is left that could
// show them well, and that it does not say of yet.
func (d *decider) unwatched(inc grace.Incident, well map[grace.ServiceID]time.Time, watched map[grace.ServiceID]bool) (ids []grace.ServiceID) {
	for _, id := range concerned(inc) {
		if _, is := well[id]; !is && !watched[id] && inc.Covers(id) && d.conditions[id] == nil && !slices.Contains(inc.Unseen, string(id)) {
			ids = append(ids, id)
		}
	}
	return ids
}

// keepUnwatched has a person resolve an incident.
func (d *decider) keepUnwatched(ctx context.Context, of grace.Incident, ids []grace.ServiceID, now time.Time) error {
	err := d.whileOpen(ctx, of.ID, func(ctx context.Context, tx store.Tx, inc grace.Incident) error {
		if inc.Manual {
			return nil
		}
		known := len(inc.Unseen)
		for _, id := range ids {
			if !slices.Contains(inc.Unseen, string(id)) {
				inc.Unseen = append(slices.Clone(inc.Unseen), string(id))
			}
		}
		if len(inc.Unseen) == known {
			return nil
		}
		inc.News = fmt.Sprintf("nothing watches %s any more: only a person can tell whether it is well", explain.List(ids))
		if inc.Kind == grace.IncidentUnhealed {
			inc.Detail = sickWhenLast + "; " + inc.News
		}
		return d.Store.Append(ctx, tx, incidentChange(inc, event.IncidentUpdated, grace.Self, inc.News, now))
	})
	if err != nil {
		return fmt.Errorf("keep incident %s for a person: %w", of.ID, err)
	}
	return nil
}

const sickWhenLast = "it was sick when it was last seen"

// stillUnseen gives the services and signals of an incident that nothing has shown
// since they were not watched any more.
func stillUnseen(inc grace.Incident, signals []grace.Signal) []string {
	return slices.DeleteFunc(slices.Clone(inc.Unseen), func(name string) bool {
		return slices.ContainsFunc(signals, func(s grace.Signal) bool {
			return (string(s.Key) == name || string(s.Service) == name) && s.Severity.Serious() && !s.Unconfirmed &&
				s.State != grace.SignalStale && s.State != grace.SignalUnknown
		})
	})
}

// stoppedNoMore takes from an incident what is over of that for which a person has
// stopped a run: when it comes again GRACE acts again.
func (d *decider) stoppedNoMore(ctx context.Context, of grace.Incident, left []grace.SignalKey, now time.Time) error {
	err := d.whileOpen(ctx, of.ID, func(ctx context.Context, tx store.Tx, inc grace.Incident) error {
		inc.Stopped = left
		return d.Store.Append(ctx, tx, incidentChange(inc, event.IncidentRefreshed, grace.Self, "", now))
	})
	if err != nil {
		return fmt.Errorf("go on with incident %s: %w", of.ID, err)
	}
	return nil
}

// watchedAgain takes from an incident what is shown again. When that is all, it resolves
// by itself again.
func (d *decider) watchedAgain(ctx context.Context, of grace.Incident, signals []grace.Signal, now time.Time) error {
	err := d.whileOpen(ctx, of.ID, func(ctx context.Context, tx store.Tx, inc grace.Incident) error {
		left, what := stillUnseen(inc, signals), event.IncidentRefreshed
		if len(left) == 0 && !inc.Manual {
			what = event.IncidentUpdated
			inc.News = explain.List(inc.Unseen) + " is watched again: the incident resolves when all is well"
			if inc.Kind == grace.IncidentUnhealed {
				inc.Detail = sickWhenLast
			}
		}
		inc.Unseen = left
		return d.Store.Append(ctx, tx, incidentChange(inc, what, grace.Self, inc.News, now))
	})
	if err != nil {
		return fmt.Errorf("go on with incident %s: %w", of.ID, err)
	}
	return nil
}

// watchedBy gives the services of which some serious signal is there, whatever
// it says.
func watchedBy(signals []grace.Signal) map[grace.ServiceID]bool {
	watched := map[grace.ServiceID]bool{}
	for _, s := range signals {
		watched[s.Service] = watched[s.Service] || s.Severity.Serious()
	}
	return watched
}

// wellSince gives the services that are shown to be well, or silenced at the source,
// and since when.
func (d *decider) wellSince(signals []grace.Signal, now time.Time) map[grace.ServiceID]time.Time {
	well := decide.WellOrSilenced(signals)
	if d.well == nil {
		d.well = map[grace.ServiceID]time.Time{}
	}
	for id := range d.in.failing() { // though not for long enough to fire: it has not stayed well
		well[id] = false
	}
	for id := range d.well {
		if !well[id] {
			delete(d.well, id)
		}
	}
	for id, is := range well {
		if _, since := d.well[id]; is && !since {
			d.well[id] = now
		}
	}
	return d.well
}

func (d *decider) resolveIncident(ctx context.Context, inc grace.Incident, now time.Time) error {
	err := d.whileOpen(ctx, inc.ID, func(ctx context.Context, tx store.Tx, inc grace.Incident) error {
		if inc.NeedsPerson() {
			return nil
		}
		open, err := d.Store.OpenRunHeads(ctx, tx)
		if err != nil {
			return fmt.Errorf("read open runs: %w", err)
		}
		if slices.ContainsFunc(open, func(h store.RunHead) bool { return h.Service == inc.Service && h.State.Acting() }) {
			return nil // it tells in a moment whether it helped
		}
		if sick, err := d.sickElsewhere(ctx, tx, inc); err != nil || sick {
			return err
		}
		healed, err := d.healedBy(ctx, tx, inc)
		if err != nil {
			return err
		}
		inc.State, inc.ResolvedAt, inc.Resolution = grace.IncidentResolved, &now, healed
		return d.Store.Append(ctx, tx, incidentChange(inc, event.IncidentResolved, grace.Self, healed, now))
	})
	if err != nil {
		return fmt.Errorf("resolve incident %s: %w", inc.ID, err)
	}
	return nil
}

// watches tells whether there is a signal of a sensor or source.
func (d *decider) watches(sensor string) bool {
	return slices.ContainsFunc(d.mirror.allSignals(), func(s grace.Signal) bool { return sourceOf(s) == sensor })
}

// sickElsewhere tells whether what is stored says that a service of an incident
// is sick, or was when last seen: this replica may know less than others. A blind
// one is not about that.
func (d *decider) sickElsewhere(ctx context.Context, tx store.Querier, inc grace.Incident) (bool, error) {
	if inc.Kind == grace.IncidentBlind {
		return false, nil
	}
	for _, id := range concerned(inc) {
		if sick, err := d.storedSick(ctx, tx, id); err != nil || sick {
			return sick, err
		}
	}
	return false, nil
}

// storedSick tells whether what is stored says that a service is sick, or was
// when last seen.
func (d *decider) storedSick(ctx context.Context, tx store.Querier, id grace.ServiceID) (bool, error) {
	rows, err := d.Store.Signals(ctx, tx, id)
	if err != nil {
		return false, fmt.Errorf("look at the signals of %s: %w", id, err)
	}
	return slices.ContainsFunc(rows, func(s grace.Signal) bool {
		return s.Sick() && !s.Passing || s.Severity.Serious() && s.Silenced == "" && wasSick(s)
	}), nil
}

// noteRecovered notes which services of an incident that stays open have been
// well for the hold-down: when they are sick again that is another condition,
// and told.
func (d *decider) noteRecovered(ctx context.Context, of grace.Incident, well map[grace.ServiceID]time.Time, holdDown time.Duration, now time.Time) error {
	recovered := func(inc grace.Incident, id grace.ServiceID) bool {
		return inc.Covers(id) && wellFor(inc, id, well, holdDown, now)
	}
	if !slices.ContainsFunc(concerned(of), func(id grace.ServiceID) bool { return recovered(of, id) }) {
		return nil
	}
	err := d.whileOpen(ctx, of.ID, func(ctx context.Context, tx store.Tx, inc grace.Incident) error {
		before := len(inc.Recovered)
		for _, id := range concerned(inc) {
			if !recovered(inc, id) {
				continue
			}
			sick, err := d.storedSick(ctx, tx, id)
			if err != nil {
				return err
			}
			if !sick {
				inc.Recovered = append(inc.Recovered, id)
			}
		}
		if len(inc.Recovered) == before {
			return nil
		}
		return d.Store.Append(ctx, tx, incidentChange(inc, event.IncidentRefreshed, grace.Self, "", now))
	})
	if err != nil {
		return fmt.Errorf("note what recovered of incident %s: %w", of.ID, err)
	}
	return nil
}

// covering gives the incident with services that it is to cover from now on;
// what had recovered is sick again.
func covering(inc grace.Incident, more []grace.ServiceID) grace.Incident {
	again := func(id grace.ServiceID) bool { return slices.Contains(more, id) }
	inc.Services = append(slices.DeleteFunc(slices.Clone(inc.Services), again), more...)
	inc.Recovered = slices.DeleteFunc(slices.Clone(inc.Recovered), again)
	return inc
}

// healedBy says who or what made the services of an incident well, or what became
// of the data that a blind one is about.
func (d *decider) healedBy(ctx context.Context, tx store.Querier, inc grace.Incident) (string, error) {
	switch {
	case inc.Kind != grace.IncidentBlind:
	case d.watches(inc.Sensor):
		return "its data is back", nil
	default:
		return "nothing is watched by it any more", nil
	}
	heads, err := d.Store.RunHeads(ctx, tx, store.RunHeadFilter{Service: inc.Service, Since: inc.OpenedAt.Add(-pastWindow)})
	if err != nil {
		return "", fmt.Errorf("read the runs of %s: %w", inc.Service, err)
	}
	for _, h := range slices.Backward(heads) {
		if h.State == grace.RunSucceeded && !unsure(h) && h.EndedAt != nil && !h.EndedAt.Before(inc.Since) {
			return fmt.Sprintf("healed by run %s (%s)", h.ID, h.Playbook), nil
		}
	}
	return "well again without a run of GRACE that helped", nil
}

// incidentChange records what became of an incident.
func incidentChange(inc grace.Incident, what, actor, reason string, now time.Time) event.IncidentChanged {
	return event.IncidentChanged{Incident: inc, What: what, Actor: actor, Reason: reason, At: now}
}
