package notify

import (
	"context"
	"slices"

	"grace"
	"grace/internal/store"
)

// Refs are kept by receiver and thread or, with one of these, by what is open.
const (
	questionSuffix = "#question" // the message with the buttons
	toldSuffix     = "#told"     // who has this one gets what becomes of it
	endSuffix      = "#end"      // and the end
	hadSuffix      = "#had"      // who of a receiver got a message that others of it did not
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

// setRefs records what a receiver was told, or was to be told when it refused it,
// and who of it is still to be told.
func (w *worker) setRefs(ctx context.Context, tx store.Tx, e grace.Event, m *Message, t Thread) error {
	refs := map[string]string{m.Thread: t.Root, m.Subject + questionSuffix: t.Question}
	if m.open() {
		refs[m.Subject+toldSuffix] = m.Key
	}
	if (m.open() || m.Kind == Acted) && w.set.router.wantsEnd(m, w.name) {
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
