package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"grace/examples/shop"
	"grace/internal/series"
)

const (
	// before is how long the shop was watched before the demo.
	before = 90 * time.Minute
	// episode is the time from one leak, or one rush, to the next.
	episode = 8 * time.Minute
	// beforeStep is the time between two values that GRACE asks for.
	beforeStep = 2 * time.Second
)

// shopBefore answers as a Prometheus that watched the shop in the hours before the demo
// began, when nobody healed it: checkout lost memory every eight minutes until it was
// restarted, and in between customers came to cart in a rush. The past is made up; the
// expressions over it are evaluated. GRACE runs it through its rules of prediction, which
// have a record then, and may act in the demo.
type shopBefore struct {
	url    string
	server *http.Server
}

func newShopBefore(ctx context.Context) (*shopBefore, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("show the shop's past: %w", err)
	}
	b := &shopBefore{url: "http://" + listener.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/query_range", b.answer)
	b.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = b.server.Serve(listener) }()
	return b, nil
}

func (b *shopBefore) close() error { return b.server.Close() }

// config is what the configuration of GRACE says of it.
func (b *shopBefore) config() string {
	return fmt.Sprintf("telemetry:\n  warm_up: [{url: %q, since: %s, step: %s}]\n", b.url, before, beforeStep)
}

func (b *shopBefore) answer(w http.ResponseWriter, req *http.Request) {
	var number [3]float64
	for i, name := range []string{"start", "end", "step"} {
		n, err := strconv.ParseFloat(req.FormValue(name), 64)
		if err != nil {
			refuse(w, fmt.Errorf("%s: %w", name, err))
			return
		}
		number[i] = n
	}
	start, end := time.UnixMilli(int64(1000*number[0])), time.UnixMilli(int64(1000*number[1]))
	result, err := evaluateBefore(req.Context(), req.FormValue("query"), start, end, time.Duration(number[2]*float64(time.Second)))
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": result}})
}

func refuse(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "error", "errorType": "bad_data", "error": err.Error()})
}

// rangeSeries is a series of an answer, as the API of Prometheus writes it.
type rangeSeries struct {
	Metric map[string]string `json:"metric"`
	Values [][2]any          `json:"values"` // seconds, value
}

// evaluateBefore plays the past again, second by second, and evaluates the expression
// every step.
func evaluateBefore(ctx context.Context, query string, start, end time.Time, step time.Duration) ([]*rangeSeries, error) {
	e, err := series.Compile(query)
	if err != nil {
		return nil, err
	}
	now := start
	db, err := series.New(series.DefaultConfig(), series.Options{Now: func() time.Time { return now }})
	if err != nil {
		return nil, err
	}
	db.Watch([]*series.Expr{e})
	bySeries, out := map[string]*rangeSeries{}, []*rangeSeries{}
	for next := start; !now.After(end); now = now.Add(time.Second) {
		appendBefore(db, now)
		if now.Before(next) {
			continue
		}
		next = next.Add(max(step, time.Second))
		r, err := db.Evaluate(ctx, e, now)
		if err != nil {
			return nil, err
		}
		for i := range r.Elements {
			key := fmt.Sprint(r.Elements[i].Labels)
			one := bySeries[key]
			if one == nil {
				one = &rangeSeries{Metric: r.Elements[i].Labels}
				bySeries[key] = one
				out = append(out, one)
			}
			one.Values = append(one.Values, [2]any{float64(now.UnixMilli()) / 1000, strconv.FormatFloat(r.Elements[i].Value, 'g', -1, 64)})
		}
	}
	return out, nil
}

// appendBefore gives what was measured at a time.
func appendBefore(db *series.DB, at time.Time) {
	into := at.Sub(at.Truncate(episode))
	b := db.Begin(series.From{Sensor: "demo", History: true})
	for _, one := range []struct {
		metric, service string
		value           float64
	}{
		{"shop_heap_bytes", shop.Checkout, leakBefore(into)},
		{"shop_saturation", shop.Cart, rushBefore(into)},
	} {
		var key []byte
		for _, label := range [][2]string{{series.MetricLabel, one.metric}, {"instance", "before"}, {series.ServiceLabel, one.service}} {
			key = series.AppendLabel(key, label[0], label[1])
		}
		b.Append(key, series.Meta{Kind: series.KindGauge}, series.Sample{At: at.UnixMilli(), Value: one.value})
	}
	b.End()
}

// leakBefore is the heap in bytes: 30 MiB a minute are lost from the third minute of an
// episode on, until the process is restarted at 40.
func leakBefore(into time.Duration) float64 {
	const mib = 1 << 20
	heap := 6*mib + 0.5*mib*jitter(into)
	if lost := 0.5 * mib * (into - 2*time.Minute).Seconds(); lost > 0 && lost < 34*mib {
		heap += lost
	}
	return heap
}

// rushBefore is the share of their time that the replicas work: more and more from the sixth
// minute of an episode on, until people go elsewhere.
func rushBefore(into time.Duration) float64 {
	busy := 0.3
	if more := (into - 5*time.Minute).Seconds() / 120; more > 0 && more < 0.65 {
		busy += more
	}
	return busy + 0.02*jitter(into)
}

// jitter is within -1 and 1, and looks like chance.
func jitter(into time.Duration) float64 {
	x := math.Sin(into.Seconds()*12.9898) * 43758.5453
	return 2*(x-math.Floor(x)) - 1
}
