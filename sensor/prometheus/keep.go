package prometheus

import (
	"cmp"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"grace/internal/exposition"
	"grace/internal/series"
)

// Labels that a scrape adds to every series of a page. One that the page has itself is
// kept with the prefix exported_.
const (
	instanceLabel  = "instance"
	exportedPrefix = "exported_"
)

// keeper appends the pages of one target.
type keeper struct {
	db     *series.DB
	sensor string
	own    []labels.Label    // that every series gets
	seen   map[string]uint64 // open series of the newest page by their key, and in which page they were last
	pages  uint64
	list   []labels.Label
	key    []byte
}

func newKeeper(db *series.DB, cfg *Config) *keeper {
	instance := cfg.URL
	if u, err := url.Parse(cfg.URL); err == nil && u.Host != "" {
		instance = u.Host
	}
	return &keeper{db: db, sensor: cfg.Name, seen: map[string]uint64{}, own: []labels.Label{
		{Name: instanceLabel, Value: instance}, {Name: series.JobLabel, Value: cfg.Name}, {Name: series.ServiceLabel, Value: string(cfg.Service)},
	}}
}

// page appends what a scrape found, and ends what is not there any more. It tells which
// series there is no room for. What the page dates later than its scrape began was not
// measured later.
func (k *keeper) page(page *exposition.Page, at time.Time) error {
	b := k.begin()
	k.pages++
	for i := range page.Points {
		p := &page.Points[i]
		sample := series.Sample{At: at.UnixMilli(), Value: p.Value}
		if !p.At.IsZero() {
			sample.At = min(p.At.UnixMilli(), sample.At)
		}
		k.series(p.Name, &p.Labels)
		open := b.Append(k.key, series.Meta{Kind: kindOf(page, p.Name)}, sample)
		if open && p.At.IsZero() { // what the page dates ends by itself, as with Prometheus
			k.seen[string(k.key)] = k.pages
		}
	}
	refused := b.End()
	b = k.begin() // of which no limit takes anything
	k.up(b, at, 1)
	k.gone(b, at)
	b.End()
	if n := refused.Count(series.RequestFull) + refused.Count(series.SourceFull) + refused.Count(series.ServiceFull) + refused.Count(series.Full); n > 0 {
		return fmt.Errorf("%d series of the page were not taken: %w", n, refused.Err())
	}
	return nil
}

// failed notes that nothing was found.
func (k *keeper) failed(at time.Time) {
	b := k.begin()
	k.pages++
	k.up(b, at, 0)
	k.gone(b, at)
	b.End()
}

// end ends everything: the target is scraped no more.
func (k *keeper) end(at time.Time) {
	b := k.begin()
	k.pages++
	k.gone(b, at)
	k.up(b, at, math.Float64frombits(value.StaleNaN))
	b.End()
}

func (k *keeper) begin() *series.Batch {
	return k.db.Begin(series.From{Sensor: k.sensor, Source: k.sensor})
}

// gone ends the series that the newest page does not have.
func (k *keeper) gone(b *series.Batch, at time.Time) {
	for key, page := range k.seen {
		if page != k.pages {
			b.Append([]byte(key), series.Meta{}, series.Sample{At: at.UnixMilli(), Value: math.Float64frombits(value.StaleNaN)})
			delete(k.seen, key)
		}
	}
}

// up appends Prometheus' own series of a target.
func (k *keeper) up(b *series.Batch, at time.Time, v float64) {
	k.series(upMetric, &labels.Labels{})
	b.Append(k.key, series.Meta{Kind: series.KindGauge}, series.Sample{At: at.UnixMilli(), Value: v})
}

// series makes the key of a series of the page.
func (k *keeper) series(name string, of *labels.Labels) {
	k.list = append(append(k.list[:0], k.own...), labels.Label{Name: series.MetricLabel, Value: name})
	of.Range(func(l labels.Label) {
		if slices.ContainsFunc(k.own, func(own labels.Label) bool { return own.Name == l.Name }) {
			l.Name = exportedPrefix + l.Name
		}
		k.list = append(k.list, l)
	})
	slices.SortFunc(k.list, func(a, b labels.Label) int { return cmp.Compare(a.Name, b.Name) })
	k.key = k.key[:0]
	for _, l := range k.list {
		k.key = series.AppendLabel(k.key, l.Name, l.Value)
	}
}

// kindOf tells what the page says that a series is.
func kindOf(page *exposition.Page, name string) series.Kind {
	kind, known := page.Types[name]
	for _, part := range []string{"_total", "_bucket", "_count", "_sum"} {
		if family, is := strings.CutSuffix(name, part); is && !known {
			kind, known = page.Types[family]
			if kind == "histogram" || kind == "summary" {
				return series.KindCounter
			}
		}
	}
	switch kind {
	case "counter":
		return series.KindCounter
	case "gauge", "summary":
		return series.KindGauge
	}
	return series.KindUnknown
}
