package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"grace/internal/predict"
	"grace/internal/telemetry"
	"grace/sensor/remotewrite"
)

// shards of the intake, each with an agent that predicts.
const shards = 16

// forecaster is the sink of one shard.
type forecaster struct{ agent *predict.Agent }

func (f forecaster) Open(s telemetry.Series) uint32 {
	return uint32(f.agent.Open(predict.Series{
		Service: s.Service, Metric: s.Metric, Labels: s.Labels, Role: s.Role, Unit: s.Unit,
		Falls: s.Direction == telemetry.DirectionDown,
	}))
}

func (f forecaster) Append(h uint32, at int64, v float64) { f.agent.Append(predict.Handle(h), at, v) }
func (f forecaster) Close(h uint32)                       { f.agent.Close(predict.Handle(h)) }

// serve is the other process: GRACE's receiver with its prediction, until the
// context ends. It prints its address.
func serve(ctx context.Context, out io.Writer) error {
	sinks := make([]telemetry.Sink, shards)
	for i := range sinks {
		sinks[i] = forecaster{predict.New(predict.DefaultConfig(), nil)}
	}
	cfg := telemetry.DefaultConfig()
	cfg.Limits.SeriesPerSource, cfg.Limits.SeriesPerService = cfg.Limits.Series, cfg.Limits.Series
	in, err := telemetry.New(cfg, telemetry.Options{Sinks: sinks})
	if err != nil {
		return err
	}
	handler, err := remotewrite.New(remotewrite.DefaultConfig(), in, nil)
	if err != nil {
		return err
	}
	go evaluate(ctx, in)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/write", handler)
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		s := in.Stats()
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

// evaluate looks at all series every 30 seconds, as the daemon does: some at a
// time, so that no shard is held for long.
func evaluate(ctx context.Context, in *telemetry.Intake) {
	const every, budget = 30 * time.Second, 500
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for i := range in.Shards() {
				for done := false; !done; {
					in.Do(i, func(s telemetry.Sink) { _, done = s.(forecaster).agent.Step(now, budget) })
				}
			}
		}
	}
}
