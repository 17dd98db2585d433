package sense

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"grace"
	"grace/internal/series"
)

// counters is a page of counts, by what they have besides the labels of its target.
func (t *target) counters(sec int, counts map[string]float64, of ...string) {
	t.Begin(at(sec))
	for name, v := range counts {
		metric, code, _ := strings.Cut(name, " ")
		ls := labels.FromStrings(of...)
		if code != "" {
			ls = labels.NewBuilder(ls).Set("code", code).Labels()
		}
		t.Append(metric, ls, series.Meta{}, series.Sample{At: at(sec).UnixMilli(), Value: v})
	}
	t.End(false)
}

// A comparison that finds nothing because something has not happened yet is well where all
// else is measured, and its metric is there; what was there and is no more shows nothing, nor
// what is misspelt.
func TestNoneYet(t *testing.T) {
	const ratio = `sum(rate(requests{code=~"5.."}[1m])) / sum(rate(requests[1m])) > 0.05`
	ok := func(sec int) map[string]float64 { return map[string]float64{"requests 200": float64(sec)} }
	for name, tt := range map[string]struct {
		expr string
		page func(p *target, sec int)
		want grace.SignalState // after 300 s
		says string
	}{
		"no error yet": {ratio, func(p *target, sec int) { p.counters(sec, ok(sec)) }, grace.SignalOK, "errors: nothing found, as where all is well"},
		"its other side is another metric": {
			`sum(rate(failed[1m])) / sum(rate(requests[1m])) > 0.05`,
			func(p *target, sec int) { p.counters(sec, ok(sec)) }, grace.SignalUnknown,
			"errors: no data yet; nothing gives failed: is it spelt right? What comes only once it happens is written (...) or vector(0)",
		},
		"the same, and it is given elsewhere": {
			`sum(rate(failed{route="/pay"}[1m])) / sum(rate(requests[1m])) > 0.05`, func(p *target, sec int) {
				p.counters(sec, ok(sec))
				other := p.house.target("other")
				other.counters(sec, map[string]float64{"failed": 1}, "route", "/")
			}, grace.SignalOK, "errors: nothing found, as where all is well",
		},
		"a label that nothing has": {
			`sum(rate(requests{status=~"5.."}[1m])) / sum(rate(requests[1m])) > 0.05`,
			func(p *target, sec int) { p.counters(sec, ok(sec)) }, grace.SignalUnknown,
			`errors: no data yet; nothing gives requests{status=~"5.."}: is it spelt right? What comes only once it happens is written (...) or vector(0)`,
		},
		"a label that its metric has elsewhere alone": {
			`sum(rate(requests{pod="a",kod=~"5.."}[1m])) / sum(rate(requests{pod="a"}[1m])) > 0.05`, func(p *target, sec int) {
				p.counters(sec, map[string]float64{"requests 500": float64(sec)})
				p.house.target("b").counters(sec, map[string]float64{"requests 200": float64(sec)}, "kod", "2")
			}, grace.SignalUnknown,
			`errors: no data yet; nothing gives requests{kod=~"5..",pod="a"}: is it spelt right? What comes only once it happens is written (...) or vector(0)`,
		},
		"the same, and it has it here": {
			`sum(rate(requests{pod="a",kod=~"5.."}[1m])) / sum(rate(requests{pod="a"}[1m])) > 0.05`,
			func(p *target, sec int) { p.counters(sec, ok(sec), "kod", "2") }, grace.SignalOK, "errors: nothing found, as where all is well",
		},
		"no requests measured either": {ratio, func(*target, int) {}, grace.SignalUnknown, `errors: no data yet; nothing gives requests{code=~"5.."}: is it spelt right, and does a sensor read it?`},
		"requests are measured no more": {ratio, func(p *target, sec int) {
			if sec < 200 {
				p.counters(sec, ok(sec))
			} else {
				p.Lose(at(sec))
			}
		}, grace.SignalStale, "errors: no data since 14:18:10 UTC"},
		"errors were there, and are gone": {ratio, func(p *target, sec int) {
			page := ok(sec)
			if sec < 100 {
				page["requests 500"] = 1
			}
			p.counters(sec, page)
		}, grace.SignalOK, "errors: nothing found, as where all is well"},
		"the first error": {ratio, func(p *target, sec int) {
			page := ok(sec)
			if sec >= 100 {
				page["requests 500"] = float64(sec) * 2
			}
			p.counters(sec, page)
		}, grace.SignalFiring, "errors 0.667 > 0.05"},
		"its only selector finds nothing": {
			`sum(rate(requests{code=~"5.."}[1m])) > 1`, func(p *target, sec int) {
				p.counters(sec, ok(sec))
			}, grace.SignalUnknown,
			`errors: no data yet; nothing is requests{code=~"5.."} so far: (...) or 0 * sum(METRIC), of a metric that is always there, has it count as 0`,
		},
		"the same, with what is always there": {
			`(sum(rate(requests{code=~"5.."}[1m])) or 0 * sum(rate(requests[1m]))) > 1`,
			func(p *target, sec int) { p.counters(sec, ok(sec)) }, grace.SignalOK, "errors 0 <= 1",
		},
		"as the hint has it": {
			`(sum(rate(failed[1m])) or vector(0)) / sum(rate(requests[1m])) > 0.05`,
			func(p *target, sec int) { p.counters(sec, ok(sec)) }, grace.SignalOK, "errors 0 <= 0.05",
		},
		"a quantile of nothing": {
			`histogram_quantile(0.99, sum by (le) (rate(took_bucket[1m]))) > 0.3`,
			func(p *target, sec int) { p.counters(sec, ok(sec)) }, grace.SignalUnknown,
			"errors: no data yet; nothing gives took_bucket: is it spelt right, and does a sensor read it?",
		},
		"labels that do not match": {
			`sum by (pod) (requests) / sum by (code) (requests) > 1`,
			func(p *target, sec int) { p.counters(sec, map[string]float64{"requests 200": 1, "requests 500": 1}) }, grace.SignalUnknown, "errors: no data yet",
		},
		"all fails, by the share of successes": {
			`sum(rate(requests{code=~"2.."}[1m])) / sum(rate(requests[1m])) < 0.95`,
			func(p *target, sec int) { p.counters(sec, map[string]float64{"requests 500": float64(sec)}) }, grace.SignalUnknown,
			`errors: no data yet; nothing is requests{code=~"2.."} so far: (...) or 0 * sum(METRIC), of a metric that is always there, has it count as 0`,
		},
		"all fails, beside what does not": {
			`sum(rate(requests{code=~"5.."}[1m])) > 0.1 * sum(rate(requests{code=~"2.."}[1m]))`,
			func(p *target, sec int) { p.counters(sec, map[string]float64{"requests 500": float64(sec)}) }, grace.SignalUnknown,
			`errors: no data yet; nothing is requests{code=~"2.."} so far: (...) or 0 * sum(METRIC), of a metric that is always there, has it count as 0`,
		},
		"no requests": {ratio, func(p *target, sec int) { p.counters(sec, map[string]float64{"requests 200": 1, "requests 500": 1}) }, grace.SignalOK, "errors: nothing found, as where all is well"},
		"a limit that nothing gives": {
			`sum(rate(requests[1m])) > scalar(sum(limit))`, func(p *target, sec int) { p.counters(sec, ok(sec)) }, grace.SignalUnknown,
			"errors: no data yet; nothing gives limit: is it spelt right? What comes only once it happens is written (...) or vector(0)",
		},
		"a limit that is no more": {`sum(rate(requests[1m])) / scalar(sum(limit)) > 0.9`, func(p *target, sec int) {
			page := ok(sec)
			if sec < 100 {
				page["limit"] = 5
			}
			p.counters(sec, page)
		}, grace.SignalStale, "errors: no data since 14:16:30 UTC"},
		"two limits": {
			`sum(rate(requests[1m])) > scalar(limit)`, func(p *target, sec int) {
				p.counters(sec, map[string]float64{"requests 200": float64(sec), "limit 1": 5, "limit 2": 5})
			}, grace.SignalUnknown, "errors: no data yet",
		},
		"unless, and what would veto never was": {
			`sum(requests) > 1000 unless on () maintenance == 1`,
			func(p *target, sec int) { p.counters(sec, ok(sec)) }, grace.SignalOK, "errors: nothing found, as where all is well",
		},
		"and, and one side never was": {
			`sum(requests) > 100 and on () failed > 1`,
			func(p *target, sec int) { p.counters(sec, ok(sec)) }, grace.SignalOK, "errors: nothing found, as where all is well",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(DefaultConfig(), []Objective{{Name: "errors", Service: "web", Expr: tt.expr, Code: grace.CodeElevatedErrors}})
			p := h.target("a")
			for sec := 0; sec <= 300; sec += 10 {
				tt.page(p, sec)
				h.judge(at(sec))
				h.Tick(at(sec))
			}
			if s := h.Signals()[0]; s.State != tt.want && (s.State != "" || tt.want != grace.SignalUnknown) || s.Message != tt.says {
				t.Errorf("%q: %s", s.State, s.Message)
			}
		})
	}
}

// What was there is well once it has ended and all else is measured, also where it fired; not
// where it fell silent, or its target does not answer.
func TestEnded(t *testing.T) {
	for name, tt := range map[string]struct {
		failed float64
		then   func(failed *target, sec int)
		want   grace.SignalState
	}{
		"ended":                               {0, func(f *target, sec int) { f.counters(sec, nil) }, grace.SignalOK},
		"fired, and ended":                    {100, func(f *target, sec int) { f.counters(sec, nil) }, grace.SignalOK},
		"silent":                              {0, func(*target, int) {}, grace.SignalStale},
		"fired, and silent":                   {100, func(*target, int) {}, grace.SignalStale},
		"its target does not answer":          {0, func(f *target, sec int) { f.Lose(at(sec)) }, grace.SignalStale},
		"fired, and its target does not":      {100, func(f *target, sec int) { f.Lose(at(sec)) }, grace.SignalStale},
		"fired, and its target is there anew": {100, func(f *target, sec int) { f.Lose(at(sec)); f.counters(sec+1, nil) }, grace.SignalOK},
	} {
		h := newHouse(DefaultConfig(), []Objective{{Name: "errors", Service: "web", Expr: `sum(failed) / sum(requests) > 0.05`, Code: grace.CodeElevatedErrors}})
		p, f := h.target("a"), h.target("b")
		for sec := 0; sec <= 900; sec += 10 {
			p.counters(sec, map[string]float64{"requests": 100})
			if sec < 100 {
				f.counters(sec, map[string]float64{"failed": tt.failed})
			} else {
				tt.then(f, sec)
			}
			h.judge(at(sec))
			h.Tick(at(sec))
			if s := h.Signals()[0]; sec == 90 && (s.State == grace.SignalFiring) != (tt.failed > 0) {
				t.Errorf("%s: first it is %q", name, s.State)
			}
		}
		if s := h.Signals()[0]; s.State != tt.want {
			t.Errorf("%s: %q: %s", name, s.State, s.Message)
		}
	}
}

// Of several services each is judged by what was measured of itself.
func TestEndedOfOneService(t *testing.T) {
	o := []Objective{{Name: "errors", Expr: `sum by (service) (failed) / sum by (service) (requests) > 0.05`, Code: grace.CodeElevatedErrors}}
	service := func(h *house, name, job string) *target {
		return &target{h.db.NewSet(series.From{Sensor: "s", History: true}, labels.FromStrings("job", job, series.ServiceLabel, name)), h}
	}
	for name, tt := range map[string]struct {
		failed  float64
		then    func(failed, requests *target, sec int)
		restart bool
		want    grace.SignalState
	}{
		"ended": {0, func(f, r *target, sec int) {
			f.counters(sec, nil)
			r.counters(sec, map[string]float64{"requests": 100})
		}, false, grace.SignalOK},
		"fired, and ended": {100, func(f, r *target, sec int) {
			f.counters(sec, nil)
			r.counters(sec, map[string]float64{"requests": 100})
		}, false, grace.SignalOK},
		"fired before a restart": {100, func(_, r *target, sec int) {
			r.counters(sec, map[string]float64{"requests": 100})
		}, true, grace.SignalStale},
		"silent": {0, func(_, r *target, sec int) {
			r.counters(sec, map[string]float64{"requests": 100})
		}, false, grace.SignalStale},
		"all has ended": {100, func(f, r *target, sec int) {
			f.counters(sec, nil)
			r.counters(sec, nil)
		}, false, grace.SignalStale},
		"its target does not answer": {100, func(f, r *target, sec int) {
			f.counters(sec, nil)
			r.Lose(at(sec))
		}, false, grace.SignalStale},
	} {
		h := newHouse(DefaultConfig(), o)
		f, r, other := service(h, "web", "a"), service(h, "web", "b"), service(h, "shop", "c")
		for sec := 0; sec <= 900; sec += 10 {
			if tt.restart && sec == 100 {
				before := h.Signals()
				h = newHouse(DefaultConfig(), o)
				h.Restore(before, at(sec))
				f, r, other = service(h, "web", "a"), service(h, "web", "b"), service(h, "shop", "c")
			}
			other.counters(sec, map[string]float64{"failed": 1, "requests": 100})
			if sec < 100 {
				f.counters(sec, map[string]float64{"failed": tt.failed})
				r.counters(sec, map[string]float64{"requests": 100})
			} else {
				tt.then(f, r, sec)
			}
			h.judge(at(sec))
			h.Tick(at(sec))
		}
		for _, s := range h.Signals() {
			if want := map[grace.ServiceID]grace.SignalState{"web": tt.want, "shop": grace.SignalOK}[s.Service]; s.State != want {
				t.Errorf("%s: %s is %q: %s", name, s.Service, s.State, s.Message)
			}
		}
	}
}

// What fired before a restart is not over because nothing of it is seen after it.
func TestNoneYetEndsNothing(t *testing.T) {
	o := []Objective{{Name: "errors", Service: "web", Expr: `sum(requests{code=~"5.."}) / sum(requests) > 0.05`, Code: grace.CodeElevatedErrors}}
	h := newHouse(DefaultConfig(), o)
	p := h.target("a")
	for sec := 0; sec <= 30; sec += 10 {
		p.counters(sec, map[string]float64{"requests 200": 1, "requests 500": 1})
		h.judge(at(sec))
	}
	again := newHouse(DefaultConfig(), o)
	again.Restore(h.Signals(), at(40))
	p = again.target("a")
	for sec := 50; sec <= 200; sec += 10 {
		p.counters(sec, map[string]float64{"requests 200": 1})
		again.judge(at(sec))
		again.Tick(at(sec))
	}
	if s := again.Signals()[0]; s.State != grace.SignalStale {
		t.Errorf("%s: %s", s.State, s.Message)
	}
}
