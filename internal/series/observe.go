package series

import (
	"cmp"
	"slices"

	"grace"
)

// Labels that a sensor's samples get, besides their own.
const (
	ServiceLabel = "service"
	JobLabel     = "job" // the sensor's name
)

// ProbeSuccess is the metric of a probe's verdict, as blackbox_exporter names it: 1
// passed, 0 failed. The label probe says what kind of probe it is.
const (
	ProbeSuccess = "probe_success"
	ProbeLabel   = "probe"
)

// Observe appends the numbers of a sensor's samples: metrics, and what probes found.
func (db *DB) Observe(samples ...grace.Sample) {
	var key []byte
	var list []label
	for i := range samples {
		s := &samples[i]
		if s.Kind != grace.SampleMetric && s.Kind != grace.SampleProbe {
			continue
		}
		list = labelsOfSample(list[:0], s)
		key = canonical(key[:0], list)
		b := db.Begin(From{Source: s.Sensor, Sensor: s.Sensor, History: true})
		b.Append(key, Meta{Unit: s.Unit}, Sample{At: s.At.UnixMilli(), Value: s.Value})
		b.End()
	}
}

func labelsOfSample(list []label, s *grace.Sample) []label {
	add := func(name, value string) { list = append(list, label{[]byte(name), []byte(value)}) }
	metric := s.Metric
	if s.Kind == grace.SampleProbe {
		metric = ProbeSuccess
		add(ProbeLabel, s.Metric)
	}
	own := []string{ServiceLabel, JobLabel, ProbeLabel}
	for name, value := range s.Labels {
		switch {
		case slices.Contains(own, name):
			add(exported+name, value)
		case name != MetricLabel:
			add(name, value)
		}
	}
	add(MetricLabel, metric)
	add(ServiceLabel, string(s.Service))
	add(JobLabel, s.Sensor)
	slices.SortFunc(list, func(a, b label) int { return cmp.Compare(string(a.name), string(b.name)) })
	return list
}
