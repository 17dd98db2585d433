package otlp

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"

	"grace"
	"grace/internal/series"
)

const (
	noRecordedValue = uint32(metrics.DataPointFlags_DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK)
	delta           = metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA
	cumulative      = metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE
)

// staleMarker is the NaN by which Prometheus says that a series ended.
func staleMarker() float64 { return math.Float64frombits(value.StaleNaN) }

// taking hands the points of one request on.
type taking struct {
	keyring
	r       *Receiver
	batch   *series.Batch
	metric  *metrics.Metric
	points  int
	refused map[string]int // points that went no further, by reason
	again   int            // samples that were refused besides the first of their point
}

func (r *Receiver) take(source string, req *collector.ExportMetricsServiceRequest) *collector.ExportMetricsServiceResponse {
	t := &taking{r: r, refused: map[string]int{}, keyring: keyring{drop: r.cfg.DropResource}}
	t.batch = r.db.Begin(series.From{Sensor: Sensor, Source: source})
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

// rejected sums up.
func (t *taking) rejected(report *series.Report) (int, string) {
	n, parts := report.Refused()-t.again, []string(nil)
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
	return n, message
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
		t.numbers(d.Gauge.GetDataPoints(), series.KindGauge)
	case *metrics.Metric_Sum:
		points, temporality := d.Sum.GetDataPoints(), d.Sum.GetAggregationTemporality()
		switch {
		case !t.temporal(temporality, len(points)):
		case temporality == delta:
			t.numbers(points, series.KindDelta)
		case d.Sum.GetIsMonotonic():
			t.numbers(points, series.KindCounter)
		default:
			t.numbers(points, series.KindGauge)
		}
	case *metrics.Metric_Histogram:
		if t.temporal(d.Histogram.GetAggregationTemporality(), len(d.Histogram.GetDataPoints())) {
			for _, p := range d.Histogram.GetDataPoints() {
				t.classic(p, d.Histogram.GetAggregationTemporality() == delta)
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

func (t *taking) numbers(points []*metrics.NumberDataPoint, kind series.Kind) {
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
		key := t.keyOf(t.metric.GetName(), p.GetAttributes())
		t.batch.Append(key, series.Meta{Kind: kind, Unit: t.metric.GetUnit(), Start: start}, series.Sample{At: at, Value: v})
	}
}

// classic hands on a histogram with bounds as Prometheus has it: a series of each bucket,
// which counts what is up to its bound, one of the count and one of the sum.
func (t *taking) classic(p *metrics.HistogramDataPoint, isDelta bool) {
	t.points++
	bounds, counts := p.GetExplicitBounds(), p.GetBucketCounts()
	stale := p.GetFlags()&noRecordedValue != 0
	switch n := len(counts); {
	case n == 0 || stale && n != len(bounds)+1: // without buckets it still has a count
		bounds, counts = nil, nil
	case n != len(bounds)+1:
		t.refuse(1, "a point has %d counts for %d bounds", n, len(bounds))
		return
	case n > maxClassic:
		t.refuse(1, "a point has %d buckets, the limit is %d", n, maxClassic)
		return
	}
	for i, b := range bounds {
		if math.IsNaN(b) || i > 0 && b <= bounds[i-1] {
			t.refuse(1, "the bounds of a point do not rise: %v at %d", b, i)
			return
		}
	}
	start, at := times(p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
	one := func(ending, unit string, v float64, more ...label) {
		if stale {
			v = staleMarker()
		}
		key := t.keyOf(t.metric.GetName()+ending, p.GetAttributes(), more...)
		t.batch.Append(key, series.Meta{Kind: counted(isDelta), Unit: unit, Start: start}, series.Sample{At: at, Value: v})
	}
	defer t.onePoint(t.batch.Refused())
	upTo := uint64(0)
	for i, b := range bounds {
		upTo += counts[i]
		if !math.IsInf(b, 1) { // the last one comes anyway
			one("_bucket", "", float64(upTo), label{"le", strconv.FormatFloat(b, 'f', -1, 64)})
		}
	}
	all := p.GetCount()
	if counts != nil {
		all = upTo + counts[len(counts)-1] // else quantiles would go astray
	}
	one("_bucket", "", float64(all), label{"le", "+Inf"})
	one("_count", "", float64(all))
	if p.Sum != nil {
		one("_sum", t.metric.GetUnit(), p.GetSum())
	}
}

// onePoint counts the samples that were refused since there were so many of them as one:
// they are of one point.
func (t *taking) onePoint(before int) { t.again += max(t.batch.Refused()-before-1, 0) }

// maxClassic bounds the buckets of a point; senders have some 15.
const maxClassic = 512

func counted(isDelta bool) series.Kind {
	if isDelta {
		return series.KindDelta
	}
	return series.KindCounter
}

// maxQuantiles of a summary; senders have less than ten.
const maxQuantiles = 100

// summary hands on the count, the sum, and each quantile as a series of its own.
func (t *taking) summary(p *metrics.SummaryDataPoint) {
	t.points++
	if n := len(p.GetQuantileValues()); n > maxQuantiles {
		t.refuse(1, "a point has %d quantiles, the limit is %d", n, maxQuantiles)
		return
	}
	start, at := times(p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
	name, unit := t.metric.GetName(), t.metric.GetUnit()
	one := func(name string, meta series.Meta, v float64, more ...label) {
		if p.GetFlags()&noRecordedValue != 0 {
			v = staleMarker()
		}
		t.batch.Append(t.keyOf(name, p.GetAttributes(), more...), meta, series.Sample{At: at, Value: v})
	}
	defer t.onePoint(t.batch.Refused())
	one(name+"_count", series.Meta{Kind: series.KindCounter, Start: start}, float64(p.GetCount()))
	one(name+"_sum", series.Meta{Kind: series.KindCounter, Unit: unit, Start: start}, p.GetSum())
	for _, q := range p.GetQuantileValues() {
		quantile := label{"quantile", strconv.FormatFloat(q.GetQuantile(), 'f', -1, 64)}
		one(name, series.Meta{Kind: series.KindGauge, Unit: unit}, q.GetValue(), quantile)
	}
}

// exponential hands on a histogram whose buckets grow by a factor.
func (t *taking) exponential(p *metrics.ExponentialHistogramDataPoint, isDelta bool) {
	t.points++
	sample, err := native(p, isDelta)
	kind := series.KindHistogram
	if isDelta {
		kind = series.KindDelta
	}
	switch stale := p.GetFlags()&noRecordedValue != 0; {
	case stale && isDelta:
		sample = series.Sample{Float: &histogram.FloatHistogram{Sum: staleMarker()}}
	case stale:
		sample = series.Sample{Histogram: &histogram.Histogram{Sum: staleMarker()}}
	case err != nil:
		t.refuse(1, "%v", err)
		return
	}
	start, at := times(p.GetStartTimeUnixNano(), p.GetTimeUnixNano())
	sample.At = at
	t.batch.Append(t.keyOf(t.metric.GetName(), p.GetAttributes()), series.Meta{Kind: kind, Unit: t.metric.GetUnit(), Start: start}, sample)
}
