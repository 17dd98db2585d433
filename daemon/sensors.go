package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"grace"
	"grace/internal/api"
	"grace/internal/explain"
	"grace/internal/series"
	"grace/sensor/alertmanager"
)

const (
	// restartFirst and restartMost bound the wait before a sensor that broke
	// down is started again.
	restartFirst = time.Second
	restartMost  = 5 * time.Minute
	// blindAfter is added to three intervals: after so long without a sample a
	// source is dead.
	blindAfter = 15 * time.Second
	// unknownInterval is assumed of a sensor that an extension brought.
	unknownInterval = time.Minute
	// maxSeen bounds the series that are remembered of a sensor.
	maxSeen = 1000
	// maxAhead is how far ahead of GRACE's clock a sample's time may be.
	maxAhead = 5 * time.Minute
)

// source is a sensor with what is known of it.
type source struct {
	grace.Sensor

	kind     string
	service  grace.ServiceID
	interval time.Duration
	origin   any // what makes it
}

// sensors runs a set of sensors that can be swapped, starts one again that
// panicked, and knows which of them GRACE sees by.
type sensors struct {
	log  *slog.Logger
	sink grace.Sink
	now  func() time.Time

	mu     sync.Mutex
	list   []*watched
	totals map[string]*totals // by name; over all reloads
}

// totals are counters, which never fall.
type totals struct{ errors, panics uint64 }

// seen identifies a series of a sensor.
type seen struct {
	service grace.ServiceID
	metric  string
}

// watched is one running sensor. Its fields are guarded by sensors.mu.
type watched struct {
	source

	cancel context.CancelCauseFunc
	done   chan struct{} // closed when it has ended

	totals  *totals
	since   time.Time
	last    time.Time // sample
	lastErr string
	errAt   time.Time
	series  map[seen]string // why it could not look, or empty
}

// same tells whether what makes a sensor is what makes another one.
func (src source) same(o source) bool {
	return src.Name() == o.Name() && src.origin != nil && reflect.DeepEqual(src.origin, o.origin)
}

// halt stops the running sensors but those that are as the given ones, waits for
// them, and gives them. Who looks every 30 seconds, and began anew with every reload,
// would never look where reloads come more often.
func (s *sensors) halt(but []source) (stopped []source) {
	s.mu.Lock()
	var kept, ending []*watched
	for _, w := range s.list {
		if slices.ContainsFunc(but, w.same) {
			kept = append(kept, w)
		} else {
			ending, stopped = append(ending, w), append(stopped, w.source)
		}
	}
	s.mu.Unlock()
	for _, w := range ending {
		var why error
		if slices.ContainsFunc(but, func(o source) bool { return o.Name() == w.Name() }) {
			why = series.ErrReplaced
		}
		w.cancel(why)
	}
	for _, w := range ending { // which may speak to the end
		<-w.done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = kept
	return stopped
}

// start runs those of the given sensors that do not run.
func (s *sensors) start(list []source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.totals == nil {
		s.totals = map[string]*totals{}
	}
	running := slices.Clone(s.list)
	for _, src := range list {
		if slices.ContainsFunc(running, func(w *watched) bool { return w.Name() == src.Name() }) {
			continue
		}
		t := s.totals[src.Name()]
		if t == nil {
			t = &totals{}
			s.totals[src.Name()] = t
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		w := &watched{source: src, totals: t, since: s.now(), series: map[seen]string{}, cancel: cancel, done: make(chan struct{})}
		s.list = append(s.list, w)
		go func() {
			defer close(w.done)
			s.run(ctx, w)
		}()
	}
}

// run keeps a sensor running.
func (s *sensors) run(ctx context.Context, w *watched) {
	wait := restartFirst
	for {
		began := time.Now()
		err := s.once(ctx, w)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > restartMost {
			wait = restartFirst
		}
		s.log.Error("sensor ended and is started again; its signals are stale meanwhile", "sensor", w.Name(), "error", err, "again_in", wait)
		s.broken(ctx, w, err)
		again := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-again.C:
		}
		wait = min(2*wait, restartMost)
	}
}

// once runs a sensor until it ends, panics included.
func (s *sensors) once(ctx context.Context, w *watched) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
			s.log.Error("a sensor panicked", "sensor", w.Name(), "panic", v, "stack", string(debug.Stack()))
			s.mu.Lock()
			w.totals.panics++
			s.mu.Unlock()
		}
	}()
	if err := w.Run(ctx, grace.SinkFunc(func(ctx context.Context, samples ...grace.Sample) error { return s.observe(ctx, w, samples) })); err != nil {
		return err
	}
	return errors.New("it ended by itself")
}

// broken says of everything that the sensor told so far that it does not look.
func (s *sensors) broken(ctx context.Context, w *watched, err error) {
	s.mu.Lock()
	samples := []grace.Sample{{Sensor: w.Name(), Kind: grace.SampleSensorError, At: s.now(), Message: err.Error()}}
	for k := range w.series {
		samples = append(samples, grace.Sample{
			Service: k.service, Sensor: w.Name(), Metric: k.metric, Kind: grace.SampleSensorError, At: s.now(), Message: err.Error(),
		})
	}
	s.mu.Unlock()
	if err := s.observe(ctx, w, samples); err != nil && ctx.Err() == nil {
		s.log.Warn("that a sensor ended is not recorded", "sensor", w.Name(), "error", err)
	}
}

// observe notes what a sensor says, and hands on what can be stored.
func (s *sensors) observe(ctx context.Context, w *watched, samples []grace.Sample) error {
	now := s.now()
	out := make([]grace.Sample, 0, len(samples))
	s.mu.Lock()
	for _, sample := range samples {
		switch {
		case sample.At.Unix() < 0:
			w.fail(now, "a sample has a time before 1970 and was left out")
			continue
		case sample.At.After(now.Add(maxAhead)):
			w.fail(now, fmt.Sprintf("a sample is %s ahead of GRACE's clock: it counts as measured now, unless it says the same time again", sample.At.Sub(now).Round(time.Second)))
		}
		w.note(sample, now)
		if sample.Service != "" {
			out = append(out, sample)
		}
	}
	s.mu.Unlock()
	if len(out) == 0 {
		return nil
	}
	return s.sink.Observe(ctx, out...)
}

// note takes one sample into the sensor's state. The caller holds the lock.
func (w *watched) note(sample grace.Sample, now time.Time) {
	k := seen{sample.Service, sample.Metric}
	why := ""
	if sample.Kind == grace.SampleSensorError {
		why = cmp.Or(sample.Message, "it does not say why")
		w.fail(now, why)
	} else {
		w.last = now
		delete(w.series, seen{}) // it runs again
	}
	if _, known := w.series[k]; known || len(w.series) < maxSeen {
		w.series[k] = why
	}
}

func (w *watched) fail(now time.Time, why string) {
	w.totals.errors++
	w.lastErr, w.errAt = grace.Printable(why), now
}

// view gives the state of a sensor. The caller holds the lock.
func (w *watched) view(now time.Time) api.SensorView {
	v := api.SensorView{
		Name: w.Name(), Type: w.kind, Service: w.service, State: api.SensorOK, Since: w.since, LastSample: w.last,
		LastError: w.lastErr, ErrorAt: w.errAt, Errors: w.totals.errors, Panics: w.totals.panics,
	}
	failed := false
	for _, why := range w.series {
		failed = failed || why != ""
	}
	late := 3*cmp.Or(w.interval, unknownInterval) + blindAfter
	switch {
	case failed:
		v.State = api.SensorError
	case w.last.IsZero():
		v.State = api.SensorWaiting
		v.Blind = now.Sub(w.since) > late
	case now.Sub(w.last) > late:
		v.State = api.SensorStale
	}
	v.Blind = v.Blind || v.State == api.SensorError || v.State == api.SensorStale
	return v
}

// views gives the state of all sensors, sorted by name.
func (s *sensors) views() []api.SensorView {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]api.SensorView, 0, len(s.list))
	for _, w := range s.list {
		out = append(out, w.view(now))
	}
	slices.SortFunc(out, func(a, b api.SensorView) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// blind says which sensors GRACE does not see by; empty is none. byAlerts gives the
// services that nothing but alerts tells of.
func blind(views []api.SensorView, byAlerts func() []grace.ServiceID) string {
	const shown = 3
	var parts []string
	unwatched := ""
	for _, v := range views {
		if !v.Blind {
			continue
		}
		text := v.Name + " (" + string(v.State)
		if v.State == api.SensorError {
			text += ": " + v.LastError
		}
		parts = append(parts, text+")")
		if v.Name == alertmanager.Sensor {
			if ids := byAlerts(); len(ids) > 0 {
				unwatched = "; nothing else watches " + explain.Some(ids, shown)
			}
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("GRACE does not see by %d of %d sensors: %s%s", len(parts), len(views), explain.Some(parts, shown), unwatched)
}

// named tells whether a sensor of this name runs.
func (s *sensors) named(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.list, func(w *watched) bool { return w.Name() == name })
}

// sensorCollector gives the states of sensors and what became of alerts.
type sensorCollector struct{ d *Daemon }

// Describe meets prometheus.Collector. The set depends on the configuration.
func (sensorCollector) Describe(chan<- *prometheus.Desc) {}

// Collect meets prometheus.Collector.
func (c sensorCollector) Collect(out chan<- prometheus.Metric) {
	if s := c.d.sensors; s != nil {
		state := describe("grace_sensor_state", "1 for the state a sensor is in: ok, no_sample_yet, error or stale.", "sensor", "type", "service", "state")
		failed := describe("grace_sensor_errors_total", "How often a sensor could not look, for GRACE's own reasons.", "sensor")
		panics := describe("grace_sensor_panics_total", "How often a sensor panicked and was started again.", "sensor")
		last := describe("grace_sensor_last_sample_timestamp_seconds", "When a sensor last gave a sample.", "sensor")
		for _, v := range s.views() {
			out <- prometheus.MustNewConstMetric(state, prometheus.GaugeValue, 1, v.Name, v.Type, string(v.Service), string(v.State))
			out <- prometheus.MustNewConstMetric(failed, prometheus.CounterValue, float64(v.Errors), v.Name)
			out <- prometheus.MustNewConstMetric(panics, prometheus.CounterValue, float64(v.Panics), v.Name)
			if !v.LastSample.IsZero() {
				out <- prometheus.MustNewConstMetric(last, prometheus.GaugeValue, float64(v.LastSample.UnixMilli())/1000, v.Name)
			}
		}
	}
	skipped := describe("grace_alerts_skipped_total", "Alerts that were not taken, by why.", "reason")
	for kind, n := range c.d.skipped.counts() {
		out <- prometheus.MustNewConstMetric(skipped, prometheus.CounterValue, float64(n), kind)
	}
}
