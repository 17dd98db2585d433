package otlp

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"

	"grace"
	"grace/internal/telemetry"
)

const (
	noRecordedValue = uint32(metrics.DataPointFlags_DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK)
	delta           = metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA
	cumulative      = metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
)

// staleMarker is the NaN by which Prometheus, and telemetry, say that a series
// ended.
func staleMarker() float64 { return math.Float64frombits(0x7ff0000000000002) }

// taking hands the points of one request on.
type taking struct {
	keyring
	r       *Receiver
	batch   *telemetry.Batch
	metric  *metrics.Metric
	points  int
	refused map[string]int // points that went no further, by reason
	counts  []float64
	bounds  []float64
}

func (r *Receiver) take(source string, req *collector.ExportMetricsServiceRequest) *collector.ExportMetricsServiceResponse {
	t := &taking{r: r, refused: map[string]int{}, keyring: keyring{drop: r.cfg.DropResource}}
	t.batch = r.intake.Begin(telemetry.From{Sensor: Sensor, Source: source})
	for _, rm := range req.GetResourceMetrics() {
		t.resource(rm.GetResource().GetAttributes())
		for _, sm := range rm.GetScopeMetrics() {
			err := t.scope(sm.GetScope().GetName())
			for _, m := range sm.GetMetrics() {
				t.metric = m
				if no := cmp.Or(err, t.fits()); no != nil {
					t.pass(no)
					continue
				}
				t.take()
			}
		}
	}
	report := t.batch.End()
	r.points.Add(uint64(t.points))
	resp := &collector.ExportMetricsServiceResponse{}
	if rejected, message := t.rejected(&report); message != "" {
		r.refusedPoints.Add(uint64(rejected))
		resp.PartialSuccess = &collector.ExportMetricsPartialSuccess{RejectedDataPoints: int64(rejected), ErrorMessage: message}
	}
	return resp
}

// maxMessage bounds the bytes of the reasons that a sender is told.
const maxMessage = 4096

// rejected sums up. A summary is one point and several samples: so that there
// are never more points refused than came, their number is the bound.
func (t *taking) rejected(report *telemetry.Report) (int, string) {
	n, parts := report.Refused(), []string(nil)
	for _, reason := range slices.Sorted(maps.Keys(t.refused)) {
		n += t.refused[reason]
		parts = append(parts, fmt.Sprintf("%d of %d points refused: %s", t.refused[reason], t.points, reason))
	}
	if err := report.Err(); err != nil {
		parts = append(parts, err.Error())
	}
	message := grace.CleanOutput(strings.Join(parts, "; "))
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "..."
	}
	return min(n, t.points), message
}

// maxName bounds the bytes of a metric's name, which is in the key of each of
// its points.
const maxName = 2048

// fits tells whether the key of a point can be written.
func (t *taking) fits() error {
	if n := len(t.metric.GetName()); n > maxName {
		return fmt.Errorf("its name has %d bytes, the limit is %d", n, maxName)
	}
	return nil
}

// pass counts the points of a metric that cannot be taken.
func (t *taking) pass(why error) {
	m := t.metric
	n := len(m.GetGauge().GetDataPoints()) + len(m.GetSum().GetDataPoints()) + len(m.GetHistogram().GetDataPoints()) +
		len(m.GetExponentialHistogram().GetDataPoints()) + len(m.GetSummary().GetDataPoints())
	t.points += n
	t.refuse(n, "%v", why)
}

// maxReasons bounds how many are told apart: they hold names that a sender
// chose.
const maxReasons = 10

func (t *taking) refuse(points int, format string, args ...any) {
	reason := fmt.Sprintf("%.100s: %s", t.metric.GetName(), fmt.Sprintf(format, args...))
	if _, known := t.refused[reason]; !known && len(t.refused) >= maxReasons {
		reason = "and other metrics"
	}
	t.refused[reason] += points
}

// take hands on the points of a metric.
func (t *taking) take() {
	switch d := t.metric.GetData().(type) {
	case *metrics.Metric_Gauge:
		t.numbers(d.Gauge.GetDataPoints(), telemetry.KindGauge)
	case *metrics.Metric_Sum:
		points, temporality := d.Sum.GetDataPoints(), d.Sum.GetAggregationTemporality()
		switch {
		case !t.temporal(temporality, len(points)):
		case temporality == delta:
			t.numbers(points, telemetry.KindDelta)
		case d.Sum.GetIsMonotonic():
			t.numbers(points, telemetry.KindCounter)
		default:
			t.numbers(points, telemetry.KindGauge)
		}
	case *metrics.Metric_Histogram:
		if t.temporal(d.Histogram.GetAggregationTemporality(), len(d.Histogram.GetDataPoints())) {
			for _, p := range d.Histogram.GetDataPoints() {
				t.histogram(p, d.Histogram.GetAggregationTemporality() == delta)
			}
		}
	case *metrics.Metric_ExponentialHistogram:
		if t.temporal(d.ExponentialHistogram.GetAggregationTemporality(), len(d.ExponentialHistogram.GetDataPoints())) {
			for _, p := range d.ExponentialHistogram.GetDataPoints() {
				t.exponential(p, d.ExponentialHistogram.GetAggregationTemporality() == delta)
			}
		}
	case *metrics.Metric_Summary:
		for _, p := range d.Summary.GetDataPoints() {
			t.summary(p)
		}
	default:
		t.refuse(0, "it has no data, or data of a kind that is not known here")
	}
}

// temporal counts the points when their temporality is missing: they could be
// read either way, and one of them is wrong.
func (t *taking) temporal(a metrics.AggregationTemporality, points int) bool {
	if a == delta || a == cumulative {
		return true
	}
	t.points += points
	t.refuse(points, "its aggregation temporality is neither delta nor cumulative")
	return false
}

// times gives the time of a point and its start in Unix ms; 0 is unknown. A
// start that is not before the point says nothing.
func times(start, at uint64) (startMillis, atMillis int64) {
	atMillis = int64(at / 1e6)
	if start < at {
		startMillis = int64(start / 1e6)
	}
	return startMillis, atMillis
}

func (t *taking) numbers(points []*metrics.NumberDataPoint, kind telemetry.Kind) {
	for _, p := range points {
		t.points++
		var v float64
		switch x := p.GetValue().(type) {
		case *metrics.NumberDataPoint_AsDouble:
			v = x.AsDouble
		case *metrics.NumberDataPoint_AsInt:
			v = float64(x.AsInt)
		default:
			if p.GetFlags()&noRecordedValue == 0 {
				t.refuse(1, "a point has no value")
				continue
			}
		}
		start, at := times(p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
		if p.GetFlags()&noRecordedValue != 0 {
			v = staleMarker()
		}
		key := t.series(t.metric.GetName(), p.GetAttributes())
		t.batch.Points(key, telemetry.Meta{Kind: kind, Unit: t.metric.GetUnit(), Start: start}, telemetry.Point{At: at, Value: v})
	}
}

func (t *taking) histogram(p *metrics.HistogramDataPoint, isDelta bool) {
	t.counts = t.counts[:0]
	for _, c := range p.GetBucketCounts() {
		t.counts = append(t.counts, float64(c))
	}
	bounds := p.GetExplicitBounds()
	if len(t.counts) == 0 { // without buckets it still has a rate
		t.counts, bounds = append(t.counts, float64(p.GetCount())), nil
	}
	// A last bound of +Inf has nothing beyond it.
	if n := len(bounds); n > 0 && math.IsInf(bounds[n-1], 1) && len(t.counts) == n+1 {
		t.counts[n-1] += t.counts[n]
		bounds, t.counts = bounds[:n-1], t.counts[:n]
	}
	t.whole(t.series(t.metric.GetName(), p.GetAttributes()), p, isDelta, bounds)
}

// point is what the kinds of histograms have in common.
type point interface {
	GetStartTimeUnixNano() uint64
	GetTimeUnixNano() uint64
	GetFlags() uint32
}

// whole hands on a histogram whose counts are in t.counts.
func (t *taking) whole(key []byte, p point, isDelta bool, bounds []float64) {
	t.points++
	if p.GetFlags()&noRecordedValue != 0 {
		t.batch.EndHistogram(key)
		return
	}
	start, at := times(p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
	meta := telemetry.Meta{Kind: telemetry.KindHistogram, Unit: t.metric.GetUnit(), Start: start}
	t.batch.Histogram(key, meta, telemetry.Histogram{At: at, Start: start, Delta: isDelta, Bounds: bounds, Counts: t.counts})
}

// maxQuantiles of a summary; senders have less than ten.
const maxQuantiles = 100

// summary hands on the count, and each quantile as a series of its own. Its sum
// has no use here.
func (t *taking) summary(p *metrics.SummaryDataPoint) {
	t.points++
	if n := len(p.GetQuantileValues()); n > maxQuantiles {
		t.refuse(1, "a point has %d quantiles, the limit is %d", n, maxQuantiles)
		return
	}
	start, at := times(p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
	count := float64(p.GetCount())
	stale := p.GetFlags()&noRecordedValue != 0
	if stale {
		count = staleMarker()
	}
	name := t.metric.GetName()
	key := t.series(name+"_count", p.GetAttributes())
	t.batch.Points(key, telemetry.Meta{Kind: telemetry.KindCounter, Start: start}, telemetry.Point{At: at, Value: count})
	for _, q := range p.GetQuantileValues() {
		v := q.GetValue()
		if stale {
			v = staleMarker()
		}
		key := t.series(name, p.GetAttributes(), label{"quantile", strconv.FormatFloat(q.GetQuantile(), 'f', -1, 64)})
		t.batch.Points(key, telemetry.Meta{Kind: telemetry.KindGauge, Unit: t.metric.GetUnit()}, telemetry.Point{At: at, Value: v})
	}
}

// exponential hands on a histogram whose buckets grow by a factor.
func (t *taking) exponential(p *metrics.ExponentialHistogramDataPoint, isDelta bool) {
	key := t.series(t.metric.GetName(), p.GetAttributes())
	if p.GetFlags()&noRecordedValue != 0 {
		t.whole(key, p, isDelta, nil)
		return
	}
	own, err := spanOf(p)
	if err != nil {
		t.points++
		t.refuse(1, "%v", err)
		return
	}
	t.bounds, t.counts = t.r.spans.widen(key, own).buckets(p, t.bounds[:0], t.counts[:0])
	t.whole(key, p, isDelta, t.bounds)
}
