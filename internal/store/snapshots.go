package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/dbtx"
	"grace/internal/event"
)

const (
	// knownFor is how long a blob that is used again is not written again: then its row
	// says that it is still in use.
	knownFor = 12 * time.Hour
	// blobMargin is how much longer a blob is kept than what may name it: that it is in
	// use is written down late, by knownFor for each level of its map.
	blobMargin = grace.Duration(7 * 24 * time.Hour)
	// askFrom blobs that this process does not know of, it asks the database for: after a
	// start most are there. Fewer are written at once.
	askFrom = 16
	// mostKnown bounds what is remembered.
	mostKnown = 200_000
)

func keepBlobs(decisions grace.Duration) grace.Duration {
	if decisions <= 0 {
		return 0
	}
	return decisions + blobMargin
}

// keptBlobs are what this process knows of the blobs that are stored.
type keptBlobs struct {
	mu   sync.Mutex
	used map[grace.Digest]time.Time // stored, and said to be in use then
	// fresh were written in a transaction that may not have been committed. Where the
	// snapshot named proof is there, it has.
	fresh []grace.Digest
	proof string
}

// Keep stores the parts of what is recorded in the transaction, of which a snapshot has
// the id proof. The caller holds the lock of deciding: one that keeps at a time.
func (s *Store) Keep(ctx context.Context, tx Tx, proof string, parts ...content.Parts) error {
	k := &s.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := s.confirmKept(ctx, tx); err != nil {
		return fmt.Errorf("look what is kept: %w", err)
	}
	now := s.now()
	rows := map[grace.Digest][]byte{}
	known := func(digests []grace.Digest) (map[grace.Digest]bool, error) {
		have := map[grace.Digest]bool{}
		var ask []grace.Digest
		for _, d := range digests {
			_, here := rows[d]
			if have[d] = here || now.Sub(k.used[d]).Abs() < knownFor; !have[d] {
				ask = append(ask, d)
			}
		}
		if len(ask) < askFrom {
			return have, nil
		}
		return have, s.findBlobs(ctx, tx, ask, now.Add(-knownFor), func(d grace.Digest) { have[d], k.used[d] = true, now })
	}
	var fresh []grace.Digest
	put := func(d grace.Digest, blob []byte) {
		if _, twice := rows[d]; !twice {
			rows[d], fresh = blob, append(fresh, d)
		}
	}
	for _, p := range parts {
		if err := p.Missing(known, put); err != nil {
			return fmt.Errorf("look what is kept: %w", err)
		}
	}
	k.fresh, k.proof = fresh, proof
	at := millis(now)
	err := write(ctx, s.dialect, tx, s.inserts.blobs, fresh, func(d grace.Digest) ([]any, error) {
		return []any{string(d), at, s.compressor.compress(rows[d])}, nil
	})
	if err != nil {
		return fmt.Errorf("keep what a decision rests on: %w", err)
	}
	return nil
}

// confirmKept looks whether the last transaction that kept something was committed. The
// caller holds k.mu.
func (s *Store) confirmKept(ctx context.Context, tx Tx) error {
	k := &s.kept
	if k.used == nil || len(k.used) > mostKnown {
		k.used = map[grace.Digest]time.Time{}
	}
	if len(k.fresh) == 0 {
		return nil
	}
	var n int
	if err := tx.QueryRow(ctx, s.sql("SELECT count(*) FROM grace_snapshots WHERE id = $1"), clean(k.proof)).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		for _, d := range k.fresh {
			k.used[d] = s.now()
		}
	}
	k.fresh = nil
	return nil
}

// findBlobs finds those that are stored and were in use after a time.
func (s *Store) findBlobs(ctx context.Context, q Querier, digests []grace.Digest, after time.Time, found func(grace.Digest)) error {
	const atOnce = 200
	for len(digests) > 0 {
		n := min(len(digests), atOnce)
		args := []any{millis(after)}
		marks := make([]string, n)
		for i, d := range digests[:n] {
			args = append(args, string(d))
			marks[i] = "$" + strconv.Itoa(i+2)
		}
		text := s.dialect.rewrite("SELECT digest FROM grace_blobs WHERE used_at > $1 AND digest IN (" + strings.Join(marks, ", ") + ")")
		err := each(ctx, q, text, args, func(row dbtx.Row) error {
			var d string
			err := row.Scan(&d)
			found(grace.Digest(d))
			return err
		})
		if err != nil {
			return err
		}
		digests = digests[n:]
	}
	return nil
}

// Blob reads a part of snapshots by its digest; it wraps ErrNotFound. That it is what
// was stored is the caller's to check.
func (s *Store) Blob(ctx context.Context, q Querier, d grace.Digest) ([]byte, error) {
	var body []byte
	err := q.QueryRow(ctx, s.sql("SELECT body FROM grace_blobs WHERE digest = $1"), string(d)).Scan(&body)
	if errors.Is(err, dbtx.ErrNoRows) {
		return nil, fmt.Errorf("blob %s: %w", d, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	if body, err = s.compressor.decompress(body); err != nil {
		return nil, fmt.Errorf("blob %s: %w", d, err)
	}
	return body, nil
}

// RecordedBytes gives how many decisions were made since a time, and how many bytes
// of documents they take: their own, the snapshots of them and of admissions, and all
// shared parts.
func (s *Store) RecordedBytes(ctx context.Context, q Querier, since time.Time) (decisions, bytes int64, err error) {
	err = q.QueryRow(ctx, s.sql(`SELECT (SELECT count(*) FROM grace_decisions WHERE at >= $1),
		(SELECT COALESCE(sum(length(doc)), 0) FROM grace_decisions WHERE at >= $1) +
		(SELECT COALESCE(sum(length(doc) + length(answer)), 0) FROM grace_snapshots WHERE at >= $1) +
		(SELECT COALESCE(sum(length(body)), 0) FROM grace_blobs)`), millis(since)).Scan(&decisions, &bytes)
	if err != nil {
		return 0, 0, fmt.Errorf("measure what was recorded: %w", err)
	}
	return decisions, bytes, nil
}

func (s *Store) writeSnapshots(ctx context.Context, tx Tx, r *event.Rows) error {
	return write(ctx, s.dialect, tx, s.inserts.snapshots, r.Snapshots, func(v grace.Recorded) ([]any, error) {
		return []any{v.ID, string(v.Kind), string(v.Service), millis(v.At), s.compressor.compress(v.Snapshot), s.compressor.compress(v.Answer)}, nil
	})
}

// RecordedAfter is the cursor with which EachRecorded goes on behind a record.
func RecordedAfter(r grace.Recorded) string { return position{millis(r.At), r.ID}.encode() }

// EachRecorded visits what was recorded between two times, the oldest first, each with
// the answer of then: of a decision its stored document, empty when that is gone, and
// forged when it does not carry GRACE's seal. A cursor that is not empty says where an
// earlier call ended.
func (s *Store) EachRecorded(ctx context.Context, q Querier, from, to time.Time, cursor string, visit func(r grace.Recorded, forged bool) error) error {
	const page = 200
	at, id := millis(from), ""
	if cursor != "" {
		p, err := decodePosition(cursor)
		if err != nil {
			return err
		}
		at, id = p.at, p.id
	}
	for {
		var list []grace.Recorded
		var forged []bool
		err := each(ctx, q, s.sql(`SELECT s.id, s.kind, s.service, s.at, s.doc, s.answer, d.doc, COALESCE(d.seal, '')
			FROM grace_snapshots AS s LEFT JOIN grace_decisions AS d ON d.id = s.id
			WHERE (s.at, s.id) > ($1, $2) AND s.at < $3 ORDER BY s.at, s.id LIMIT $4`), []any{at, id, millis(to), page}, func(row dbtx.Row) error {
			var r grace.Recorded
			var kind, service, seal string
			var doc, answer, decision []byte
			if err := row.Scan(&r.ID, &kind, &service, &at, &doc, &answer, &decision, &seal); err != nil {
				return err
			}
			if grace.RecordKind(kind) == grace.RecordDecision {
				answer = decision
			}
			bad := len(decision) > 0 && s.sealed("decision "+r.ID, seal, "grace_decisions", r.ID, string(decision)) != nil
			for _, text := range []*[]byte{&doc, &answer} {
				plain, err := s.compressor.decompress(*text)
				if bad = bad || err != nil; err == nil {
					*text = plain
				}
			}
			r.Kind, r.Service, r.At, r.Snapshot, r.Answer = grace.RecordKind(kind), grace.ServiceID(service), fromMillis(at), doc, answer
			list, id = append(list, r), r.ID
			forged = append(forged, bad)
			return nil
		})
		if err != nil {
			return fmt.Errorf("read what was recorded: %w", err)
		}
		for i, r := range list {
			if err := visit(r, forged[i]); err != nil {
				return err
			}
		}
		if len(list) < page {
			return nil
		}
	}
}
