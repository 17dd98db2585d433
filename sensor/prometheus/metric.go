package prometheus

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// The ways to read a metric.
const (
	AsValue     = "value"
	AsRate      = "rate"
	AsPerSecond = "per_second"
	AsRatio     = "ratio"
	AsQuantile  = "quantile"
)

// Series selects the series of a family whose labels have these values.
type Series struct {
	// Source is the family: http_requests_total, or the _count or _sum of a
	// histogram or summary.
	Source string
	Labels map[string]string
}

// Metric is one value taken from every scrape; the package doc tells the ways.
type Metric struct {
	Name     string // of the sample
	Source   string // as in Series
	Labels   map[string]string
	As       string
	Quantile float64 // of As quantile, between 0 and 1
	Over     *Series // of As ratio
	Scale    float64 // the value is multiplied by it: 1000 makes seconds milliseconds; default 1
	Unit     string  // after scaling
}

// Validate names everything that is wrong with the metric.
func (m Metric) Validate() error {
	var errs []error
	if m.Name == "" {
		errs = append(errs, errors.New("name is missing"))
	}
	if m.Source == "" {
		errs = append(errs, errors.New("source is missing: say which metric family to read"))
	}
	if math.IsNaN(m.Scale) || math.IsInf(m.Scale, 0) {
		errs = append(errs, fmt.Errorf("scale %v is no number to multiply by", m.Scale))
	}
	switch m.As {
	case "", AsValue, AsRate, AsPerSecond:
	case AsRatio:
		if m.Over == nil || m.Over.Source == "" {
			errs = append(errs, errors.New("over is missing: a ratio needs what it is a share of"))
		}
	case AsQuantile:
		if !(m.Quantile > 0 && m.Quantile < 1) { // so written that NaN fails too
			errs = append(errs, fmt.Errorf("quantile %v: want more than 0 and less than 1, for example 0.99", m.Quantile))
		}
	default:
		errs = append(errs, fmt.Errorf("as %q: want value, rate, per_second, ratio or quantile", m.As))
	}
	return errors.Join(errs...)
}

func (m Metric) scale() float64 {
	if m.Scale == 0 {
		return 1
	}
	return m.Scale
}

// errNotYet means that there is no value now and nothing is wrong.
var errNotYet = errors.New("no value yet")

func (m Metric) read(before, now *scrape) (float64, error) {
	own := Series{Source: m.Source, Labels: m.Labels}
	switch m.As {
	case AsPerSecond:
		grown, err := own.increase(before, now)
		if err != nil {
			return 0, err
		}
		return grown / now.at.Sub(before.at).Seconds(), nil
	case AsRatio:
		part, err := own.increase(before, now)
		if err != nil && !errors.Is(err, errNoSeries) {
			return 0, err
		}
		// A counter that was never counted up is not exposed by many
		// libraries: no errors yet are no errors. The message of "up" says so,
		// for it may be a misspelt name too.
		whole, err := m.Over.increase(before, now)
		if err != nil {
			return 0, err
		}
		if whole == 0 {
			return 0, errNotYet
		}
		return part / whole, nil
	case AsQuantile:
		return own.quantile(m.Quantile, before, now)
	default:
		return own.sum(now)
	}
}

// errNoSeries means that the family is not exposed, or no series of it matches.
var errNoSeries = errors.New("no such series")

func (s Series) exposed(now *scrape) bool {
	found, _ := s.find(now)
	return len(found) > 0
}

func (s Series) missing() error {
	if len(s.Labels) == 0 {
		return fmt.Errorf("%w: %s", errNoSeries, s.Source)
	}
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		pairs = append(pairs, fmt.Sprintf("%s=%q", k, s.Labels[k]))
	}
	return fmt.Errorf("%w: %s{%s}", errNoSeries, s.Source, strings.Join(pairs, ","))
}

// find gives the matching series of a scrape; part is "", "_count" or "_sum".
func (s Series) find(sc *scrape) (found []*dto.Metric, part string) {
	family, part := sc.families[s.Source], ""
	if family == nil {
		for _, suffix := range []string{"_count", "_sum"} {
			base, ok := strings.CutSuffix(s.Source, suffix)
			if f := sc.families[base]; ok && f != nil {
				family, part = f, suffix
			}
		}
	}
	for _, m := range family.GetMetric() {
		if s.matches(m) {
			found = append(found, m)
		}
	}
	return found, part
}

func (s Series) matches(m *dto.Metric) bool {
	matched := 0
	for _, l := range m.GetLabel() {
		want, asked := s.Labels[l.GetName()]
		if asked && want != l.GetValue() {
			return false
		}
		if asked {
			matched++
		}
	}
	return matched == len(s.Labels)
}

// id tells one series of a family from another.
func id(m *dto.Metric) string {
	var b strings.Builder
	for _, l := range m.GetLabel() {
		fmt.Fprintf(&b, "%q=%q,", l.GetName(), l.GetValue())
	}
	return b.String()
}

func number(m *dto.Metric, part string) (float64, error) {
	switch {
	case part == "_count" && m.Histogram != nil:
		return float64(m.GetHistogram().GetSampleCount()), nil
	case part == "_sum" && m.Histogram != nil:
		return m.GetHistogram().GetSampleSum(), nil
	case part == "_count" && m.Summary != nil:
		return float64(m.GetSummary().GetSampleCount()), nil
	case part == "_sum" && m.Summary != nil:
		return m.GetSummary().GetSampleSum(), nil
	case part != "":
		return 0, fmt.Errorf("only a histogram or a summary has a %s", part)
	case m.Counter != nil:
		return m.GetCounter().GetValue(), nil
	case m.Gauge != nil:
		return m.GetGauge().GetValue(), nil
	case m.Untyped != nil:
		return m.GetUntyped().GetValue(), nil
	default:
		return 0, errors.New("it is a histogram or a summary: read its _count or _sum, or a histogram as quantile")
	}
}

func (s Series) sum(now *scrape) (float64, error) {
	found, part := s.find(now)
	if len(found) == 0 {
		return 0, s.missing()
	}
	total := 0.0
	for _, m := range found {
		v, err := number(m, part)
		if err != nil {
			return 0, err
		}
		total += v
	}
	return total, nil
}

// increase adds up by how much each series grew. A series that was not there
// before began at zero.
func (s Series) increase(before, now *scrape) (float64, error) {
	found, part := s.find(now)
	if len(found) == 0 {
		return 0, s.missing()
	}
	if before == nil || !now.at.After(before.at) {
		return 0, errNotYet
	}
	old := map[string]float64{}
	previous, oldPart := s.find(before)
	for _, m := range previous {
		if v, err := number(m, oldPart); err == nil {
			old[id(m)] = v
		}
	}
	total := 0.0
	for _, m := range found {
		v, err := number(m, part)
		if err != nil {
			return 0, err
		}
		total += grown(old[id(m)], v)
	}
	return total, nil
}

// grown is a counter's increase; one that fell was reset.
func grown(before, now float64) float64 {
	if now < before {
		return now
	}
	return now - before
}

type bucket struct{ upper, count float64 } // count is cumulative

// quantile is taken over the observations since the scrape before, of all
// matching series together.
func (s Series) quantile(q float64, before, now *scrape) (float64, error) {
	found, _ := s.find(now)
	if len(found) == 0 {
		return 0, s.missing()
	}
	if before == nil {
		return 0, errNotYet
	}
	old := map[string]*dto.Metric{}
	previous, _ := s.find(before)
	for _, m := range previous {
		old[id(m)] = m
	}
	total := map[float64]float64{}
	for _, m := range found {
		h := m.GetHistogram()
		if h == nil || len(h.GetBucket()) == 0 {
			return 0, errors.New("it is no histogram with buckets: only such a one has quantiles here")
		}
		addIncrease(total, old[id(m)].GetHistogram(), h)
	}
	buckets := make([]bucket, 0, len(total))
	for upper, count := range total {
		buckets = append(buckets, bucket{upper, count})
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return cmp.Compare(a.upper, b.upper) })
	return interpolate(q, buckets)
}

// addIncrease adds the growth of each cumulative bucket. A reset is seen by the
// count of all observations: then every bucket counts from zero.
func addIncrease(total map[float64]float64, before, now *dto.Histogram) {
	old := map[float64]float64{}
	if before != nil && before.GetSampleCount() <= now.GetSampleCount() {
		for _, b := range before.GetBucket() {
			old[b.GetUpperBound()] = float64(b.GetCumulativeCount())
		}
		old[math.Inf(1)] = float64(before.GetSampleCount())
	}
	for _, b := range now.GetBucket() {
		if !math.IsInf(b.GetUpperBound(), 1) {
			total[b.GetUpperBound()] += grown(old[b.GetUpperBound()], float64(b.GetCumulativeCount()))
		}
	}
	total[math.Inf(1)] += grown(old[math.Inf(1)], float64(now.GetSampleCount()))
}

// interpolate is histogram_quantile over sorted cumulative buckets: linear
// within a bucket, whose lower edge is 0 for the first; the highest finite
// bound when the quantile lies above it.
func interpolate(q float64, buckets []bucket) (float64, error) {
	all := buckets[len(buckets)-1].count
	if all == 0 {
		return 0, errNotYet
	}
	if len(buckets) < 2 {
		return 0, errors.New("its only bucket is +Inf")
	}
	rank := q * all
	i := slices.IndexFunc(buckets, func(b bucket) bool { return b.count >= rank })
	if i < 0 || i == len(buckets)-1 {
		return buckets[len(buckets)-2].upper, nil
	}
	lower, below := 0.0, 0.0
	if i > 0 {
		lower, below = buckets[i-1].upper, buckets[i-1].count
	} else if buckets[0].upper <= 0 {
		return buckets[0].upper, nil
	}
	return lower + (buckets[i].upper-lower)*(rank-below)/(buckets[i].count-below), nil
}
