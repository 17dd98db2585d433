package sim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/loop"
)

// replays: what was decided and admitted follows from what was recorded alone.
func replays(s *Sim, _ *record) (bad []string) {
	if s.mutations.TouchRecord {
		s.fail(s.touchRecord())
	}
	err := decide.All(func(cursor string) (string, error) {
		more, err := loop.Replay(s.ctx, s.store, time.Time{}, s.now.Add(24*time.Hour), cursor)
		s.replayed.Join(more)
		return more.Next, err
	})
	if err != nil {
		return []string{err.Error()}
	}
	for _, d := range s.replayed.Differences {
		bad = append(bad, d.String())
	}
	return bad
}

// touchRecord changes what decisions rest on.
func (s *Sim) touchRecord() error {
	var digests []grace.Digest
	rows, err := s.store.Q().Query(s.ctx, "SELECT digest FROM grace_blobs")
	if err != nil {
		return fmt.Errorf("list what is kept: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var d grace.Digest
		if err := rows.Scan((*string)(&d)); err != nil {
			return err
		}
		digests = append(digests, d)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, d := range digests {
		body, err := s.store.Blob(s.ctx, s.store.Q(), d)
		if err != nil {
			return err
		}
		touched := bytes.ReplaceAll(body, []byte(`"severity":"`), []byte(`"severity":"_`))
		if _, err := s.store.Q().Exec(s.ctx, "UPDATE grace_blobs SET body = $1 WHERE digest = $2", touched, string(d)); err != nil {
			return err
		}
	}
	return nil
}

// oneDecision: however many replicas see a trigger, one decision answers it.
func oneDecision(_ *Sim, r *record) (bad []string) {
	by := map[grace.TriggerID]grace.DecisionID{}
	for _, dec := range r.Decisions {
		for _, t := range dec.Triggers {
			if other, twice := by[t]; twice {
				bad = append(bad, fmt.Sprintf("trigger %s: decisions %s and %s", t, min(other, dec.ID), max(other, dec.ID)))
			}
			by[t] = dec.ID
		}
	}
	slices.Sort(bad)
	return bad
}

// forgetPerson has open incidents not say what keeps GRACE from acting.
func (s *Sim) forgetPerson() error {
	_, err := s.store.Q().Exec(s.ctx, `UPDATE grace_incidents SET doc = replace(replace(doc, '"manual":true', '"manual":false'), '"stopped":[', '"was":[') WHERE state = 'open'`)
	return err
}

// decideAgain has triggers that are decided wait again.
func (s *Sim) decideAgain() error {
	_, err := s.store.Q().Exec(s.ctx, `UPDATE grace_triggers SET state = 'pending', doc = replace(doc, '"decided"', '"pending"') WHERE state = 'decided'`)
	return err
}
