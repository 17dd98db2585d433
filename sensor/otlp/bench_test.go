package otlp_test

import (
	"fmt"
	"testing"

	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// BenchmarkExport takes requests as a collector sends them: many known series,
// each with a further point.
func BenchmarkExport(b *testing.B) {
	const each = 5000
	for _, kind := range []string{typeProtobuf, typeJSON} {
		b.Run(kind, func(b *testing.B) {
			h := newHouse(b, nil)
			points := make([]*metrics.NumberDataPoint, each)
			for i := range points {
				points[i] = number(0, 1, str("http.route", fmt.Sprint("/", i)), str("http.request.method", "GET"), str("server.address", "shop.test"), str("url.scheme", "https"))
			}
			// The same time again is a duplicate, which costs what a new one does.
			req := request(gauge("heat", points...))
			body := marshal(b, req)
			if kind == typeJSON {
				var err error
				if body, err = protojson.Marshal(req); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if resp, _, bad := h.post(b, body, kind); resp.StatusCode != 200 {
					b.Fatal(bad)
				}
			}
			b.ReportMetric(float64(each)*float64(b.N)/b.Elapsed().Seconds(), "points/s")
			if st := h.Stats(); st.Points != uint64(each*b.N) {
				b.Errorf("%+v", st)
			}
		})
	}
}
