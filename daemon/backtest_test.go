package daemon_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/api"
	"grace/internal/loop"
	"grace/internal/patience"
)

// leakPast is a latency that rises for an hour in every three, to 720 ms, and is mended then.
func leakPast(at int64) float64 {
	i := at / 60 % 180
	noise := 4 * math.Sin(float64(at%1013))
	if i < 120 {
		return 200 + noise
	}
	return 200 + 8.7*float64(i-120) + noise
}

// keeperOfLeaks is a Prometheus that keeps latency_ms of cart for ever, and refuses a query
// of "refused".
func keeperOfLeaks(w http.ResponseWriter, r *http.Request) {
	number := func(key string) int64 {
		f, _ := strconv.ParseFloat(r.FormValue(key), 64)
		return int64(f)
	}
	w.Header().Set("Content-Type", "application/json")
	result := []any{}
	switch query := r.FormValue("query"); {
	case strings.Contains(query, "refused"):
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"it is refused"}`)
		return
	case strings.Contains(query, "latency_ms"), strings.Contains(query, "nameless"):
		var values []any
		for at := number("start"); at <= number("end"); at += number("step") {
			values = append(values, []any{at, fmt.Sprint(leakPast(at))})
		}
		labels := map[string]string{"__name__": "latency_ms", "service": "cart", "instance": "a"}
		if strings.Contains(query, "nameless") {
			labels = map[string]string{}
		}
		result = append(result, map[string]any{"metric": labels, "values": values})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": result}})
}

const backtestConfig = `
services: [{name: cart, criticality: medium}, {name: web, criticality: medium}]
objectives:
  - {name: latency, service: cart, expr: 'latency_ms{service="cart"} > 500', code: latency_spike, unit: ms}
  - {name: of prom, source: prom, service: web, expr: 'latency_ms > 500', code: latency_spike}
  - {name: of nobody, source: gone, service: web, expr: 'latency_ms > 500', code: latency_spike}
  - {name: two, service: cart, expr: 'latency_ms{service="cart"} > on (service) latency_limit_ms', code: latency_spike}
  - {name: absence, service: cart, expr: 'absent(latency_ms{service="cart"})', code: service_down}
  - {name: unknown, service: cart, expr: 'never_seen{service="cart"} > 1', code: capacity}
  - {name: refused, service: cart, expr: 'refused{service="cart"} > 1', code: capacity}
  - {name: nameless, service_label: shop, expr: 'nameless > 1', code: capacity}
sensors:
  - {name: prom, type: promql, url: "PROM", interval: 1h, warm_up: 1s}
  - {name: gone, type: promql, url: "GONE", interval: 1h, warm_up: 1s}
`

func (c client) backtest(t *testing.T, since string) api.PredictionBacktest {
	t.Helper()
	status, answer, err := c.try(http.MethodPost, "/api/predictions/backtest", map[string]any{"since": since, "step": "1m"})
	var out api.PredictionBacktest
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, answer)
	}
	if err = errors.Join(err, json.Unmarshal(answer, &out)); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPredictionBacktest: what sources keep is lived through, what they do not keep is named
// with the reason, and nothing is left of it.
func TestPredictionBacktest(t *testing.T) {
	t.Parallel()
	prom := httptest.NewServer(http.HandlerFunc(keeperOfLeaks))
	defer prom.Close()
	gone := "http://" + freePort(t)
	h := newHome(t, strings.NewReplacer("PROM", prom.URL, "GONE", gone).Replace(backtestConfig))
	d, c := h.embed(t)
	got := c.backtest(t, "4d") // of prom alone: there is no telemetry.warm_up
	reasons := func(b api.PredictionBacktest) map[string]loop.NoHistory {
		out := map[string]loop.NoHistory{}
		for _, m := range b.Missing {
			if out[m.Name] = m.Reason; m.Detail == "" || m.Expr == "" {
				t.Errorf("%+v", m)
			}
		}
		return out
	}
	if r := reasons(got); got.Series != 1 || r["latency"] != loop.NoHistoryNobody || r["of prom"] != "" {
		t.Errorf("%d series, missing %+v", got.Series, got.Missing)
	}
	stop(t, d)

	h.write(t, strings.NewReplacer("PROM", prom.URL, "GONE", gone).Replace(backtestConfig)+"telemetry: {warm_up: [{url: \""+prom.URL+"\", since: 1m}]}\n")
	d, c = h.embed(t)
	patience.Until(t, func() error { // the warm-up is over
		_, answer, err := c.try(http.MethodPost, "/api/v1/write", nil)
		if err == nil && strings.Contains(string(answer), "history") {
			err = errors.New(string(answer))
		}
		return err
	})
	before := len(items[grace.Prediction](c, "/api/predictions"))
	got = c.backtest(t, "4d")
	if got.Series != 2 || got.Values != 2*(4*24*60+1) || got.Breaches < 2*31 || got.Foreseen == 0 || got.PublishedForeseen == 0 {
		t.Errorf("%+v", got.Backtested)
	}
	byRule := map[string]int{}
	for _, r := range got.Rules {
		byRule[r.Rule] = r.TruePositives
		if len(r.Services) != 2 {
			t.Errorf("%s: %+v", r.Rule, r.Services)
		}
	}
	if byRule["trend"] < 10 {
		t.Errorf("%+v", got.Rules)
	}
	want := map[string]loop.NoHistory{
		"of nobody": loop.NoHistoryAway, "two": loop.NoHistoryTwoVectors, "absence": loop.NoHistoryUnpredictable, "unknown": loop.NoHistoryNobody,
		"refused": loop.NoHistoryFailed, "nameless": loop.NoHistoryNoService,
	}
	r := reasons(got)
	for name, reason := range want {
		if r[name] != reason {
			t.Errorf("%s: %q, want %q", name, r[name], reason)
		}
	}
	if len(r) != len(want) {
		t.Errorf("%+v", got.Missing)
	}
	if after := len(items[grace.Prediction](c, "/api/predictions")); after != before {
		t.Errorf("the ledger had %d entries and has %d", before, after)
	}
	stop(t, d)
}

// TestPredictionBacktestOfNothing: who has no source is told what to configure.
func TestPredictionBacktestOfNothing(t *testing.T) {
	t.Parallel()
	_, c := newHome(t, queueObjective).embed(t)
	status, answer, err := c.try(http.MethodPost, "/api/predictions/backtest", map[string]any{})
	if err != nil || status != http.StatusUnprocessableEntity || !strings.Contains(string(answer), "warm_up: [{url: http://127.0.0.1:9090}]") {
		t.Errorf("%d %s, %v", status, answer, err)
	}
}

// TestPredictionBacktestOfPrometheus: three days of leaks in an unmodified Prometheus.
func TestPredictionBacktestOfPrometheus(t *testing.T) {
	t.Parallel()
	for _, bin := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(bin); err != nil {
			t.Skipf("%s is missing; %s", bin, prometheusHint)
		}
	}
	dir, last := t.TempDir(), time.Now().Add(-10*time.Minute).Truncate(time.Minute).Unix()
	var b bytes.Buffer
	b.WriteString("# TYPE latency_ms gauge\n")
	for at := last - 3*24*3600; at <= last; at += 60 {
		fmt.Fprintf(&b, "latency_ms{service=\"cart\"} %.2f %d\n", leakPast(at), at)
	}
	b.WriteString("# EOF\n")
	input := filepath.Join(dir, "history.txt")
	if err := errors.Join(os.WriteFile(input, b.Bytes(), 0o600), os.WriteFile(filepath.Join(dir, "prometheus.yml"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", input, filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	addr := freePort(t)
	prom := exec.CommandContext(t.Context(), "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr)
	if err := prom.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(prom.Process.Kill(), prom.Wait()) }()
	patience.Until(t, func() error {
		resp, err := http.Get("http://" + addr + "/-/ready")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = errors.New(resp.Status)
			}
		}
		return err
	})
	_, c := newHome(t, `
services: [{name: cart, criticality: medium}]
objectives:
  - {name: latency, source: prom, service_label: service, expr: 'latency_ms > 500', code: latency_spike, unit: ms}
sensors:
  - {name: prom, type: promql, url: "http://`+addr+`", interval: 1h, warm_up: 1s}
`).embed(t)
	got := c.backtest(t, "4d") // of the first day it has nothing
	if got.Series != 1 || got.Values < 3*24*60 || got.Values > 3*24*60+10 || len(got.Missing) != 0 || got.Breaches < 23 || got.Breaches > 25 {
		t.Errorf("%+v, missing %+v", got.Backtested, got.Missing)
	}
	if trend := got.Rules[0]; trend.Rule != "trend" || trend.Foreseen < 15 || trend.PublishedForeseen < 5 || trend.Precision < 0.8 || trend.MedianLead < grace.Duration(2*time.Minute) {
		t.Errorf("%+v", trend)
	}
}
