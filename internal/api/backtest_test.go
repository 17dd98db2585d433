package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

const backtestPath = "/api/predictions/backtest"

// TestPredictionBacktest: what is asked for is asked for, and what cannot be is refused with
// its place.
func TestPredictionBacktest(t *testing.T) {
	e := newEnv(t)
	var since, step time.Duration
	e.core.backtest = func(_ context.Context, s, st time.Duration) (out PredictionBacktest, err error) {
		since, step, out.Values = s, st, 7
		return out, nil
	}
	for name, tt := range map[string]struct {
		role, body  string
		code        int
		want        string
		since, step time.Duration
	}{
		"by default":     {"operator", `{}`, http.StatusOK, `"values":7`, 28 * 24 * time.Hour, time.Minute},
		"asked for":      {"operator", `{"since":"3d","step":"15s"}`, http.StatusOK, `"rules":[]`, 72 * time.Hour, 15 * time.Second},
		"a viewer":       {"viewer", `{}`, http.StatusForbidden, "operator", 0, 0},
		"no duration":    {"operator", `{"since":"long"}`, http.StatusUnprocessableEntity, "since", 0, 0},
		"the future":     {"operator", `{"since":"-1h"}`, http.StatusUnprocessableEntity, "body.since", 0, 0},
		"too long ago":   {"operator", `{"since":"400d","step":"15m"}`, http.StatusUnprocessableEntity, "body.since", 0, 0},
		"no step":        {"operator", `{"step":"0s"}`, http.StatusUnprocessableEntity, "body.step", 0, 0},
		"too long steps": {"operator", `{"step":"1h"}`, http.StatusUnprocessableEntity, "1s to 15m", 0, 0},
		"too many":       {"operator", `{"since":"90d","step":"1s"}`, http.StatusUnprocessableEntity, "600000", 0, 0},
	} {
		since, step = 0, 0
		got := e.call(tt.role, http.MethodPost, backtestPath, tt.body)
		if got.Code != tt.code || !strings.Contains(got.Body.String(), tt.want) || since != tt.since || step != tt.step {
			t.Errorf("%s: %d, since %s, step %s: %s", name, got.Code, since, step, got.Body)
		}
	}
	e.core.backtest = func(context.Context, time.Duration, time.Duration) (out PredictionBacktest, err error) {
		return out, &Invalid{Message: "there is no history to read", Details: []Detail{{Location: "telemetry.warm_up", Hint: "name one"}}}
	}
	if p := problemOf(t, e.call("operator", http.MethodPost, backtestPath, `{}`), http.StatusUnprocessableEntity); p.Errors[0].Hint != "name one" {
		t.Errorf("%+v", p)
	}
}

// TestOneBacktestAtATime: the second is told so, and the next is taken.
func TestOneBacktestAtATime(t *testing.T) {
	e := newEnv(t)
	began, end := make(chan bool), make(chan bool)
	e.core.backtest = func(context.Context, time.Duration, time.Duration) (out PredictionBacktest, err error) {
		began <- true
		<-end
		return out, nil
	}
	first := make(chan int)
	ask := func() { first <- e.call("operator", http.MethodPost, backtestPath, `{}`).Code }
	go ask()
	<-began
	p := problemOf(t, e.call("operator", http.MethodPost, backtestPath, `{}`), http.StatusConflict)
	if !strings.Contains(p.Detail, "under way") || p.Hint == "" {
		t.Errorf("%+v", p)
	}
	end <- true
	if code := <-first; code != http.StatusOK {
		t.Errorf("the first: %d", code)
	}
	go ask()
	<-began
	end <- true
	if code := <-first; code != http.StatusOK {
		t.Errorf("the next: %d", code)
	}
	e.core.backtest = func(context.Context, time.Duration, time.Duration) (out PredictionBacktest, err error) {
		return out, errors.New("the disk is on fire")
	}
	if p := problemOf(t, e.call("operator", http.MethodPost, backtestPath, `{}`), http.StatusInternalServerError); strings.Contains(p.Detail, "fire") {
		t.Errorf("its inner details are told: %+v", p)
	}
}
