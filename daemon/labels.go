package daemon

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"grace"
)

// maxLabelled bounds the series of one metric: what further services, playbooks
// and codes bring is counted under "other".
const maxLabelled = 500

const other = "other"

// bounded gives label values, at most maxLabelled different sets of them. The
// values after the first free ones come from fixed lists and stay.
type bounded struct {
	mu   sync.Mutex
	free int // how many values, from the first, become "other"
	seen map[string]bool
}

func newBounded(free int) *bounded { return &bounded{free: free, seen: map[string]bool{}} }

func (b *bounded) labels(values ...string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := strings.Join(values[:b.free], "\xff")
	if b.seen[key] {
		return values
	}
	if len(b.seen) < maxLabelled {
		b.seen[key] = true
		return values
	}
	for i := range b.free {
		values[i] = other
	}
	return values
}

// sickCollector gives what is wrong now, by service.
type sickCollector struct{ d *Daemon }

// Describe meets prometheus.Collector. The set depends on what is wrong.
func (sickCollector) Describe(chan<- *prometheus.Desc) {}

// Collect meets prometheus.Collector.
func (c sickCollector) Collect(out chan<- prometheus.Metric) {
	if c.d.loop == nil {
		return
	}
	firing := newTally("grace_signals_firing", "Signals that fire or are unstable, by service and code.", "service", "code")
	for _, s := range c.d.loop.Signals() {
		if s.State == grace.SignalFiring || s.State == grace.SignalUnstable {
			firing.add(string(s.Service), string(s.Code))
		}
	}
	firing.collect(out)
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	incidents, err := c.d.store.OpenIncidents(ctx, c.d.store.Q())
	if err != nil {
		return
	}
	open := newTally("grace_incidents_open", "Incidents that are open, by service; of GRACE itself and of its surroundings where the label is empty.", "service")
	for _, i := range incidents {
		open.add(string(i.Service))
	}
	open.collect(out)
}

// tally counts by label values, as long as there is room.
type tally struct {
	desc   *prometheus.Desc
	bound  *bounded
	counts map[string]float64
	values map[string][]string
}

func newTally(name, help string, labels ...string) *tally {
	return &tally{describe(name, help, labels...), newBounded(len(labels)), map[string]float64{}, map[string][]string{}}
}

func (t *tally) add(values ...string) {
	values = t.bound.labels(values...)
	key := strings.Join(values, "\xff")
	t.counts[key]++
	t.values[key] = values
}

func (t *tally) collect(out chan<- prometheus.Metric) {
	for key, n := range t.counts {
		out <- prometheus.MustNewConstMetric(t.desc, prometheus.GaugeValue, n, t.values[key]...)
	}
}

// decided counts a decision.
func (m *metrics) decided(dec grace.Decision, took time.Duration) {
	m.decisions.WithLabelValues(m.decisionLabels.labels(string(dec.Service), string(dec.Diagnosis.Code), string(dec.Verdict))...).Inc()
	m.deciding.Observe(took.Seconds())
}
