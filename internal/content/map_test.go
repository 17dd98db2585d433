package content

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"grace"
)

// blobs is a store.
type blobs map[grace.Digest][]byte

func (b blobs) known(list []grace.Digest) (map[grace.Digest]bool, error) {
	have := map[grace.Digest]bool{}
	for _, d := range list {
		_, have[d] = b[d]
	}
	return have, nil
}
func (b blobs) put(d grace.Digest, body []byte) { b[d] = body }
func (b blobs) get(d grace.Digest) ([]byte, error) {
	body, known := b[d]
	if !known {
		return nil, fmt.Errorf("no blob %s", d)
	}
	return body, nil
}

func keep(t interface{ Fatal(args ...any) }, m Map, known func([]grace.Digest) (map[grace.Digest]bool, error), put func(grace.Digest, []byte)) {
	if err := m.Missing(known, put); err != nil {
		t.Fatal(err)
	}
}

func contentOf(m Map) map[string]string {
	out := map[string]string{}
	m.Each(func(key string, body []byte) { out[key] = string(body) })
	return out
}

// TestMap: a map does what Go's does, its digest follows from its content alone,
// and what is stored is found again.
func TestMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kept := blobs{}
		var m Map
		want := map[string]string{}
		keys := rapid.StringMatching(`[a-c]{0,3}[0-9]{0,2}`)
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			key := keys.Draw(t, "key")
			if rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				m = m.Without(key)
				delete(want, key)
			} else {
				body := rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "body")
				m = m.With(key, []byte(body))
				want[key] = body
			}
			keep(t, m, kept.known, kept.put)
		}
		if got := contentOf(m); !maps.Equal(got, want) || m.Len() != len(want) {
			t.Fatalf("%d keys: %v, want %v", m.Len(), got, want)
		}
		for key, body := range want {
			if got, known := m.Get(key); !known || string(got) != body {
				t.Fatalf("%q: %q, %v; want %q", key, got, known, body)
			}
		}
		var anew Map
		for _, key := range slices.Sorted(maps.Keys(want)) {
			anew = anew.With(key, []byte(want[key]))
		}
		if anew.Digest() != m.Digest() {
			t.Fatalf("made in another order it has another digest: %v", want)
		}
		read, err := ReadMap(m.Digest(), kept.get)
		if err != nil || !maps.Equal(contentOf(read), want) || read.Digest() != m.Digest() {
			t.Fatalf("read again: %v, %v", contentOf(read), err)
		}
	})
}

// TestChangedBlob: whichever byte is changed of what is stored, ReadMap says so.
func TestChangedBlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Map
		kept := blobs{}
		for i := range rapid.IntRange(1, 60).Draw(t, "keys") {
			m = m.With(fmt.Sprintf("k%d", i), fmt.Appendf(nil, "body %d", i))
		}
		keep(t, m, kept.known, kept.put)
		d := rapid.SampledFrom(slices.Sorted(maps.Keys(kept))).Draw(t, "blob")
		body := slices.Clone(kept[d])
		body[rapid.IntRange(0, len(body)-1).Draw(t, "byte")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		kept[d] = body
		if _, err := ReadMap(m.Digest(), kept.get); !errors.Is(err, ErrChanged) {
			t.Fatalf("%v", err)
		}
	})
}

// TestDecode: whatever was stored, it is read as a node or refused; a branch has one form.
func TestDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]byte{leafKind, branchKind, '{'}).Draw(t, "kind")
		blob := append([]byte{kind}, rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "rest")...)
		n, ok := decode(blob)
		if ok && n.children != nil && !bytes.Equal(n.encode(), blob) {
			t.Fatalf("%q is written as %q", blob, n.encode())
		}
	})
}

// TestSharing: of a thousand keys a change of one stores its body and the nodes
// above it alone.
func TestSharing(t *testing.T) {
	var m Map
	for i := range 1000 {
		m = m.With(fmt.Sprintf("service-%d", i), fmt.Appendf(nil, "%d", i))
	}
	kept := blobs{}
	keep(t, m, kept.known, kept.put)
	before, size := len(kept), 0
	keep(t, m.With("service-7", []byte("sick")), kept.known, func(d grace.Digest, body []byte) {
		kept.put(d, body)
		size += len(body)
	})
	if n := len(kept) - before; n > 4 || size > 900 {
		t.Errorf("%d blobs of %d bytes are new", n, size)
	}
}
