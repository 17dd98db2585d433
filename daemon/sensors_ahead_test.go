package daemon

import (
	"context"
	"testing"
	"time"

	"grace"
)

// What a sensor dates far ahead comes as it says: only then can the loop tell a source that
// says the same for ever from one that is alive.
func TestFarAheadComesAsDated(t *testing.T) {
	now := time.Now()
	var got []grace.Sample
	s := &sensors{now: func() time.Time { return now }, sink: grace.SinkFunc(func(_ context.Context, samples ...grace.Sample) error {
		got = append(got, samples...)
		return nil
	})}
	w := &watched{totals: &totals{}, series: map[seen]string{}}
	at := now.Add(time.Hour)
	for range 2 {
		if err := s.observe(t.Context(), w, []grace.Sample{{Service: "a", Metric: "m", At: at}}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
	}
	if len(got) != 2 || !got[0].At.Equal(at) || !got[1].At.Equal(at) || w.totals.errors != 2 {
		t.Errorf("%d errors, %+v", w.totals.errors, got)
	}
}
