package shop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"grace/examples/shop"
)

// TestMain lets the test binary be the shop, as any binary that embeds it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "shop" {
		os.Exit(shop.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// bench is a running shop with what tests ask of it.
type bench struct {
	*testing.T
	c    *shop.Client
	opts shop.Options
}

func startShop(t *testing.T, opts shop.Options) bench {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	opts.Command, opts.Port = []string{self, "shop"}, -1
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	c, err := shop.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// t.Context is over by now; a shop that has ended already is fine.
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = c.Shutdown(ctx)
		if log, err := os.ReadFile(filepath.Join(opts.Dir, "shop.log")); t.Failed() && err == nil {
			t.Logf("shop.log:\n%s", log)
		}
	})
	return bench{t, c, opts}
}

// in runs a part of a test on the same shop.
func (b bench) in(name string, f func(bench)) {
	b.Run(name, func(t *testing.T) { f(bench{t, b.c, b.opts}) })
}

// until polls for something to become true.
func (b bench) until(what string, ok func() bool) {
	b.Helper()
	end, limited := b.Deadline() // of the test run: how long it takes is no matter
	for !ok() {
		if limited && time.Until(end) < 20*time.Second {
			b.Fatalf("not until the end of the test run: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// metric reads a series from a service's /metrics; ok is false without it.
func (b bench) metric(service, series string) (v float64, ok bool) {
	b.Helper()
	_, body := b.send(http.MethodGet, b.c.Services[service]+"/metrics", "", "")
	for line := range strings.Lines(body) {
		if rest, found := strings.CutPrefix(line, "shop_"+series+" "); found {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				b.Fatalf("%s: %v", line, err)
			}
			return v, true
		}
	}
	return 0, false
}

// is waits for a series to fit.
func (b bench) is(service, series string, fits func(float64) bool) {
	b.Helper()
	b.until(service+" "+series, func() bool {
		v, ok := b.metric(service, series)
		return ok && fits(v)
	})
}

func above(limit float64) func(float64) bool { return func(v float64) bool { return v > limit } }
func below(limit float64) func(float64) bool { return func(v float64) bool { return v < limit } }

// p95 waits for the customers of a service to see such a latency.
func (b bench) p95(service string, fits func(float64) bool) {
	b.Helper()
	b.until("p95 of "+service, func() bool {
		l, err := b.c.Load(b.Context())
		if err != nil || len(l.Seconds) == 0 {
			return false
		}
		last := l.Seconds[len(l.Seconds)-1].Services
		i := slices.IndexFunc(last, func(s shop.LoadSecond) bool { return s.Service == service })
		return i >= 0 && last[i].OK > 0 && fits(last[i].P95)
	})
}

func (b bench) send(method, url, key, body string) (status int, answer string) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), method, url, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// answers waits until a service answers well a dozen times in a row.
func (b bench) answers(service, method, path string) {
	b.Helper()
	row := 0
	b.until(service+" answers", func() bool {
		status, _ := b.send(method, b.c.Services[service]+path, "", "")
		if row++; status != http.StatusOK {
			row = 0
		}
		return row == 12
	})
}

func (b bench) inject(service string, kind shop.Kind) shop.Fault {
	b.Helper()
	f, err := b.c.Inject(b.Context(), service, kind)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

func (b bench) control(service, path string, body, out any) {
	b.Helper()
	if err := b.c.Control(b.Context(), service, path, body, out); err != nil {
		b.Fatal(err)
	}
}

// cured wants a fault to be over by a certain remedy.
func (b bench) cured(f shop.Fault, by string) {
	b.Helper()
	all, err := b.c.Faults(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	i := slices.IndexFunc(all, func(o shop.Fault) bool { return o.ID == f.ID })
	if i < 0 || all[i].CuredAt == nil || all[i].CuredBy != by {
		b.Fatalf("faults %+v: want %s cured by %s", all, f.ID, by)
	}
}

func (b bench) status(service string) shop.Status {
	b.Helper()
	all, err := b.c.Statuses(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return all[slices.IndexFunc(all, func(s shop.Status) bool { return s.Name == service })]
}

type counts struct{ Before, Instances, Serving int }

func TestOutagesAndRemedies(t *testing.T) {
	t.Parallel()
	b := startShop(t, shop.Options{Poll: 100 * time.Millisecond, Load: 2})
	for _, s := range shop.Services() {
		b.p95(s, below(.4)) // all are asked, and none is slow
	}
	b.in("crash", func(b bench) {
		f := b.inject(shop.Cart, shop.Crash)
		if status, _ := b.send(http.MethodGet, b.c.Services[shop.Cart]+"/healthz", "", ""); status != http.StatusServiceUnavailable {
			b.Fatalf("healthz: %d", status)
		}
		b.is(shop.Checkout, "error_ratio", above(.5))
		// The cart is optional on the home page.
		status, body := b.send(http.MethodGet, b.c.Services[shop.Frontend]+"/?user=1&ids=1,2", "", "")
		if status != http.StatusOK || !strings.Contains(body, `"degraded":["cart"]`) {
			b.Fatalf("home without cart: %d %s", status, body)
		}
		b.is(shop.Frontend, "breaker_open", above(0))
		if s := b.status(shop.Cart); s.Serving != 0 || s.Replicas[0].State != "crashed" {
			b.Fatalf("the platform restarted it by itself: %+v", s)
		}
		b.control(shop.Cart, "restart", nil, nil)
		b.cured(f, "restart")
		b.is(shop.Cart, "instances_serving", above(0))
		b.is(shop.Frontend, "breaker_open", below(1))
		b.answers(shop.Checkout, http.MethodPost, "/checkout?user=1")
	})
	b.in("errors_after_flag", func(b bench) {
		f := b.inject(shop.Checkout, shop.ErrorsAfterFlag)
		b.is(shop.Checkout, `flag_enabled{flag="express_pay"}`, above(0))
		b.is(shop.Checkout, `flag_errors_total{flag="express_pay"}`, above(3))
		b.is(shop.Checkout, "error_ratio", above(.2))
		b.control(shop.Checkout, "flags/express_pay", map[string]bool{"enabled": false}, nil)
		b.cured(f, "flag")
		b.is(shop.Checkout, `flag_enabled{flag="express_pay"}`, below(1))
		b.answers(shop.Checkout, http.MethodPost, "/checkout?user=1")
	})
	b.in("open_breaker", func(b bench) {
		f := b.inject(shop.Checkout, shop.OpenBreaker)
		b.is(shop.Checkout, "breaker_open", above(0))
		b.is(shop.Checkout, "error_ratio", above(.5))
		b.control(shop.Checkout, "restart", nil, nil)
		b.is(shop.Checkout, "breaker_open", above(0)) // restarting does not help
		b.control(shop.Checkout, "breakers/flush", nil, nil)
		b.cured(f, "flush")
		b.is(shop.Checkout, "breaker_open", below(1))
		b.answers(shop.Checkout, http.MethodPost, "/checkout?user=1")
	})
}

func TestCacheMemoryAndDelay(t *testing.T) {
	t.Parallel()
	b := startShop(t, shop.Options{Poll: 100 * time.Millisecond})
	b.in("cold_cache", func(b bench) {
		f := b.inject(shop.Cache, shop.ColdCache)
		b.is(shop.Cache, "cache_hit_ratio", below(.3))
		b.is(shop.Cache, "cache_entries", below(1))
		b.control(shop.Cache, "cache/warm", map[string]any{"ttl": "5m"}, nil)
		b.cured(f, "warm")
		b.is(shop.Cache, "cache_hit_ratio", above(.9))
		b.is(shop.Cache, "cache_entries", above(200))
	})
	b.in("leak", func(b bench) {
		f := b.inject(shop.Catalog, shop.Leak)
		b.is(shop.Catalog, "heap_bytes", above(12<<20))
		b.p95(shop.Catalog, above(.1))
		b.control(shop.Catalog, "restart", nil, nil)
		b.cured(f, "restart")
		b.is(shop.Catalog, "heap_bytes", below(10<<20))
		b.p95(shop.Catalog, below(.1))
	})
	b.in("slow_leak", func(b bench) {
		f := b.inject(shop.Checkout, shop.SlowLeak)
		b.is(shop.Checkout, "heap_bytes", above(6<<20))
		b.control(shop.Checkout, "restart", nil, nil)
		b.cured(f, "restart")
		b.is(shop.Checkout, "heap_bytes", below(6<<20))
	})
	b.in("stuck_latency", func(b bench) {
		f := b.inject(shop.Cart, shop.StuckLatency)
		b.p95(shop.Cart, above(.8))
		b.control(shop.Cart, "scale", map[string]int{"delta": 1}, nil)
		since := time.Now()
		b.until("a few more seconds of load", func() bool {
			l, err := b.c.Load(b.Context())
			return err == nil && l.Seconds[len(l.Seconds)-1].At.After(since.Add(2*time.Second))
		})
		b.p95(shop.Cart, above(.8)) // it does not help
		b.control(shop.Cart, "scale", map[string]int{"delta": -1}, nil)
		if _, err := b.c.Heal(b.Context(), f.ID); err != nil {
			b.Fatal(err)
		}
		b.p95(shop.Cart, below(.3))
	})
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	b := startShop(t, shop.Options{Poll: 100 * time.Millisecond, Load: 3})
	b.until("the load is there", func() bool { return b.status(shop.Cache).Rate > 30 })
	var n counts

	b.in("dependency_slow", func(b bench) {
		f := b.inject(shop.Cache, shop.DependencySlow)
		b.p95(shop.Cache, above(.4))
		b.p95(shop.Catalog, above(.4)) // the victims
		b.p95(shop.Frontend, above(.4))
		b.control(shop.Cache, "scale", map[string]int{"delta": 1}, &n)
		if n != (counts{1, 2, 2}) {
			b.Fatalf("scaled: %+v", n)
		}
		b.p95(shop.Cache, below(.3))
		b.p95(shop.Frontend, below(.3))
		all, err := b.c.Faults(b.Context())
		if err != nil || !all[0].Relieved || all[0].CuredAt != nil {
			b.Fatalf("faults %+v, %v: want it relieved, not cured", all, err)
		}
		if _, err := b.c.Heal(b.Context(), f.ID); err != nil {
			b.Fatal(err)
		}
		b.cured(f, "delete")
		b.control(shop.Cache, "scale", map[string]int{"instances": 1}, &n)
		if n != (counts{2, 1, 1}) {
			b.Fatalf("scaled back: %+v", n)
		}
	})
}

// TestRisingLoad: replicas get busier while customers come, and one more
// replica takes half of them.
func TestRisingLoad(t *testing.T) {
	t.Parallel()
	b := startShop(t, shop.Options{Poll: 100 * time.Millisecond, Load: 3})
	// Requests a second that frontend, customers and checkout make of cart at
	// this load. One rate that was measured is no measure of another: while
	// others use this machine, any of them may be far below it.
	const usual = 3 * (8 + 4 + 7)
	b.until("the load is there", func() bool { return b.status(shop.Cart).Rate > .9*usual })
	f := b.inject(shop.Cart, shop.RisingLoad)
	b.is(shop.Cart, "saturation", above(.3))
	b.until("more customers", func() bool { return b.status(shop.Cart).Rate > 1.3*usual })
	b.is(shop.Cart, "saturation", above(.35))
	b.control(shop.Cart, "scale", map[string]int{"delta": 1}, nil)
	// How busy a replica is says little while the load goes on rising and others
	// use this machine; that each has its share does.
	asked := map[string]bool{}
	b.until("both replicas are asked", func() bool {
		for _, r := range b.status(shop.Cart).Replicas {
			if r.InFlight > 0 {
				asked[r.ID] = true
			}
		}
		return len(asked) == 2
	})
	if all, err := b.c.Faults(b.Context()); err != nil || len(all) != 1 || !all[0].Relieved {
		b.Fatalf("faults %+v, %v: want it relieved", all, err)
	}
	if _, err := b.c.Heal(b.Context(), f.ID); err != nil {
		b.Fatal(err)
	}
	b.until("fewer customers", func() bool { return b.status(shop.Cart).Rate < 1.15*usual })
}

func TestControl(t *testing.T) {
	t.Parallel()
	b := startShop(t, shop.Options{Poll: 100 * time.Millisecond, Load: -1})
	b.in("idempotency", testIdempotency)
	b.in("log level", func(b bench) {
		var got struct{ Before, Level string }
		b.control(shop.Store, "loglevel", map[string]any{"level": "debug", "ttl": 0.3}, &got)
		if got.Before != "info" || got.Level != "debug" {
			b.Fatalf("got %+v", got)
		}
		b.is(shop.Store, "log_level", below(0))
		b.is(shop.Store, "log_level", above(-1)) // after the ttl
	})
	b.in("what a playbook takes a snapshot of", func(b bench) {
		for path, want := range map[string]string{
			"/services/cart/scale": `{"instances":1}`, "/services/cart/loglevel": `{"level":"info"}`, "/services/cart/flags/bulk_cart": `{"enabled":false}`,
		} {
			if status, got := b.send(http.MethodGet, b.c.URL+path, "", ""); status != http.StatusOK || strings.TrimSpace(got) != want {
				b.Errorf("%s: %d %s, want %s", path, status, got, want)
			}
		}
	})
	b.in("restart loses no capacity", func(b bench) {
		old := b.status(shop.Frontend)
		b.control(shop.Frontend, "restart", nil, nil)
		fresh := b.status(shop.Frontend)
		if fresh.Serving != old.Serving || fresh.Replicas[0].PID == old.Replicas[0].PID {
			b.Fatalf("before %+v\nafter %+v", old, fresh)
		}
	})
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/services/nobody", "", 404},
		{"POST", "/services/nobody/restart", "", 404},
		{"POST", "/services/cart/scale", `{"delta":-1}`, 409},
		{"POST", "/services/cart/scale", `{"delta":8}`, 409},
		{"POST", "/services/cart/scale", `{}`, 400},
		{"POST", "/services/cart/scale", `{"delta":1,"instances":2}`, 400},
		{"POST", "/services/cart/scale", `{"by":1}`, 400},
		{"POST", "/services/cart/flags/nothing", `{"enabled":true}`, 404},
		{"POST", "/services/cart/flags/bulk_cart", `{}`, 400},
		{"POST", "/services/cart/loglevel", `{"level":"loud"}`, 400},
		{"POST", "/services/cart/loglevel", `{}`, 400},
		{"POST", "/services/cart/cache/warm", `{}`, 404},
		{"POST", "/services/cache/cache/warm", `{"ttl":-1}`, 400},
		{"POST", "/services/cache/cache/warm", `{"ttl":"soon"}`, 400},
		{"POST", "/faults", `{"service":"nobody","kind":"crash"}`, 404},
		{"POST", "/faults", `{"service":"cart","kind":"fire"}`, 400},
		{"POST", "/faults", `{"service":"cart","kind":"cold_cache"}`, 400},
		{"POST", "/faults", `{"service":"cart","kind":"open_breaker"}`, 400},
		{"POST", "/faults", `{"service":"frontend","kind":"dependency_slow"}`, 400},
		{"POST", "/faults", `{"service":"store","kind":"latency"}`, 201},
		{"POST", "/faults", `{"service":"store","kind":"dependency_slow"}`, 409},
		{"DELETE", "/faults/f99", "", 404},
	} {
		b.in(c.method+" "+c.path+" "+c.body, func(b bench) {
			if status, body := b.send(c.method, b.c.URL+c.path, "", c.body); status != c.want {
				b.Fatalf("%d %s, want %d", status, body, c.want)
			}
		})
	}
	b.in("replicas are not run from outside", func(b bench) {
		if status, _ := b.send(http.MethodPut, b.c.Services[shop.Cart]+"/admin/state", "", "{}"); status != http.StatusNotFound {
			b.Fatalf("admin through the balancer: %d", status)
		}
	})
}

func testIdempotency(b bench) {
	scale := b.c.URL + "/services/cart/scale"
	answers := make([]string, 4)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { _, answers[i] = b.send(http.MethodPost, scale, "run-1/scale", `{"delta":1}`) })
	}
	wg.Wait()
	for _, a := range answers {
		if a != answers[0] || !strings.Contains(a, `"instances":2`) {
			b.Errorf("answers differ: %q", answers)
		}
	}
	if n := b.status(shop.Cart).Instances; n != 2 {
		b.Errorf("%d instances, want 2: a repeated key acted", n)
	}
	if status, _ := b.send(http.MethodPost, scale, "run-1/scale", `{"delta":2}`); status != http.StatusUnprocessableEntity {
		b.Errorf("the key with another body: %d", status)
	}
	flag := b.c.URL + "/services/cart/flags/bulk_cart"
	b.send(http.MethodPost, flag, "run-2/flag", `{"enabled":false}`)
	effects, err := b.c.Effects(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var got []string
	for _, e := range effects {
		got = append(got, fmt.Sprintf("%s %s %s %d %t %d", e.Key, e.Method, e.Path, e.Times, e.Effect, e.Status))
	}
	want := []string{
		"run-1/scale POST /services/cart/scale 5 true 200",
		"run-2/flag POST /services/cart/flags/bulk_cart 1 false 200",
	}
	if !slices.Equal(got, want) {
		b.Errorf("effects:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	b.control(shop.Cart, "scale", map[string]int{"instances": 1}, nil)
}

func TestPlatformOutlivesAndIsFoundAgain(t *testing.T) {
	t.Parallel()
	b := startShop(t, shop.Options{Load: -1, Poll: 100 * time.Millisecond})
	again, err := shop.Start(t.Context(), b.opts)
	if err != nil {
		t.Fatal(err)
	}
	if b.c.Reused || !again.Reused || again.PID != b.c.PID {
		t.Fatalf("first %+v, then %+v: want the same one", b.c, again)
	}
	replica := b.status(shop.Store).Replicas[0].URL
	platform, err := os.FindProcess(b.c.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := platform.Kill(); err != nil {
		t.Fatal(err)
	}
	b.until("the replicas end with the platform", func() bool {
		resp, err := http.Get(replica + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err != nil
	})
	// Its state file is still there, and tells nobody anything.
	if _, err := shop.Find(t.Context(), b.opts.Dir); err == nil {
		t.Fatal("found a dead platform")
	}
	fresh := startShop(t, b.opts)
	if fresh.c.Reused || fresh.c.PID == b.c.PID {
		t.Fatalf("not a new one: %+v", fresh.c)
	}
	if err := fresh.c.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh.until("the state file goes", func() bool {
		_, err := os.Stat(filepath.Join(b.opts.Dir, "shop.json"))
		return os.IsNotExist(err)
	})
}

func TestStartSaysWhatWentWrong(t *testing.T) {
	b := startShop(t, shop.Options{Load: -1})
	_, port, _ := strings.Cut(strings.TrimPrefix(b.c.URL, "http://"), ":")
	opts := b.opts
	opts.Dir = t.TempDir()
	var err error
	if opts.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	if _, err := shop.Start(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "is another shop running?") {
		t.Fatalf("a second shop on the same port: %v", err)
	}
}

func TestMainUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"nothing"}, {"platform", "-poll", "0s"}, {"platform", "more"}} {
		if code := shop.Main(args); code != 2 {
			t.Errorf("Main(%q) = %d, want 2", args, code)
		}
	}
	if code := shop.Main([]string{"platform"}); code != 1 {
		t.Errorf("Main with arguments that are not the command line's = %d, want 1", code)
	}
}

func TestConfigNamesEveryService(t *testing.T) {
	config := shop.Config()
	for i, s := range shop.Services() {
		for _, want := range []string{"name: " + s, fmt.Sprintf("127.0.0.1:%d", shop.DefaultPort+1+i)} {
			if !bytes.Contains(config, []byte(want)) {
				t.Errorf("grace.yaml lacks %q", want)
			}
		}
	}
}

func TestFaultKeepsItsShape(t *testing.T) {
	data, err := json.Marshal(shop.Fault{ID: "f1", Service: shop.Cart, Kind: shop.Crash, Since: time.Unix(0, 0).UTC()})
	if want := `{"id":"f1","service":"cart","kind":"crash","since":"1970-01-01T00:00:00Z"}`; err != nil || string(data) != want {
		t.Fatalf("%s, %v; want %s", data, err, want)
	}
}
