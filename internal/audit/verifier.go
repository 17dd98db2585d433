package audit

import (
	"crypto/hmac"
	"fmt"

	"grace"
)

// Kind says how a chain is broken.
type Kind string

// Kinds of damage. A row can be hurt in ways that look alike from the chain:
// the kind is what the entries show, the number is always right about where
// the sound part ends.
const (
	// KindChanged: the entry's fields or hashes are not those it was written with.
	KindChanged Kind = "changed"
	// KindRemoved: entries are missing before this place.
	KindRemoved Kind = "removed"
	// KindInserted: an entry stands where none was written.
	KindInserted Kind = "inserted"
	// KindReordered: the entry is genuine, but it stands in another place than
	// it was written to.
	KindReordered Kind = "reordered"
)

// Broken is the error for a chain that is not as it was written.
type Broken struct {
	// Seq is the number of the first entry that is wrong or missing.
	Seq    int64
	Kind   Kind
	Detail string
}

func (b *Broken) Error() string {
	return fmt.Sprintf("audit log entry %d was %s: %s", b.Seq, b.Kind, b.Detail)
}

// renumberSearch is how far around its place a renumbered entry is looked for,
// only to name the damage better.
const renumberSearch = 256

// Verifier checks a chain entry by entry, in constant memory. It is not safe
// for concurrent use.
type Verifier struct {
	key  []byte
	seq  int64
	hash string
	err  error
}

// NewVerifier starts before the first entry of a log, which has number 1.
func NewVerifier(key []byte) *Verifier { return &Verifier{key: key} }

// Head gives the number and hash of the last sound entry; 0 and "" before the
// first.
func (v *Verifier) Head() (seq int64, hash string) { return v.seq, v.hash }

// Add checks the next entry. The error is a *Broken. After an error the
// verifier stays broken and gives the same error again: nothing behind a break
// can be trusted.
func (v *Verifier) Add(e grace.AuditEntry) error {
	if v.err != nil {
		return v.err
	}
	if b := v.judge(e); b != nil {
		v.err = b
		return v.err
	}
	v.seq, v.hash = e.Seq, e.Hash
	return nil
}

// Close compares the end of the chain with a head that was kept elsewhere and
// so finds what was cut off or added at the end.
func (v *Verifier) Close(headSeq int64, headHash string) error {
	switch {
	case v.err != nil:
		return v.err
	case v.seq < headSeq:
		v.err = &Broken{v.seq + 1, KindRemoved, fmt.Sprintf("the log ends with entry %d, its head is %d", v.seq, headSeq)}
	case v.seq > headSeq:
		v.err = &Broken{headSeq + 1, KindInserted, fmt.Sprintf("the log ends with entry %d, its head is %d", v.seq, headSeq)}
	case v.hash != headHash:
		v.err = &Broken{headSeq, KindChanged, "the hash of the last entry is not that of the head"}
	}
	return v.err
}

func (v *Verifier) judge(e grace.AuditEntry) *Broken {
	genuine := v.genuine(e)
	next := v.seq + 1
	switch {
	case e.Seq > next:
		return &Broken{next, KindRemoved, fmt.Sprintf("entry %d follows entry %d", e.Seq, v.seq)}
	case e.Seq < next && genuine && e.Hash != v.hash:
		return &Broken{e.Seq, KindReordered, fmt.Sprintf("it stands behind entry %d", v.seq)}
	case e.Seq < next:
		return &Broken{e.Seq, KindInserted, fmt.Sprintf("it stands behind entry %d and repeats a number", v.seq)}
	case genuine && e.PrevHash == v.hash:
		return nil
	case genuine:
		return &Broken{e.Seq, KindInserted, "it is chained to another entry than the one before it"}
	}
	if seq, ok := v.writtenAs(e); ok {
		return &Broken{e.Seq, KindReordered, fmt.Sprintf("what stands here was written as entry %d", seq)}
	}
	return &Broken{e.Seq, KindChanged, "its content does not match its hash"}
}

// genuine tells whether the entry is as somebody with the key wrote it.
func (v *Verifier) genuine(e grace.AuditEntry) bool {
	return hmac.Equal([]byte(chain(v.key, e.PrevHash, e)), []byte(e.Hash))
}

// writtenAs looks for the number under which a renumbered entry is genuine.
func (v *Verifier) writtenAs(e grace.AuditEntry) (int64, bool) {
	at := e.Seq
	for d := int64(1); d <= renumberSearch; d++ {
		for _, seq := range [...]int64{at + d, at - d} {
			e.Seq = seq
			if seq > 0 && v.genuine(e) {
				return seq, true
			}
		}
	}
	return 0, false
}
