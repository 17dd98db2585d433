package store

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func testCompressor(t *testing.T) compressor {
	t.Helper()
	c, err := newCompressor()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const probeSignal = `[{"key":"web/up/http_health","service":"web","sensor":"up","metric":"http_health","code":"service_down","state":"ok","severity":"critical","value":1,` +
	`"since":"2026-03-02T09:03:21.5Z","at":"2026-03-02T09:03:21.5Z","interval":"6s","message":"http_health passed","kind":"probe","configured":true}]`

// TestDictionary: what earlier versions have stored can be read. Where this fails the
// dictionary was changed: give the new one another number, and keep the old one.
func TestDictionary(t *testing.T) {
	stored, err := hex.DecodeString("28b52ffd4100012500dd010094017765623a22776562332d30325430393a30333a32312e35365d090080360749da9c18824a801ca22b5536275d2d72fc19566643893477551c20")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := testCompressor(t).decompress(stored); err != nil || string(got) != probeSignal {
		t.Errorf("%q, %v", got, err)
	}
}

// TestCompress: every document comes back as it was, none gets larger, and a short one
// of which much is in the dictionary gets small.
func TestCompress(t *testing.T) {
	c := testCompressor(t)
	check := func(t interface{ Errorf(string, ...any) }, doc []byte) int {
		stored := c.compress(doc)
		if got, err := c.decompress(stored); err != nil || !bytes.Equal(got, doc) || stored == nil || len(stored) > len(doc) {
			t.Errorf("%q is stored as %x and read as %q, %v", doc, stored, got, err)
		}
		return len(stored)
	}
	if n := check(t, []byte(probeSignal)); n > len(probeSignal)/3 {
		t.Errorf("%d bytes of %d: %x", n, len(probeSignal), c.compress([]byte(probeSignal)))
	}
	check(t, []byte("["+strings.Repeat(probeSignal+",", 10_000)+"1]"))
	piece := rapid.OneOf(rapid.SampledFrom(strings.SplitAfter(string(dictionary), ",")), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		check(t, []byte(rapid.SampledFrom([]string{"", "{", "["}).Draw(t, "kind")+strings.Join(rapid.SliceOf(piece).Draw(t, "pieces"), "")))
	})
}
