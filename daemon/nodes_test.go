package daemon

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"grace"
)

// TestSilentNode: a health node that does not answer, and does not heed its
// context, keeps nobody else from being asked, and is not asked twice at once.
func TestSilentNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var asked atomic.Int32
		n := grace.HealthNode{Service: grace.Service{ID: "x"}, State: func(context.Context) (grace.Health, string) {
			asked.Add(1)
			<-release
			return grace.HealthHealthy, "fine"
		}}
		var a nodes
		began := time.Now()
		for range 3 {
			if health, _ := a.state(t.Context(), n); health != grace.HealthUnknown {
				t.Errorf("it is %s without an answer", health)
			}
		}
		if took := time.Since(began); took != storeTime {
			t.Errorf("waited %s", took)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times at once", n)
		}
		close(release)
		synctest.Wait()
		if health, detail := a.state(t.Context(), n); health != grace.HealthHealthy || detail != "fine" {
			t.Errorf("%s %s", health, detail)
		}
	})
}
