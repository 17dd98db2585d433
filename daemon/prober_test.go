package daemon

import (
	"strings"
	"testing"
	"time"

	"grace"
)

// Verification looks at what the sensors measured since, and at all of it.
func TestProber(t *testing.T) {
	d := started(t, `
services:
  - name: shop
    criticality: low
    bindings:
      restart_service:
        steps: [{name: r, action: systemd, with: {unit: shop, verb: restart}, irreversible: true}]
        verify: [{type: expr, expr: 'queue{service="${service}"} < 5'}]
`)
	defer func() {
		if err := d.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	put := func(pod string, v float64) {
		t.Helper()
		s := grace.Sample{Service: "shop", Sensor: "test", Metric: "queue", Kind: grace.SampleMetric, At: time.Now(), Value: v, Labels: map[string]string{"pod": pod}}
		if err := d.loop.Observe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	var since time.Time
	ask := func(typ grace.CheckType, expr string, ok bool, value float64, detail string) {
		t.Helper()
		r := prober{d}.Probe(t.Context(), "shop", grace.Check{Type: typ, Expr: expr, Direction: "falling"}, since)
		if r.OK != ok || r.Value != value || !strings.Contains(r.Detail, detail) || r.OK && r.At.Before(since) {
			t.Errorf("%s: %+v", expr, r)
		}
	}
	const check, sum = `queue{service="shop"} < 5`, `sum(queue{service="shop"})`
	step := func() {
		time.Sleep(2 * time.Millisecond) // samples have whole ones
		since = time.Now()
		time.Sleep(2 * time.Millisecond)
	}
	step()
	ask(grace.CheckExpr, check, false, 0, "no sample of queue since ")
	put("a", 1)
	put("b", 7)
	ask(grace.CheckExpr, check, true, 0, `7, not < 5 {pod="b"}, 1 of 2 fail`)
	ask(grace.CheckCapacity, sum, true, 8, "")
	ask(grace.CheckTrend, `queue{service="shop"}`, false, 0, "2 values")
	step()
	ask(grace.CheckCapacity, sum, false, 0, "no sample of queue since ")
	put("a", 1)
	ask(grace.CheckExpr, check, false, 0, `{pod="b"}`)
	put("b", 2)
	ask(grace.CheckExpr, check, true, 1, `2 < 5 {pod="b"}, the worst of 2`)
	ask(grace.CheckExpr, `queue{service="shop"`, false, 0, "not PromQL")
	ask("vibes", check, false, 0, "unknown check type")
}
