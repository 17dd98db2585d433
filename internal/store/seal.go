package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"

	"grace/internal/dbtx"
)

// ErrForged: a row that GRACE acts on was written or changed by somebody who
// has not the audit key. It is not acted on.
var ErrForged = errors.New("it does not carry the seal of GRACE's key: somebody wrote to the database beside GRACE")

// A seal authenticates what GRACE acts on, or is silent by: decisions, approvals,
// the mode, silences, tokens, the head of the audit log, and (by package flow) the inputs and
// checkpoints of runs. Its key is derived from the audit key, which the database
// does not hold. What is only shown (signals, runs, incidents, learning) has
// none.
//
// A seal does not tell that a row is the newest of its kind: who can write the
// database can put an older genuine one back. So a revocation is also looked for
// in the audit log, the mode is held against the log's newest entry about it at
// the start, and the log against checkpoints kept elsewhere.

// deriveKey makes a key for one purpose.
func deriveKey(key []byte, purpose string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}

// SealKey gives the key that the engine's part of the database is sealed with.
func (s *Store) SealKey() []byte { return deriveKey(s.key, "grace engine seal") }

// seal gives the seal of a row: of its table and of every field that counts,
// each with its length in front.
func (s *Store) seal(table string, fields ...string) string {
	mac := hmac.New(sha256.New, s.sealKey)
	var length [8]byte
	for _, f := range append([]string{table}, fields...) {
		binary.BigEndian.PutUint64(length[:], uint64(len(f)))
		mac.Write(length[:])
		mac.Write([]byte(f))
	}
	return hex.EncodeToString(mac.Sum(nil))
}

// sealed judges a row's seal. A row that fails is told to Options.Forged.
func (s *Store) sealed(what, seal, table string, fields ...string) error {
	if hmac.Equal([]byte(seal), []byte(s.seal(table, fields...))) {
		return nil
	}
	return s.forged(what)
}

func (s *Store) forged(what string) error {
	err := fmt.Errorf("%s: %w", what, ErrForged)
	if s.onForged != nil {
		s.onForged(what, err)
	}
	return err
}

// sealedDoc reads one document with its seal, or ErrNotFound or ErrForged.
func sealedDoc[T any](ctx context.Context, s *Store, q Querier, what, table, rest string, args ...any) (T, error) {
	var id, seal string
	var doc []byte
	var zero T
	err := q.QueryRow(ctx, s.sql("SELECT id, doc, seal FROM "+table+" WHERE "+rest), args...).Scan(&id, &doc, &seal)
	if errors.Is(err, dbtx.ErrNoRows) {
		return zero, fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	if err != nil {
		return zero, fmt.Errorf("read %s: %w", what, err)
	}
	if err := s.sealed(what, seal, table, id, string(doc)); err != nil {
		return zero, err
	}
	item, err := decompressed[T](s, doc)
	if err != nil {
		return zero, fmt.Errorf("read %s: %w", what, err)
	}
	return item, nil
}

func (s *Store) sealHead(seq int64, hash string) string {
	return s.seal("grace_head", strconv.FormatInt(seq, 10), hash)
}

// checkHead judges the head before anything is put behind it. It may not lie
// before what this process had seen when it was read: then entries were cut off,
// or the database was put back to an earlier state.
func (s *Store) checkHead(seen, seq int64, hash, seal string) error {
	if (seq != 0 || hash != "" || seal != "") && !hmac.Equal([]byte(seal), []byte(s.sealHead(seq, hash))) {
		return s.forged("the head of the audit log")
	}
	if seq < seen {
		return fmt.Errorf("the audit log ends at entry %d, and it had %d: %w", seq, seen, s.forged("the end of the audit log"))
	}
	raise(&s.newest, seq)
	return nil
}

// raise sets a number that only rises.
func raise(to *atomic.Int64, n int64) {
	for old := to.Load(); n > old && !to.CompareAndSwap(old, n); old = to.Load() {
	}
}

// sealToken seals what makes a token valid, or not.
func (s *Store) sealToken(name, hash, role string, created int64, expires, revoked *int64) string {
	return s.seal("grace_tokens", tokenFields(name, hash, role, created, expires, revoked)...)
}

func tokenFields(name, hash, role string, created int64, expires, revoked *int64) []string {
	number := func(n *int64) string {
		if n == nil {
			return ""
		}
		return strconv.FormatInt(*n, 10)
	}
	return []string{name, hash, role, number(&created), number(expires), number(revoked)}
}
