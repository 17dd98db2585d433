package loop

import (
	"testing"
	_ "time/tzdata"

	"grace"
)

// A service has its days by its own zone, any other by the configured one; a name that is
// none is refused.
func TestZones(t *testing.T) {
	cfg := Config{TimeZone: "Europe/Berlin"}
	cfg.Services = []grace.Service{{ID: "shop", TimeZone: "America/New_York"}, {ID: "web"}}
	z, err := zonesOf(&cfg)
	if err != nil || z.Default.String() != "Europe/Berlin" || len(z.Of) != 1 || z.Of["shop"].String() != "America/New_York" {
		t.Errorf("%+v, %v", z, err)
	}
	cfg.Services[0].TimeZone = "Mars/Olympus"
	if _, err := zonesOf(&cfg); err == nil {
		t.Error("a zone that is none")
	}
}
