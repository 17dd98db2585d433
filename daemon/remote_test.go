package daemon_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"grace"
	"grace/internal/api"
	"grace/internal/patience"
)

// fakeSource is a Prometheus with a series queue_depth of each job, and what is asked of it
// here.
type fakeSource struct {
	*httptest.Server

	mu     sync.Mutex
	depths map[string]float64
	frozen time.Time // since when nothing is measured; zero: all the time
	status int       // of an error that is all it answers
	part   bool      // something is missing in its answers
	hangs  bool      // it gives none

	fix, undo func(*fakeSource) // what a remedy does here, and what taking it back does
	undone    int
}

func newFakeSource(t *testing.T, depths map[string]float64) *fakeSource {
	t.Helper()
	f := &fakeSource{depths: depths}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeSource) set(change func(*fakeSource)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeSource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.URL.Path {
	case "/fix":
		f.fix(f)
		return
	case "/undo":
		f.undone++
		f.undo(f)
		return
	}
	query, at := r.FormValue("query"), time.Now()
	if f.hangs { // its body has been read: only then is it seen that the caller has left
		f.mu.Unlock()
		<-r.Context().Done()
		f.mu.Lock()
		return
	}
	if f.status != 0 {
		w.WriteHeader(f.status)
		_, _ = fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"the store is gone"}`)
		return
	}
	if !f.frozen.IsZero() {
		at = f.frozen
	}
	rows := []map[string]any{}
	for job, depth := range f.depths {
		metric := map[string]string{"job": job}
		switch {
		case strings.Contains(query, `{job="a"}`) && job != "a":
			continue
		case strings.Contains(query, `zone!=""`): // whether there are zones
			metric["grace_selector"] = "1"
		case strings.HasPrefix(query, "label_replace("):
			metric["grace_selector"], depth = "0", float64(at.UnixMilli())/1000
		case !strings.HasPrefix(query, "queue_depth{") && query != "queue_depth" && depth <= 100:
			continue
		}
		rows = append(rows, map[string]any{"metric": metric, "value": []any{0, fmt.Sprint(depth)}})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "isPartial": f.part, "data": map[string]any{"resultType": "vector", "result": rows}})
}

const remoteShop = `
services: [{name: a, criticality: medium}, {name: b, criticality: medium}, {name: web, criticality: medium}]
sensors:
  - {name: eu, type: promql, url: "EU", interval: 100ms, warm_up: 1s, queries: [{name: other, query: queue_depth, service: web}]}
  - {name: us, type: promql, url: "US", interval: 100ms, warm_up: 1s, queries: [{name: depth, query: queue_depth, service: web}]}
objectives:
  - {name: queue, source: SOURCE, service_label: job, expr: queue_depth > 100, code: capacity}
  - {name: some, source: SOURCE, service: web, expr: queue_depth > 100 and on () vector(1), code: capacity}
rule_files: [{files: rules.yaml, source: SOURCE}]
`

const remoteRules = `
groups:
  - name: shop
    rules:
      - {record: "job:queue", expr: max by (job) (queue_depth)}
      - {alert: Long, expr: queue_depth > 100 unless on (job) maintenance, annotations: {summary: "{{ $labels.job }} has {{ $value }}"}}
`

// TestSource: expressions of a source fire and clear by what it says, each for its own
// service, and never by its silence: a source that fails, stands still or was exchanged
// clears nothing.
func TestSource(t *testing.T) {
	t.Parallel()
	eu := newFakeSource(t, map[string]float64{"a": 150, "b": 150})
	us := newFakeSource(t, map[string]float64{"a": 50, "b": 150})
	text := strings.NewReplacer("EU", eu.URL, "US", us.URL, "SOURCE", "eu").Replace(remoteShop)
	h := newHome(t, text)
	if err := os.WriteFile(filepath.Join(filepath.Dir(h.file), "rules.yaml"), []byte(remoteRules), 0o600); err != nil {
		t.Fatal(err)
	}
	d, c := h.embed(t)
	all := []string{"a/objective/queue", "b/objective/queue", "a/objective/Long", "b/objective/Long", "web/objective/some"}
	until := func(what string, states ...grace.SignalState) {
		t.Helper()
		patience.Until(t, func() error {
			for i, key := range all {
				s, err := c.signalOfKey(key)
				if err != nil {
					return err
				}
				if s.State != states[i] {
					return fmt.Errorf("%s: %s is %s (%s), want %s", what, key, s.State, s.Message, states[i])
				}
			}
			return nil
		})
	}
	says := func(key, text string) {
		t.Helper()
		patience.Until(t, func() error {
			s, err := c.signalOfKey(key)
			if err == nil && !strings.Contains(s.Message, text) {
				err = fmt.Errorf("%s says %q, not %q", key, s.Message, text)
			}
			return err
		})
	}
	const ok, sick, stale = grace.SignalOK, grace.SignalFiring, grace.SignalStale
	until("both are sick", sick, sick, sick, sick, sick)
	says("a/objective/Long", "a has 150")
	eu.set(func(f *fakeSource) { f.depths["b"] = 50 })
	until("one recovers", sick, ok, sick, ok, sick)
	eu.set(func(f *fakeSource) { f.status = http.StatusUnprocessableEntity })
	until("it fails", stale, stale, stale, stale, stale)
	for _, key := range []string{"a/objective/queue", "web/objective/some", "b/objective/Long"} {
		says(key, "source eu: asked how new its samples are: the query failed: execution: the store is gone")
	}
	sensor := func(want api.SensorState) {
		t.Helper()
		patience.Until(t, func() error {
			v, err := sensorView(c, "eu")
			if err == nil && v.State != want {
				err = fmt.Errorf("%+v", v)
			}
			return err
		})
	}
	sensor(api.SensorError)
	eu.set(func(f *fakeSource) {
		f.status, f.frozen, f.depths = 0, time.Now().Add(-time.Minute), map[string]float64{"a": 50, "b": 50}
	})
	sensor(api.SensorOK)
	until("it stands still", stale, stale, stale, stale, stale)
	eu.set(func(f *fakeSource) { f.frozen, f.depths = time.Time{}, map[string]float64{"a": 150, "b": 50} })
	until("as before", sick, ok, sick, ok, sick)
	stop(t, d) // another process takes over
	eu.set(func(f *fakeSource) { f.status = http.StatusBadGateway })
	d, c = h.embed(t)
	until("another process, and no source", stale, stale, stale, stale, stale)
	eu.set(func(f *fakeSource) { f.status, f.depths = 0, map[string]float64{"b": 50} })
	until("a has vanished, which is not to be well", stale, ok, stale, ok, ok)
	h.write(t, strings.ReplaceAll(text, "source: eu", "source: us"))
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	until("of another source", ok, sick, ok, sick, sick)
	stop(t, d)
}

const remoteRemedy = `
escalate_after: 1h
services:
  - name: a
    criticality: medium
    bindings:
      scale_up_instances:
        auto: true
        impact: low
        steps: [{name: fix, action: http, with: {method: POST, url: "EU/fix"}, undo: {action: http, with: {method: POST, url: "EU/undo"}UNDONE}}]
        verify: [{type: expr, source: eu, expr: 'queue_depth{job="${service}"} < 100', min_samples: 2, interval: 20ms}]
        settle: 100ms
        soak: 400ms
sensors: [{name: eu, type: promql, url: "EU", interval: 100ms, timeout: TIMEOUT}]
objectives: [{name: queue, source: eu, service_label: job, severity: critical, expr: queue_depth > 100, code: capacity}]
`

// remedied gives the run of a remedy that does something to the source which it is verified by.
func remedied(t *testing.T, undone string, slow bool, fix, undo func(*fakeSource)) (r grace.Run, undos int) {
	t.Helper()
	eu := newFakeSource(t, map[string]float64{"a": 50})
	eu.fix, eu.undo = fix, undo
	timeout := "1m" // no machine is that busy
	if slow {
		timeout = "1s"
	}
	d, c := newHome(t, strings.NewReplacer("EU", eu.URL, "UNDONE", undone, "TIMEOUT", timeout).Replace(remoteRemedy)).embed(t)
	defer stop(t, d)
	patience.Until(t, func() error {
		if s, err := c.signalOfKey("a/objective/queue"); err != nil || s.State != grace.SignalOK {
			return fmt.Errorf("%+v, %w", s, err)
		}
		return nil
	})
	eu.set(func(f *fakeSource) { f.depths["a"] = 150 })
	patience.Until(t, func() error {
		list := items[grace.Run](c, "/api/runs?service=a")
		if len(list) == 0 || !list[len(list)-1].Status.Terminal() {
			return fmt.Errorf("%+v", list)
		}
		r = list[len(list)-1]
		return nil
	})
	eu.set(func(f *fakeSource) { undos = f.undone })
	return r, undos
}

// TestSourceVerifies: a check asks a source whether the remedy helped. What that says of before
// the remedy, in part or not at all shows nothing, and the remedy is undone; so it is with what
// shows whether that took effect.
func TestSourceVerifies(t *testing.T) {
	t.Parallel()
	nothing := func(*fakeSource) {}
	const looks = `, check: {type: expr, source: eu, expr: 'queue_depth{job="${service}"} > 145'}`
	for name, tt := range map[string]struct {
		undone    string
		fix, undo func(*fakeSource)
		status    grace.RunStatus
		actual    string // of the check
		failed    string // what the run failed by
	}{
		"it helps": {"", nothing, nothing, grace.RunSucceeded, "10 < 100", ""},
		"it does not": {
			"", func(f *fakeSource) { f.depths["a"] = 140 }, nothing,
			grace.RunRolledBack, "140, not < 100", "",
		},
		"away": {
			"", func(f *fakeSource) { f.status = http.StatusBadGateway }, nothing,
			grace.RunRolledBack, "no data (source eu: ", "the store is gone",
		},
		"slow": {"", func(f *fakeSource) { f.hangs = true }, nothing, grace.RunRolledBack, "no data (", ""},
		"frozen": {
			"", func(f *fakeSource) { f.frozen = time.Now().Add(-time.Second) }, nothing,
			grace.RunRolledBack, `no data (no sample of what eu is asked for, queue_depth{job="a"} since `, "",
		},
		"in part": {
			"", func(f *fakeSource) { f.part = true }, nothing,
			grace.RunRolledBack, "no data (source eu: warning: the answer is partial", "",
		},
		"gone": {
			"", func(f *fakeSource) { f.depths = map[string]float64{"b": 10} }, nothing,
			grace.RunRolledBack, `no data (no sample of what eu is asked for, queue_depth{job="a"} since `, "",
		},
		"undone, and it shows": {
			looks, func(f *fakeSource) { f.depths["a"] = 140 }, func(f *fakeSource) { f.depths["a"] = 150 },
			grace.RunRolledBack, "140, not < 100", "",
		},
		"undone, and nothing shows it": {
			looks, func(f *fakeSource) { f.depths["a"] = 140 }, func(f *fakeSource) { f.frozen = time.Now().Add(-time.Second) },
			grace.RunEscalated, "140, not < 100", "the undo did not take effect: no sample of what eu is asked for",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, undos := remedied(t, tt.undone, name == "slow", func(f *fakeSource) { f.depths["a"] = 10; tt.fix(f) }, tt.undo)
			if r.Status != tt.status || len(r.Checks) != 1 || r.Checks[0].Passed != (tt.status == grace.RunSucceeded) || !strings.HasPrefix(r.Checks[0].Actual, tt.actual) || !strings.Contains(r.Error, tt.failed) {
				t.Errorf("%s: %+v, %s", r.Status, r.Checks, r.Error)
			}
			if (undos > 0) != (tt.status != grace.RunSucceeded) {
				t.Errorf("undone %d times", undos)
			}
		})
	}
}

// TestRecallOfASource: what a source is asked for has a history there, and is foretold by it.
func TestRecallOfASource(t *testing.T) {
	t.Parallel()
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rows, kind, now := []any{}, "vector", time.Now().Unix()
		metric := map[string]string{"__name__": "queue_depth", "job": "shop", "pod": "a"}
		switch query := r.FormValue("query"); {
		case strings.HasPrefix(query, "label_replace("):
			rows = append(rows, map[string]any{"metric": map[string]string{"grace_selector": "0"}, "value": []any{0, fmt.Sprint(now)}})
		case query != "queue_depth{a=\"b\"}":
			t.Errorf("asked for %s", query)
		case r.URL.Path == "/api/v1/query":
			rows = append(rows, map[string]any{"metric": metric, "value": []any{0, "85"}})
		default:
			kind = "matrix"
			var values []any
			for i := range int64(46) { // 10 half an hour ago, 85 now
				values = append(values, []any{now - 60*(45-i), fmt.Sprint(max(85-2.5*float64(45-i), 0))})
			}
			rows = append(rows, map[string]any{"metric": metric, "values": values})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": kind, "result": rows}})
	}))
	defer prometheus.Close()
	d, c := newHome(t, `
services: [{name: shop, criticality: medium}]
predict: {every: 1s, stale_after: 5m}
sensors: [{name: prom, type: promql, url: "`+prometheus.URL+`", interval: 1m, warm_up: 1h}]
limits: [{name: queue, service_label: job, source: prom, expr: 'queue_depth{a="b"} > 100', code: capacity}]
`).embed(t)
	defer stop(t, d)
	patience.Until(t, func() error {
		for _, p := range items[grace.Prediction](c, "/api/predictions?service=shop") {
			if p.Metric == "queue" && p.Series == `{pod="a"}` && p.Threshold == 100 && time.Until(p.BreachAt) < 15*time.Minute {
				return nil
			}
		}
		return fmt.Errorf("no prediction yet: %+v", items[grace.Prediction](c, "/api/predictions?service=shop"))
	})
}

// signalOfKey gives a signal by its key.
func (c client) signalOfKey(key string) (grace.Signal, error) {
	service, _, _ := strings.Cut(key, "/")
	var detail api.ServiceDetail
	if err := c.unlessAway(http.MethodGet, "/api/services/"+service, nil, &detail); err != nil {
		return grace.Signal{}, err
	}
	for _, s := range detail.Signals {
		if s.Key == grace.SignalKey(key) {
			return s, nil
		}
	}
	return grace.Signal{}, fmt.Errorf("no signal %s", key)
}
