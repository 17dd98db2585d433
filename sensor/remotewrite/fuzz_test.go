package remotewrite

import (
	"math"
	"slices"
	"testing"

	"grace/internal/series"
)

// collector is a sink that counts, and checks what every sink relies on.
type collector struct {
	t          *testing.T
	samples    int
	histograms int
}

func (c *collector) Append(_ []byte, _ series.Meta, samples ...series.Sample) bool {
	for _, s := range samples {
		var lists [5]int
		switch {
		case s.Histogram != nil && s.Float != nil:
			c.t.Error("a sample is two histograms")
		case s.Histogram != nil:
			h := s.Histogram
			lists = [5]int{len(h.PositiveSpans), len(h.NegativeSpans), len(h.PositiveBuckets), len(h.NegativeBuckets), len(h.CustomValues)}
		case s.Float != nil:
			h := s.Float
			lists = [5]int{len(h.PositiveSpans), len(h.NegativeSpans), len(h.PositiveBuckets), len(h.NegativeBuckets), len(h.CustomValues)}
		default:
			c.samples++
			continue
		}
		c.histograms++
		if slices.Max(lists[:]) > maxNative {
			c.t.Errorf("a histogram has lists of %v", lists)
		}
	}
	return true
}

func seeds() []sent {
	return []sent{
		good(),
		{labels: "a_total{job=cart}", kind: typeCounter, unit: "seconds", created: 1, points: []series.Sample{at(0, math.NaN()), at(1, math.Inf(1))}},
		{labels: "h{job=cart}", natives: []message{nativeHistogram(1, 3, -8, 1, 2, 3), nativeHistogram(2, -53, 0, 1), nativeHistogram(3, 0, 1<<40, 5), nativeHistogram(4, 0, 1, 5)}},
	}
}

func fuzz(f *testing.F, valid []byte, decode func(*decoder) error) {
	f.Add(valid)
	f.Add(valid[:len(valid)/2])
	f.Add(append(slices.Clone(valid), 0xff, 0xff))
	f.Add([]byte{})
	cfg := series.DefaultConfig()
	cfg.MaxAge = 1 << 62 // the seeds' times
	db, err := series.New(cfg, series.Options{})
	if err != nil {
		f.Fatal(err)
	}
	everything, err := series.Compile(`{__name__=~".+"}`)
	if err != nil {
		f.Fatal(err)
	}
	db.Watch([]*series.Expr{everything})
	f.Fuzz(func(t *testing.T, body []byte) {
		var d decoder
		c := &collector{t: t}
		d.reset(c, body)
		err := decode(&d)
		if c.samples != d.samples || c.histograms+d.refused > d.histograms {
			t.Errorf("handed over %d and %d, counted %d, %d and %d refused", c.samples, c.histograms, d.samples, d.histograms, d.refused)
		}
		// Whatever was decoded, every sample ends in one reason.
		batch := db.Begin(series.From{Source: "fuzz"})
		d.reset(batch, body)
		if again := decode(&d); (again == nil) != (err == nil) {
			t.Errorf("first %v, then %v", err, again)
		}
		r := batch.End()
		sum := 0
		for reason := series.Taken; reason <= series.Full; reason++ {
			if reason != series.Reset {
				sum += r.Count(reason)
			}
		}
		if sum != r.Samples {
			t.Errorf("%d samples, %d reasons", r.Samples, sum)
		}
	})
}

func FuzzV1(f *testing.F) { fuzz(f, encode1(seeds()...), (*decoder).v1) }
func FuzzV2(f *testing.F) { fuzz(f, encode2(seeds()...), (*decoder).v2) }
