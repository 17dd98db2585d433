package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"grace/internal/audit"

	"grace/internal/dbtx"
)

const verifyBatch = 1000

// VerifyAudit reads the whole audit log and checks it against its chain and
// its head. A broken log is a report, not an error. Entries may be appended
// meanwhile: the log is judged as it was when the head was read.
//
// It is also held against the checkpoints that are kept outside of the database,
// those given and those of the file: only they tell of entries that were cut off
// together with the head.
func (s *Store) VerifyAudit(ctx context.Context, points ...Checkpoint) (AuditReport, error) {
	q := s.Q()
	headSeq, headHash, err := s.AuditHead(ctx, q)
	if err != nil {
		return AuditReport{}, err
	}
	kept, err := s.checkpoints.kept()
	if err != nil {
		return AuditReport{}, err
	}
	expect := expected{}
	for _, c := range append(kept, points...) {
		if before, ok := expect[c.Seq]; ok && before != c.Hash {
			return AuditReport{}, fmt.Errorf("two checkpoints name entry %d with different hashes", c.Seq)
		}
		expect[c.Seq] = c.Hash
	}
	report := AuditReport{HeadSeq: headSeq, HeadHash: headHash, Checkpoints: len(expect)}
	v := audit.NewVerifier(s.key)
	err = s.verifyRows(ctx, q, v, headSeq, expect)
	if err == nil {
		err = v.Close(headSeq, headHash)
	}
	if err == nil {
		err = s.verifyHead(ctx)
	}
	if err == nil {
		err = expect.rest()
	}
	if err == nil {
		err = s.verifyNothingBehind(ctx, q)
	}
	report.OK = err == nil
	report.Entries, _ = v.Head()
	if broken, ok := errors.AsType[*audit.Broken](err); ok {
		report.BrokenAt, report.Kind, report.Detail = broken.Seq, string(broken.Kind), broken.Error()
		return report, nil
	}
	if err != nil {
		return AuditReport{}, err
	}
	return report, nil
}

// verifyRows adds the rows up to the head, in batches.
func (s *Store) verifyRows(ctx context.Context, q Querier, v *audit.Verifier, headSeq int64, expect expected) error {
	// Not from 0: a row inserted with a number below 1 is found too.
	text := s.sql(selectAudit + " WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3")
	for after := int64(-1 << 62); ; {
		rows, err := s.auditRowsOf(ctx, q, text, after, headSeq, verifyBatch)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := v.Add(r.entry); err != nil {
				return err
			}
			leaf := audit.Leaf(r.entry)
			if r.leaf != hex.EncodeToString(leaf[:]) {
				return &audit.Broken{Seq: r.entry.Seq, Kind: audit.KindChanged, Detail: "its leaf hash is not that of its content"}
			}
			if err := expect.entry(r.entry.Seq, r.entry.Hash); err != nil {
				return err
			}
			after = r.entry.Seq
		}
		if len(rows) < verifyBatch {
			return nil
		}
	}
}

// verifyHead judges the head's seal, which is of whatever head there is by now.
func (s *Store) verifyHead(ctx context.Context) error {
	head, err := s.genuineHead(ctx)
	if errors.Is(err, ErrForged) {
		return &audit.Broken{Seq: head.Seq + 1, Kind: audit.KindRemoved, Detail: err.Error()}
	}
	return err
}

// verifyNothingBehind looks for rows behind the head. Rows and head are read
// in one statement, so that an entry appended just now is not taken for one.
func (s *Store) verifyNothingBehind(ctx context.Context, q Querier) error {
	var seq int64
	err := q.QueryRow(ctx, s.sql(`SELECT seq FROM grace_audit_log
		WHERE seq > (SELECT seq FROM grace_head WHERE id = 1) ORDER BY seq LIMIT 1`)).Scan(&seq)
	if errors.Is(err, dbtx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	return &audit.Broken{Seq: seq, Kind: audit.KindInserted, Detail: "it stands behind the log's head"}
}
