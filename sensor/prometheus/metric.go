package prometheus

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
	"grace/internal/exposition"
)

// The ways to read a metric.
const (
	AsValue     = "value"
	AsRate      = "rate"
	AsPerSecond = "per_second"
	AsRatio     = "ratio"
	AsQuantile  = "quantile"
)

// Series selects the series of a name whose labels have these values.
type Series struct {
	// Source is the series' name as a page shows it: http_requests_total, or
	// the _count or _sum of a histogram or summary.
	Source string
	Labels map[string]string
}

// Metric is one value taken from every scrape; the package doc tells the ways.
type Metric struct {
	Name     string // of the sample
	Source   string // as in Series; of As quantile the histogram, without _bucket
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
		errs = append(errs, grace.Field("name", "is missing"))
	}
	if m.Source == "" {
		errs = append(errs, grace.Field("source", "is missing: say which metric family to read"))
	}
	if math.IsNaN(m.Scale) || math.IsInf(m.Scale, 0) {
		errs = append(errs, grace.Field("scale", "%v is no number to multiply by", m.Scale))
	}
	switch m.As {
	case "", AsValue, AsRate, AsPerSecond:
	case AsRatio:
		if m.Over == nil || m.Over.Source == "" {
			errs = append(errs, grace.Field("over", "is missing: a ratio needs what it is a share of"))
		}
	case AsQuantile:
		if !(m.Quantile > 0 && m.Quantile < 1) { // so written that NaN fails too
			errs = append(errs, grace.Field("quantile", "%v: want more than 0 and less than 1, for example 0.99", m.Quantile))
		}
	default:
		errs = append(errs, grace.Field("as", "%q: want value, rate, per_second, ratio or quantile", m.As))
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

// errNoSeries means that the name is not exposed, or no series of it matches.
var errNoSeries = errors.New("no such series")

// reading is a value and when it was measured.
type reading struct {
	value float64
	at    time.Time
}

func (m Metric) read(before, now *scrape) (reading, error) {
	own := Series{Source: m.Source, Labels: m.Labels}
	out := reading{at: now.at}
	var err error
	switch m.As {
	case AsPerSecond:
		out.value, err = own.increase(before, now)
		if err == nil {
			out.value /= now.at.Sub(before.at).Seconds()
		}
	case AsRatio:
		out.value, err = own.share(*m.Over, before, now)
	case AsQuantile:
		out.value, err = own.quantile(m.Quantile, before, now)
	default:
		return own.sum(now)
	}
	return out, err
}

// share is the increase over that of another series.
func (s Series) share(over Series, before, now *scrape) (float64, error) {
	part, err := s.increase(before, now)
	if err != nil && !errors.Is(err, errNoSeries) {
		return 0, err
	}
	// A counter that was never counted up is not exposed by many libraries: no
	// errors yet are no errors. The message of "up" says so, for it may be a
	// misspelt name too.
	whole, err := over.increase(before, now)
	if err != nil {
		return 0, err
	}
	if whole == 0 {
		return 0, errNotYet
	}
	return part / whole, nil
}

func (s Series) exposed(now *scrape) bool { return len(s.find(now)) > 0 }

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

// find gives the matching points of a scrape.
func (s Series) find(sc *scrape) []exposition.Point {
	if sc == nil {
		return nil
	}
	var found []exposition.Point
	for _, p := range sc.points[s.Source] {
		if s.matches(p) {
			found = append(found, p)
		}
	}
	return found
}

func (s Series) matches(p exposition.Point) bool {
	for name, want := range s.Labels {
		if p.Labels.Get(name) != want {
			return false
		}
	}
	return true
}

// numbers gives the matching points of a name that stands for a number.
func (s Series) numbers(now *scrape) ([]exposition.Point, error) {
	found := s.find(now)
	_, picked := s.Labels["quantile"]
	switch {
	case len(found) == 0 && len(now.points[s.Source+"_bucket"])+len(now.points[s.Source+"_count"]) > 0,
		now.types[s.Source] == "summary" && !picked:
		return nil, errors.New("it is a histogram or a summary: read its _count or _sum, or a histogram as quantile")
	case len(found) == 0:
		return nil, s.missing()
	}
	return found, nil
}

// oldest is how old a point may be that says itself when it was measured.
const oldest = 5 * time.Minute

func (s Series) sum(now *scrape) (reading, error) {
	found, err := s.numbers(now)
	if err != nil {
		return reading{}, err
	}
	out := reading{at: now.at}
	for _, p := range found {
		out.value += p.Value
		if !p.At.IsZero() && p.At.Before(out.at) {
			out.at = p.At
		}
	}
	if age := now.at.Sub(out.at); age > oldest {
		return reading{}, fmt.Errorf("the page says that it was measured %s ago: too old", age.Round(time.Second))
	}
	return out, nil
}

// increase adds up by how much each series grew. A series that was not there
// before began at zero.
func (s Series) increase(before, now *scrape) (float64, error) {
	found, err := s.numbers(now)
	if err != nil {
		return 0, err
	}
	if before == nil || !now.at.After(before.at) {
		return 0, errNotYet
	}
	old := map[string]float64{}
	for _, p := range s.find(before) {
		old[p.Labels.String()] = p.Value
	}
	total := 0.0
	for _, p := range found {
		total += grown(old[p.Labels.String()], p.Value)
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
	found := s.histograms(now)
	if len(found) == 0 {
		if _, err := s.numbers(now); errors.Is(err, errNoSeries) {
			return 0, err
		}
		return 0, errors.New("it is no histogram with buckets: only such a one has quantiles here")
	}
	if before == nil {
		return 0, errNotYet
	}
	old := s.histograms(before)
	total := map[float64]float64{}
	for id, h := range found {
		addIncrease(total, old[id], h)
	}
	buckets := make([]bucket, 0, len(total))
	for upper, count := range total {
		buckets = append(buckets, bucket{upper, count})
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return cmp.Compare(a.upper, b.upper) })
	return interpolate(q, buckets)
}

// histogram holds the cumulative count of each bucket by its upper bound.
type histogram map[float64]float64

// histograms gives the matching ones by their labels without le.
func (s Series) histograms(sc *scrape) map[string]histogram {
	out := map[string]histogram{}
	for _, p := range (Series{Source: s.Source + "_bucket", Labels: s.Labels}).find(sc) {
		upper, err := strconv.ParseFloat(p.Labels.Get("le"), 64)
		if err != nil || math.IsNaN(upper) || math.IsNaN(p.Value) {
			continue
		}
		id := p.Labels.MatchLabels(false, "le").String()
		if out[id] == nil {
			out[id] = histogram{}
		}
		out[id][upper] = p.Value
	}
	return out
}

// all counts the observations: what the highest bucket holds.
func (h histogram) all() float64 {
	most := 0.0
	for _, n := range h {
		most = max(most, n)
	}
	return most
}

// addIncrease adds the growth of each cumulative bucket. A reset is seen by the
// count of all observations: then every bucket counts from zero.
func addIncrease(total map[float64]float64, before, now histogram) {
	if before.all() > now.all() {
		before = nil
	}
	for upper, n := range now {
		if !math.IsInf(upper, 1) {
			total[upper] += grown(before[upper], n)
		}
	}
	total[math.Inf(1)] += grown(before.all(), now.all())
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
