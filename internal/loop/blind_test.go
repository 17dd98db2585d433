package loop

import (
	"strings"
	"testing"
	"time"

	"grace"
)

// TestBlindAfterSick: what was sick when a sensor saw it last, and cannot be seen
// any more, lasts; what had passed, or was never seen, counts from then on.
func TestBlindAfterSick(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	sick := began.Add(time.Hour)
	seen := sick.Add(50 * time.Second)
	for name, tt := range map[string]struct {
		at, fired time.Time
		early     bool
		says      string
	}{
		"sick":       {seen, seen, true, sickWhenSeen},
		"passed":     {seen, seen.Add(-10 * time.Second), false, ""},
		"never seen": {time.Time{}, time.Time{}, true, ""}, // since the start
	} {
		l := unwired(t, func() time.Time { return seen })
		st := l.stages.Load()
		l.epoch.Store(began.UnixMilli())
		l.looking.Store(began.UnixMilli())
		s := grace.Signal{
			Key: "web/probe/up", Service: "web", Sensor: "probe", Metric: "up", State: grace.SignalStale, Severity: grace.SeverityCritical,
			Since: seen, At: tt.at, Fired: tt.fired, Message: "up: sensor error: too many open files",
		}
		l.conditions = map[grace.ServiceID]*condition{"web": {since: sick, worst: s, clear: seen}}
		got := l.blindness(st, []grace.Signal{s}, sick.Add(st.escalateAfter("web")))
		if (len(got) > 0) != tt.early {
			t.Errorf("%s: told %v, want told at once: %t", name, got, tt.early)
			continue
		}
		if len(got) == 0 {
			got = l.blindness(st, []grace.Signal{s}, seen.Add(st.escalateAfter("web")))
		}
		if len(got) != 1 || strings.HasSuffix(got[0].Detail, sickWhenSeen) != (tt.says != "") || got[0].Since.Before(began) {
			t.Errorf("%s: %+v, want it to say %q", name, got, tt.says)
		}
	}
}

// TestBlindInPart: of a service that another sensor sees, it is not said that nothing is
// seen.
func TestBlindInPart(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for want, other := range map[string]grace.SignalState{
		"GRACE sees nothing of web: ":          grace.SignalStale,
		"GRACE does not see part of web: no d": grace.SignalOK,
	} {
		l := unwired(t, func() time.Time { return now })
		l.epoch.Store(now.UnixMilli())
		l.looking.Store(now.UnixMilli())
		signals := []grace.Signal{
			{Key: "web/page/up", Service: "web", Sensor: "page", Metric: "up", State: grace.SignalStale, Severity: grace.SeverityCritical},
			{Key: "web/port/up", Service: "web", Sensor: "port", Metric: "up", State: other, Severity: grace.SeverityCritical},
		}
		st := l.stages.Load()
		l.blindness(st, signals, now)
		got := l.blindness(st, signals, now.Add(st.escalateAfter("web")))
		if len(got) == 0 || !strings.HasPrefix(got[0].Title, want) {
			t.Errorf("%+v, want %q", got, want)
		}
	}
}

// TestBlindTogether: when people are told of a sensor, they are told of all that it does not
// show, and not of one after the other.
func TestBlindTogether(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := unwired(t, func() time.Time { return now })
	l.epoch.Store(now.UnixMilli())
	l.looking.Store(now.UnixMilli())
	st := l.stages.Load()
	var signals []grace.Signal
	for i, id := range []grace.ServiceID{"db", "queue", "web"} {
		signals = append(signals, grace.Signal{
			Key: grace.SignalKey(id) + "/objective/slow", Service: id, Sensor: "prom", Metric: "slow", State: grace.SignalStale, Severity: grace.SeverityCritical,
			At: now.Add(time.Duration(i) * 5 * time.Second),
		})
	}
	after := st.escalateAfter("db")
	if got := l.blindness(st, signals, now.Add(after-time.Second)); len(got) != 0 {
		t.Errorf("too early: %+v", got)
	}
	if got := l.blindness(st, signals, now.Add(after)); len(got) != 1 || len(got[0].Services) != 3 {
		t.Errorf("when it is due: %+v", got)
	}
}
