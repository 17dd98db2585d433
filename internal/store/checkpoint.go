package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"grace"
	"grace/internal/audit"
	"grace/internal/dbtx"
)

// Checkpoint names an entry of the audit log by its number and hash. Kept
// outside of the database it proves that nothing up to there was changed since,
// and that nothing was cut off.
type Checkpoint struct {
	Seq  int64
	Hash string
}

// String gives SEQ:HASH, as ParseCheckpoint reads it.
func (c Checkpoint) String() string { return strconv.FormatInt(c.Seq, 10) + ":" + c.Hash }

// ParseCheckpoint reads SEQ:HASH.
func ParseCheckpoint(text string) (Checkpoint, error) {
	seq, hash, ok := strings.Cut(strings.TrimSpace(text), ":")
	n, err := strconv.ParseInt(seq, 10, 64)
	if !ok || err != nil || n < 1 || len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
		return Checkpoint{}, fmt.Errorf("%.80q is not SEQ:HASH, for example 1234:9f86d0...; grace audit verify prints the newest", text)
	}
	return Checkpoint{Seq: n, Hash: hash}, nil
}

// checkpoints is the file that they are appended to, one a line.
type checkpoints struct {
	path string
	mu   sync.Mutex
	last int64
}

// Checkpoint notes where the audit log ends in the file outside of the database,
// unless that is there already. Without a file it does nothing.
func (s *Store) Checkpoint(ctx context.Context) error {
	c := &s.checkpoints
	if c.path == "" {
		return nil
	}
	head, err := s.genuineHead(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if head.Seq <= c.last {
		return nil
	}
	f, err := os.OpenFile(c.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("note where the audit log is: %w", err)
	}
	_, err = f.WriteString(head.String() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("note where the audit log is: %w", err)
	}
	c.last = head.Seq
	return nil
}

// kept reads the checkpoints of the file, oldest first. A last line that was not
// written whole is none.
func (c *checkpoints) kept() ([]Checkpoint, error) {
	if c.path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the checkpoints of the audit log: %w", err)
	}
	var out []Checkpoint
	for line := range bytes.Lines(data) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		point, err := ParseCheckpoint(string(line))
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", c.path, len(out)+1, err)
		}
		out = append(out, point)
	}
	return out, nil
}

// checkLog compares the end of the audit log with its seal and with the newest
// checkpoint: a log that was cut off, and one that is gone with its database, is
// found before anything is written behind it.
func (s *Store) checkLog(ctx context.Context) error {
	kept, err := s.checkpoints.kept()
	if err != nil {
		return err
	}
	const hint = "look who writes to the database; then restore it from a backup with its data directory"
	head, err := s.genuineHead(ctx)
	if errors.Is(err, ErrForged) {
		return fmt.Errorf("%w; %s", err, hint)
	}
	if err != nil {
		return err
	}
	if len(kept) == 0 {
		return nil
	}
	last := kept[len(kept)-1]
	s.checkpoints.last = last.Seq
	if err := s.atCheckpoint(ctx, head, last); err != nil {
		return fmt.Errorf("%w; %s, or move %s away to begin anew", err, hint, s.checkpoints.path)
	}
	return nil
}

// genuineHead reads where the audit log ends; it wraps ErrForged.
func (s *Store) genuineHead(ctx context.Context) (Checkpoint, error) {
	var head Checkpoint
	var seal string
	seen := s.newest.Load() // before: others append meanwhile
	err := s.Q().QueryRow(ctx, s.sql("SELECT seq, hash, seal FROM grace_head WHERE id = 1")).Scan(&head.Seq, &head.Hash, &seal)
	if err != nil {
		return head, fmt.Errorf("read the audit log's head: %w", err)
	}
	return head, s.checkHead(seen, head.Seq, head.Hash, seal)
}

func (s *Store) atCheckpoint(ctx context.Context, head, point Checkpoint) error {
	if head.Seq < point.Seq {
		return fmt.Errorf("the audit log ends with entry %d, but it had %d: entries were cut off, or this is another database: %w",
			head.Seq, point.Seq, s.forged("the end of the audit log"))
	}
	var hash string
	err := s.Q().QueryRow(ctx, s.sql("SELECT hash FROM grace_audit_log WHERE seq = $1"), point.Seq).Scan(&hash)
	if err != nil && !errors.Is(err, dbtx.ErrNoRows) {
		return fmt.Errorf("read entry %d of the audit log: %w", point.Seq, err)
	}
	if hash != point.Hash {
		return fmt.Errorf("entry %d of the audit log is not the one that was written: %w", point.Seq, s.forged("the audit log"))
	}
	return nil
}

// checkMode learns from the audit log which revision the mode has: an older one
// that was put back is genuine by its seal.
func (s *Store) checkMode(ctx context.Context) error {
	var detail *string
	err := s.Q().QueryRow(ctx, s.sql("SELECT detail FROM grace_audit_log WHERE object = 'mode' ORDER BY seq DESC LIMIT 1")).Scan(&detail)
	if errors.Is(err, dbtx.ErrNoRows) || err == nil && detail == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what the audit log says of the mode: %w", err)
	}
	var set grace.ModeSetting
	if json.Unmarshal([]byte(*detail), &set) == nil {
		s.modeSeen.Store(int64(set.Revision))
	}
	return nil
}

// expected holds entries of the log against checkpoints, in their order.
type expected map[int64]string

func (e expected) entry(seq int64, hash string) error {
	want, ok := e[seq]
	if !ok {
		return nil
	}
	delete(e, seq)
	if want != hash {
		return &audit.Broken{Seq: seq, Kind: audit.KindChanged, Detail: "its hash is not that of a checkpoint kept outside of the database"}
	}
	return nil
}

// rest finds what the log does not have any more.
func (e expected) rest() error {
	for seq := range e {
		return &audit.Broken{Seq: seq, Kind: audit.KindRemoved, Detail: "a checkpoint kept outside of the database names this entry"}
	}
	return nil
}
