// Package audit is the arithmetic of the append-only log: how an entry is
// turned into bytes, how it is chained to the entry before it, and how a
// chain is judged. It reads and writes nothing; the store does.
//
//	leaf(n) = SHA-256(0x00 || canonical(entry n))          everything but the hashes
//	hash(n) = hex HMAC-SHA256(key, hash(n-1) || leaf(n))   hash(0) is the empty string
//
// The leaf is the leaf hash of RFC 6962, so that a Merkle tree with signed
// checkpoints can stand over the same entries without rewriting one of them.
// The chain is keyed: who can write to the database but has no key cannot
// forge an entry.
//
// # What is found
//
// A [Verifier] takes the entries from the first on, in the order of their
// numbers, and stops at the first that is wrong. An entry whose fields or
// hashes were touched, one that is missing, and one that was put in are found
// by the chain alone. Entries cut off at the end leave a shorter chain that is
// sound in itself: they are found only against a head (number and hash) that
// is kept elsewhere, see [Verifier.Close]. Who holds the key can write a new
// chain; only a head published outside stands against that.
//
// # Storing
//
// [Link] gives the entry in the form that is hashed: the time in UTC and whole
// milliseconds, valid UTF-8, the detail as compact JSON. That form survives a
// trip through encoding/json and through integer milliseconds unchanged. The
// detail must be kept as text: a database that reorders the keys of a JSON
// value changes the entry.
package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"grace"
)

// leafPrefix sets leaves apart from the inner nodes (0x01) of a Merkle tree.
const leafPrefix = 0x00

// Leaf hashes every field of an entry but PrevHash and Hash.
//
// The canonical encoding is: seq and unix seconds as 8 bytes, nanoseconds as
// 4 bytes, then actor, action, object, service, reason and detail, each with
// its length as 8 bytes in front; integers are big-endian. The lengths keep
// text from moving between fields unseen. The zone of the time is not part of
// it, the instant is.
func Leaf(e grace.AuditEntry) [sha256.Size]byte {
	fields := [...]string{e.Actor, e.Action, e.Object, string(e.Service), e.Reason, string(e.Detail)}
	size := 1 + 8 + 8 + 4
	for _, f := range fields {
		size += 8 + len(f)
	}
	b := make([]byte, 0, size)
	b = append(b, leafPrefix)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Seq))
	b = binary.BigEndian.AppendUint64(b, uint64(e.At.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(e.At.Nanosecond()))
	for _, f := range fields {
		b = binary.BigEndian.AppendUint64(b, uint64(len(f)))
		b = append(b, f...)
	}
	return sha256.Sum256(b)
}

// Link puts an entry behind the one whose Hash is prev (empty for the first)
// and returns it as it must be stored: normalized, with PrevHash and Hash. Seq
// must be set; it is part of what is hashed. A detail that is not JSON is kept
// as a JSON string, since a log must not refuse what happened.
func Link(key []byte, prev string, e grace.AuditEntry) grace.AuditEntry {
	e = normalize(e)
	e.PrevHash = prev
	e.Hash = chain(key, prev, e)
	return e
}

func chain(key []byte, prev string, e grace.AuditEntry) string {
	leaf := Leaf(e)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(prev))
	mac.Write(leaf[:])
	return hex.EncodeToString(mac.Sum(nil))
}

// normalize gives the form that reads back from a store as it was written.
func normalize(e grace.AuditEntry) grace.AuditEntry {
	e.At = e.At.UTC().Truncate(time.Millisecond)
	e.Actor = valid(e.Actor)
	e.Action = valid(e.Action)
	e.Object = valid(e.Object)
	e.Service = grace.ServiceID(valid(string(e.Service)))
	e.Reason = valid(e.Reason)
	e.Detail = normalizeDetail(e.Detail)
	return e
}

func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func normalizeDetail(detail json.RawMessage) json.RawMessage {
	text := valid(strings.TrimSpace(string(detail)))
	if text == "" || text == "null" {
		return nil
	}
	// Marshal compacts and escapes a raw message just as it does when a store
	// writes the whole entry as JSON.
	out, err := json.Marshal(json.RawMessage(text))
	if err == nil {
		return out
	}
	out, err = json.Marshal(text)
	if err != nil {
		return nil // cannot be: every string is JSON
	}
	return out
}
