package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"grace/examples/shop"
)

func TestVerdict(t *testing.T) {
	now := start
	for _, c := range []struct {
		name          string
		a             action
		before, after time.Time
		right         bool
	}{
		{"cured", action{Service: "cart", Status: 200}, time.Time{}, now, true},
		{"another service", action{Service: "catalog", Status: 200}, time.Time{}, now, false},
		{"no effect", action{Service: "cart", Status: 200}, time.Time{}, time.Time{}, false},
		{"needless", action{Service: "cart", Status: 200}, now, now, false},
		{"a relief taken back", action{Service: "cart", Status: 200}, now, time.Time{}, false},
		{"refused", action{Service: "cart", Status: 503}, time.Time{}, now, false},
	} {
		if right, why := verdict(c.a, "cart", c.before, c.after); right != c.right || (why == "") != right {
			t.Errorf("%s: right %t (%s), want %t", c.name, right, why, c.right)
		}
	}
}

func TestOverSince(t *testing.T) {
	cured, now := start, start.Add(time.Minute)
	for _, c := range []struct {
		name   string
		fault  shop.Fault
		before time.Time
		want   time.Time
	}{
		{"cured", shop.Fault{CuredAt: &cured}, time.Time{}, cured},
		{"relieved now", shop.Fault{Relieved: true}, time.Time{}, now},
		{"relieved before", shop.Fault{Relieved: true}, cured, cured},
		{"relieved no more", shop.Fault{}, cured, time.Time{}},
	} {
		if got := overSince(c.fault, c.before, now); !got.Equal(c.want) {
			t.Errorf("%s: over since %s, want %s", c.name, got, c.want)
		}
	}
}

// TestProxy: what passes is recorded and held against the fault, by what the
// platform says afterwards.
func TestProxy(t *testing.T) {
	fault := shop.Fault{ID: "f1", Service: "cart", Kind: shop.Crash, Since: time.Now()}
	var bodies []string
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		data, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, string(data))
		if req.Header.Get("Idempotency-Key") == "again" {
			w.Header().Set("Idempotency-Replayed", "true")
		} else if req.URL.Path == "/services/cart/restart" && fault.CuredAt == nil {
			now := time.Now()
			fault.CuredAt = &now
		}
	}))
	defer platform.Close()
	p, err := openProxy(platform.URL, "127.0.0.1:0", func(context.Context) ([]shop.Fault, error) { return []shop.Fault{fault}, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	send := func(method, path, key string) {
		req := httptest.NewRequest(method, path, strings.NewReader(`{"x":1}`))
		req.Header.Set("Idempotency-Key", key)
		p.server.Handler.ServeHTTP(httptest.NewRecorder(), req)
	}
	send(http.MethodPost, "/services/store/restart", "0") // before any fault
	p.begin(fault)
	send(http.MethodPost, "/services/catalog/restart", "1")
	send(http.MethodGet, "/services/cart/scale", "2") // a look is no action
	if over, _ := p.state(); !over.IsZero() {
		t.Error("over before anything was cured")
	}
	send(http.MethodPost, "/services/cart/restart", "3")
	send(http.MethodPost, "/services/cart/restart", "again")
	send(http.MethodPost, "/services/cart/flags/bulk_cart", "4")
	over, actions := p.state()
	if fault.CuredAt == nil || !over.Equal(*fault.CuredAt) {
		t.Errorf("over since %s, want when it was cured", over)
	}
	o := outcome{Actions: actions}
	o.count()
	var right []string
	for _, a := range actions {
		if a.Right {
			right = append(right, a.Service+" "+a.Does)
		}
	}
	if len(actions) != 3 || len(right) != 1 || right[0] != "cart restart" || o.Wrong != 2 {
		t.Errorf("actions %+v", actions)
	}
	if o.done() != 3 || p.done() != 4 {
		t.Errorf("%d actions for the fault and %d in all, want 3 and 4", o.done(), p.done())
	}
	if len(bodies) != 6 || bodies[0] != `{"x":1}` {
		t.Errorf("the platform got %q", bodies)
	}
}
