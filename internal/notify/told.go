package notify

import (
	"context"
	"slices"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// Refs are kept by receiver and thread or, with one of these, by what is open.
const (
	questionSuffix = "#question" // the message with the buttons
	toldSuffix     = "#told"     // who has this one gets what becomes of it
	endSuffix      = "#end"      // and the end
	hadSuffix      = "#had"      // who of a receiver got a message that others of it did not
	passedSuffix   = "#passed"   // others are told of it instead of the receiver
)

// gets tells whether a receiver gets a message: by the routes or the ladder, or
// since it was told before of what is open, or over now.
func (w *worker) gets(ctx context.Context, m *Message, name string) (bool, error) {
	if slices.Contains(w.set.router.Receivers(m), name) {
		return true, nil
	}
	suffix := toldSuffix
	switch {
	case m.over():
		suffix = endSuffix
	case len(m.to) > 0, !m.open():
		return false, nil
	}
	told, err := w.n.Store.Ref(ctx, w.n.Store.Q(), name, m.Subject+suffix)
	return told != "", err
}

// toldEnd tells whether this receiver is told of the end of a run that ended before it
// was told of the beginning: by a message of the run, or of the incident that says the
// same.
func (w *worker) toldEnd(ctx context.Context, began grace.Event, run *grace.Run) (bool, error) {
	at := began.Timestamp
	if run.EndedAt != nil {
		at = *run.EndedAt
	}
	ends := []grace.Event{{Type: "self_heal.run." + string(run.Status), Resource: began.Resource, Timestamp: at}}
	if run.Incident != "" {
		ends = append(ends, grace.Event{Type: event.IncidentOpened, Resource: "incident/" + string(run.Incident), Timestamp: at})
	}
	silences, err := w.n.silences(ctx)
	if err != nil {
		return false, err
	}
	for _, e := range ends {
		m, err := w.n.about(ctx, e, true)
		if err != nil {
			return false, err
		}
		if m == nil || w.set.holds(m, silences) {
			continue
		}
		if gets, err := w.gets(ctx, m, w.name); gets || err != nil {
			return gets, err
		}
	}
	return false, nil
}

// leaveOut passes a message over that nobody needs any more.
func (w *worker) leaveOut(ctx context.Context, row *store.Receiver, e grace.Event) error {
	if err := w.claim(ctx); err != nil {
		return err
	}
	dealtWith(row, e) // its attempts are not those of the next one
	return w.record(ctx, *row, nil)
}

// setRefs records what a receiver was told, or was to be told when it refused it,
// and who of it is still to be told.
func (w *worker) setRefs(ctx context.Context, tx store.Tx, e grace.Event, m *Message, t Thread) error {
	refs := map[string]string{m.Thread: t.Root, m.Subject + questionSuffix: t.Question}
	if m.open() {
		refs[m.Subject+toldSuffix] = m.Key
	}
	if (m.open() || m.Kind == Acted && m.ran == nil) && w.set.router.wantsEnd(m, w.name) {
		refs[m.Subject+endSuffix] = m.Key // of a run that changes nothing after all
	}
	for key, ref := range refs {
		if ref == "" {
			continue
		}
		if err := w.n.Store.SetRef(ctx, tx, w.name, key, ref, w.n.Now()); err != nil {
			return err
		}
	}
	return w.keepLeft(ctx, tx, e, m, t.left)
}
