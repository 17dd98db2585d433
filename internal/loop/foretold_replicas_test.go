package loop_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"grace"
	"grace/internal/patience"
	"grace/internal/pgtest"
	"grace/internal/stage/predict"
	"grace/internal/store"
)

// TestForetoldToOneReplica: what one of several replicas is told of is one entry of the
// ledger, and one decision of the trust core. What is not likely enough, or of an undeclared
// service, is on record, and nothing is done by itself.
func TestForetoldToOneReplica(t *testing.T) {
	t.Parallel()
	url, cfg := pgtest.Start(t), shop(1)
	cfg.Govern.PredictiveShadow, cfg.PredictEvery = false, time.Hour // it stands for two of these
	a, b := newRig(t, url, cfg), newRig(t, url, cfg)
	at := time.Now().UTC()
	said := func(service grace.ServiceID, likelihood float64) grace.Prediction {
		return grace.Prediction{Key: grace.SignalKey(service) + "/predictor//service_down", Service: service, Code: grace.CodeServiceDown, Title: "soon", Likelihood: likelihood, At: at}
	}
	if err := a.loop.Post(t.Context(), nil, nil, []grace.Prediction{said("cache", 0.85), said("nowhere", 0.95), said("frontend", 0.5)}); err != nil {
		t.Fatal(err)
	}
	decisions := func() []grace.Decision {
		list, _, err := b.store.Decisions(context.Background(), b.store.Q(), store.DecisionFilter{}, store.Page{Limit: 50})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	of := map[grace.ServiceID]grace.Decision{}
	patience.Until(t, func() error {
		for _, d := range decisions() {
			of[d.Service] = d
		}
		if _, ok := of["cache"]; !ok {
			return fmt.Errorf("nothing is decided about cache: %+v", of)
		}
		return nil
	})
	if d := of["cache"]; d.Verdict != grace.VerdictAllow || d.Diagnosis.Code != grace.CodeServiceDown {
		t.Errorf("%s: %+v", d.Verdict, d.Failed())
	}
	time.Sleep(3 * time.Second) // both have heard of it
	ledger, _, err := b.store.Predictions(t.Context(), b.store.Q(), store.PredictionFilter{}, store.Page{Limit: 50})
	if err != nil || len(ledger) != 3 {
		t.Errorf("%+v, %v", ledger, err)
	}
	for _, p := range ledger {
		if p.Rule != predict.RuleExternal {
			t.Errorf("%+v", p)
		}
	}
	n := 0
	for _, d := range decisions() {
		switch {
		case d.Service == "cache":
			n++
		case d.Verdict == grace.VerdictAllow:
			t.Errorf("%s is acted on: %+v", d.Service, d)
		}
	}
	if n != 1 {
		t.Errorf("%d decisions about cache", n)
	}
}
