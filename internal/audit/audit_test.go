package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"grace"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func entry(seq int64) grace.AuditEntry {
	return grace.AuditEntry{
		Seq: seq, At: time.Date(2026, 3, 1, 9, 30, int(seq), 123_456_789, time.UTC),
		Actor: "grace", Action: "run.verifying", Object: fmt.Sprintf("run/r-%d", seq),
		Service: "cart", Reason: "checks", Detail: json.RawMessage(`{ "b": "<1>", "a": [1, 2] }`),
	}
}

func log(n int) []grace.AuditEntry {
	var prev string
	out := make([]grace.AuditEntry, 0, n)
	for i := range n {
		e := Link(testKey, prev, entry(int64(i+1)))
		prev = e.Hash
		out = append(out, e)
	}
	return out
}

// check runs a whole verification against the head of the log as written.
func check(entries []grace.AuditEntry, headSeq int64, headHash string) error {
	v := NewVerifier(testKey)
	for _, e := range entries {
		if err := v.Add(e); err != nil {
			return err
		}
	}
	return v.Close(headSeq, headHash)
}

func TestSoundLog(t *testing.T) {
	for _, n := range []int{0, 1, 2, 50} {
		entries := log(n)
		var head string
		if n > 0 {
			head = entries[n-1].Hash
		}
		if err := check(entries, int64(n), head); err != nil {
			t.Errorf("%d entries: %v", n, err)
		}
	}
}

func TestDamageIsNamed(t *testing.T) {
	forged := entry(3)
	forged.Seq, forged.Hash, forged.PrevHash = 3, "00", "00"
	tests := []struct {
		name string
		hurt func([]grace.AuditEntry) []grace.AuditEntry
		seq  int64
		kind Kind
	}{
		{"field changed", func(l []grace.AuditEntry) []grace.AuditEntry { l[2].Reason = "other"; return l }, 3, KindChanged},
		{"time changed", func(l []grace.AuditEntry) []grace.AuditEntry { l[2].At = l[2].At.Add(1); return l }, 3, KindChanged},
		{"text moved between fields", func(l []grace.AuditEntry) []grace.AuditEntry {
			l[2].Actor, l[2].Action = l[2].Actor+"run.", "verifying"
			return l
		}, 3, KindChanged},
		{"hash changed", func(l []grace.AuditEntry) []grace.AuditEntry { l[2].Hash = l[1].Hash; return l }, 3, KindChanged},
		{"previous hash changed", func(l []grace.AuditEntry) []grace.AuditEntry { l[2].PrevHash = l[0].Hash; return l }, 3, KindChanged},
		{"rehashed without the key", func(l []grace.AuditEntry) []grace.AuditEntry {
			l[2].Reason = "other"
			l[2] = Link([]byte("guess"), l[1].Hash, l[2])
			return l
		}, 3, KindChanged},
		{"removed", func(l []grace.AuditEntry) []grace.AuditEntry { return slices.Delete(l, 2, 3) }, 3, KindRemoved},
		{"first removed", func(l []grace.AuditEntry) []grace.AuditEntry { return l[1:] }, 1, KindRemoved},
		{"removed and renumbered", func(l []grace.AuditEntry) []grace.AuditEntry {
			l = slices.Delete(l, 2, 3)
			for i := 2; i < len(l); i++ {
				l[i].Seq--
			}
			return l
		}, 3, KindReordered},
		{"last one removed", func(l []grace.AuditEntry) []grace.AuditEntry { return l[:5] }, 6, KindRemoved},
		{"chained to another", func(l []grace.AuditEntry) []grace.AuditEntry {
			l[2] = Link(testKey, l[0].Hash, l[2])
			return l
		}, 3, KindInserted},
		{"cut off at the end", func(l []grace.AuditEntry) []grace.AuditEntry { return l[:4] }, 5, KindRemoved},
		{"everything removed", func([]grace.AuditEntry) []grace.AuditEntry { return nil }, 1, KindRemoved},
		{"inserted under a taken number", func(l []grace.AuditEntry) []grace.AuditEntry { return slices.Insert(l, 3, forged) }, 3, KindInserted},
		{"copied", func(l []grace.AuditEntry) []grace.AuditEntry { return slices.Insert(l, 3, l[2]) }, 3, KindInserted},
		{"appended with the key", func(l []grace.AuditEntry) []grace.AuditEntry {
			return append(l, Link(testKey, l[5].Hash, entry(7)))
		}, 7, KindInserted},
		{"contents exchanged", func(l []grace.AuditEntry) []grace.AuditEntry {
			l[2], l[4] = l[4], l[2]
			l[2].Seq, l[4].Seq = 3, 5
			return l
		}, 3, KindReordered},
		{"early entry late", func(l []grace.AuditEntry) []grace.AuditEntry { return slices.Insert(l, 4, l[1]) }, 2, KindReordered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			whole := log(6)
			head := whole[5].Hash
			err := check(tt.hurt(whole), 6, head)
			var broken *Broken
			if !errors.As(err, &broken) {
				t.Fatalf("got %v, want a *Broken", err)
			}
			if broken.Seq != tt.seq || broken.Kind != tt.kind {
				t.Errorf("got %v, want entry %d %s", broken, tt.seq, tt.kind)
			}
		})
	}
}

func TestBreakIsSticky(t *testing.T) {
	l := log(4)
	v := NewVerifier(testKey)
	if err := v.Add(l[1]); err == nil {
		t.Fatal("entry 2 was taken as the first")
	}
	if err := v.Add(l[0]); err == nil {
		t.Error("a broken verifier went on")
	}
	if err := v.Close(0, ""); err == nil {
		t.Error("a broken verifier closed clean")
	}
	if seq, hash := v.Head(); seq != 0 || hash != "" {
		t.Errorf("head %d %q, want the last sound entry", seq, hash)
	}
}

func TestAnySingleDamageIsFound(t *testing.T) {
	whole := log(12)
	head := whole[11].Hash
	rapid.Check(t, func(t *rapid.T) {
		l := slices.Clone(whole)
		i := rapid.IntRange(0, len(l)-1).Draw(t, "row")
		j := rapid.IntRange(0, len(l)-1).Filter(func(j int) bool { return j != i }).Draw(t, "other")
		switch rapid.SampledFrom([]string{"change", "remove", "insert", "swap", "move"}).Draw(t, "damage") {
		case "change":
			change(t, &l[i])
		case "remove":
			l = slices.Delete(l, i, i+1)
		case "insert":
			e := l[i]
			if rapid.Bool().Draw(t, "altered") {
				change(t, &e)
			}
			if rapid.Bool().Draw(t, "renumber") {
				for k := j; k < len(l); k++ {
					l[k].Seq++
				}
				e.Seq = int64(j + 1)
			}
			l = slices.Insert(l, j, e)
		case "swap":
			l[i], l[j] = l[j], l[i]
			if rapid.Bool().Draw(t, "renumber") {
				l[i].Seq, l[j].Seq = int64(i+1), int64(j+1)
			}
		case "move":
			e := l[i]
			l = slices.Insert(slices.Delete(l, i, i+1), j, e)
		}
		var broken *Broken
		if err := check(l, 12, head); !errors.As(err, &broken) {
			t.Fatalf("damage was not found: %v", err)
		}
	})
}

func change(t *rapid.T, e *grace.AuditEntry) {
	text := rapid.StringN(1, 5, 10).Draw(t, "text")
	switch rapid.IntRange(0, 8).Draw(t, "field") {
	case 0:
		e.Seq += int64(rapid.SampledFrom([]int{-3, -1, 1, 1000}).Draw(t, "by"))
	case 1:
		e.At = e.At.Add(time.Duration(rapid.Int64Range(1, 1e12).Draw(t, "later")))
	case 2:
		e.Actor += text
	case 3:
		e.Action += text
	case 4:
		e.Object += text
	case 5:
		e.Service += grace.ServiceID(text)
	case 6:
		e.Reason += text
	case 7:
		e.Detail = append(slices.Clone(e.Detail), text...)
	case 8:
		e.PrevHash += text
	}
}

func TestLinkedEntryReadsBackTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := grace.AuditEntry{
			Seq:    rapid.Int64Range(1, 1<<40).Draw(t, "seq"),
			At:     time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "nano")),
			Actor:  string(rapid.SliceOf(rapid.Byte()).Draw(t, "actor")),
			Reason: rapid.String().Draw(t, "reason"),
			Detail: json.RawMessage(rapid.OneOf(
				rapid.String(),
				rapid.SampledFrom([]string{"", "null", " null ", `{"a" : "<b>&\u2028"}`, "[1, 2.0, 1e400]", "\"\xff\""}),
			).Draw(t, "detail")),
		}
		linked := Link(testKey, "", e)
		doc, err := json.Marshal(linked)
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		var back grace.AuditEntry
		if err := json.Unmarshal(doc, &back); err != nil {
			t.Fatalf("unmarshal: %v", err)
		}
		back.At = time.UnixMilli(back.At.UnixMilli()) // as a column of milliseconds
		if err := NewVerifier(testKey).genuineErr(back); err != nil {
			t.Fatalf("%v\nwritten %s", err, doc)
		}
		if diff := cmp.Diff(linked, Link(testKey, "", linked)); diff != "" {
			t.Fatalf("linking twice differs: %s", diff)
		}
	})
}

func (v *Verifier) genuineErr(e grace.AuditEntry) error {
	if !v.genuine(e) {
		return fmt.Errorf("entry %+v does not match its hash", e)
	}
	return nil
}

// The encoding is part of what is stored: a change here breaks every log.
func TestEncodingIsPinned(t *testing.T) {
	e := Link(testKey, "", entry(1))
	const leaf = "7d1455bc698371be6d3a92f7494909fe75daec4ff7102d92a6ce8c975f76dd4e"
	if got := fmt.Sprintf("%x", Leaf(e)); got != leaf {
		t.Errorf("leaf %s, want %s", got, leaf)
	}
	const hash = "b06e613b1852276618be317caba60bbeded7981b2c89359d68a228dcf707d319"
	if e.Hash != hash {
		t.Errorf("hash %s, want %s", e.Hash, hash)
	}
}

func BenchmarkLink(b *testing.B) {
	e := entry(1)
	b.ReportAllocs()
	for b.Loop() {
		e.Hash = Link(testKey, e.Hash, e).Hash
	}
}
