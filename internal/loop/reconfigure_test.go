package loop

import (
	"slices"
	"testing"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/gate"
	"grace/internal/stage/sense"
)

// TestTouched: what is to be confirmed anew after a change of the configuration.
func TestTouched(t *testing.T) {
	t.Parallel()
	now := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	build := func(change func(*Config)) *stages {
		cfg := unwired(t, now).stages.Load().Config
		cfg.Services, cfg.Probes = slices.Clone(cfg.Services), slices.Clone(cfg.Probes)
		cfg.Objectives = []sense.Objective{{Name: "slow", Service: "web", Expr: `latency{service="web"} > 300`, Code: grace.CodeLatencySpike}}
		cfg.Sources = map[string]any{"": "the rest", "probe": "http://web", "slow": "http://web/slow", "scrape": "http://web/metrics"}
		change(&cfg)
		st, err := buildStages(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	service := func(cfg *Config, id grace.ServiceID, change func(*grace.Service)) {
		change(&cfg.Services[slices.IndexFunc(cfg.Services, func(s grace.Service) bool { return s.ID == id })])
	}
	for name, tt := range map[string]struct {
		change                       func(*Config)
		probe, objective, api, alert bool // want touched: all of them are about web
	}{
		"nothing":                    {func(*Config) {}, false, false, false, false},
		"its sensor":                 {func(c *Config) { c.Sources["probe"] = "https://web" }, true, false, false, false},
		"another sensor":             {func(c *Config) { c.Sources["slow"] = "https://web" }, false, true, false, false},
		"what an objective rests on": {func(c *Config) { c.Sources["scrape"] = "https://web" }, false, true, false, false},
		"a sensor is there no more":  {func(c *Config) { delete(c.Sources, "scrape") }, false, true, false, false},
		"what nobody names":          {func(c *Config) { c.Sources[""] = "other" }, false, false, true, false},
		"nobody can tell any more":   {func(c *Config) { c.Sources = nil }, true, true, true, false},
		"its objective":              {func(c *Config) { c.Objectives[0].Expr = `latency{service="web"} > 200` }, true, true, true, true},
		"its probe":                  {func(c *Config) { c.Probes[0].Severity = grace.SeverityWarning }, true, true, true, true},
		"a probe of it is gone":      {func(c *Config) { c.Probes = c.Probes[1:] }, true, true, true, true},
		"a probe of another is gone": {func(c *Config) { c.Probes = slices.Delete(c.Probes, 1, 2) }, false, false, false, false},
		"how all is judged":          {func(c *Config) { c.Sense.FailAfter++ }, true, true, true, false},
		"how alerts are read":        {func(c *Config) { c.AlertSource = "another" }, false, false, false, true},
		"its owner":                  {func(c *Config) { service(c, "web", func(s *grace.Service) { s.Owner = "ann" }) }, true, true, true, true},
		"what it depends on":         {func(c *Config) { service(c, "web", func(s *grace.Service) { s.DependsOn = nil }) }, true, true, true, true},
		"its neighbour":              {func(c *Config) { service(c, "db", func(s *grace.Service) { s.Owner = "ann" }) }, false, false, false, false},
		"what is allowed":            {func(c *Config) { c.Govern.Execute = !c.Govern.Execute }, false, false, false, false},
	} {
		c := change{before: build(func(*Config) {}), now: build(tt.change), services: map[grace.ServiceID]bool{}}
		if c.none() != (name == "nothing") {
			t.Errorf("%s: nothing has changed: %t", name, c.none())
		}
		for _, one := range []struct {
			signal  grace.Signal
			sensors []string
			want    bool
		}{
			{grace.Signal{Service: "web", Kind: grace.SignalProbe, Sensor: "probe", Metric: "up"}, []string{"probe"}, tt.probe},
			{grace.Signal{Service: "web", Kind: grace.SignalObjective, Metric: "latency"}, []string{"scrape", "slow"}, tt.objective},
			{grace.Signal{Service: "web", Kind: grace.SignalProbe, Sensor: "ci"}, []string{"ci"}, tt.api},
			{grace.Signal{Service: "web", Kind: grace.SignalAlert, Sensor: "alertmanager"}, []string{"alertmanager"}, tt.alert},
		} {
			if got := c.touches(one.signal, one.sensors); got != one.want {
				t.Errorf("%s has changed: touches %s of %v: %t", name, one.signal.Kind, one.sensors, got)
			}
		}
	}
}

// TestRereadPutsNothingOff: a configuration that is read again as it was changes
// nothing that is known, nor since when; one that has changed what is about another
// service leaves what is seen of this one.
func TestRereadPutsNothingOff(t *testing.T) {
	t.Parallel()
	service, other := benchService(1), benchService(2)
	key := func(id grace.ServiceID) grace.SignalKey { return grace.SignalKey(string(id) + "/probe/up") }
	l, tick := wound(t, func(cfg *Config) {
		cfg.Sources = map[string]any{"": "probes"}
		for _, id := range []grace.ServiceID{service, other} {
			cfg.Probes = append(cfg.Probes, sense.Probe{Service: id, Sensor: "probe", Metric: "up"})
		}
	})
	for range 3 {
		tick()
		for _, id := range []grace.ServiceID{service, other} {
			sample := grace.Sample{Service: id, Sensor: "probe", Metric: "up", Kind: grace.SampleProbe, Severity: grace.SeverityCritical, At: l.Now()}
			if err := l.Observe(t.Context(), sample); err != nil {
				t.Fatal(err)
			}
		}
	}
	foreseen := func() gate.EvidenceState { return l.foreseenNow(service, grace.CodeCapacity) }
	p := grace.Prediction{Key: "x", ID: "a", Rule: "trend", Service: service, Code: grace.CodeCapacity, At: l.Now(), Made: l.Now(), Likelihood: 0.95}
	l.handleEvent(grace.Event{Type: event.TypePrediction, Payload: event.Encode(event.Foresight{Service: service, Code: p.Code, Owner: "test", Prediction: p})})
	since, looking := l.evidenceSince(), l.looking.Load()
	l.reloaded.Store(false)
	reload := func(cfg Config) {
		t.Helper()
		tick()
		if err := l.Reconfigure(t.Context(), cfg, "ann"); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		reload(l.stages.Load().Config)
		if got := l.evidenceNow(t, service, key(service)); got != gate.EvidenceFresh {
			t.Errorf("what is seen: %q", got)
		}
		if foreseen() != gate.EvidenceFresh {
			t.Errorf("what is foreseen: %q", foreseen())
		}
	}
	if !l.evidenceSince().Equal(since) || l.looking.Load() != looking || l.reloaded.Load() {
		t.Errorf("evidence counts since %s, was %s; reloaded: %t", l.evidenceSince(), since, l.reloaded.Load())
	}
	cfg := l.stages.Load().Config
	cfg.Services = slices.Clone(cfg.Services)
	for i := range cfg.Services {
		if cfg.Services[i].ID == other {
			cfg.Services[i].Owner = "ann"
		}
	}
	reload(cfg)
	for id, want := range map[grace.ServiceID]gate.EvidenceState{service: gate.EvidenceFresh, other: gate.EvidenceUnconfirmed} {
		if got := l.evidenceNow(t, id, key(id)); got != want {
			t.Errorf("%s after a change of %s: %q, want %q", id, other, got, want)
		}
	}
	if foreseen() != gate.EvidenceUnconfirmed {
		t.Errorf("what was foreseen before: %q", foreseen())
	}
}
