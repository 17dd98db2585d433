package series

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	prom "github.com/prometheus/prometheus/model/value"

	"grace"
)

var (
	start = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)
	stale = math.Float64frombits(prom.StaleNaN)
)

// point is what a sink was given.
type point struct {
	at int64
	v  float64
}

// recorder is a sink that remembers.
type recorder struct {
	series []Series
	values map[string][]point // by service/metric{labels}
	closed []string
}

func name(s Series) string { return string(s.Service) + "/" + s.Metric + s.Labels }

func (r *recorder) Open(s Series) uint32 {
	r.series = append(r.series, s)
	return uint32(len(r.series) - 1)
}

func (r *recorder) Append(h uint32, at int64, v float64) {
	n := name(r.series[h])
	r.values[n] = append(r.values[n], point{at, v})
}

func (r *recorder) Close(h uint32) { r.closed = append(r.closed, name(r.series[h])) }

// rig is a DB with one shard that is recorded, and a clock that stands.
type rig struct {
	*DB
	*recorder

	t   testing.TB
	now time.Time
}

func newRig(t testing.TB, change func(*Config, *Options)) *rig {
	t.Helper()
	r := &rig{t: t, now: start, recorder: &recorder{values: map[string][]point{}}}
	cfg := DefaultConfig()
	cfg.MaxAhead = grace.Duration(10 * time.Minute) // most tests do not move the clock
	opt := Options{
		Sinks: []Sink{r.recorder}, Now: func() time.Time { return r.now },
		Known: func(s grace.ServiceID) bool { return s == "cart" },
	}
	if change != nil {
		change(&cfg, &opt)
	}
	db, err := New(cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	r.DB = db
	return r
}

// key makes a key of "name{a=b,c=d}".
func key(text string) []byte {
	metric, rest, _ := strings.Cut(text, "{")
	k := AppendLabel([]byte(nil), MetricLabel, metric)
	for l := range strings.SplitSeq(strings.TrimSuffix(rest, "}"), ",") {
		n, v, _ := strings.Cut(l, "=")
		k = AppendLabel(k, n, v)
	}
	return k
}

// at is a sample some seconds after the start.
func at(seconds, v float64) Sample {
	return Sample{At: start.UnixMilli() + int64(math.Round(seconds*1000)), Value: v}
}

func after(seconds float64) time.Time { return time.UnixMilli(at(seconds, 0).At).UTC() }

// entries are the series that are open.
func (db *DB) entries() (out []*entry) {
	for i := range db.shards {
		sh := &db.shards[i]
		sh.mu.Lock()
		out = append(out, sh.list...)
		sh.mu.Unlock()
	}
	return out
}

// open finds an open series by its key.
func (r *rig) open(series string) *entry {
	for _, e := range r.entries() {
		if e.key == string(key(series)) {
			return e
		}
	}
	return nil
}

func (r *rig) send(series string, meta Meta, samples ...Sample) Report {
	batch := r.Begin(From{Sensor: "test", Source: "peer"})
	batch.Append(key(series), meta, samples...)
	return batch.End()
}

// put sends samples that must be taken.
func (r *rig) put(series string, samples ...Sample) {
	r.t.Helper()
	batch := r.Begin(From{Sensor: "test", Source: "peer", History: true})
	batch.Append(key(series), Meta{}, samples...)
	if report := batch.End(); report.Err() != nil {
		r.t.Fatal(series, report.Err())
	}
}

func compiled(t fataler, text string) *Expr {
	t.Helper()
	e, err := Compile(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

// fataler is a test's, or a property's.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (r *rig) watch(texts ...string) []*Expr {
	r.t.Helper()
	var out []*Expr
	for _, text := range texts {
		out = append(out, compiled(r.t, text))
	}
	r.Watch(out)
	return out
}

func evaluate(t fataler, db *DB, e *Expr, when time.Time) Result {
	t.Helper()
	result, err := db.Evaluate(context.Background(), e, when)
	if err != nil {
		t.Fatalf("%s: %v", e, err)
	}
	return result
}

// text writes points as "seconds:value".
func text(points []point) string {
	var out []string
	for _, p := range points {
		out = append(out, fmt.Sprintf("%g:%.4g", float64(p.at-start.UnixMilli())/1000, p.v))
	}
	return strings.Join(out, " ")
}

func reasonsOf(r *Report) string {
	var out []string
	for reason := range reasons {
		if n := r.Count(reason); n > 0 {
			out = append(out, fmt.Sprintf("%v=%d", reason, n))
		}
	}
	return strings.Join(out, " ")
}
