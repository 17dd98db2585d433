package rulefile

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"grace/internal/series"
)

func TestReadSLOs(t *testing.T) {
	t.Parallel()
	slos, problems := ReadSLOs(data(t, "slos.yaml"))
	if problems != nil {
		t.Fatal(problems)
	}
	var b strings.Builder
	for i := range slos {
		s := &slos[i]
		fmt.Fprintf(&b, "%s %.6g line %d %v\n  bad %s\n      %s\n  all %s\n      %s\n", s.ID(), s.Target, s.Line, s.Labels, s.Bad.short, s.Bad.long, s.All.short, s.All.long)
	}
	b.WriteString("\n")
	for _, r := range slos[0].Group(15 * time.Second).Rules {
		fmt.Fprintf(&b, "%s%s = %s\n  %v\n  %s\n", r.Alert, r.Record, r.Expr, r.Labels, r.Text())
		if e, err := series.Compile(r.Expr); err != nil || r.Alert != "" && e.Unpredictable() != "" {
			t.Errorf("%s: %v", r.Expr, err)
		}
	}
	golden(t, "slos.txt", b.String())
}

// budget is a service whose requests fail to some share, and its SLO of 99 %.
type budget struct {
	db       *series.DB
	recorder *series.Recorder
	burns    map[string]*series.Expr
	now      time.Time
	requests float64
	failed   float64
}

func newBudget(t *testing.T, s SLO) *budget {
	t.Helper()
	b := &budget{now: time.Unix(1_700_000_000, 0), burns: map[string]*series.Expr{}}
	var err error
	if b.db, err = series.New(series.DefaultConfig(), series.Options{Now: func() time.Time { return b.now }}); err != nil {
		t.Fatal(err)
	}
	g := series.Group{Name: "slo", Interval: 15 * time.Second}
	var exprs []*series.Expr
	for _, r := range s.Group(0).Rules {
		e, err := series.Compile(r.Expr)
		if err != nil {
			t.Fatal(err)
		}
		if r.Record != "" {
			g.Rules = append(g.Rules, series.Recording{Name: r.Record, Expr: r.Expr, Labels: r.Labels})
			continue
		}
		exprs = append(exprs, e)
		b.burns[strings.TrimPrefix(r.Alert, s.Name+"-burn-")] = e
	}
	b.recorder = b.db.NewRecorder()
	b.db.Watch(append(b.recorder.Configure([]series.Group{g}, exprs), exprs...))
	return b
}

// run lets minutes pass, in which a share of the requests fail.
func (b *budget) run(t *testing.T, minutes int, share float64) {
	t.Helper()
	for range minutes * 4 {
		b.now = b.now.Add(15 * time.Second)
		b.requests += 150
		b.failed += 150 * share
		batch := b.db.Begin(series.From{Sensor: "test", Source: "test"})
		values := map[string]float64{"requests_total": b.requests, "good_total": b.requests - b.failed}
		if b.failed > 0 { // an error that never happened has no series
			values["errors_total"] = b.failed
		}
		for name, v := range values {
			batch.Append(series.AppendLabel([]byte(nil), series.MetricLabel, name), series.Meta{}, series.Sample{At: b.now.UnixMilli(), Value: v})
		}
		batch.End()
		for _, c := range b.recorder.Step(t.Context(), b.now) {
			t.Fatal(c)
		}
	}
}

// burn gives how fast the budget burns over a pair of windows, and whether that is told.
func (b *budget) burn(t *testing.T, window string) (float64, bool) {
	t.Helper()
	r, err := b.db.Evaluate(t.Context(), b.burns[window], b.now)
	if err != nil || len(r.Elements) > 1 {
		t.Fatal(err, r.Elements)
	}
	if len(r.Elements) == 0 {
		return math.NaN(), false
	}
	return r.Elements[0].Value, r.Elements[0].Holds
}

// A budget burns as fast as the naive share says, and is told of while both windows do.
func TestBurn(t *testing.T) {
	t.Parallel()
	bad, _ := count("sum(rate(errors_total[{{.window}}]))", false)
	all, _ := count("sum(requests_total)", true)
	good, _ := count("sum(good_total)", true)
	for name, s := range map[string]SLO{"bad": {Bad: fromBad(bad, all)}, "good": {Bad: fromGood(good, all)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.Service, s.Name, s.Target, s.All = "shop", "orders", 0.99, all
			b := newBudget(t, s)
			b.run(t, 120, 0)
			if got, told := b.burn(t, "1h"); got != 0 || told {
				t.Fatalf("no errors: %g %v", got, told)
			}
			b.run(t, 30, 0.4) // half an hour of 40 % is 20 % of an hour: 20 times 1 %
			if got, told := b.burn(t, "1h"); math.Abs(got-20) > 0.2 || !told {
				t.Errorf("1h: %g %v", got, told)
			}
			if got, told := b.burn(t, "6h"); math.Abs(got-8) > 0.6 || !told { // of the hours that were seen
				t.Errorf("6h: %g %v", got, told)
			}
			if got, _ := b.burn(t, "3d"); !math.IsNaN(got) {
				t.Errorf("3d counts after a twelfth, not now: %g", got)
			}
			b.run(t, 6, 0)
			if got, told := b.burn(t, "1h"); got > 0.1 || told {
				t.Errorf("it is over: %g %v", got, told)
			}
			if got, told := b.burn(t, "6h"); got < 6 || !told { // its short window is half an hour
				t.Errorf("6h: %g %v", got, told)
			}
		})
	}
}

// An outage is told of within minutes, also when nothing had ever failed before.
func TestOutage(t *testing.T) {
	t.Parallel()
	bad, _ := count("sum(rate(errors_total[{{.window}}]))", false)
	all, _ := count("sum(rate(requests_total[{{.window}}]))", false)
	b := newBudget(t, SLO{Service: "shop", Name: "orders", Target: 0.999, Bad: fromBad(bad, all), All: all})
	b.run(t, 120, 0)
	b.run(t, 4, 1)
	if got, told := b.burn(t, "1h"); !told {
		t.Errorf("an outage of four minutes: %g", got)
	}
	b.run(t, 60, 0)
	b.run(t, 2, 1)
	if got, told := b.burn(t, "1h"); !told {
		t.Errorf("another one of two minutes: %g", got)
	}
}
