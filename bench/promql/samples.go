package main

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"grace/internal/series"
)

const (
	every = 15 * time.Second
	lasts = 3 * time.Hour
	seed  = 42
)

// line is a series with its samples.
type line struct {
	name    string
	labels  map[string]string
	kind    string // OpenMetrics type of its family
	family  string
	samples []series.Sample
}

// lines makes the samples from a time on.
func lines(from time.Time) []line {
	rnd := rand.New(rand.NewPCG(seed, seed))
	var out []line
	for i, service := range []string{"web", "api", "db"} {
		for _, pod := range []string{"a", "b", "c"} {
			base := map[string]string{"service": service, "pod": pod, "job": "app"}
			out = append(
				out,
				made(from, "temperature", "gauge", "temperature", base, func(n int) float64 {
					return math.Round(1000*(20+5*math.Sin(float64(n)/40)+float64(i)+rnd.Float64())) / 1000
				}),
				made(from, "free_bytes", "gauge", "free_bytes", base, func(n int) float64 { return float64(1e9 - n*1e6 + rnd.IntN(1e6)) }),
				counter(from, rnd, "requests_total", "requests", with(base, "code", "200"), 50),
				counter(from, rnd, "requests_total", "requests", with(base, "code", "500"), 2),
			)
			out = append(out, histogram(from, rnd, with(base, "route", "/"))...)
		}
	}
	out = append(
		out,
		made(from, "build", "gauge", "build", map[string]string{"service": "web", "version": "1"}, func(int) float64 { return 1 }),
		made(from, "limit_bytes", "gauge", "limit_bytes", map[string]string{"service": "db"}, func(int) float64 { return 5e8 }),
		made(from, "limit_bytes", "gauge", "limit_bytes", map[string]string{"service": "web"}, func(int) float64 { return 9e8 }),
		made(from, "negative", "gauge", "negative", map[string]string{"service": "web"}, func(n int) float64 { return -float64(n % 7) }),
	)
	// One begins late, one ends early, one has holes.
	n := len(out[0].samples)
	out[0].samples = out[0].samples[n/2:]
	out[4].samples = out[4].samples[:n/2]
	out[9].samples = slices.DeleteFunc(out[9].samples, func(s series.Sample) bool { return s.At/60_000%20 > 11 })
	return out
}

func with(labels map[string]string, name, value string) map[string]string {
	out := maps.Clone(labels)
	out[name] = value
	return out
}

func made(from time.Time, name, kind, family string, labels map[string]string, value func(n int) float64) line {
	l := line{name: name, labels: labels, kind: kind, family: family}
	for n := range int(lasts / every) {
		l.samples = append(l.samples, series.Sample{At: from.Add(time.Duration(n) * every).UnixMilli(), Value: value(n)})
	}
	return l
}

// counter rises, and begins anew now and then.
func counter(from time.Time, rnd *rand.Rand, name, family string, labels map[string]string, rate int) line {
	total := 0.0
	return made(from, name, "counter", family, labels, func(int) float64 {
		if total += float64(rnd.IntN(rate + 1)); rnd.IntN(300) == 0 {
			total = 0
		}
		return total
	})
}

// histogram is one of request durations.
func histogram(from time.Time, rnd *rand.Rand, labels map[string]string) []line {
	bounds := []string{"0.1", "0.25", "0.5", "1.0", "+Inf"}
	counts := make([][]float64, len(bounds)+2) // by bound; then their number and sum
	var at [5]float64
	count, sum := 0.0, 0.0
	for range int(lasts / every) {
		for range rnd.IntN(20) {
			v := rnd.ExpFloat64() * 0.3
			count, sum = count+1, sum+v
			for i, b := range []float64{0.1, 0.25, 0.5, 1, math.Inf(1)} {
				if v <= b {
					at[i]++
				}
			}
		}
		for i := range bounds {
			counts[i] = append(counts[i], at[i])
		}
		counts[len(bounds)] = append(counts[len(bounds)], count)
		counts[len(bounds)+1] = append(counts[len(bounds)+1], math.Round(sum*1e6)/1e6)
	}
	var out []line
	for i, b := range bounds {
		out = append(out, made(from, "duration_seconds_bucket", "histogram", "duration_seconds", with(labels, "le", b), func(n int) float64 { return counts[i][n] }))
	}
	for i, ending := range []string{"_count", "_sum"} {
		out = append(out, made(from, "duration_seconds"+ending, "histogram", "duration_seconds", labels, func(n int) float64 { return counts[len(bounds)+i][n] }))
	}
	return out
}

// openMetrics writes the samples as promtool reads them: family by family.
func openMetrics(all []line) string {
	var b strings.Builder
	var families []string
	for _, l := range all {
		if !slices.Contains(families, l.family) {
			families = append(families, l.family)
		}
	}
	for _, family := range families {
		for i, l := range all {
			if l.family != family {
				continue
			}
			if i == slices.IndexFunc(all, func(o line) bool { return o.family == family }) {
				fmt.Fprintf(&b, "# TYPE %s %s\n", family, l.kind)
			}
			var labels []string
			for name, value := range l.labels {
				labels = append(labels, fmt.Sprintf("%s=%q", name, value))
			}
			slices.Sort(labels)
			for _, s := range l.samples {
				fmt.Fprintf(&b, "%s{%s} %v %d.%03d\n", l.name, strings.Join(labels, ","), s.Value, s.At/1000, s.At%1000)
			}
		}
	}
	b.WriteString("# EOF\n")
	return b.String()
}
