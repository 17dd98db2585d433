// Package annotation words what a rule tells of an element, in Prometheus' own templates:
// {{ $labels.instance }} has {{ $value | humanizePercentage }} left.
package annotation

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
)

// The variables that Prometheus defines before every template of a rule.
const variables = `{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}`

// Expand fills a template in. What is wrong with it stands in the text, as Prometheus has
// it: a person shall be told nevertheless.
func Expand(text string, labels map[string]string, value float64, at time.Time) string {
	if !strings.Contains(text, "{{") {
		return text
	}
	out, err := expander(text, labels, value, at).Expand()
	if err != nil {
		return text + " (template: " + err.Error() + ")"
	}
	return out
}

// Check tells what is wrong with a template.
func Check(text string) error { return expander(text, nil, 0, time.Time{}).ParseTest() }

func expander(text string, labels map[string]string, value float64, at time.Time) *template.Expander {
	data := template.AlertTemplateData(labels, map[string]string{}, "", promql.Sample{F: value})
	return template.NewTemplateExpander(context.Background(), variables+text, "text", data, model.TimeFromUnixNano(at.UnixNano()), query, &url.URL{}, nil)
}

// query is what {{ query "up" }} of a template gives: a text is made when it is read, of
// what is known of its element.
func query(context.Context, string, time.Time) (promql.Vector, error) {
	return nil, errors.New("query is not available")
}
