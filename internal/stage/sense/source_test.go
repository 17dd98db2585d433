package sense

import (
	"strings"
	"testing"
	"time"

	"grace"
)

func errorAt(sec int, sensor, metric, why string) grace.Sample {
	return grace.Sample{Service: "cart", Sensor: sensor, Metric: metric, Kind: grace.SampleSensorError, At: at(sec), Message: why}
}

// A sensor that could not look has neither failed nor passed: what it is about
// is stale, with the reason, at once.
func TestSensorError(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{slow()})
	a.Observe(probeAt(0, 1))
	p := probeAt(0, 1)
	for i := 1; i <= 5; i++ {
		got := a.Observe(errorAt(i, p.Sensor, p.Metric, "no file descriptors"))
		switch {
		case i > 1 && len(got) != 0:
			t.Errorf("said again: %+v", got)
		case i == 1 && (len(got) != 1 || got[0].State != grace.SignalStale || !strings.Contains(got[0].Message, "sensor error: no file descriptors") || !got[0].At.Equal(at(0))):
			t.Errorf("%+v", got)
		}
	}
	// An objective follows the source of its metric.
	m := metricAt(10, 100)
	a.Observe(m)
	if got := a.Observe(errorAt(11, m.Sensor, m.Metric, "Prometheus is away")); len(got) != 1 || got[0].State != grace.SignalStale {
		t.Errorf("%+v", got)
	}
	if got := a.Observe(errorAt(12, "other", m.Metric, "away")); len(got) != 0 {
		t.Errorf("another source's error counts: %+v", got)
	}
	if got := a.Observe(errorAt(13, "nobody", "nothing", "x")); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// A sensor error is no verdict: a probe that fails as often as it can look fires,
// and one that passes as often clears. A failure from before a long time without
// data does not count, nor does a pass between two failures go unnoticed.
func TestSensorErrorsBetweenVerdicts(t *testing.T) {
	for _, c := range []struct {
		name  string
		looks string // one every 5 s: f fails, p passes, e is a sensor error, . nothing
		want  grace.SignalState
	}{
		{"one failure", "pef", grace.SignalUnknown},
		{"every second look fails", "pefef", grace.SignalFiring},
		{"a pass between", "pefepef", grace.SignalUnknown},
		{"long without data", "pef" + strings.Repeat("e", 13) + "f", grace.SignalUnknown},
		{"long without data, then as before", "pef" + strings.Repeat("e", 13) + "fef", grace.SignalFiring},
		{"errors, then nothing", "pefe" + strings.Repeat(".", 13) + "f", grace.SignalUnknown},
		{"never passed", "efef", grace.SignalFiring},
		{"never passed, and long without data", "f" + strings.Repeat(".", 13) + "f", grace.SignalUnknown},
		{"failed after an error, then long without data", "pef" + strings.Repeat(".", 13) + "f", grace.SignalUnknown},
		{"well again", "pffepep", grace.SignalOK},
		{"well once", "pffep", grace.SignalFiring},
		{"well long ago", "pffp" + strings.Repeat("e", 13) + "p", grace.SignalFiring},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newHouse(DefaultConfig(), nil)
			a.Expect([]Probe{{Service: "cart", Sensor: "http", Metric: "http_health", Interval: 5 * time.Second}})
			for i, look := range c.looks {
				switch s := i * 5; look {
				case 'f':
					a.Observe(probeAt(s, 0))
				case 'p':
					a.Observe(probeAt(s, 1))
				case 'e':
					a.Observe(errorAt(s, "http", "http_health", "no file descriptors"))
				}
				a.Tick(at(i*5 + 1))
			}
			if s, _ := a.Signal("cart/http/http_health"); s.State != c.want {
				t.Errorf("%q (%s), want %q", s.State, s.Message, c.want)
			}
		})
	}
}

// A probe that goes on failing in another way means something else.
func TestCodeOfAFailureChanges(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	down, errs := probeAt(0, 0), probeAt(2, 0)
	down.Code, errs.Code = grace.CodeServiceDown, grace.CodeElevatedErrors
	a.Observe(down)
	down.At = at(1)
	a.Observe(down)
	if got := a.Observe(errs); len(got) != 1 || got[0].Code != grace.CodeElevatedErrors || got[0].State != grace.SignalFiring {
		t.Errorf("%+v", got)
	}
}

// The end of an older occurrence does not clear a newer one.
func TestResolveOfAnOlderOccurrence(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	alert := func(sec int, started time.Time, over bool) []grace.Signal {
		s := alertAt(sec, "f1", over)
		s.StartsAt = started
		return a.Observe(s)
	}
	alert(0, at(0), false)
	alert(1, at(1), false)
	if got := alert(2, at(0), true); len(got) != 0 {
		t.Errorf("an older one ended: %+v", got)
	}
	if got := alert(3, at(1), true); len(got) != 1 || got[0].State != grace.SignalOK {
		t.Errorf("this one ended: %+v", got)
	}
	if got := alert(4, at(1), false); len(got) != 1 || got[0].State != grace.SignalFiring {
		t.Errorf("it fires again, though it began when it did: %+v", got)
	}
	if got := alert(5, time.Time{}, true); len(got) != 1 || got[0].State != grace.SignalOK {
		t.Errorf("an end without a beginning: %+v", got)
	}
}

// An alert that says until when it fires is no data then, also after a restart:
// its sender would have said that it is over.
func TestAlertExpires(t *testing.T) {
	a := newHouse(DefaultConfig(), nil)
	s := alertAt(0, "f1", false)
	s.Expires = at(60)
	a.Observe(s)
	if got := a.Tick(at(59)); len(got) != 0 {
		t.Errorf("too early: %+v", got)
	}
	again := newHouse(DefaultConfig(), nil)
	again.Restore(a.Signals(), at(30))
	for _, agent := range []*house{a, again} {
		if got := agent.Tick(at(61)); len(got) != 1 || got[0].State != grace.SignalStale {
			t.Errorf("%+v", got)
		}
	}
	s.At, s.Expires = at(70), at(130)
	if got := a.Observe(s); len(got) != 1 || got[0].State != grace.SignalFiring {
		t.Errorf("its sender is back: %+v", got)
	}
	s.At, s.Expires = at(100), at(160)
	a.Observe(s)
	if got := a.Tick(at(140)); len(got) != 0 {
		t.Errorf("it was repeated: %+v", got)
	}
}

// A sample before 1970 is none.
func TestBefore1970(t *testing.T) {
	a := newHouse(DefaultConfig(), []Objective{slow()})
	s := metricAt(0, 900)
	s.At = time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC)
	if got := a.Observe(s); got != nil {
		t.Errorf("%+v", got)
	}
}

// An alert that another one inhibits was silenced by nobody.
func TestSilencedAtItsSource(t *testing.T) {
	for by, want := range map[string]string{
		"silence 7 (bob: deploy)":  "Lag firing, silenced by silence 7 (bob: deploy)",
		"inhibited by alert c0ffe": "Lag firing, inhibited by alert c0ffe",
		"muted by nights":          "Lag firing, muted by nights",
		"suppressed":               "Lag firing, suppressed",
		"":                         "Lag firing",
	} {
		a := newHouse(DefaultConfig(), nil)
		got := a.Observe(grace.Sample{
			Service: "cart", Sensor: "alertmanager", Metric: "Lag", Kind: grace.SampleAlert, At: at(0), StartsAt: at(0), Fingerprint: "f1", Silenced: by,
		})
		if len(got) != 1 || got[0].Message != want {
			t.Errorf("%q: %+v, want %q", by, got, want)
		}
	}
}
