package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"grace/internal/audit"
)

const verifyBatch = 1000

// VerifyAudit reads the whole audit log and checks it against its chain and
// its head. A broken log is a report, not an error. Entries may be appended
// meanwhile: the log is judged as it was when the head was read.
func (s *Store) VerifyAudit(ctx context.Context) (AuditReport, error) {
	q := s.Q()
	headSeq, headHash, err := s.AuditHead(ctx, q)
	if err != nil {
		return AuditReport{}, err
	}
	v := audit.NewVerifier(s.key)
	err = s.verifyRows(ctx, q, v, headSeq)
	if err == nil {
		err = v.Close(headSeq, headHash)
	}
	if err == nil {
		err = s.verifyNothingBehind(ctx, q)
	}
	report := AuditReport{OK: err == nil, HeadSeq: headSeq, HeadHash: headHash}
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
func (s *Store) verifyRows(ctx context.Context, q Querier, v *audit.Verifier, headSeq int64) error {
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
			after = r.entry.Seq
		}
		if len(rows) < verifyBatch {
			return nil
		}
	}
}

// verifyNothingBehind looks for rows behind the head. Rows and head are read
// in one statement, so that an entry appended just now is not taken for one.
func (s *Store) verifyNothingBehind(ctx context.Context, q Querier) error {
	var seq int64
	err := q.QueryRow(ctx, s.sql(`SELECT seq FROM grace_audit_log
		WHERE seq > (SELECT seq FROM grace_head WHERE id = 1) ORDER BY seq LIMIT 1`)).Scan(&seq)
	if errors.Is(err, errNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the audit log: %w", err)
	}
	return &audit.Broken{Seq: seq, Kind: audit.KindInserted, Detail: "it stands behind the log's head"}
}
