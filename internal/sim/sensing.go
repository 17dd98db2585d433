package sim

import (
	"strconv"
	"time"

	"grace"
)

// look takes samples of everything and has them delivered, as far as the
// plumbing lets them through. Every replica runs every sensor, unless the story
// splits the samples between them.
func (s *Sim) look() {
	byReplica := make([][]grace.Sample, len(s.replicas))
	balancer, split := s.under(SplitSamples)
	turn := int(s.now.Sub(s.epoch) / sampleEvery)
	if balancer.Amount != 0 {
		turn = 0 // it is sticky
	}
	for i := range s.world.services {
		svc := &s.world.services[i]
		if s.befalls(SilentSource, string(svc.ID)) {
			continue
		}
		for _, sample := range s.measure(svc) {
			for r := range byReplica {
				if !split || r == (i+turn)%len(s.replicas) {
					byReplica[r] = append(byReplica[r], sample)
				}
			}
		}
	}
	for r, samples := range byReplica {
		if e, on := s.befalling(SensorError, strconv.Itoa(r)); on {
			samples = fault(samples, e)
		}
		s.deliver(r, samples, split)
	}
}

// measure takes samples of a service. Of one whose source is frozen the metrics are what
// they were.
func (s *Sim) measure(svc *service) (out []grace.Sample) {
	var measured []grace.Sample
	for _, m := range metrics() { // the probe is the first
		v, ok := svc.value(m, s.now)
		if !ok {
			continue
		}
		switch sample := s.sample(svc.ID, m, v); {
		case sample.Sensor == "":
		case m == metricUp:
			out = append(out, sample)
		default:
			measured = append(measured, sample)
		}
	}
	if !s.befalls(FrozenSource, string(svc.ID)) {
		s.measured[svc.ID] = measured
	}
	return append(out, s.measured[svc.ID]...)
}

func (s *Sim) sample(id grace.ServiceID, metric string, v float64) grace.Sample {
	out := grace.Sample{Service: id, Sensor: "scrape", Metric: metric, Kind: grace.SampleMetric, Value: v, At: s.now.Add(s.wall)}
	switch metric {
	case metricUp:
		out.Sensor, out.Kind, out.Code, out.Severity = s.probe(id), grace.SampleProbe, grace.CodeServiceDown, grace.SeverityCritical
		if e, on := s.befalling(Flap, string(id)); on && int(s.now.Sub(s.epoch)/sampleEvery)/int(e.Amount)%2 == 0 {
			out.Value = 0
		}
	case metricLatency:
		out.Value = noisy(v, draw(s.story.Seed, "noise", string(id), strconv.FormatInt(s.now.Unix(), 10)))
	}
	return out
}

// fault is what comes of samples when the sensor cannot look: nothing, or, where
// it says so itself (Amount 1), that it could not.
func fault(samples []grace.Sample, e Event) []grace.Sample {
	var out []grace.Sample
	for _, m := range samples {
		if e.Amount != 0 && m.Kind == grace.SampleProbe {
			m.Kind, m.Message = grace.SampleSensorError, "too many open files"
			out = append(out, m)
		}
	}
	return out
}

// deliver hands samples to a replica. What a balancer splits goes to another
// while that one is away; what a replica measures itself is then not measured.
func (s *Sim) deliver(replica int, samples []grace.Sample, split bool) {
	at, to := strconv.FormatInt(s.now.Unix(), 10), strconv.Itoa(replica)
	if e, on := s.under(LoseSamples); on {
		kept := samples[:0]
		for _, m := range samples {
			if draw(s.story.Seed, "lose", to, string(m.Service), m.Metric, at) >= e.Amount {
				kept = append(kept, m)
			}
		}
		samples = kept
	}
	twice := samples
	if e, on := s.under(TwiceSamples); !on || draw(s.story.Seed, "twice", to, at) >= e.Amount {
		twice = nil
	}
	if e, on := s.under(LateSamples); on {
		s.after(time.Duration(e.Amount*draw(s.story.Seed, "late", to, at)*float64(second)), func() { s.hand(replica, samples, split) })
	} else {
		s.hand(replica, samples, split)
	}
	if twice != nil {
		s.after(second/2, func() { s.hand(replica, twice, split) })
	}
}

func (s *Sim) hand(replica int, samples []grace.Sample, split bool) {
	if s.operator != nil {
		s.operator.observe(s, samples)
		return
	}
	for i := range s.replicas {
		if p := s.replicas[(replica+i)%len(s.replicas)]; s.awake(p) {
			s.notice(p, samples)
			s.fail(p.loop.Observe(s.ctx, s.mutations.samples(p, samples)...))
			return
		}
		if !split {
			return
		}
	}
}
