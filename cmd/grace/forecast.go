package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/cli"
	"grace/internal/forecast"
	"grace/sensor/promql"
)

func newForecast(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forecast",
		Short: "Models that forecasts are made with",
		RunE:  onlyGroup,
	}
	cmd.AddCommand(newForecastTrain(a))
	return cmd
}

// training is what grace forecast train was asked for.
type training struct {
	out        string
	seed       uint64
	rounds     int
	prometheus string
	selectors  []string
	since      grace.Duration
	files      []string
}

func newForecastTrain(a *app) *cobra.Command {
	var o training
	cmd := &cobra.Command{
		Use:   "train --out FILE [CSV...]",
		Short: "Train an LSTM on the history of your series",
		Long: `Train an LSTM on the history of your series, and write it to a file that
predict.lstm of the configuration names: it then takes part in the forecasts.

Series come from files of lines "time,value", one series each (time as RFC 3339
or in seconds since 1970; lines in between that are no numbers are passed over),
and from a Prometheus, by selectors. What counts are hourly means; a series
needs eleven days of them. Training knows shapes only: every series is scaled,
so levels, units and names do not matter. The same input and seed give the same
file.`,
		Example: `  grace forecast train --out lstm.bin --prometheus http://127.0.0.1:9090 --selector '{job="web"}'
  grace forecast train --out lstm.bin --seed 7 history/*.csv`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.files = args
			return a.train(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.out, "out", "", "the file to write")
	f.Uint64Var(&o.seed, "seed", 1, "of the weights that training begins with")
	f.IntVar(&o.rounds, "rounds", 0, "how often every series is gone through (default 100)")
	f.StringVar(&o.prometheus, "prometheus", "", "a Prometheus API to read series from")
	f.StringArrayVar(&o.selectors, "selector", nil, "which of its series")
	f.TextVar(&o.since, "since", grace.Duration(35*24*time.Hour), "look this `duration` back, for example 35d")
	return cmd
}

func (a *app) train(ctx context.Context, o training) error {
	switch {
	case o.out == "":
		return cli.UsageError("--out is missing", "name the file to write, for example --out lstm.bin")
	case (o.prometheus == "") != (len(o.selectors) == 0):
		return cli.UsageError("--prometheus and --selector go together", `for example --prometheus http://127.0.0.1:9090 --selector '{job="web"}'`)
	case o.prometheus == "" && len(o.files) == 0:
		return cli.UsageError("there is nothing to learn from", "give CSV files, or --prometheus and --selector")
	}
	var series [][]float64
	for _, name := range o.files {
		hours, err := readSeries(name)
		if err != nil {
			return &cli.Failure{Code: cli.ExitFailed, Message: err.Error(), Hint: "a line is a time and a value: 2026-03-01T09:00:00Z,12.5"}
		}
		series = append(series, hours.values())
	}
	if o.prometheus != "" {
		more, err := askSeries(ctx, o, a.now())
		if err != nil {
			return &cli.Failure{Code: cli.ExitFailed, Message: "the history could not be read", Cause: err}
		}
		series = append(series, more...)
	}
	_, _ = fmt.Fprintf(a.Err, "training on %d series\n", len(series))
	net, err := forecast.Train(forecast.Training{Seed: o.seed, Rounds: o.rounds}, series...)
	if errors.Is(err, forecast.ErrTooLittle) {
		return &cli.Failure{Code: cli.ExitFailed, Message: err.Error(), Hint: "use a longer --since, or more of the files"}
	} else if err != nil {
		return err
	}
	data, err := net.MarshalBinary()
	if err != nil {
		return err
	}
	if err := os.WriteFile(o.out, data, 0o644); err != nil { //nolint:gosec // a model is no secret
		return &cli.Failure{Code: cli.ExitFailed, Message: "the model could not be written", Cause: err}
	}
	if a.JSON {
		return a.ShowJSON(map[string]any{"file": o.out, "series": len(series), "bytes": len(data)})
	}
	_, _ = fmt.Fprintf(a.Out, "%s: %d bytes, trained on %d series. Name it in the configuration: predict: {lstm: %s}\n", o.out, len(data), len(series), o.out)
	return nil
}

// hourly gathers values by hour since 1970.
type hourly map[int64]*mean

type mean struct {
	sum float64
	n   int
}

func (h hourly) add(at time.Time, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	hour := at.Unix() / 3600
	if h[hour] == nil {
		h[hour] = &mean{}
	}
	h[hour].sum += v
	h[hour].n++
}

// values gives the means from the first hour to the last; NaN is none.
func (h hourly) values() []float64 {
	if len(h) == 0 {
		return nil
	}
	keys := slices.Collect(maps.Keys(h))
	first, last := slices.Min(keys), slices.Max(keys)
	const most = 10 * 366 * 24 // a time in other units makes centuries
	if last-first > most {
		return nil
	}
	out := make([]float64, last-first+1)
	for i := range out {
		out[i] = math.NaN()
		if m := h[first+int64(i)]; m != nil {
			out[i] = m.sum / float64(m.n)
		}
	}
	return out
}

// readSeries reads a file of times and values.
func readSeries(name string) (hourly, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read a series: %w", err)
	}
	defer file.Close()
	lines := csv.NewReader(file)
	lines.FieldsPerRecord = -1
	lines.ReuseRecord = true
	hours := hourly{}
	for {
		record, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if len(record) < 2 {
			continue
		}
		at, okTime := parseTime(record[0])
		v, err := strconv.ParseFloat(strings.TrimSpace(record[1]), 64)
		if okTime && err == nil {
			hours.add(at, v)
		}
	}
	if len(hours) == 0 {
		return nil, fmt.Errorf("read %s: no line of it holds a time and a value", name)
	}
	return hours, nil
}

func parseTime(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(seconds) < 1e11 {
		return time.Unix(int64(seconds), 0), true
	}
	for _, layout := range []string{time.RFC3339, time.DateTime} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// askSeries reads series from a Prometheus.
func askSeries(ctx context.Context, o training, now time.Time) ([][]float64, error) {
	cfg := promql.Config{Name: "train", URL: o.prometheus, Timeout: grace.Duration(time.Minute)}
	for i, selector := range o.selectors {
		// Whose a series is does not matter here.
		cfg.Queries = append(cfg.Queries, promql.Query{Name: strconv.Itoa(i), Query: selector, ServiceLabel: "service"})
	}
	api, err := promql.New(cfg, nil)
	if err != nil {
		return nil, err
	}
	bySeries := map[string]hourly{}
	var order []string
	const grain = 10 * time.Minute
	_, err = api.History(ctx, now.Add(-o.since.D()), grain, func(labels map[string]string, points []promql.Point) {
		key := fmt.Sprint(labels) // sorted by name
		if bySeries[key] == nil {
			bySeries[key] = hourly{}
			order = append(order, key)
		}
		for _, p := range points {
			bySeries[key].add(time.UnixMilli(p.At), p.Value)
		}
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(order)
	out := make([][]float64, 0, len(order))
	for _, key := range order {
		out = append(out, bySeries[key].values())
	}
	return out, nil
}
