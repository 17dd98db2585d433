package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"grace"
	"grace/examples/shop"
	"grace/internal/api"
)

// world plays the shop and GRACE for the story: after a fault, runs come and
// go on a schedule of virtual time. It runs inside a synctest bubble.
type world struct {
	scene    scene
	injected time.Time
	cured    time.Time // by hand or by scene.cure
	approved time.Time
	resolved bool
}

// scene is what happens after the fault.
type scene struct {
	runs  []moment      // in the order of time
	cure  time.Duration // the shop is well from then on; 0 never
	deaf  time.Duration // GRACE does not answer until then
	busy  float64       // by how much cart gets busier each second of the fault
	gated bool          // moments after awaiting_approval wait for the approval
}

// moment is a run as it is from some time after the fault on, or after the
// approval in a gated scene.
type moment struct {
	after time.Duration
	run   grace.Run
}

var errDeaf = errors.New("connection refused")

func (w *world) Inject(context.Context, string, shop.Kind) (shop.Fault, error) {
	w.injected = time.Now()
	return shop.Fault{ID: "f1"}, nil
}

func (w *world) Heal(context.Context, string) (shop.Fault, error) {
	w.cured = time.Now()
	return shop.Fault{ID: "f1"}, nil
}

func (w *world) sick() bool {
	if w.injected.IsZero() || !w.cured.IsZero() {
		return false
	}
	return w.scene.cure == 0 || time.Since(w.injected) < w.scene.cure
}

func (w *world) Statuses(context.Context) ([]shop.Status, error) {
	status := shop.Status{Name: shop.Cart, Instances: 1, Serving: 1}
	if w.sick() && w.scene.busy == 0 {
		status.Serving = 0
	}
	if w.sick() {
		status.Busy = w.scene.busy * time.Since(w.injected).Seconds()
	}
	return []shop.Status{status}, nil
}

func (w *world) Load(context.Context) (shop.LoadStatus, error) { return shop.LoadStatus{}, nil }

func (w *world) Faults(context.Context) ([]shop.Fault, error) {
	if w.sick() && w.scene.busy > 0 {
		return []shop.Fault{{Kind: shop.RisingLoad, Service: shop.Cart}}, nil
	}
	return nil, nil
}

func (w *world) runs(context.Context, time.Time) ([]grace.Run, error) {
	passed := time.Since(w.injected)
	if w.injected.IsZero() {
		return nil, nil
	}
	if passed < w.scene.deaf {
		return nil, errDeaf
	}
	var ids []grace.RunID
	now := map[grace.RunID]grace.Run{}
	for _, m := range w.scene.runs {
		gate := w.scene.gated && m.run.Status != grace.RunAwaitingApproval
		if gate && w.approved.IsZero() || gate && time.Since(w.approved) < m.after || !gate && passed < m.after {
			continue
		}
		r := m.run
		if _, known := now[r.ID]; !known {
			ids = append(ids, r.ID)
		}
		r.CreatedAt = w.injected.Add(time.Second)
		started := w.injected.Add(2 * time.Second)
		if r.Status != grace.RunAwaitingApproval && r.Status != grace.RunCancelled {
			r.StartedAt = &started
		}
		now[r.ID] = r
	}
	var out []grace.Run
	for _, id := range ids {
		out = append(out, now[id])
	}
	return out, nil
}

func (w *world) why(context.Context, grace.RunID) (api.Explanation, error) {
	return api.Explanation{Triggers: []grace.Trigger{{At: w.injected.Add(1500 * time.Millisecond)}}}, nil
}

func (w *world) health(context.Context) ([]api.HealthView, error) {
	return []api.HealthView{{HealthState: grace.HealthState{Service: shop.Cart, Status: grace.HealthHealthy}}}, nil
}

func (w *world) approve(_ context.Context, id grace.RunID, reason string) error {
	if reason == "" {
		return fmt.Errorf("approve %s without a reason", id)
	}
	w.approved = time.Now()
	return nil
}

func (w *world) resolve(context.Context, grace.IncidentID, string) error {
	w.resolved = true
	return nil
}

// story makes a story on the world.
func (w *world) story(t *testing.T) *story {
	t.Helper()
	tell := &teller{w: io.Discard, now: time.Now}
	return &story{
		faults: w, view: &wellness{shop: w, now: time.Now}, grace: w, operator: w,
		watch: newWatcher(w, tell, time.Now()), tell: tell, now: time.Now,
		mine: map[grace.ServiceID]bool{shop.Cart: true},
	}
}
