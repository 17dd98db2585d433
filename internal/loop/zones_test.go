package loop

import (
	"reflect"
	"testing"
	"time"
	_ "time/tzdata"

	"grace"
	"grace/internal/stage/predict"
)

// A service has its days by its own zone, any other by the configured one, as the agents
// are told at the start and by a reload; a name that is none is refused.
func TestZones(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 2, func(cfg *Config) { cfg.TimeZone, cfg.Services[0].TimeZone = "Europe/Berlin", "America/New_York" })
	shard := predict.New(l.stages.Load().Predict, nil, l.Gate)
	l.Shards = shardsOf{shard}
	told := func(a *predict.Agent) (zones [2]string) {
		z := reflect.ValueOf(a).Elem().FieldByName("zones")
		for i, zone := range []reflect.Value{z.FieldByName("Default"), z.FieldByName("Of").MapIndex(reflect.ValueOf(benchService(0)))} {
			if zone.IsValid() && !zone.IsNil() {
				zones[i] = zone.Elem().FieldByName("name").String()
			}
		}
		return zones
	}
	if got := told(l.predict); got != [2]string{"Europe/Berlin", "America/New_York"} {
		t.Errorf("at the start: %v", got)
	}
	cfg := l.stages.Load().Config
	cfg.TimeZone, cfg.Services = "Asia/Tokyo", []grace.Service{{ID: benchService(0), TimeZone: "Asia/Kolkata"}}
	if err := l.Reconfigure(t.Context(), cfg, "test"); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*predict.Agent{l.predict, shard} {
		if got := told(a); got != [2]string{"Asia/Tokyo", "Asia/Kolkata"} {
			t.Errorf("after a reload: %v", got)
		}
	}
	cfg.Services = []grace.Service{{ID: "web", TimeZone: "Mars/Olympus"}}
	if err := l.Reconfigure(t.Context(), cfg, "test"); err == nil {
		t.Error("a zone that is none is taken")
	}
	if z, err := zonesOf(&Config{}); err != nil || z.Default != time.UTC {
		t.Errorf("no zone: %+v, %v", z, err)
	}
}
