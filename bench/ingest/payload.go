package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/klauspost/compress/snappy"

	"grace/internal/series"
)

// perRequest series, what a busy Prometheus sends at once.
const perRequest = 2000

// services that the series are of.
const services = 200

// interval between two times, in ms.
const interval = 15_000

// load is one series of it.
type load struct {
	labels []byte // encoded as prometheus.Label fields
	next   func(step int) float64
}

// build makes n series: histograms of 12 buckets, as many counters and gauges.
func build(n int) []load {
	bounds := []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}
	var out []load
	for i := 0; len(out) < n; i++ {
		service := i % services
		base := [][2]string{
			{"cluster", "production-eu-west-1"},
			{"container", fmt.Sprintf("app-%d", service)},
			{"handler", fmt.Sprintf("/api/v1/resources/%d/items", i%37)},
			{"instance", fmt.Sprintf("10.42.%d.%d:9090", i/services%250, service)},
			{"job", fmt.Sprintf("shop/app-%d", service)},
			{"method", []string{"GET", "POST", "PUT"}[i%3]},
			{"namespace", "shop"},
			{"pod", fmt.Sprintf("app-%d-7d9f8b6c5d-%05d", service, i)},
			{"service", fmt.Sprintf("app-%d", service)},
		}
		for b, le := range bounds {
			weight := float64((b+1)*(i%5+1)) / 4
			out = append(out, load{
				labels: encode("http_server_request_duration_seconds_bucket", append(slices.Clone(base), [2]string{"le", le})),
				next:   func(step int) float64 { return math.Floor(weight * float64(step)) },
			})
		}
		for k, name := range []string{"http_server_requests_total", "rpc_client_errors_total", "network_receive_bytes_total"} {
			for code := range 2 {
				out = append(out, load{
					labels: encode(name, append(slices.Clone(base), [2]string{"code", strconv.Itoa(200 + 300*code)})),
					next:   func(step int) float64 { return float64((step*step + 7*step) * (k + 1 + code)) },
				})
			}
		}
		for k, name := range []string{"go_goroutines", "process_resident_memory_bytes", "process_open_fds", "worker_queue_length", "http_server_requests_in_flight", "cache_available_bytes"} {
			out = append(out, load{
				labels: encode(name, base),
				next:   func(step int) float64 { return 1000 * (2 + math.Sin(float64(step+i)/(10+float64(k)))) },
			})
		}
	}
	return out[:n]
}

func field(b []byte, number int, value []byte) []byte {
	b = binary.AppendUvarint(append(b, byte(number<<3|2)), uint64(len(value)))
	return append(b, value...)
}

// encode sorts labels by name, as senders have to.
func encode(name string, labels [][2]string) []byte {
	labels = append(labels, [2]string{series.MetricLabel, name})
	slices.SortFunc(labels, func(a, b [2]string) int {
		if a[0] < b[0] {
			return -1
		}
		return 1
	})
	var out []byte
	for _, l := range labels {
		out = series.AppendLabel(out, l[0], l[1])
	}
	return out
}

// requests encodes a number of times from a step on, each with some samples of
// every series that are interval apart.
func requests(list []load, first int64, from, times, samples int) [][]byte {
	var out [][]byte
	var body, one, sample []byte
	for t := range times {
		for part := range slices.Chunk(list, perRequest) {
			body = body[:0]
			for _, s := range part {
				one = append(one[:0], s.labels...)
				for k := range samples {
					step := from + t*samples + k
					sample = binary.LittleEndian.AppendUint64(append(sample[:0], 1<<3|1), math.Float64bits(s.next(step)))
					sample = binary.AppendUvarint(append(sample, 2<<3), uint64(first+int64(step)*interval))
					one = field(one, 2, sample)
				}
				body = field(body, 1, one)
			}
			out = append(out, snappy.Encode(nil, body))
		}
	}
	return out
}
