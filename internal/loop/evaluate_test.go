package loop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"grace"
	"grace/internal/series"
	"grace/internal/stage/sense"
)

// watching is a loop with objectives, and time in steps of a second.
func watching(t *testing.T, objectives ...sense.Objective) (l *Loop, tick func()) {
	t.Helper()
	l, pass := wound(t, func(cfg *Config) { cfg.Objectives = objectives })
	return l, func() {
		pass()
		if err := l.elapse(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func stateOf(l *Loop, key grace.SignalKey) grace.SignalState {
	s, _ := l.sense.Signal(key)
	return s.State
}

// What nobody measures is judged all the same, where that is what an objective is about.
func TestAbsenceIsJudged(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	l, tick := watching(t, sense.Objective{Name: "gone", Service: service, Expr: fmt.Sprintf(`absent(up{service=%q})`, service), Code: grace.CodeDegradation})
	for range 60 {
		tick()
	}
	if got := stateOf(l, grace.SignalKey(service)+"/objective/gone"); got != grace.SignalFiring {
		t.Errorf("nobody measures it: %q", got)
	}
}

// Series that edges append by themselves are judged with the next second.
func TestAppendedBesideTheLoop(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	l, tick := watching(t, sense.Objective{Name: "queue", Expr: `queue > 10`, Code: grace.CodeCapacity})
	key := series.AppendLabel(series.AppendLabel([]byte(nil), series.MetricLabel, "queue"), "service", string(service))
	for i := range 40 {
		tick()
		if i%5 == 0 {
			b := l.Series.Begin(series.From{Sensor: "remote_write", Source: "test"})
			b.Append(key, series.Meta{}, series.Sample{At: l.Now().UnixMilli(), Value: 20})
			if r := b.End(); r.Err() != nil {
				t.Fatal(r.Err())
			}
		}
	}
	if got := stateOf(l, grace.SignalKey(service)+"/objective/queue"); got != grace.SignalFiring {
		t.Errorf("appended, but %q", got)
	}
	for range 120 {
		tick()
	}
	if got := stateOf(l, grace.SignalKey(service)+"/objective/queue"); got != grace.SignalStale {
		t.Errorf("silent, but %q", got)
	}
}

// An expression that many sensors feed by turns is evaluated no more often than each of
// them measures.
func TestEvaluatedAsOftenAsItIsMeasured(t *testing.T) {
	t.Parallel()
	l, _ := watching(t, sense.Objective{Name: "queue", Expr: `queue > 10`, Code: grace.CodeCapacity})
	start := l.Now()
	now := start
	l.Now = func() time.Time { return now }
	w := l.ingest.watches[0]
	evaluated, last := 0, w.at
	for i := range 600 { // 10 services, each every 10 s
		now = start.Add(time.Duration(i) * time.Second)
		s := grace.Sample{Service: benchService(i % 10), Sensor: fmt.Sprintf("s%d", i%10), Metric: "queue", Kind: grace.SampleMetric, Value: 1, At: now}
		if err := l.Observe(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if w = l.ingest.watches[0]; !w.at.Equal(last) {
			evaluated, last = evaluated+1, w.at
		}
	}
	if evaluated < 100 || evaluated > 140 {
		t.Errorf("evaluated %d times in 600 s, want every 5 s", evaluated)
	}
}

// A source that cannot be asked is told of once, with what it does not show, when that has
// lasted: not of each expression, and not at the first failure.
func TestSourceAwayIsToldOnce(t *testing.T) {
	t.Parallel()
	l, tick := watching(t,
		sense.Objective{Name: "slow", Expr: `latency > 5`, Source: "prom", Code: grace.CodeLatencySpike},
		sense.Objective{Name: "errors", Expr: `errors > 5`, Source: "prom", Code: grace.CodeElevatedErrors},
		sense.Objective{Name: "full", Expr: `disk > 90`, Source: "prom", Code: grace.CodeCapacity},
	)
	measure := func(seconds int) {
		for range seconds {
			tick()
		}
	}
	measure(3600) // without a word from it
	st := l.stages.Load()
	away := l.Now()
	for _, o := range st.Objectives {
		if err := l.persist(t.Context(), l.sense.Failed(o.ID(), away, "no whole answer within 5s")); err != nil {
			t.Fatal(err)
		}
	}
	blind := func(after time.Duration) (told []string) {
		for _, inc := range l.blindness(st, l.mirror.known(away, time.Minute).signals, away.Add(after)) {
			if slices.Contains(inc.Services, grace.CoreService) {
				told = append(told, inc.Title)
			}
		}
		return told
	}
	if got := blind(st.escalateAfter(grace.CoreService) - time.Second); len(got) != 0 {
		t.Errorf("at once: %q", got)
	}
	got := blind(st.escalateAfter(grace.CoreService))
	if want := "no data from prom since " + away.UTC().Format(time.RFC3339); len(got) != 1 || !strings.Contains(got[0], want) {
		t.Errorf("once it lasts: %q, want one with %q", got, want)
	}
}

// TestPendingIsSeen: an objective that fails from the start, and waits for its time, is no gap
// in what is seen, of which people are told; once nothing is measured any more it is one.
func TestPendingIsSeen(t *testing.T) {
	t.Parallel()
	service := benchService(1)
	l, tick := watching(t, sense.Objective{Name: "busy", Service: service, Expr: `load > 1`, For: grace.Duration(time.Hour), Code: grace.CodeCapacity})
	began := l.Now()
	key := series.AppendLabel(nil, series.MetricLabel, "load")
	measure := func(seconds int, measured bool) (told int) {
		for range seconds {
			if measured {
				b := l.Series.Begin(series.From{Sensor: "remote_write", Source: "test"})
				b.Append(key, series.Meta{}, series.Sample{At: l.Now().UnixMilli(), Value: 2})
				if r := b.End(); r.Err() != nil {
					t.Fatal(r.Err())
				}
			}
			tick()
			for _, inc := range l.blindness(l.stages.Load(), l.mirror.known(l.Now(), time.Minute).signals, l.Now()) {
				if slices.Contains(inc.Services, service) && strings.Contains(inc.Detail, "load") {
					told++
				}
			}
		}
		return told
	}
	state := func() []grace.Signal { return l.mirror.known(l.Now(), time.Minute).signals }
	if told := measure(1200, true); told != 0 || l.stillBlind(grace.Incident{Sensor: "load"}, state()) || stateOf(l, grace.SignalKey(service)+"/objective/busy") != grace.SignalUnknown {
		t.Errorf("told %d times of what is seen", told)
	}
	if told := measure(1200, false); told == 0 || !l.stillBlind(grace.Incident{Sensor: "load"}, state()) {
		t.Error("not told of what is not seen")
	}
	measure(600, true) // it is seen again
	for told := 0; told == 0; told = measure(140, false) {
		if l.Now().Sub(began) > 2*time.Hour {
			t.Fatal("not told of what is never seen for long enough to fire, and fails whenever it is seen")
		}
		if told := measure(100, true); told > 0 {
			t.Error("told of what is seen")
		}
	}
}

// A source that was away and is back, and finds nothing that is wrong: nothing more is said
// of GRACE, with or without a reload meanwhile.
func TestSourceBackWithNothing(t *testing.T) {
	t.Parallel()
	for _, reload := range []bool{false, true} {
		l, tick := watching(t, sense.Objective{Name: "lag", Expr: `lag > 5`, Source: "prom", Code: grace.CodeCapacity})
		answer := l.Series.NewSet(series.From{Sensor: "prom", Source: "prom"}, labels.EmptyLabels())
		core := grace.SignalKey(grace.CoreService) + "/objective/lag"
		answer.Fail(l.ingest.watches[0].expr.Remote().Metric, "away")
		tick()
		if got := stateOf(l, core); got != grace.SignalStale {
			t.Fatalf("away: %q", got)
		}
		if reload {
			if err := l.Reconfigure(t.Context(), l.stages.Load().Config, "test"); err != nil {
				t.Fatal(err)
			}
		}
		answer.Begin(l.Now())
		answer.End(false)
		tick()
		if got := stateOf(l, core); got != "" {
			t.Errorf("back, reloaded %t: %q", reload, got)
		}
	}
}
