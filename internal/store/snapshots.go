package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
}

// known tells whether a blob is stored, and its row says well enough that it is in use.
func (k *keptBlobs) known(d grace.Digest, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return now.Sub(k.used[d]).Abs() < knownFor
}

// add remembers blobs that are stored.
func (k *keptBlobs) add(digests []grace.Digest, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.used == nil || len(k.used) > mostKnown {
		k.used = map[grace.Digest]time.Time{}
	}
	for _, d := range digests {
		k.used[d] = now
	}
}

// keep adds the statements that store what is not yet of the parts of what is recorded.
// That something is stored is known when the transaction is committed, and not before:
// what one wrote of which nobody knows that is written again.
func (s *Store) keep(ctx context.Context, tx Tx, b *batch, parts []content.Parts) error {
	now := s.now()
	rows := map[grace.Digest][]byte{}
	var fresh, found []grace.Digest
	known := func(digests []grace.Digest) (map[grace.Digest]bool, error) {
		have := map[grace.Digest]bool{}
		var ask []grace.Digest
		for _, d := range digests {
			_, here := rows[d]
			if have[d] = here || s.kept.known(d, now); !have[d] {
				ask = append(ask, d)
			}
		}
		if len(ask) < askFrom {
			return have, nil
		}
		return have, s.findBlobs(ctx, tx, ask, now.Add(-knownFor), func(d grace.Digest) { have[d], found = true, append(found, d) })
	}
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
	slices.Sort(fresh) // those that two write at once they lock in the same order
	tx.OnCommit(func() { s.kept.add(append(fresh, found...), now) })
	b.part = "what a decision rests on"
	at := millis(now)
	return write(b, s.inserts.blobs, fresh, func(d grace.Digest) ([]any, error) {
		return []any{string(d), at, s.compressor.compress(rows[d])}, nil
	})
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

func (s *Store) writeSnapshots(b *batch, r *event.Rows) error {
	return write(b, s.inserts.snapshots, r.Snapshots, func(v grace.Recorded) ([]any, error) {
		return []any{millis(v.At), v.ID, string(v.Kind), string(v.Service), s.compressor.compress(v.Snapshot), s.compressor.compress(v.Answer)}, nil
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
