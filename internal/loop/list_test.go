package loop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/healthgraph"
)

// TestListAway: while the list of an Alertmanager cannot be read, what is seen only by
// its alerts is not healthy, though they were over, and the incident names it; when it
// is read again all is well, also in a process that was started meanwhile.
func TestListAway(t *testing.T) {
	t.Parallel()
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted %t", restarted), func(t *testing.T) {
			t.Parallel()
			l := steppedLoop(t, 3, nil)
			start, passed := l.Now(), 10*time.Second
			l.Now = func() time.Time { return start.Add(passed) }
			l.Elapsed = func() time.Duration { return passed }
			l.beat = passed
			services := []grace.ServiceID{benchService(0), benchService(1)}
			alert := func(id grace.ServiceID, name string, listed, over bool) {
				t.Helper()
				s := grace.Sample{Service: id, Sensor: "alertmanager", Metric: name, Kind: grace.SampleAlert, Fingerprint: "f", Severity: grace.SeverityCritical, Code: grace.CodeServiceDown, At: l.Now(), Listed: listed, Resolved: over}
				if err := l.Observe(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			// run reads the list every 30 s, which fails with a fault.
			run := func(d time.Duration, fault string) {
				t.Helper()
				for end := passed + d; passed < end; passed += time.Second {
					if passed%(30*time.Second) == 0 {
						s := grace.Sample{Service: grace.CoreService, Sensor: "alertmanager", Metric: "alertmanager_alerts", Kind: grace.SampleMetric, At: l.Now(), Listed: true, Expires: l.Now().Add(100 * time.Second)}
						if fault != "" {
							s.Kind, s.Message, s.Expires = grace.SampleSensorError, fault, time.Time{}
						}
						if err := l.Observe(t.Context(), s); err != nil {
							t.Fatal(err)
						}
					}
					if err := l.Step(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			expect := func(when string, want grace.Health, incidents int) {
				t.Helper()
				for _, id := range services {
					if h := healthgraph.Assess(id, l.Signals(), l.Now()); h.Status != want {
						t.Errorf("%s, %s is %s: %v", when, id, h.Status, h.TopSymptoms)
					}
				}
				open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
				if err != nil || len(open) != incidents {
					t.Fatalf("%s, %d incidents: %+v (%v)", when, len(open), open, err)
				}
				for _, inc := range open {
					slices.Sort(inc.Services)
					if inc.Kind != grace.IncidentBlind || inc.Sensor != "alertmanager" || !slices.Equal(inc.Services, services) || !strings.Contains(inc.Detail, "refused") {
						t.Errorf("%s: %+v", when, inc)
					}
				}
			}
			for _, over := range []bool{false, true} {
				for _, id := range services {
					alert(id, "Down", !over, over)
					alert(id, "Elsewhere", false, over) // never in the list
				}
				run(10*time.Second, "")
			}
			run(2*time.Minute, "")
			expect("all is over", grace.HealthHealthy, 0)
			run(2*time.Minute, "refused")
			expect("the list is away", grace.HealthUnknown, 0)
			run(6*time.Minute, "refused")
			expect("for long", grace.HealthUnknown, 1)
			if restarted {
				deps := l.Deps
				l = again(t, l.stages.Load().Config, deps)
				run(time.Minute, "refused")
				expect("started anew", grace.HealthUnknown, 1)
			}
			run(time.Minute, "")
			expect("it is read again", grace.HealthHealthy, 0)
		})
	}
}
