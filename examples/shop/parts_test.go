package shop

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPoolServesInOrderAndFollowsItsSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pool{slots: 1}
		if err := p.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		var order []int
		impatient, cancel := context.WithCancel(t.Context())
		for i, ctx := range []context.Context{t.Context(), impatient, t.Context()} {
			go func() {
				if p.acquire(ctx) == nil {
					order = append(order, i)
				}
			}()
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		p.release()
		synctest.Wait()
		if diff := cmp.Diff([]int{0}, order); diff != "" {
			t.Fatalf("one slot (-want +got):\n%s", diff)
		}
		p.resize(2)
		synctest.Wait()
		if diff := cmp.Diff([]int{0, 2}, order); diff != "" {
			t.Fatalf("two slots (-want +got):\n%s", diff)
		}
		p.release()
		p.release()
		if p.busy != 0 || len(p.waiting) != 0 {
			t.Fatalf("left over: %d busy, %d waiting", p.busy, len(p.waiting))
		}
	})
}

func TestBreaker(t *testing.T) {
	now := time.Unix(0, 0)
	var b breaker
	for i := range breakerWindow {
		b.done(now, i%5 < 3) // three of five
	}
	if b.isOpen() || !b.allow(now) {
		t.Fatal("open at 60 % failures")
	}
	for range breakerWindow {
		b.done(now, true)
	}
	if !b.isOpen() || b.allow(now) {
		t.Fatal("closed though everything fails")
	}
	now = now.Add(breakerPause)
	if !b.allow(now) || b.allow(now) {
		t.Fatal("want one try after the pause")
	}
	b.done(now, true)
	if !b.isOpen() {
		t.Fatal("a failed try closed it")
	}
	now = now.Add(breakerPause)
	if !b.allow(now) {
		t.Fatal("no second try")
	}
	b.done(now, false)
	if b.isOpen() || !b.allow(now) {
		t.Fatal("a try that went well did not close it")
	}
	b.stick(true)
	if b.allow(now.Add(time.Hour)) {
		t.Fatal("stuck, it let one through")
	}
	b.flush()
	if b.isOpen() || !b.allow(now) {
		t.Fatal("flushed, it is open")
	}
}

func TestItems(t *testing.T) {
	now := time.Unix(0, 0)
	var c items
	one := map[int]json.RawMessage{1: json.RawMessage(`1`)}
	c.fill(one, time.Second, now)
	if _, ok := c.get(1, now); !ok {
		t.Fatal("filled, not found")
	}
	if _, ok := c.get(1, now.Add(time.Second)); ok {
		t.Fatal("found after its time")
	}
	if ratio, n := c.stats(); ratio != .5 || n != 0 {
		t.Fatalf("hit ratio %v, %d entries", ratio, n)
	}
	c.fill(one, 0, now)
	if _, ok := c.get(1, now.Add(1000*time.Hour)); !ok {
		t.Fatal("ttl 0 ended")
	}
	c.setCold(true)
	c.fill(one, 0, now)
	if _, ok := c.get(1, now); ok {
		t.Fatal("cold, it took an entry")
	}
	c.setCold(false)
	c.fill(one, 0, now)
	if _, ok := c.get(1, now); !ok {
		t.Fatal("no longer cold, it takes none")
	}
}

func TestMergeReports(t *testing.T) {
	at := func(ratio float64, n int) (*float64, *int) { return &ratio, &n }
	a, b := report{Flags: map[string]bool{"f": false}, Level: 0, Heap: 10}, report{Flags: map[string]bool{"f": true}, BreakerOpen: true, Level: -4, Heap: 5}
	a.HitRatio, a.Entries = at(1, 10)
	b.HitRatio, b.Entries = at(.5, 5)
	want := report{BreakerOpen: true, Flags: map[string]bool{"f": true}, Level: -4, Heap: 10}
	want.HitRatio, want.Entries = at(.75, 15)
	if diff := cmp.Diff(want, mergeReports([]report{a, b})); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

func TestRecent(t *testing.T) {
	now := time.Unix(1000, 0)
	var r recent
	if r.errorRatio(now) != 0 || r.rate(now) != 0 {
		t.Fatal("something of nothing")
	}
	for second := range recentSeconds {
		for i := range 10 {
			at := now.Add(time.Duration(second) * time.Second)
			r.arrived(at)
			r.done(at, i < 2)
		}
	}
	now = now.Add(recentSeconds * time.Second)
	if got := r.rate(now); got != 10 {
		t.Errorf("rate %v, want 10", got)
	}
	if got := r.errorRatio(now); got != .2 {
		t.Errorf("error ratio %v, want .2", got)
	}
	if got := r.errorRatio(now.Add(time.Minute)); got != 0 {
		t.Errorf("a minute later the error ratio is %v", got)
	}
}

func TestTTL(t *testing.T) {
	for text, want := range map[string]time.Duration{`"10m"`: 10 * time.Minute, `90`: 90 * time.Second, `0`: 0, `0.5`: time.Second / 2, `"30"`: 30 * time.Second} {
		var got ttl
		if err := json.Unmarshal([]byte(text), &got); err != nil || time.Duration(got) != want {
			t.Errorf("%s: %v, %v; want %v", text, time.Duration(got), err, want)
		}
	}
}
