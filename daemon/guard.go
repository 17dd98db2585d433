package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/event"
	"grace/internal/store"
)

const (
	// fileInterval is how often the database file is looked at.
	fileInterval = 2 * time.Second
	// checkpointInterval is how often it is noted, outside of the database, where
	// the audit log is. Besides at the start and at the end.
	checkpointInterval = 10 * time.Minute
	// forgedAgain is how long the same forgery is not told again.
	forgedAgain  = time.Hour
	maxForgeries = 16
)

// forgery is something that was written to the database beside GRACE.
type forgery struct {
	what string
	err  error
}

// forgeries takes what the store found, which must not wait for the store.
type forgeries struct{ heard chan forgery }

func (f *forgeries) tell(what string, err error) {
	select {
	case f.heard <- forgery{what, err}:
	default: // the others waiting say enough
	}
}

// watchData guards what GRACE rests on: it notes where the audit log is, tells
// people of what was written beside it, and ends the daemon when its database
// file is no longer the one that it has open.
func (d *Daemon) watchData(ctx context.Context) {
	d.checkpoint(ctx)
	defer func() { d.checkpoint(context.WithoutCancel(ctx)) }()
	look, note := time.NewTicker(fileInterval), time.NewTicker(checkpointInterval)
	defer look.Stop()
	defer note.Stop()
	opened, err := d.home.databaseFile()
	if err != nil {
		d.fail(err)
		return
	}
	told := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-note.C:
			d.checkpoint(ctx)
		case <-look.C:
			if err := d.home.sameFile(opened); err != nil {
				d.fail(err)
				return
			}
		case f := <-d.forgeries.heard:
			if at, again := told[f.what]; again && time.Since(at) < forgedAgain {
				continue
			}
			told[f.what] = time.Now()
			d.reportForgery(ctx, f)
		}
	}
}

func (d *Daemon) checkpoint(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if err := d.store.Checkpoint(ctx); err != nil {
		d.log.Error("it was not noted where the audit log is; tried again soon", "error", err)
	}
}

// reportForgery opens an incident. Nothing was done by what was found: this
// tells people that somebody tried.
func (d *Daemon) reportForgery(ctx context.Context, f forgery) {
	d.log.Error("somebody writes to the database beside GRACE; what was written is not acted on", "what", f.what, "error", f.err)
	at := now()
	inc := grace.Incident{
		ID: grace.IncidentID("inc-forged-" + content.ID(f.what, at)), State: grace.IncidentOpen, Severity: grace.SeverityCritical,
		// Of no service: it is not over when one is well.
		Title:    "The database was written to beside GRACE: " + f.what,
		Detail:   f.err.Error() + ". It is not acted on. Find out who can write to the database, then run: grace audit verify",
		OpenedAt: at,
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	err := d.store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		return d.store.Append(ctx, tx, event.IncidentChanged{Incident: inc, What: event.IncidentOpened, Cause: "store.forged", Reason: inc.Title, At: at})
	})
	if err != nil && ctx.Err() == nil {
		d.log.Error("the incident of a forgery was not recorded", "what", f.what, "error", err)
	}
}

// databaseFile identifies the SQLite file that was opened; nil on PostgreSQL.
func (h *dataDirectory) databaseFile() (fs.FileInfo, error) {
	if h.cfg.Database != "" {
		return nil, nil //nolint:nilnil // there is no file to guard
	}
	path := filepath.Join(h.cfg.DataDir, databaseFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the database file %s was deleted while GRACE started", path)
	}
	if err != nil {
		return nil, fmt.Errorf("look at the database file: %w", err)
	}
	return info, nil
}

// sameFile refuses to go on with a database file that was deleted or replaced:
// what is written to the one that is open would be gone with this process.
func (h *dataDirectory) sameFile(opened fs.FileInfo) error {
	if opened == nil {
		return nil
	}
	path := filepath.Join(h.cfg.DataDir, databaseFile)
	current, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the database file %s was deleted while GRACE runs; restore it from a backup before the next start", path)
	case err == nil && !os.SameFile(opened, current):
		return fmt.Errorf("the database file %s was deleted or replaced while GRACE runs; stop GRACE before a backup is restored", path)
	}
	return nil // what cannot be told now is looked at again
}
