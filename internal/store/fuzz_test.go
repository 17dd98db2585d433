package store

import (
	"errors"
	"testing"
	"unicode/utf8"
)

// FuzzCursor: a cursor is refused as one, or stands for a place that both
// databases can be asked for, and that is written as it was read.
func FuzzCursor(f *testing.F) {
	f.Add(position{1772357400000, "r-1"}.encode())
	f.Add(position{-1, ""}.encode())
	f.Add(position{1 << 62, "a:b"}.encode())
	f.Add("")
	f.Add("AAAA")
	f.Add("MTox\x00")
	f.Add("OTk5OTk5OTk5OTk5OTk5OTk5OTk6eA")
	f.Fuzz(func(t *testing.T, cursor string) {
		p, err := decodePosition(cursor)
		if err != nil {
			if !errors.Is(err, ErrBadCursor) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if !utf8.ValidString(p.id) || clean(p.id) != p.id {
			t.Fatalf("id %q cannot be asked for", p.id)
		}
		if again, err := decodePosition(p.encode()); err != nil || again != p {
			t.Fatalf("%+v became %+v (%v)", p, again, err)
		}
	})
}
