package audit

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"grace"
)

// FuzzVerifier: one entry of a log, as an export holds it, is replaced by
// anything. Either it says the same as before, or the log is broken.
func FuzzVerifier(f *testing.F) {
	genuine := log(3)
	whole, err := json.Marshal(genuine[1])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, uint8(1))
	f.Add(whole, uint8(2))
	f.Add([]byte(`{"reason":"other"}`), uint8(0))
	f.Add([]byte(`{"detail":{"a":[1,2],"b":"<1>"}}`), uint8(1))
	f.Add([]byte(`{"seq":-9223372036854775808}`), uint8(1))
	f.Add([]byte(`{"hash":"","prev_hash":"\u0000"}`), uint8(2))
	f.Add([]byte(`{"at":"9999-12-31T23:59:59Z"}`), uint8(2))
	f.Add([]byte("null"), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, place uint8) {
		entries := log(3)
		i := int(place) % len(entries)
		if json.Unmarshal(data, &entries[i]) != nil {
			return
		}
		if check(entries, 3, genuine[2].Hash) != nil {
			return
		}
		if diff := cmp.Diff(normalize(genuine[i]), normalize(entries[i])); diff != "" {
			t.Errorf("a changed entry was accepted: %s", diff)
		}
	})
}

// FuzzForged: a log that somebody without the key wrote is never accepted.
func FuzzForged(f *testing.F) {
	forged := log(2)
	for i := range forged {
		forged[i].Hash = "00"
	}
	b, err := json.Marshal(forged)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`[{"seq":1,"hash":""}]`))
	f.Add([]byte(`[{"seq":9223372036854775807},{"seq":-1}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var entries []grace.AuditEntry
		if json.Unmarshal(data, &entries) != nil {
			return
		}
		v := NewVerifier([]byte("a key that the corpus was not written with"))
		for _, e := range entries {
			if v.Add(e) == nil {
				t.Fatalf("accepted: %+v", e)
			}
		}
	})
}
