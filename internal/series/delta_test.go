package series

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
)

// numbers is a sink that keeps what it gets of all series.
type numbers struct{ got []float64 }

func (n *numbers) Open(Series) uint32                  { return 0 }
func (n *numbers) Append(_ uint32, _ int64, v float64) { n.got = append(n.got, v) }
func (n *numbers) Close(uint32)                        {}

func deltaDB(t *testing.T, watch ...string) (*DB, *numbers) {
	t.Helper()
	cfg, out := DefaultConfig(), &numbers{}
	cfg.KeepUnmapped, cfg.NoDefaultRules = true, true
	db, err := New(cfg, Options{Sinks: []Sink{out}, Now: func() time.Time { return time.UnixMilli(1e12) }})
	if err != nil {
		t.Fatal(err)
	}
	var list []*Expr
	for _, text := range watch {
		e, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	db.Watch(list)
	return db, out
}

func deltaKey() []byte {
	return AppendLabel(AppendLabel(nil, MetricLabel, "orders"), "service", "shop")
}

// A rate of what began at an unknown time begins with the second sample: not with 1970.
func TestUnknownStart(t *testing.T) {
	for kind, want := range map[Kind][]float64{KindCounter: {1}, KindDelta: {3}} {
		db, out := deltaDB(t)
		b := db.Begin(From{Source: "test"})
		b.Append(deltaKey(), Meta{Kind: kind}, Sample{At: 1e12 - 20_000, Value: 20}, Sample{At: 1e12 - 10_000, Value: 30})
		b.End()
		if !slices.Equal(out.got, want) {
			t.Errorf("%s: %v, want %v", kind, out.got, want)
		}
	}
}

// What is no number is not added up: all that followed would be none.
func TestDeltaNotANumber(t *testing.T) {
	db, out := deltaDB(t, "orders")
	b := db.Begin(From{Source: "test"})
	b.Append(deltaKey(), Meta{Kind: KindDelta}, Sample{At: 1e12 - 30_000, Value: 20}, Sample{At: 1e12 - 25_000, Value: math.NaN()},
		Sample{At: 1e12 - 20_000, Value: math.Inf(1)}, Sample{At: 1e12 - 10_000, Value: 30})
	b.Append(deltaKey(), Meta{Kind: KindDelta}, Sample{At: 2e12}, Sample{At: 3e12})
	if n := b.Refused(); n != 2 {
		t.Errorf("%d samples of the future refused, want 2", n)
	}
	r := b.End()
	if r.Count(NotANumber) != 2 || r.Count(Taken) != 2 || !slices.Equal(out.got, []float64{1.5}) {
		t.Errorf("%+v, %v", r, out.got)
	}
	if v, err := db.Query(t.Context(), `orders{service="shop"}`, time.UnixMilli(1e12)); err != nil || len(v) != 1 || v[0].Value != 50 {
		t.Errorf("added up: %v, %v", v, err)
	}
}

// Histograms that bring other buckets each time are merged, so that their sum stays small
// and loses nothing.
func TestDeltaBucketsAreBounded(t *testing.T) {
	db, _ := deltaDB(t, "histogram_count(orders)")
	const each = 500
	total := 0.0
	for i := range 20 {
		h := &histogram.FloatHistogram{Schema: 8, Count: each, PositiveSpans: []histogram.Span{{Offset: int32(i * each), Length: each}}}
		for range each {
			h.PositiveBuckets = append(h.PositiveBuckets, 1)
		}
		total += each
		b := db.Begin(From{Source: "test"})
		b.Append(deltaKey(), Meta{Kind: KindDelta}, Sample{At: 1e12 - 30_000 + int64(i)*1000, Float: h})
		if r := b.End(); r.Err() != nil {
			t.Fatal(r.Err())
		}
	}
	kept := db.find(nil)
	if len(kept) != 1 {
		t.Fatalf("%d series", len(kept))
	}
	sums := kept[0].sums
	if n := len(sums.PositiveBuckets); n > maxSummed || sums.Count != total || sums.Validate() != nil {
		t.Errorf("%d buckets, %v observations, %v", n, sums.Count, sums.Validate())
	}
}
