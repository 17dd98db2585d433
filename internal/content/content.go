// Package content names values by what they are: equal values have equal names,
// on every replica and in every version. It is pure; nothing in it fails.
package content

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"time"

	"grace"
)

// Sum gives the digest of a blob: the first 16 bytes of its SHA-256.
func Sum(blob []byte) grace.Digest {
	sum := sha256.Sum256(blob)
	return grace.Digest(base64.RawURLEncoding.EncodeToString(sum[:16]))
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
