// Package content names values by what they are, and keeps them under those names:
// equal values have equal names, on every replica and in every version, what two
// records have in common is stored once, and what was stored cannot be changed
// unseen. It is pure: blobs go out and come in through functions.
package content

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"grace"
)

// ErrChanged is wrapped when a blob is not what its digest says.
var ErrChanged = errors.New("it is not what was stored")

// Sum gives the digest of a blob: the first 16 bytes of its SHA-256.
func Sum(blob []byte) grace.Digest {
	sum := sha256.Sum256(blob)
	return digestOf(sum[:digestSize])
}

// ID makes a short id of what identifies a thing. Times count by the millisecond.
func ID(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		if t, ok := p.(time.Time); ok {
			p = t.UnixMilli()
		}
		fmt.Fprintf(h, "%v\x00", p)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Blob gives a value's JSON. What JSON cannot say, as a number that is none, is kept as
// text: it has a digest, and cannot be read again.
func Blob(v any) []byte {
	blob, err := json.Marshal(v)
	if err != nil {
		return fmt.Appendf(nil, "%+v", v)
	}
	return blob
}

// Check tells whether a blob is what its digest says; if not the error wraps
// ErrChanged.
func Check(d grace.Digest, blob []byte) error {
	if got := Sum(blob); got != d {
		return fmt.Errorf("blob %s: its content has the digest %s: %w", d, got, ErrChanged)
	}
	return nil
}

// Read gives a blob by its digest and checks it.
func Read(d grace.Digest, get func(grace.Digest) ([]byte, error)) ([]byte, error) {
	blob, err := get(d)
	if err != nil {
		return nil, err
	}
	return blob, Check(d, blob)
}

// Parts are what a record names by digest: all of it has to be stored that the record
// can be read again.
type Parts struct {
	Maps  []Map
	Blobs []Named
}

// Named is a blob with its digest.
type Named struct {
	Digest grace.Digest
	Blob   []byte
}

// Add adds a blob and gives its name.
func (p *Parts) Add(blob []byte) grace.Digest {
	d := Sum(blob)
	p.Blobs = append(p.Blobs, Named{d, blob})
	return d
}

// Missing puts what has to be stored, see [Map.Missing].
func (p *Parts) Missing(known func([]grace.Digest) (map[grace.Digest]bool, error), put func(grace.Digest, []byte)) error {
	for _, m := range p.Maps {
		if err := m.Missing(known, put); err != nil {
			return err
		}
	}
	digests := make([]grace.Digest, len(p.Blobs))
	for i, b := range p.Blobs {
		digests[i] = b.Digest
	}
	have, err := known(digests)
	if err != nil {
		return err
	}
	for _, b := range p.Blobs {
		if !have[b.Digest] {
			put(b.Digest, b.Blob)
		}
	}
	return nil
}
