package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"grace"
	"grace/internal/dbtx"
)

// AuditFilter selects entries of a log; zero fields select all.
type AuditFilter struct {
	Object   string
	Actor    string
	Service  grace.ServiceID
	From, To time.Time
}

const (
	selectAudit      = "SELECT seq, at, actor, action, object, service, reason, detail, leaf, prev_hash, hash FROM grace_audit_log"
	selectOperations = "SELECT id, at, actor, action, object, service, reason, detail, '', '', '' FROM grace_operations"
)

// LastEntryAt gives the time of the newest entry of either log, zero when there is none.
func (s *Store) LastEntryAt(ctx context.Context, q Querier) (at time.Time, err error) {
	for _, read := range []func(context.Context, Querier, AuditFilter, Page) ([]grace.AuditEntry, string, error){s.AuditEntries, s.Operations} {
		newest, _, err := read(ctx, q, AuditFilter{}, Page{Limit: 1})
		if err != nil {
			return at, fmt.Errorf("read the newest entry: %w", err)
		}
		if len(newest) > 0 && newest[0].At.After(at) {
			at = newest[0].At
		}
	}
	return at, nil
}

// AuditEntries reads a page of the permanent log, newest first.
func (s *Store) AuditEntries(ctx context.Context, q Querier, f AuditFilter, p Page) (entries []grace.AuditEntry, next string, err error) {
	return s.entries(ctx, q, selectAudit, "seq", f, p)
}

// Operations reads a page of the operational log, newest first. Its entries have no
// hashes.
func (s *Store) Operations(ctx context.Context, q Querier, f AuditFilter, p Page) (entries []grace.AuditEntry, next string, err error) {
	return s.entries(ctx, q, selectOperations, "id", f, p)
}

func (s *Store) entries(ctx context.Context, q Querier, text, number string, f AuditFilter, p Page) (entries []grace.AuditEntry, next string, err error) {
	var w where
	w.equal("object", f.Object)
	w.equal("actor", f.Actor)
	if f.Actor != "" && f.Actor != grace.Self {
		w.add("actor <> 'self_heal'") // lets the partial index be used
	}
	w.equal("service", string(f.Service))
	if f.Service != "" {
		w.add("service <> ''") // likewise
	}
	w.between("at", f.From, f.To)
	if p.Cursor != "" {
		after, err := decodePosition(p.Cursor)
		if err != nil {
			return nil, "", err
		}
		w.add(number+" < ?", after.at)
	}
	limit := p.limit()
	text += w.String() + " ORDER BY " + number + " DESC LIMIT " + strconv.Itoa(limit+1)
	rows, err := s.auditRowsOf(ctx, q, s.dialect.rewrite(text), w.args...)
	if err != nil {
		return nil, "", err
	}
	for i, r := range rows {
		if i == limit {
			next = position{at: rows[i-1].entry.Seq}.encode()
			break
		}
		entries = append(entries, r.entry)
	}
	return entries, next, nil
}

type auditRow struct {
	entry grace.AuditEntry
	leaf  string
}

func (s *Store) auditRowsOf(ctx context.Context, q Querier, text string, args ...any) ([]auditRow, error) {
	var out []auditRow
	err := each(ctx, q, text, args, func(row dbtx.Row) error {
		var r auditRow
		var at int64
		var detail *string
		e := &r.entry
		err := row.Scan(&e.Seq, &at, &e.Actor, &e.Action, &e.Object, (*string)(&e.Service), &e.Reason,
			&detail, &r.leaf, &e.PrevHash, &e.Hash)
		if err != nil {
			return err
		}
		e.At, e.Detail = fromMillis(at), rawJSON(detail)
		out = append(out, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return out, nil
}

// AuditHead reads where the audit log ends: number and hash of the newest
// entry, 0 and "" when there is none.
func (s *Store) AuditHead(ctx context.Context, q Querier) (seq int64, hash string, err error) {
	err = q.QueryRow(ctx, s.sql("SELECT seq, hash FROM grace_head WHERE id = 1")).Scan(&seq, &hash)
	if err != nil {
		return 0, "", fmt.Errorf("read the audit log's head: %w", err)
	}
	return seq, hash, nil
}

// AuditReport is the outcome of VerifyAudit.
type AuditReport struct {
	OK       bool   `json:"ok"`
	Entries  int64  `json:"entries" doc:"entries found sound, from the first on"`
	HeadSeq  int64  `json:"head_seq"`
	HeadHash string `json:"head_hash"`
	BrokenAt int64  `json:"broken_at,omitempty" doc:"the first entry that is changed, missing or inserted"`
	Kind     string `json:"kind,omitempty" enum:"changed,removed,inserted,reordered"`
	Detail   string `json:"detail,omitempty"`
	// Checkpoints counts the places that were kept outside of the database.
	Checkpoints int `json:"checkpoints" doc:"places kept outside of the database that the log was held against"`
}
