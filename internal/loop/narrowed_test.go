package loop

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"grace"
	"grace/internal/series"
	"grace/internal/stage/predict"
	"grace/internal/stage/sense"
)

// What and and unless narrow down is foretold as long as they leave it.
func TestNarrowedIsForetold(t *testing.T) {
	t.Parallel()
	for expr, from := range map[string]float64{
		`free / size * 100 < 10`:                                          40,
		`free / size * 100 < 10 and on (device) readonly == 0`:            40,
		`free / size * 100 < 10 unless on (device) readonly == 1`:         40,
		`(free / size * 100 < 10) and deriv(free[2m]) < 0 and size > 500`: 50, // a range counts once a part of it was seen
		`free / size * 100 < 10 and on (device) readonly == 1`:            0,
		`free / size * 100 < 10 and size < 500`:                           0,
	} {
		service := benchService(1)
		l, _ := wound(t, func(cfg *Config) {
			cfg.Predict, cfg.PredictEvery = predict.DefaultConfig(), time.Second
			cfg.Limits = []sense.Limit{{Name: "disk", Service: service, Expr: expr, Code: grace.CodeCapacity}}
		})
		trendWasRight(l)
		set := l.Series.NewSet(series.From{Sensor: "s", History: true}, labels.FromStrings("device", "a"))
		start, at, first := l.Now(), l.Now(), 0.0
		l.Now = func() time.Time { return at }
		for n := range 60 {
			i := float64(n)
			at = start.Add(time.Duration(n) * 10 * time.Second)
			set.Begin(at)
			for name, v := range map[string]float64{"free": 800 - 11*i, "size": 1000, "readonly": 0} {
				set.Append(name, labels.EmptyLabels(), series.Meta{}, series.Sample{At: at.UnixMilli(), Value: v})
			}
			set.End(false)
			l.mu.Lock()
			l.ingest.evaluate(t.Context(), at)
			l.mu.Unlock()
			if said := l.predict.Evaluate(at).Published; len(said) > 0 && first == 0 {
				first = i + 1
				if p := said[0]; p.Threshold != 10 || p.Service != service || p.Metric != "disk" {
					t.Errorf("%s: %+v", expr, p)
				}
			}
		}
		if (first == 0) != (from == 0) || first > from {
			t.Errorf("%s is foretold after %v samples, want %v", expr, first, from)
		}
	}
}
