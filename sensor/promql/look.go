package promql

import (
	"context"
	"sync"
	"time"

	"grace"
)

// Answer is what one query gave when it was asked once.
type Answer struct {
	Query   Query
	Samples []grace.Sample // of kind sensor_error when it failed
	Problem string         // as Report is told it
}

// Look asks every query once, none later than another, and gives the answers in
// the order of the queries. It ends with ctx.
func (s *Sensor) Look(ctx context.Context) []Answer {
	defer s.client.CloseIdleConnections()
	out := make([]Answer, len(s.cfg.Queries))
	var asking sync.WaitGroup
	for i, q := range s.cfg.Queries {
		asking.Go(func() {
			samples, problem, _ := s.once(ctx, q, marks{}, time.Now())
			out[i] = Answer{q, samples, problem}
		})
	}
	asking.Wait()
	return out
}

// once asks a query: what of its answer is newer than what was sent, what is
// wrong with it, and whether it failed.
func (s *Sensor) once(ctx context.Context, q Query, sent marks, began time.Time) ([]grace.Sample, string, *failure) {
	found, notes, fail := s.instant(ctx, q, began)
	samples := s.collect(q, found, &notes, func(service grace.ServiceID, at int64) bool {
		return sent.wants(service, at, began)
	})
	sent.add(samples, began)
	message := notes.text(fail)
	if fail != nil {
		samples = s.blind(q, sent, message)
	}
	return samples, message, fail
}
