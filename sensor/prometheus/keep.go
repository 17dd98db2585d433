package prometheus

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"grace/internal/exposition"
	"grace/internal/series"
)

// instanceLabel is a label that a scrape adds to every series of a page, beside those of
// every sensor.
const instanceLabel = "instance"

// keeper appends the pages of one target.
type keeper struct {
	instance string
	series   *series.Set // of the page
	up       *series.Set // Prometheus' own series of a target, of which no limit takes anything
	answered bool        // once, at least
	failing  time.Time   // since when it does not, before that
}

func newKeeper(db *series.DB, cfg *Config) *keeper {
	instance := cfg.URL
	if u, err := url.Parse(cfg.URL); err == nil && u.Host != "" {
		instance = u.Host
	}
	from := series.From{Sensor: cfg.Name, Source: cfg.Name}
	own := labels.FromStrings(instanceLabel, instance, series.JobLabel, cfg.Name, series.ServiceLabel, string(cfg.Service))
	return &keeper{instance: instance, series: db.NewSet(from, own), up: db.NewSet(from, own)}
}

// page appends what a scrape found, and ends what is not there any more. It tells which
// series there is no room for. What the page dates later than its scrape began was not
// measured later.
func (k *keeper) page(page *exposition.Page, at time.Time) error {
	if !k.answered {
		k.answered = true
		k.series.Lack("", "")
	}
	k.series.Begin(at)
	for i := range page.Points {
		p := &page.Points[i]
		sample := series.Sample{At: at.UnixMilli(), Value: p.Value, Histogram: p.Histogram, Float: p.Float}
		if !p.At.IsZero() {
			sample.At = min(p.At.UnixMilli(), sample.At)
		}
		k.series.Append(p.Name, p.Labels, series.Meta{Kind: kindOf(page, p)}, sample)
	}
	refused := k.series.End(false)
	k.is(1, at)
	if n := refused.Full(); n > 0 {
		return fmt.Errorf("%d series of the page were not taken: %w", n, refused.Err())
	}
	return nil
}

// failed notes that nothing was found. Where nothing ever was nobody knows what would have been:
// that is waited for as what is lost is.
func (k *keeper) failed(at time.Time) {
	k.series.Lose(at)
	if !k.answered {
		why := ""
		if k.failing = cmp.Or(k.failing, at); at.Sub(k.failing) < series.Lookback {
			why = k.instance + " has not answered since the start"
		}
		k.series.Lack("", why)
	}
	k.is(0, at)
}

// end ends everything: the target is scraped no more.
func (k *keeper) end(ctx context.Context, at time.Time) {
	k.series.Leave(ctx, at)
	k.up.Leave(ctx, at)
}

// is appends whether the target is up.
func (k *keeper) is(up float64, at time.Time) {
	k.up.Begin(at)
	k.up.Append(series.UpMetric, labels.EmptyLabels(), series.Meta{Kind: series.KindGauge}, series.Sample{At: at.UnixMilli(), Value: up})
	k.up.End(false)
}

// kindOf tells what the page says that a series is.
func kindOf(page *exposition.Page, p *exposition.Point) series.Kind {
	if p.Native() {
		return series.KindHistogram
	}
	name := p.Name
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
