package loop

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"grace"
	"grace/internal/store"
)

// TestClockSetBackAfterARecovery: what recovered before the clock was set back did
// so as long ago as before, and does not explain others until that time comes.
func TestClockSetBackAfterARecovery(t *testing.T) {
	t.Parallel()
	ahead := time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC)
	var m replicatedCache
	m.signals([]grace.Signal{
		{Key: "redis/probe/up", Service: "redis", State: grace.SignalOK, At: ahead, Since: ahead, Fired: ahead.Add(-time.Second)},
		{Key: "api/probe/up", Service: "api", State: grace.SignalOK, At: ahead, Since: ahead},
	})
	m.clockStepped(ahead.Add(-time.Hour), -time.Hour)
	list := m.allSignals()
	if want := ahead.Add(-time.Hour - time.Second); !list[1].Fired.Equal(want) {
		t.Errorf("redis fired at %s, want %s", list[1].Fired, want)
	}
	if !list[0].Fired.IsZero() {
		t.Errorf("api never fired: %s", list[0].Fired)
	}
}

// TestMirror holds the mirror against a plain map: signals come in any order,
// some late, some go, and what was given before stays as it was.
func TestMirror(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var m replicatedCache
		want := map[grace.SignalKey]grace.Signal{}
		now := start
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			before := m.sorted
			kept := slices.Clone(before)
			now = now.Add(time.Hour)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				key := grace.SignalKey(fmt.Sprintf("api/alerts/%d", rapid.IntRange(0, 9).Draw(t, "key")))
				m.signals([]grace.Signal{{Key: key, Service: "api", At: now, Since: now, Gone: true}})
				delete(want, key)
			default:
				s := grace.Signal{
					Key: grace.SignalKey(fmt.Sprintf("api/alerts/%d", rapid.IntRange(0, 9).Draw(t, "key"))), Service: "api", At: now, Since: now,
					State: rapid.SampledFrom([]grace.SignalState{grace.SignalOK, grace.SignalFiring}).Draw(t, "state"),
				}
				if rapid.Bool().Draw(t, "late") {
					s.At, s.Since = start, start
				}
				if old, ok := want[s.Key]; !ok || !old.At.After(s.At) {
					want[s.Key] = s
				}
				m.signals([]grace.Signal{s})
			}
			if diff := gocmp.Diff(kept, before); diff != "" {
				t.Fatalf("a list that was given has changed (-was +is):\n%s", diff)
			}
			if rapid.Bool().Draw(t, "look") {
				byKey := func(a, b grace.Signal) int { return cmp.Compare(a.Key, b.Key) }
				sorted := slices.SortedFunc(maps.Values(want), byKey)
				if got := m.allSignals(); len(got) != len(sorted) || len(got) > 0 && !gocmp.Equal(got, sorted) {
					t.Fatalf("signals (-got +want):\n%s", gocmp.Diff(got, sorted))
				}
			}
		}
	})
}

// TestRunsFromBeforeTheClockWasSetBack count for the limits as long ago as they
// were.
func TestRunsFromBeforeTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ended := now.Add(time.Hour - time.Minute)
	heads := []store.RunHead{{CreatedAt: now.Add(time.Hour - 2*time.Minute), EndedAt: &ended}, {CreatedAt: now.Add(-time.Minute)}}
	l := unwired(t, func() time.Time { return now })
	l.epoch.Store(now.Add(-time.Second).UnixMilli())
	if got := pasts(heads, l.dated(now)); !got[0].EndedAt.Equal(now.Add(-time.Second)) {
		t.Errorf("set back before the start: %+v", got)
	}
	l.setBack.Store(int64(-time.Hour))
	got := pasts(heads, l.dated(now))
	if !got[0].At.Equal(now.Add(-2*time.Minute)) || !got[0].EndedAt.Equal(now.Add(-time.Minute)) || !got[1].At.Equal(now.Add(-time.Minute)) {
		t.Errorf("%+v", got)
	}
	if !heads[0].EndedAt.Equal(ended) {
		t.Error("the run itself was changed")
	}
}
