package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace/internal/series"
)

//go:embed expressions.txt
var expressions string

func main() {
	address := flag.String("listen", "127.0.0.1:9490", "where the Prometheus that is compared with listens")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	differ, err := run(ctx, *address)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "promql:", err)
		os.Exit(1)
	}
	if differ > 0 {
		os.Exit(2)
	}
}

func run(ctx context.Context, address string) (differ int, err error) {
	// Whole minutes, and 7 s: evaluations are 3 s after whole ones.
	from := time.Now().Add(-lasts - time.Hour).Truncate(time.Minute).Add(7 * time.Second)
	all := lines(from)
	prometheus, end, err := start(ctx, address, openMetrics(all))
	if err != nil {
		return 0, err
	}
	defer end()
	var list []string
	for s := bufio.NewScanner(strings.NewReader(expressions)); s.Scan(); {
		if text := s.Text(); text != "" && !strings.HasPrefix(text, "#") {
			list = append(list, text)
		}
	}
	db, err := fill(all, list)
	if err != nil {
		return 0, err
	}
	compared := 0
	for _, text := range list {
		for _, after := range []time.Duration{66 * time.Minute, 95 * time.Minute, 130 * time.Minute, 178 * time.Minute} {
			at := from.Truncate(time.Minute).Add(after + 3*time.Second)
			why, err := compare(ctx, prometheus, db, text, at)
			if err != nil {
				return differ, fmt.Errorf("%s: %w", text, err)
			}
			compared++
			if why != "" {
				differ++
				fmt.Printf("%s at %s: %s\n", text, after, why)
			}
		}
	}
	fmt.Printf("%d expressions, %d results, %d differ\n", len(list), compared, differ)
	return differ, nil
}

// fill appends the samples to GRACE's series.
func fill(all []line, list []string) (*series.DB, error) {
	cfg := series.DefaultConfig()
	cfg.NoDefaultRules = true
	db, err := series.New(cfg, series.Options{})
	if err != nil {
		return nil, err
	}
	var watched []*series.Expr
	for _, text := range list {
		e, err := series.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		watched = append(watched, e)
	}
	keep, err := series.Compile(`count_over_time({job=~".*",__name__=~".+"}[1d])`)
	if err != nil {
		return nil, err
	}
	db.Watch(append(watched, keep))
	for _, l := range all {
		key := series.AppendLabel([]byte(nil), series.MetricLabel, l.name)
		for _, name := range slices.Sorted(maps.Keys(l.labels)) {
			key = series.AppendLabel(key, name, l.labels[name])
		}
		b := db.Begin(series.From{Source: "bench", History: true})
		b.Append(key, series.Meta{}, l.samples...)
		if r := b.End(); r.Refused() > 0 {
			return nil, r.Err()
		}
	}
	return db, nil
}

// start runs a Prometheus on the samples, and gives its address.
func start(ctx context.Context, address, text string) (base string, end func(), err error) {
	dir, err := os.MkdirTemp("", "promql-")
	if err != nil {
		return "", nil, err
	}
	end = func() { _ = os.RemoveAll(dir) }
	for name, content := range map[string]string{"samples.om": text, "prometheus.yml": "global: {scrape_interval: 1m}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", end, err
		}
	}
	out, err := exec.CommandContext(ctx, "promtool", "tsdb", "create-blocks-from", "openmetrics", filepath.Join(dir, "samples.om"), filepath.Join(dir, "data")).CombinedOutput()
	if err != nil {
		return "", end, fmt.Errorf("promtool (apt install prometheus): %w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	if err := cmd.Start(); err != nil {
		return "", end, fmt.Errorf("prometheus (apt install prometheus): %w", err)
	}
	end = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}
	base = "http://" + address
	for ctx.Err() == nil {
		if resp, err := http.Get(base + "/-/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return base, end, nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	return "", end, errors.Join(ctx.Err(), errors.New("prometheus did not start"))
}

// compare tells what differs; nothing when all is the same.
func compare(ctx context.Context, base string, db *series.DB, text string, at time.Time) (string, error) {
	theirs, err := ask(ctx, base, text, at)
	if err != nil {
		return "", err
	}
	answer, err := db.Query(ctx, text, at)
	if err != nil {
		return "", err
	}
	ours := map[string]float64{}
	for _, v := range answer {
		ours[labelsText(v.Labels)] = v.Value
	}
	for _, key := range slices.Sorted(maps.Keys(theirs)) {
		v, ok := ours[key]
		switch want := theirs[key]; {
		case !ok:
			return fmt.Sprintf("Prometheus has %s %v, which is missing here", key, want), nil
		case math.IsNaN(want) && math.IsNaN(v), v == want:
		case !(math.Abs(v-want) <= 1e-9*max(math.Abs(v), math.Abs(want), 1e-9)):
			return fmt.Sprintf("%s is %v there and %v here", key, want, v), nil
		}
	}
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		if _, ok := theirs[key]; !ok {
			return fmt.Sprintf("Prometheus lacks %s %v", key, ours[key]), nil
		}
	}
	return "", nil
}

func labelsText(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, fmt.Sprintf("%s=%q", name, labels[name]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// ask gives Prometheus' answer, by its labels.
func ask(ctx context.Context, base, text string, at time.Time) (map[string]float64, error) {
	target := base + "/api/v1/query?" + url.Values{"query": {text}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var body struct {
		Error string
		Data  struct {
			ResultType string
			Result     json.RawMessage
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return nil, err
	}
	if body.Error != "" {
		return nil, errors.New(body.Error)
	}
	out := map[string]float64{}
	number := func(v [2]any) float64 {
		f, _ := strconv.ParseFloat(fmt.Sprint(v[1]), 64)
		return f
	}
	if body.Data.ResultType == "scalar" {
		var v [2]any
		err := json.Unmarshal(body.Data.Result, &v)
		out["{}"] = number(v)
		return out, err
	}
	var vector []struct {
		Metric map[string]string
		Value  [2]any
	}
	if err := json.Unmarshal(body.Data.Result, &vector); err != nil {
		return nil, err
	}
	for _, e := range vector {
		out[labelsText(e.Metric)] = number(e.Value)
	}
	return out, nil
}
