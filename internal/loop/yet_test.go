package loop

import (
	"fmt"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"grace"
	"grace/internal/series"
	"grace/internal/stage/sense"
)

// What never comes is waited for as long as data may be missing, also after a reload; then what
// has not happened yet is well, and what nothing gives is told of.
func TestNeverMeasured(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	objective := func(name, expr string) sense.Objective {
		return sense.Objective{Name: name, Service: service, Expr: expr, Code: grace.CodeElevatedErrors, Severity: grace.SeverityWarning}
	}
	all := []sense.Objective{
		objective("errors", `sum(requests{code="500"}) / sum(requests) > 0.1`),
		objective("misspelt", `sum(request{code="500"}) / sum(requests) > 0.1`),
		objective("alone", `sum(nothing) > 1`),
		{Name: "labelled", Expr: `nowhere > 1`, Code: grace.CodeCapacity},
		{Name: "away", Expr: `nowhere > 1`, Source: "prom", Code: grace.CodeCapacity},
	}
	l, pass := wound(t, func(cfg *Config) {
		cfg.Objectives = all
		cfg.Limits = []sense.Limit{{Name: "full", Expr: `disk < 5`, Code: grace.CodeCapacity}}
	})
	l.Series.NewSet(series.From{Sensor: "prom"}, labels.EmptyLabels()).Fail(l.ingest.watches[4].expr.Remote().Metric, "away")
	last := map[string]string{}
	for sec := range 120 {
		pass()
		b := l.Series.Begin(series.From{Sensor: "s", Source: "s"})
		key := series.AppendLabel(series.AppendLabel([]byte(nil), series.MetricLabel, "requests"), "code", "200")
		b.Append(key, series.Meta{}, series.Sample{At: l.Now().UnixMilli(), Value: 1})
		b.End()
		if sec == 40 { // which does not begin it anew
			cfg := l.stages.Load().Config
			cfg.Limits = append(cfg.Limits, sense.Limit{Name: "new", Expr: `more < 5`, Code: grace.CodeCapacity})
			if err := l.Reconfigure(t.Context(), cfg, "test"); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.elapse(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, o := range all[:3] {
			s, _ := l.sense.Signal(grace.SignalKey(service) + "/objective/" + grace.SignalKey(o.Name))
			last[o.Name] = fmt.Sprint(s.State, " ", s.Message)
			if sec < 59 && last[o.Name] != " "+o.Name+": no data yet" {
				t.Fatalf("after %d s: %s", sec, last[o.Name])
			}
		}
		got := fmt.Sprint(l.NeverMeasured())
		want := "[]"
		if sec == 59 { // the loop was made a moment before its first second
			continue
		}
		if sec >= 60 {
			want = fmt.Sprintf("[{misspelt %[1]s false request{code=\"500\"}} {alone %[1]s false nothing} {labelled  false nowhere} {full  true disk}", service)
			want += map[bool]string{true: " {new  true more}]", false: "]"}[sec >= 101]
		}
		if got != want {
			t.Fatalf("after %d s: %s, want %s", sec, got, want)
		}
	}
	for name, want := range map[string]string{
		"errors":   "ok errors: nothing found, as where all is well",
		"misspelt": ` misspelt: no data yet; nothing gives request{code="500"}: is it spelt right? What comes only once it happens is written (...) or vector(0)`,
		"alone":    " alone: no data yet; nothing gives nothing: is it spelt right, and does a sensor read it?",
	} {
		if last[name] != want {
			t.Errorf("%s, want %s", last[name], want)
		}
	}
}
