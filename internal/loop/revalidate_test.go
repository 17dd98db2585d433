package loop

import (
	"testing"
	"testing/synctest"
	"time"

	"grace"
)

func TestLazy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var z staleWhileRevalidate[int]
		made := 0
		slow := func() (int, error) {
			time.Sleep(100 * time.Millisecond)
			made++
			return made, nil
		}
		get := func() int {
			v, err := z.get(time.Now(), slow, func(f func()) { go f() })
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		if v := get(); v != 1 {
			t.Fatalf("first: %d", v)
		}
		if v := get(); v != 1 || made != 1 {
			t.Errorf("at once again: %d, made %d times", v, made)
		}
		time.Sleep(2 * time.Second)
		began := time.Now()
		if v := get(); v != 1 || !time.Now().Equal(began) {
			t.Errorf("waited for a new one: %d", v)
		}
		get() // while one is made no other one is
		time.Sleep(200 * time.Millisecond)
		if v := get(); v != 2 || made != 2 {
			t.Errorf("after a new one was made: %d, made %d times", v, made)
		}
		time.Sleep(2 * lazyOld)
		if v := get(); v != 3 {
			t.Errorf("a very old answer was given: %d", v)
		}
		synctest.Wait()
	})
}

// TestHealthWhileItIsDear: what is dear to assess is given as it was while it
// is assessed beside, and what is too old is not given at all.
func TestHealthWhileItIsDear(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	now := l.Now()
	l.Now = func() time.Time { return now }
	service := benchService(0)
	status := func() grace.Health { return l.Health()[0].Status }
	if got := status(); got != grace.HealthUnknown {
		t.Fatalf("before any sample: %s", got)
	}
	if err := l.Observe(t.Context(), alertOf(service, "a", now, false)); err != nil {
		t.Fatal(err)
	}
	l.assessed.took = 100 * time.Millisecond
	now = now.Add(500 * time.Millisecond)
	if got := status(); got != grace.HealthUnknown {
		t.Errorf("while it is young enough: %s", got)
	}
	now = now.Add(time.Second)
	if got := status(); got != grace.HealthUnknown {
		t.Errorf("the one that another is made beside: %s", got)
	}
	if got := status(); got != grace.HealthCritical {
		t.Errorf("after that: %s", got)
	}
	if s := l.Symptoms()[service]; s.Count != 1 || s.Worst.Service != service {
		t.Errorf("symptoms: %+v", s)
	}
	if err := l.Observe(t.Context(), alertOf(service, "a", now, true)); err != nil {
		t.Fatal(err)
	}
	l.assessed.took = 100 * time.Millisecond
	now = now.Add(healthOld)
	if got := status(); got != grace.HealthHealthy {
		t.Errorf("too old to be given: %s", got)
	}
}
