package loop

import (
	"fmt"
	"hash/maphash"
	"testing"
	"time"

	"grace"
)

// BenchmarkObserveBesideAhead is what a sample costs while another source is ahead.
func BenchmarkObserveBesideAhead(b *testing.B) {
	for _, n := range []int{0, 1, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			in := &ingest{common: &common{}, ahead: map[aheadKey]ahead{}, seed: maphash.MakeSeed()}
			now := time.Now()
			labels := map[string]string{"pod": "cart-7d9f", "zone": "eu-1", "version": "12"}
			for i := range n {
				s := grace.Sample{Service: benchService(i), Sensor: "x", Metric: "m", At: now.Add(time.Hour)}
				in.date(&s, now)
			}
			s := grace.Sample{Service: "cart", Sensor: "push", Metric: "latency_ms", At: now, Labels: labels}
			b.ReportAllocs()
			for b.Loop() {
				in.date(&s, now)
			}
		})
	}
}
