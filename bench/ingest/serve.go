package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"grace"
	"grace/internal/series"
	"grace/internal/stage/predict"
	"grace/sensor/remotewrite"
)

// shards of the series, each with an agent that predicts.
const shards = 16

// forecaster is the sink of one shard.
type forecaster struct {
	agent  *predict.Agent
	newest int64 // Unix ms: what time it is in the load
}

func (f *forecaster) Open(s series.Series) uint32 {
	return uint32(f.agent.Open(predict.Series{
		Service: s.Service, Metric: s.Metric, Labels: s.Labels, Role: s.Role, Unit: s.Unit,
		Falls: s.Direction == series.DirectionDown,
	}))
}

func (f *forecaster) Append(h uint32, at int64, v float64) {
	f.newest = at
	f.agent.Append(predict.Handle(h), at, v)
}

func (f *forecaster) Close(h uint32) { f.agent.Close(predict.Handle(h)) }

// serve is the other process: GRACE's receiver with its prediction, until the
// context ends. All series are looked at after so many requests, as they are
// every 30 seconds of the load's time. It prints its address.
func serve(ctx context.Context, out io.Writer, requests int) error {
	sinks := make([]series.Sink, shards)
	gate := predict.NewGate(predict.DefaultGateConfig(), &sync.Mutex{})
	for i := range sinks {
		sinks[i] = &forecaster{agent: predict.New(predict.DefaultConfig(), targets(), gate)}
	}
	cfg := series.DefaultConfig()
	cfg.Limits.SeriesPerSource, cfg.Limits.SeriesPerService = cfg.Limits.Series, cfg.Limits.Series
	db, err := series.New(cfg, series.Options{Sinks: sinks})
	if err != nil {
		return err
	}
	slow, err := series.Compile("histogram_quantile(0.99, sum by (service, le) (rate(http_server_request_duration_seconds_bucket[5m]))) > 8")
	if err != nil {
		return err
	}
	db.Watch([]*series.Expr{slow})
	handler, err := remotewrite.New(remotewrite.DefaultConfig(), db, nil)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	var taken atomic.Int64
	mux.HandleFunc("/api/v1/write", func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		// Before the answer ends, so that what it costs is measured.
		if taken.Add(1)%int64(requests) == 0 {
			if _, err := db.Evaluate(r.Context(), slow, time.UnixMilli(evaluate(db))); err != nil {
				fmt.Fprintln(os.Stderr, "ingest:", err)
			}
		}
	})
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		s := db.Stats()
		fmt.Fprintf(w, "series %d\n", s.Series)
		for _, c := range s.Samples {
			fmt.Fprintf(w, "%v %d\n", c.Reason, c.Count)
		}
	})
	fmt.Fprintln(out, l.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { <-ctx.Done(); server.Close() }()
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

// targets are a threshold of every service; for other series the agents learn them.
func targets() []predict.Target {
	var out []predict.Target
	for i := range services {
		s := grace.ServiceID(fmt.Sprintf("app-%d", i))
		out = append(out, predict.Target{Service: s, Metric: "worker_queue_length", Op: ">", Threshold: 2990, Code: grace.CodeCapacity, Impact: grace.ImpactLow})
	}
	return out
}

// evaluate looks at all series that are forecast, as the daemon does: some at a time, so
// that no shard is held for long. It gives what time it is in the load, in Unix ms.
func evaluate(db *series.DB) (now int64) {
	const budget = 500
	for i := range db.Shards() {
		for done := false; !done; {
			db.Do(i, func(s series.Sink) {
				f := s.(*forecaster)
				_, done = f.agent.Step(time.UnixMilli(f.newest), budget)
				now = max(now, f.newest)
			})
		}
	}
	return now
}
