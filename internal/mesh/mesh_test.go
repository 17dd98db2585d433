package mesh

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"grace"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, event string
		want           bool
	}{
		{"self_heal.prediction", "self_heal.prediction", true},
		{"self_heal.prediction", "self_heal.predictions", false},
		{"self_heal.*", "self_heal.prediction", true},
		{"self_heal.*", "self_heal.run.started", true},
		{"self_heal.*", "self_heal", false},
		{"self_heal.*", "self_heal.", false},
		{"self_heal.*", "self_healing.run", false},
		{"self_heal*", "self_healing", false},
		{"self_heal*", "self_heal*", true},
		{"*", "anything.at.all", true},
		{"*", "", true},
		{"", "", false},
		{"", "x", false},
		{"*.run", "x.run", false},
	}
	for _, tt := range tests {
		if got := Match(tt.pattern, tt.event); got != tt.want {
			t.Errorf("Match(%q, %q) = %v", tt.pattern, tt.event, got)
		}
	}
}

func TestMatchProperties(t *testing.T) {
	name := rapid.StringMatching(`[a-z_]{1,8}(\.[a-z_]{1,8}){0,3}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := name.Draw(t, "a"), name.Draw(t, "b")
		if !Match(a, a) || !Match("*", a) || !Match(a+".*", a+"."+b) || Match(a+".*", a) {
			t.Fatalf("%q, %q", a, b)
		}
		if got, want := Match(a+".*", b), strings.HasPrefix(b, a+"."); got != want {
			t.Fatalf("Match(%q, %q) = %v", a+".*", b, got)
		}
	})
}

func event(id int64, kind string) grace.Event { return grace.Event{ID: id, Type: kind} }

// drain reads what a closed subscription holds.
func drain(s *Subscription) (ids []int64) {
	for e := range s.C() {
		ids = append(ids, e.ID)
	}
	return ids
}

func TestDelivery(t *testing.T) {
	b := New()
	exact, below, all := b.Subscribe(10, "a.x"), b.Subscribe(10, "a.*", "c"), b.Subscribe(10, "*")
	twice, none := b.Subscribe(10, "a.x", "a.*"), b.Subscribe(10)
	b.Publish(event(1, "a.x"), event(2, "a.y"))
	b.Publish(event(3, "b"), event(4, "c"))
	b.Close()
	for _, tt := range []struct {
		name string
		sub  *Subscription
		want []int64
	}{
		{"exact", exact, []int64{1}},
		{"below", below, []int64{1, 2, 4}},
		{"all", all, []int64{1, 2, 3, 4}},
		{"two patterns that match, once", twice, []int64{1, 2}},
		{"no pattern", none, nil},
	} {
		if got := drain(tt.sub); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
		if tt.sub.Lagged() {
			t.Errorf("%s: lagged", tt.name)
		}
	}
}

func TestSlowSubscriberIsDropped(t *testing.T) {
	b := New()
	slow, quick := b.Subscribe(2, "*"), b.Subscribe(10, "*")
	b.Publish(event(1, "x"), event(2, "x"), event(3, "x"), event(4, "x"))
	if !slow.Lagged() || quick.Lagged() {
		t.Errorf("lagged: slow %v, quick %v", slow.Lagged(), quick.Lagged())
	}
	if got := drain(slow); !slices.Equal(got, []int64{1, 2}) {
		t.Errorf("the slow one holds %v, want what came before it fell behind", got)
	}
	if n := b.Subscribers(); n != 1 {
		t.Errorf("%d subscribers left, want the quick one", n)
	}
	slow.Close() // a dropped one may still be closed
	quick.Close()
	if got := drain(quick); !slices.Equal(got, []int64{1, 2, 3, 4}) {
		t.Errorf("the quick one got %v", got)
	}
}

func TestClosing(t *testing.T) {
	b := New()
	s := b.Subscribe(0, "*") // at least 1
	b.Publish(event(1, "x"))
	s.Close()
	s.Close()
	b.Publish(event(2, "x"))
	if got := drain(s); !slices.Equal(got, []int64{1}) || s.Lagged() {
		t.Errorf("got %v, lagged %v", got, s.Lagged())
	}
	b.Close()
	b.Close()
	b.Publish(event(3, "x"))
	if late := b.Subscribe(1, "*"); drain(late) != nil || late.Lagged() {
		t.Error("a subscription on a closed bus is not closed")
	}
}

func TestCloseWakesAReader(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		s := New().Subscribe(1, "*")
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			drain(s)
		}()
		synctest.Wait()
		s.Close()
		<-ended
	})
}

// Publishers, readers and closers at once: nobody waits for ever, and what a
// subscriber sees of one publisher is its beginning, in order, without a hole.
func TestConcurrently(t *testing.T) {
	const publishers, each, readers = 4, 500, 6
	b := New()
	var publishing, reading sync.WaitGroup
	for r := range readers {
		s := b.Subscribe(1+r*each/2, "*")
		reading.Go(func() {
			var next [publishers]int64
			seen := 0
			for e := range s.C() {
				p := e.ID / each
				if e.ID%each != next[p] {
					t.Errorf("publisher %d: event %d came, want %d", p, e.ID%each, next[p])
				}
				next[p]++
				seen++
			}
			if !s.Lagged() && seen != publishers*each {
				t.Errorf("saw %d events and did not lag", seen)
			}
		})
	}
	for p := range int64(publishers) {
		publishing.Go(func() {
			for i := range int64(each) {
				b.Publish(event(p*each+i, "x"))
				if i%100 == 0 {
					b.Subscribe(1, "*").Close()
				}
			}
		})
	}
	publishing.Wait()
	b.Close()
	reading.Wait()
}

func BenchmarkPublish(b *testing.B) {
	bus := New()
	var subs []*Subscription
	for range 8 {
		subs = append(subs, bus.Subscribe(1, "health.*", "self_heal.*"))
	}
	e := event(1, "self_heal.run.started")
	b.ReportAllocs()
	for b.Loop() {
		bus.Publish(e)
		for _, s := range subs {
			<-s.C()
		}
	}
}
