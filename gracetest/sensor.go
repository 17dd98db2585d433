package gracetest

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"grace"
)

// SensorCase says what a sensor's author knows of its samples.
type SensorCase struct {
	// Service is the service every sample must be about; empty is not checked.
	Service grace.ServiceID
	// Metrics must all have come within Within (default 10s). The sensor must
	// yield at least one sample in any case.
	Metrics []string
	Within  time.Duration
	// Check looks further at all samples so far.
	Check func(t *testing.T, samples []grace.Sample)
}

// Sensor checks that a sensor keeps the contract of grace.Sensor. newSensor is
// called once for every check.
func Sensor(t *testing.T, newSensor func(t *testing.T) grace.Sensor, c SensorCase) {
	t.Helper()
	if c.Within == 0 {
		c.Within = time.Minute // the machine may be busy
	}
	t.Run("name", func(t *testing.T) {
		if newSensor(t).Name() == "" {
			t.Error("the sensor has no name")
		}
	})
	t.Run("samples", func(t *testing.T) { sensorSamples(t, newSensor(t), c) })
	t.Run("refused samples", func(t *testing.T) { sensorRefused(t, newSensor(t), c) })
	t.Run("stopped before it began", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		stopped(t, c.Within, running(ctx, newSensor(t), &Recorder{}))
	})
}

// sensorSamples runs the sensor twice, because a reload stops and starts it.
func sensorSamples(t *testing.T, s grace.Sensor, c SensorCase) {
	for range 2 {
		rec := &Recorder{}
		ctx, cancel := context.WithCancel(t.Context())
		done := running(ctx, s, rec)
		ok := rec.WaitFor(c.Within, func(samples []grace.Sample) bool {
			return len(samples) > 0 && len(missing(samples, c.Metrics)) == 0
		})
		cancel()
		stopped(t, c.Within, done)
		samples := rec.Samples()
		if !ok {
			t.Fatalf("within %s there were %d samples; missing metrics: %q", c.Within, len(samples), missing(samples, c.Metrics))
		}
		for _, sample := range samples {
			report(t, sampleProblems(sample, s.Name(), c.Service))
		}
		if c.Check != nil {
			c.Check(t, samples)
		}
	}
}

// sensorRefused checks that a sink that refuses does not end the sensor: the
// sink may be ill for a while.
func sensorRefused(t *testing.T, s grace.Sensor, c SensorCase) {
	rec := &Recorder{}
	rec.Fail(errors.New("refused by gracetest"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := running(ctx, s, rec)
	if !rec.WaitRefused(c.Within, 1) {
		t.Errorf("no sample within %s", c.Within)
	}
	rec.Fail(nil)
	if !rec.WaitFor(c.Within, func(samples []grace.Sample) bool { return len(samples) > 0 }) {
		t.Error("after a refused sample no other came")
	}
	cancel()
	stopped(t, c.Within, done)
}

func running(ctx context.Context, s grace.Sensor, sink grace.Sink) <-chan error {
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sink) }()
	return done
}

func stopped(t *testing.T, within time.Duration, done <-chan error) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Run ended with %v; want nil when its context is done", err)
		}
	case <-time.After(within):
		t.Fatalf("Run did not end within %s of its context", within)
	}
}

func missing(samples []grace.Sample, metrics []string) []string {
	var out []string
	for _, m := range metrics {
		if !slices.ContainsFunc(samples, func(s grace.Sample) bool { return s.Metric == m }) {
			out = append(out, m)
		}
	}
	return out
}

// sampleProblems tells what is wrong with a sample.
func sampleProblems(s grace.Sample, sensor string, service grace.ServiceID) []string {
	var p problems
	p.when(s.Service == "", "a sample of %s names no service", s.Metric)
	p.when(service != "" && s.Service != service, "a sample is about %s, want %s", s.Service, service)
	p.when(s.Sensor != sensor, "a sample of %s names the sensor %q, want %q", s.Metric, s.Sensor, sensor)
	p.when(s.Metric == "", "a sample has no metric")
	p.when(s.At.IsZero(), "a sample of %s has no time", s.Metric)
	p.when(math.IsNaN(s.Value) || math.IsInf(s.Value, 0), "the value of %s is %v", s.Metric, s.Value)
	switch s.Kind {
	case grace.SampleMetric, grace.SampleSeries:
	case grace.SampleProbe:
		p.when(s.Value != 0 && s.Value != 1, "probe %s has the value %v; want 1 passed or 0 failed", s.Metric, s.Value)
		p.when(s.Value == 0 && s.Message == "", "probe %s failed without saying why", s.Metric)
	case grace.SampleSensorError:
		p.when(s.Message == "", "the sensor error of %s does not say why", s.Metric)
	case grace.SampleAlert:
		p.when(s.Code == "", "alert %s has no code", s.Metric)
		p.when(s.Fingerprint == "", "alert %s has no fingerprint", s.Metric)
	default:
		p.add("%q is no kind of sample", s.Kind)
	}
	return p
}
