package loop_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"grace"
	"grace/internal/patience"
	"grace/internal/pgtest"
)

// TestRepeatsToAnotherReplica: an alert whose repeats reach another replica alone
// is evidence for one that was started since. Without one it is not.
func TestRepeatsToAnotherReplica(t *testing.T) {
	t.Parallel()
	url := pgtest.Start(t)
	cfg := shop(1)
	cfg.Mode = grace.ModeObserveOnly
	a := newRig(t, url, cfg)
	repeat := func() {
		err := a.loop.Observe(context.Background(), grace.Sample{
			Service: "cache", Sensor: "alertmanager", Metric: "Down", Kind: grace.SampleAlert, Fingerprint: "f", At: time.Now().UTC(),
			Code: grace.CodeServiceDown, Severity: grace.SeverityCritical, Message: "down", Expires: time.Now().Add(time.Hour).UTC(),
		})
		if err != nil {
			t.Error(err)
		}
	}
	repeat()
	b := newRig(t, url, cfg)
	seen := func() grace.Signal {
		list := b.loop.Signals()
		i := slices.IndexFunc(list, func(s grace.Signal) bool { return s.Service == "cache" && s.State == grace.SignalFiring })
		if i < 0 {
			t.Fatalf("the alert is not known after the start: %+v", list)
		}
		return list[i]
	}
	if s := seen(); !s.Unconfirmed {
		t.Fatalf("before the alert was repeated: %+v", s)
	}
	patience.Until(t, func() error {
		repeat()
		if s := seen(); s.Unconfirmed {
			return fmt.Errorf("the alert is repeated to the other replica, and here: %+v", s)
		}
		return nil
	})
}
