package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/examples/shop"
	"grace/internal/cli"
)

func cartRun(state grace.RunStatus) grace.Run {
	return grace.Run{ID: "r-1", Status: state, Service: shop.Cart, Playbook: grace.Playbook{ID: "restart_service"}, Auto: true}
}

func asked(state grace.RunStatus) grace.Run {
	r := cartRun(state)
	r.Auto = false
	return r
}

func withIncident(state grace.RunStatus) grace.Run {
	r := cartRun(state)
	r.Incident = "i-1"
	return r
}

func elsewhere(state grace.RunStatus) grace.Run {
	r := cartRun(state)
	r.ID, r.Service = "r-9", shop.Frontend
	return r
}

func tooEarly() grace.Run {
	r := cartRun(grace.RunCancelled)
	r.ID = "r-0"
	return r
}

func TestStory(t *testing.T) {
	t.Parallel()
	plain := chapter{name: "x", service: shop.Cart, kind: shop.Crash, playbook: "restart_service"}
	asks, fails, ahead := plain, plain, plain
	asks.asks, fails.fails = true, true
	ahead.limit = &limit{service: shop.Cart, what: "%s %% of the capacity", at: 80, level: func(s shop.Status) float64 { return 100 * s.Busy }}
	foreseen := func(state grace.RunStatus) grace.Run {
		r := cartRun(state)
		r.Kind = grace.TriggerProactive
		return r
	}
	inTime := []moment{{2 * time.Second, foreseen(grace.RunRunning)}, {9 * time.Second, foreseen(grace.RunSucceeded)}}
	healed := []moment{
		{2 * time.Second, cartRun(grace.RunRunning)},
		{4 * time.Second, cartRun(grace.RunVerifying)},
		{9 * time.Second, cartRun(grace.RunSucceeded)},
	}
	undone := []moment{{2 * time.Second, cartRun(grace.RunRunning)}, {20 * time.Second, withIncident(grace.RunRolledBack)}}
	tests := []struct {
		name      string
		chapter   chapter
		scene     scene
		ok        bool
		detail    string // a part of it
		recovered float64
		approved  bool
		resolved  bool
	}{
		{name: "healed", chapter: plain, scene: scene{runs: healed, cure: 6 * time.Second}, ok: true, recovered: 5.8},
		{name: "healed before it showed", chapter: plain, scene: scene{runs: healed, cure: 1}, ok: true, recovered: 2},
		{name: "GRACE killed meanwhile", chapter: plain, scene: scene{runs: healed, cure: 6 * time.Second, deaf: 15 * time.Second}, ok: true, recovered: 5.8},
		{name: "no run", chapter: plain, scene: scene{}, detail: "GRACE made no run (shop: 0 of 1 replicas of cart serve)"},
		{name: "no GRACE", chapter: plain, scene: scene{deaf: time.Hour}, detail: "GRACE does not answer: connection refused"},
		{name: "run never ends", chapter: plain, scene: scene{runs: healed[:2]}, detail: "the run is still verifying"},
		{name: "shop stays sick", chapter: plain, scene: scene{runs: healed}, detail: "the run ended as told, but the shop is not well"},
		{name: "cancelled, then healed", chapter: plain, scene: scene{cure: 6 * time.Second, runs: append([]moment{{time.Second, tooEarly()}}, healed...)}, ok: true, recovered: 5.8},
		{name: "cancelled", chapter: plain, scene: scene{runs: []moment{{time.Second, tooEarly()}}}, detail: "the run is still cancelled"},
		{name: "acted on a victim", chapter: plain, scene: scene{runs: []moment{{time.Second, elsewhere(grace.RunRunning)}}}, detail: "GRACE acted elsewhere: restart_service on frontend"},
		{name: "asked for nothing", chapter: plain, scene: scene{runs: []moment{{time.Second, asked(grace.RunAwaitingApproval)}}}, detail: "should have acted by itself"},
		{name: "undone, not as told", chapter: plain, scene: scene{runs: undone}, detail: "the run ended rolled_back", resolved: true},
		{
			name: "approved", chapter: asks, ok: true, approved: true, recovered: 12.8,
			scene: scene{cure: 13 * time.Second, gated: true, runs: []moment{
				{2 * time.Second, asked(grace.RunAwaitingApproval)},
				{time.Second, asked(grace.RunRunning)},
				{5 * time.Second, asked(grace.RunSucceeded)},
			}},
		},
		{name: "acted without asking", chapter: asks, scene: scene{runs: healed}, detail: "should have asked"},
		{name: "does not help", chapter: fails, scene: scene{runs: undone}, ok: true, recovered: 20, resolved: true, detail: "by hand"},
		{name: "does help", chapter: fails, scene: scene{runs: healed}, detail: "the run ended succeeded"},
		{name: "foreseen", chapter: ahead, scene: scene{runs: inTime, cure: 6 * time.Second, busy: 0.05}, ok: true, recovered: 5.8},
		{name: "foreseen too late", chapter: ahead, scene: scene{runs: inTime, cure: 6 * time.Second, busy: 0.2}, detail: "it came to 80 % of the capacity"},
		{name: "not foreseen", chapter: ahead, scene: scene{runs: healed, cure: 6 * time.Second}, detail: "should have foreseen it"},
		{name: "no incident", chapter: fails, scene: scene{runs: []moment{{2 * time.Second, cartRun(grace.RunRolledBack)}}}, detail: "no incident"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &world{scene: tt.scene}
				reports := w.story(t).play(t.Context(), []chapter{tt.chapter})
				if len(reports) != 1 {
					t.Fatalf("got %d reports, want 1", len(reports))
				}
				r := reports[0]
				if r.OK != tt.ok || !strings.Contains(r.Detail, tt.detail) {
					t.Errorf("got ok %t, detail %q; want %t, %q", r.OK, r.Detail, tt.ok, tt.detail)
				}
				if tt.recovered != 0 && (r.RecoveredS == nil || *r.RecoveredS != tt.recovered) {
					t.Errorf("recovered after %s s, want %.1f", seconds(r.RecoveredS), tt.recovered)
				}
				if !w.approved.IsZero() != tt.approved || w.resolved != tt.resolved {
					t.Errorf("approved %t, resolved %t; want %t, %t", !w.approved.IsZero(), w.resolved, tt.approved, tt.resolved)
				}
				if w.sick() {
					t.Error("the fault was left to the next chapter")
				}
				if tt.ok && *r.DetectedS != 1.5 {
					t.Errorf("detected after %s s, want 1.5", seconds(r.DetectedS))
				}
			})
		})
	}
}

func TestInterruptedStoryTellsNoEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		w := &world{}
		if got := w.story(t).play(ctx, chapters()); len(got) != 0 {
			t.Errorf("got %+v, want nothing", got)
		}
	})
}

func TestWellness(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	second := func(ago time.Duration, s shop.LoadSecond) shop.LoadReport {
		return shop.LoadReport{At: now.Add(-ago), Services: []shop.LoadSecond{s}}
	}
	v := &wellness{}
	v.readLoad(shop.LoadStatus{Seconds: []shop.LoadReport{
		second(5*time.Second, shop.LoadSecond{Service: "cart", OK: 3, Errors: 1}),
		second(4*time.Second, shop.LoadSecond{Service: "cart", OK: 4, P95: 0.9}),
		second(time.Second, shop.LoadSecond{Service: "cart", OK: 4, P95: 0.1}),
	}})
	if got, want := v.lastBad, now.Add(-4*time.Second); !got.Equal(want) || v.what != "customers of cart wait 0.9 s" {
		t.Errorf("last bad %v, %q; want %v", got, v.what, want)
	}
	v.reset()
	v.readLoad(shop.LoadStatus{Seconds: []shop.LoadReport{second(5*time.Second, shop.LoadSecond{Service: "cart", Errors: 1})}})
	if !v.lastBad.IsZero() {
		t.Error("a second from before the chapter counted")
	}
	cured := now
	for _, tt := range []struct {
		fault shop.Fault
		want  string
	}{
		{shop.Fault{Kind: shop.Latency, Service: "cart"}, "latency of cart is still there"},
		{shop.Fault{Kind: shop.Latency, Service: "cart", Relieved: true}, ""},
		{shop.Fault{Kind: shop.Latency, Service: "cart", CuredAt: &cured}, ""},
	} {
		if got := badNow(nil, []shop.Fault{tt.fault}); got != tt.want {
			t.Errorf("badNow(%+v) = %q, want %q", tt.fault, got, tt.want)
		}
	}
}

func TestDemoConfig(t *testing.T) {
	t.Parallel()
	in := "# see 127.0.0.1:18080\nlisten: 127.0.0.1:8000\ndata_dir: x\nurl: \"http://127.0.0.1:18086/a\"\nother: 127.0.0.1:18087\n"
	want := "listen: \"127.0.0.1:9000\"\ndata_dir: \"/d\"\n# see 127.0.0.1:20000\nurl: \"http://127.0.0.1:20006/a\"\nother: 127.0.0.1:18087\n"
	if diff := cmp.Diff(want, string(demoConfig([]byte(in), "127.0.0.1:9000", "/d", 20000))); diff != "" {
		t.Error(diff)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	f := func(s float64, healed bool) faultReport { return faultReport{RecoveredS: &s, healed: healed} }
	if got := median([]faultReport{f(9, true), f(1, true), f(100, false), f(4, true), f(2, true)}); got == nil || *got != 3 {
		t.Errorf("median = %s, want 3", seconds(got))
	}
	if got := median(nil); got != nil {
		t.Errorf("median of nothing = %v", *got)
	}
}

func TestChosen(t *testing.T) {
	t.Parallel()
	got, err := chosen(chapters(), []string{"stuck_latency", "crash"})
	if err != nil || len(got) != 2 || got[0].name != "crash" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := chosen(chapters(), []string{"crash", "no"}); !cli.IsCode(err, cli.ExitUsage) {
		t.Errorf("got %v, want a usage error", err)
	}
}
