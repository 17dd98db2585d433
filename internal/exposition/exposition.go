// Package exposition reads pages of metrics as Prometheus does: by its own
// parser, in Prometheus' text format or, when the Content-Type says so, in
// OpenMetrics or as protobuf, which alone has native histograms.
//
// A page is taken whole or not at all, as Prometheus judges it: a line that
// cannot be read, a series without a name or with a label twice fails the page.
// What Prometheus would keep is what is given: every line is one [Point]; of a
// series that is there twice the first counts. Names may be any UTF-8 text.
package exposition

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql/parser"
)

// Accept is what a scrape asks for, as Prometheus does.
const Accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5," +
	"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"

// AcceptNative asks for a page with native histograms, if the target has it.
const AcceptNative = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7," + Accept

// Text is the Content-Type of Prometheus' text format, and what a page is read
// as that does not say, or says something unknown.
const Text = "text/plain"

// Point is one line of a page.
type Point struct {
	Name   string
	Labels labels.Labels // without the name
	Value  float64
	// Histogram or Float is a native histogram in place of the value.
	Histogram *histogram.Histogram
	Float     *histogram.FloatHistogram

	At time.Time // as the page says; zero: when it was read
}

// Page is what a target exposes.
type Page struct {
	Points []Point
	Types  map[string]string // by family: counter, gauge, histogram, summary, ...
}

// ErrLimit means that a page has more points than allowed.
var ErrLimit = errors.New("too many")

// Parse reads a page of at most limit points; 0 is without a limit.
func Parse(body []byte, contentType string, limit int) (page *Page, err error) {
	defer func() {
		if broken := recover(); broken != nil { // lists of a native histogram that do not fit together
			page, err = nil, fmt.Errorf("the page breaks its parser: %v", broken)
		}
	}()
	binary, open := strings.Contains(contentType, "protobuf"), strings.Contains(contentType, "openmetrics")
	if !open && !binary {
		if line, is := indented(body); is {
			return nil, fmt.Errorf("line %d begins with a space", line)
		}
	}
	p, err := textparse.New(body, contentType, labels.NewSymbolTable(), textparse.ParserOptions{
		FallbackContentType: Text, KeepClassicOnClassicAndNativeHistograms: true,
	})
	if p == nil {
		return nil, err
	}
	page = &Page{Types: map[string]string{}}
	seen := map[string]bool{}
	for {
		entry, err := p.Next()
		switch {
		case errors.Is(err, io.EOF):
			return page, nil
		case err != nil:
			return nil, err
		}
		switch entry { //nolint:exhaustive // help, units and comments say nothing
		case textparse.EntryType:
			name, kind := p.Type()
			page.Types[string(name)] = string(kind)
		case textparse.EntrySeries, textparse.EntryHistogram:
			point, err := read(p, entry, binary)
			if open && !point.Native() {
				if raw, _, _ := p.Series(); strings.HasSuffix(string(raw), ",}") {
					err = fmt.Errorf("%s has a comma after its last label", point.Name)
				}
			}
			if err != nil {
				return nil, err
			}
			if id := point.Name + point.Labels.String(); !seen[id] {
				seen[id] = true
				page.Points = append(page.Points, point)
			}
			if limit > 0 && len(page.Points) > limit {
				return nil, fmt.Errorf("%w (more than %d)", ErrLimit, limit)
			}
		}
	}
}

// indented finds a line that holds a series and begins with a space, which
// Prometheus' text format does not know.
func indented(body []byte) (line int, is bool) {
	for text := range strings.Lines(string(body)) {
		line++
		if text[0] != ' ' && text[0] != '\t' {
			continue
		}
		if rest := strings.TrimLeft(text, " \t"); rest != "" && rest[0] != '#' && rest[0] != '\n' && rest[0] != '\r' {
			return line, true
		}
	}
	return 0, false
}

// Native tells whether a point is a native histogram.
func (p *Point) Native() bool { return p.Histogram != nil || p.Float != nil }

func read(p textparse.Parser, entry textparse.Entry, binary bool) (Point, error) {
	var all labels.Labels
	p.Labels(&all)
	out := Point{Name: all.Get(model.MetricNameLabel)}
	var raw []byte
	var ms *int64
	if entry == textparse.EntryHistogram {
		_, ms, out.Histogram, out.Float = p.Histogram()
		if err := out.check(); err != nil {
			return out, err
		}
	} else {
		raw, ms, out.Value = p.Series()
	}
	if ms != nil {
		out.At = time.UnixMilli(*ms).UTC()
	}
	bound := all.Get(labels.BucketLabel) + all.Get("quantile")
	if !binary && (strings.HasSuffix(bound, ".0") || strings.Contains(bound, "e+")) {
		// The parser writes le="1" as le="1.0"; what the page says is kept.
		if as, err := parser.NewParser(parser.Options{}).ParseMetric(string(raw)); err == nil {
			all = as
		}
	}
	var e exemplar.Exemplar
	if !out.Native() && p.Exemplar(&e) && !strings.HasSuffix(out.Name, "_total") && !strings.HasSuffix(out.Name, "_bucket") && !binary {
		return out, fmt.Errorf("%s has an exemplar: only a counter's _total and a _bucket may", out.Name)
	}
	if out.Name == "" {
		return out, errors.New("a series has no name")
	}
	if twice, is := all.HasDuplicateLabelNames(); is {
		return out, fmt.Errorf("%s has the label %s twice", out.Name, twice)
	}
	if !all.IsValid(model.UTF8Validation) {
		return out, fmt.Errorf("%s: its name or a label is not valid", all.String())
	}
	b := labels.NewScratchBuilder(all.Len())
	all.Range(func(l labels.Label) {
		if binary && (l.Name == labels.BucketLabel || l.Name == "quantile") {
			l.Value = strings.TrimSuffix(l.Value, ".0") // as pages of text have it
		}
		if l.Name != model.MetricNameLabel && l.Value != "" { // an empty value is the same as none
			b.Add(l.Name, l.Value)
		}
	})
	b.Sort()
	out.Labels = b.Labels()
	return out, nil
}

// check tells what is wrong with a native histogram.
func (p *Point) check() (err error) {
	if p.Histogram != nil {
		err = p.Histogram.Validate()
	} else if p.Float != nil {
		err = p.Float.Validate()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}
