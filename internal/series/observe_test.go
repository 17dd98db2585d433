package series

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"grace"
)

// What a sensor measures is a series, with labels that say whose.
func TestObserve(t *testing.T) {
	r := newRig(t, nil)
	all := r.watch(`{__name__!=""}`)[0]
	r.Observe(
		grace.Sample{Service: "pay", Sensor: "s", Metric: "latency", Kind: grace.SampleMetric, Value: 1, At: after(0), Unit: "ms"},
		grace.Sample{Service: "pay", Sensor: "s", Metric: "queue", Kind: grace.SampleMetric, Value: 2, At: after(0), Labels: map[string]string{
			"zone": "x", "a": "first", "none": "", "service": "other", "job": "other", "__name__": "other", "probe": "other",
		}},
		grace.Sample{Service: "pay", Sensor: "p", Metric: "http", Kind: grace.SampleProbe, Value: 1, At: after(0), Labels: map[string]string{"probe": "x", "url": "u"}},
		grace.Sample{Service: "pay", Sensor: "p", Metric: "tcp", Kind: grace.SampleProbe, Value: 0, At: after(0)},
		grace.Sample{Service: "pay", Sensor: "p", Metric: "log", Kind: grace.SampleAlert, Value: 5, At: after(0)},
	)
	var got []string
	for _, k := range r.find(all.picks[0].matchers) {
		s, _ := k.newest()
		got = append(got, fmt.Sprintf("%s %v %d %s", k.labels, s.float, s.at-start.UnixMilli(), k.sensor))
	}
	want := []string{
		`{__name__="latency", job="s", service="pay"} 1 0 s`,
		`{__name__="probe_success", exported_probe="x", job="p", probe="http", service="pay", url="u"} 1 0 p`,
		`{__name__="probe_success", job="p", probe="tcp", service="pay"} 0 0 p`,
		`{__name__="queue", a="first", exported_job="other", exported_probe="other", exported_service="other", job="s", service="pay", zone="x"} 2 0 s`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("kept %q\nwant %q", got, want)
	}
	// The built-in rule for probes gives them a role.
	i := slices.IndexFunc(r.series, func(s Series) bool { return s.Metric == ProbeSuccess })
	if i < 0 || r.series[i].Role != grace.RoleErrors || r.series[i].Service != "pay" {
		t.Errorf("forecast %+v", r.series)
	}
}

// The same samples again change nothing, and are the same series whatever order the
// labels come in.
func TestObserveAgain(t *testing.T) {
	r := newRig(t, nil)
	e := r.watch(`count_over_time(queue[10m])`)[0]
	for i := range 20 {
		r.Observe(grace.Sample{
			Service: "pay", Sensor: "s", Metric: "queue", Kind: grace.SampleMetric, Value: 2, At: after(float64(i / 2)),
			Labels: map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "z": "5"},
		})
	}
	if got := evaluate(t, r.DB, e, after(60)); len(got.Elements) != 1 || got.Elements[0].Value != 10 || got.Elements[0].Labels["service"] != "pay" {
		t.Errorf("%v, want ten samples of one series", got.Elements)
	}
	if s := r.Stats(); s.Series != 1 || s.Opened != 1 || s.Sources != 1 {
		t.Errorf("%+v", s)
	}
}

// The service that the rules find is a label of what is kept, unless there is one.
func TestServiceLabel(t *testing.T) {
	for series, want := range map[string]string{
		"jobs_pending{job=cart}":                     `{job="cart", service="cart"}`,
		"jobs_pending{job=shop/cart}":                `{job="shop/cart", service="cart"}`,
		"jobs_pending{job=stranger}":                 `{job="stranger"}`,
		"jobs_pending{job=cart,service=own}":         `{job="cart", service="own"}`,
		"jobs_pending{service.name=pay,zone=x}":      `{service="pay", "service.name"="pay", zone="x"}`,
		"jobs_pending{job=stranger,service=}":        `{job="stranger"}`,
		"go_info{job=cart}":                          `{job="cart", service="cart"}`,
		"jobs_pending{job=cart,service_name=stated}": `{job="cart", service="stated", service_name="stated"}`,
	} {
		r := newRig(t, nil)
		e := r.watch(`{__name__=~"jobs_pending|go_info"} > 0`)[0]
		r.send(series, Meta{}, at(0, 1))
		got := evaluate(t, r.DB, e, after(0))
		if len(got.Elements) != 1 || labels.FromMap(got.Elements[0].Labels).String() != want {
			t.Errorf("%s: %v, want %s", series, got.Elements, want)
		}
	}
}
