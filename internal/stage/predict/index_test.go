package predict

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// seriesOf gives the series of a name, which is open.
func seriesOf(a *Agent, name Series) *series {
	h, _ := a.find(name.identity())
	return a.at(h)
}

// However many series share a hash, each is found by its identity while it is open.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := New(DefaultConfig(), nil, NewGate(DefaultGateConfig(), noLock{}))
		a.index.hash = func(id identity) uint32 { return uint32(len(id.labels)) }
		open := map[Series]Handle{}
		for range rapid.IntRange(1, 100).Draw(t, "n") {
			i := rapid.IntRange(0, 20).Draw(t, "series")
			name := Series{Service: "cart", Metric: "m", Labels: fmt.Sprintf("{i=%d}", i)}
			if h, ok := open[name]; ok {
				a.Close(h)
				delete(open, name)
			} else {
				open[name] = a.Open(name)
			}
			for i := range 21 {
				name := Series{Service: "cart", Metric: "m", Labels: fmt.Sprintf("{i=%d}", i)}
				want, is := open[name]
				if h, ok := a.find(name.identity()); ok != is || h != want || ok && a.at(h).name() != name {
					t.Fatalf("%v: %v %v, want %v %v", name, h, ok, want, is)
				}
			}
		}
		if len(a.index.first) > 2 || a.Len() != len(open) {
			t.Fatalf("%d hashes, %d series of %d", len(a.index.first), a.Len(), len(open))
		}
	})
}
