package remotewrite

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"

	"grace/internal/series"
)

// load is what a Prometheus with an application behind sends: n series with
// nine labels.
func load(n, points int, from int64) []sent {
	list := make([]sent, n)
	for i := range list {
		list[i].labels = fmt.Sprintf("http_server_requests_in_flight{cluster=production-eu-west-1,container=cart,handler=/api/v1/carts/%d/items,"+
			"instance=10.42.%d.%d:9090,job=cart,method=GET,namespace=shop,pod=cart-7d9f8b6c5d-%05d,service=cart}", i%50, i%7, i%250, i)
		for p := range points {
			list[i].points = append(list[i].points, series.Sample{At: from + int64(p)*15_000, Value: float64(i%100) + float64(p)})
		}
	}
	return list
}

// counting is a sink that costs next to nothing.
type counting struct{ n uint32 }

func (c *counting) Open(series.Series) uint32     { c.n++; return c.n }
func (c *counting) Append(uint32, int64, float64) { c.n++ }
func (c *counting) Close(uint32)                  {}

func intake(b *testing.B, cfg series.Config) *series.DB {
	b.Helper()
	sinks := make([]series.Sink, 16)
	for i := range sinks {
		sinks[i] = &counting{}
	}
	in, err := series.New(cfg, series.Options{Sinks: sinks, Now: func() time.Time { return start }})
	if err != nil {
		b.Fatal(err)
	}
	return in
}

// quiet is an answer that nobody reads.
type quiet struct {
	header http.Header
	status int
}

func (q *quiet) Header() http.Header         { return q.header }
func (q *quiet) Write(p []byte) (int, error) { return len(p), nil }
func (q *quiet) WriteHeader(status int)      { q.status = status }

// BenchmarkWrite is the handler without the connection: requests of 2,000 known
// series that bring 1 or 5 samples each.
func BenchmarkWrite(b *testing.B) {
	for _, tt := range []struct {
		name, kind string
		points     int
		encode     func(...sent) []byte
	}{
		{"1.0/2000x1", typeV1, 1, encode1},
		{"1.0/2000x5", typeV1, 5, encode1},
		{"2.0/2000x1", typeV2, 1, encode2},
		{"2.0/2000x5", typeV2, 5, encode2},
	} {
		b.Run(tt.name, func(b *testing.B) {
			const requests = 64 // then their times come anew, moved by the clock
			cfg := series.DefaultConfig()
			clock := start
			sinks := make([]series.Sink, 16)
			for i := range sinks {
				sinks[i] = &counting{}
			}
			in, err := series.New(cfg, series.Options{Sinks: sinks, Now: func() time.Time { return clock }})
			if err != nil {
				b.Fatal(err)
			}
			h, err := New(DefaultConfig(), in, nil)
			if err != nil {
				b.Fatal(err)
			}
			bodies := make([][]byte, requests)
			prepare := func(round int64) {
				for i := range bodies {
					from := start.UnixMilli() + (round*requests+int64(i))*int64(tt.points)*15_000
					bodies[i] = snappy.Encode(nil, tt.encode(load(2000, tt.points, from)...))
				}
			}
			prepare(0)
			r := httptest.NewRequest(http.MethodPost, "/api/v1/write", nil)
			r.Header.Set("Content-Type", tt.kind)
			w := &quiet{header: http.Header{}}
			send := func(i int) {
				r.Body = http.NoBody
				body := bytes.NewReader(bodies[i])
				r.Body, r.ContentLength = readCloser{body}, int64(len(bodies[i]))
				h.ServeHTTP(w, r)
				if w.status != http.StatusNoContent {
					b.Fatalf("answer %d", w.status)
				}
			}
			b.SetBytes(int64(len(bodies[0])))
			b.ReportAllocs()
			n, round := 0, int64(0)
			for b.Loop() {
				if n%requests == 0 {
					b.StopTimer()
					prepare(round)
					clock = start.Add(time.Duration(round*requests*int64(tt.points)*15) * time.Second)
					round++
					b.StartTimer()
				}
				clock = clock.Add(time.Duration(tt.points*15) * time.Second)
				send(n % requests)
				n++
			}
			b.ReportMetric(float64(n*2000*tt.points)/b.Elapsed().Seconds(), "samples/s")
		})
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// BenchmarkOpen is the first sample of series nobody has seen.
func BenchmarkOpen(b *testing.B) {
	body := encode1(load(100_000, 1, start.UnixMilli())...)
	var d decoder
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		in := intake(b, series.DefaultConfig())
		b.StartTimer()
		batch := in.Begin(series.From{Source: "bench"})
		d.reset(batch, body)
		if err := d.v1(); err != nil {
			b.Fatal(err)
		}
		batch.End()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/series")
}
