package series

import (
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"grace"
)

// Many senders of the same and of other series at once, with evictions: what is
// handed over comes out, or is counted.
func TestConcurrent(t *testing.T) {
	sinks := make([]Sink, 4)
	for i := range sinks {
		sinks[i] = &recorder{values: map[string][]point{}}
	}
	cfg := DefaultConfig()
	cfg.Limits.Series = 600
	var mu sync.Mutex
	now := start
	db, err := New(cfg, Options{
		Sinks: sinks, Known: func(grace.ServiceID) bool { return true },
		Now: func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(time.Second)
			return now
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	total := 0
	for worker := range 4 {
		wg.Go(func() {
			sent := 0
			for round := range 60 {
				b := db.Begin(From{Source: fmt.Sprint(worker)})
				for i := range 40 {
					p := at(float64(round*20), float64(i))
					b.Append(key(fmt.Sprintf("jobs_pending{id=%d,job=s%d}", i, round%3)), Meta{}, p)
					b.Append(key(fmt.Sprintf("other_pending{id=%d,job=s%d}", i+round, worker)), Meta{}, p)
					b.Append(key(fmt.Sprintf("x_duration_seconds_bucket{id=%d,job=s%d,le=%d}", round%2, worker, i%8)), Meta{}, p)
				}
				r := b.End()
				sum := 0
				for reason := range reasons {
					if reason != Reset {
						sum += r.Count(reason)
					}
				}
				if sum != r.Samples || r.Samples != 120 {
					t.Errorf("%d samples: %s", r.Samples, reasonsOf(&r))
				}
				sent += r.Samples
				if round%10 == 0 {
					db.Sweep()
					db.Stats()
				}
			}
			mu.Lock()
			total += sent
			mu.Unlock()
		})
	}
	wg.Go(func() {
		for range 5 {
			if err := db.Reconfigure(cfg); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	var counted uint64
	for _, c := range db.Stats().Samples {
		if c.Reason != Reset {
			counted += c.Count
		}
	}
	if counted != uint64(total) {
		t.Errorf("%d samples, %d counted", total, counted)
	}
	now = now.Add(100 * 24 * time.Hour)
	for range 5 {
		db.Sweep()
	}
	open := 0
	for _, s := range sinks {
		r := s.(*recorder)
		open += len(r.series) - len(r.closed)
	}
	if s := db.Stats(); s.Series != 0 || open != 0 {
		t.Errorf("after all were forgotten %d series, %d of them not closed", s.Series, open)
	}
}

// Appending, evaluating, watching, reconfiguring and sweeping at once. In the end what
// is listed is what is kept, and is what was sent.
func TestConcurrentAll(t *testing.T) {
	cfg := DefaultConfig()
	var sinks []Sink
	for range 4 {
		sinks = append(sinks, &recorder{values: map[string][]point{}})
	}
	db, err := New(cfg, Options{Sinks: sinks, Known: func(grace.ServiceID) bool { return true }, Now: func() time.Time { return after(3600) }})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{`jobs_pending > 5`, `sum by (service) (rate(x_total[2m])) > 5`, `histogram_quantile(0.9, sum(rate(h[2m]))) > 2`, `jobs_pending > on (id, job) group_left () x_total`}
	var list []*Expr
	for _, text := range texts {
		list = append(list, compiled(t, text))
	}
	db.Watch(list)
	var senders, others sync.WaitGroup
	stop := make(chan struct{})
	for worker := range 3 {
		senders.Go(func() { sendAll(db, worker) })
	}
	for _, f := range []func(int){
		func(i int) {
			r, err := db.Evaluate(t.Context(), list[i%len(list)], after(float64(i%90)))
			if err != nil {
				t.Error(err)
			}
			r.Newest(map[string]string{"service": "s1"})
			r.Sensors()
			db.Appended(list[0])
			db.Watches(list[0])
		},
		func(i int) { db.Watch(list[:1+i%len(list)]) },
		func(i int) {
			cfg := cfg
			if i%2 == 0 {
				cfg.Rules = []Rule{{Metric: "jobs_pending", Role: grace.RoleTraffic}}
			}
			if err := db.Reconfigure(cfg); err != nil {
				t.Error(err)
			}
		},
		func(i int) {
			db.Sweep()
			db.Stats()
			if i%5 == 0 {
				db.ClockSetBack(after(float64(i % 100)))
			}
		},
	} {
		others.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					f(i)
				}
			}
		})
	}
	senders.Wait()
	close(stop)
	others.Wait()
	db.Watch(list)
	db.everyOneOnce(t)
	if err := db.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	for worker := range 3 {
		for id := range 8 {
			b, labels := db.Begin(From{Source: "last"}), fmt.Sprintf("{id=%d,job=s%d}", id, worker)
			b.Append(key("jobs_pending"+labels), Meta{}, at(3600, 7))
			b.Append(key("x_total"+labels), Meta{}, at(3600, 7))
			b.Append(key("h"+labels), Meta{}, whole(3600, 7))
			b.End()
		}
	}
	db.everyOneOnce(t)
	if r := evaluate(t, db, list[0], after(3600)); len(r.Elements) != 24 {
		t.Errorf("%d elements, want 24", len(r.Elements))
	}
	if s := db.Stats(); s.Series != 3*8*3 || s.Kept != s.Series {
		t.Errorf("%+v, want 72 series", s)
	}
}

// sendAll sends gauges, counters and histograms of a service.
func sendAll(db *DB, worker int) {
	for round := range 100 {
		b := db.Begin(From{Source: fmt.Sprint(worker), Sensor: "test"})
		for id := range 8 {
			labels := fmt.Sprintf("{id=%d,job=s%d}", id, worker)
			second := float64(round)
			b.Append(key("jobs_pending"+labels), Meta{}, at(second, math.Mod(second, 9)))
			b.Append(key("x_total"+labels), Meta{}, at(second, second*float64(id)))
			h := whole(second, int64(round), int64(round/2))
			b.Append(key("h"+labels), Meta{}, h)
		}
		b.End()
	}
}
