package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

type options struct {
	prometheus string
	series     int
	times      int
	rounds     int
	json       string
}

// Measured is one way of loading one receiver.
type Measured struct {
	Receiver      string  `json:"receiver"`
	Samples       int     `json:"samples_a_series_and_request"`
	PerCore       float64 `json:"samples_a_second_and_core"` // median of the rounds
	Lowest        float64 `json:"lowest"`
	Highest       float64 `json:"highest"`
	Nanoseconds   float64 `json:"ns_a_sample"`
	ResidentBytes int64   `json:"resident_bytes"` // the most of all rounds
}

// Report is what -json writes.
type Report struct {
	Prometheus string             `json:"prometheus"`
	Series     int                `json:"series"`
	Rounds     int                `json:"rounds"`
	Results    []Measured         `json:"results"`
	Ratio      map[string]float64 `json:"grace_to_prometheus"` // by samples a series and request
	Notes      []string           `json:"notes"`
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 2 && args[0] == "serve" {
		requests, err := strconv.Atoi(args[1])
		if err != nil || requests < 1 {
			return errors.New("serve: want a number of requests")
		}
		return serve(ctx, out, requests)
	}
	var o options
	f := flag.NewFlagSet("ingest", flag.ContinueOnError)
	f.StringVar(&o.prometheus, "prometheus", "prometheus", "Prometheus' `program`")
	f.IntVar(&o.series, "series", 20_000, "how many series")
	f.IntVar(&o.times, "times", 100, "samples of each series that are measured")
	f.IntVar(&o.rounds, "rounds", 3, "fresh processes of each receiver, in turn")
	f.StringVar(&o.json, "json", "", "write the report as JSON to this `file`")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.series < 1 || o.times < 5 || o.rounds < 1 || f.NArg() > 0 {
		return errors.New("wrong usage; see -help")
	}
	report := Report{Series: o.series, Rounds: o.rounds, Ratio: map[string]float64{}, Prometheus: versionOf(o.prometheus), Notes: notes()}
	for _, samples := range []int{1, 5} {
		g, p, err := o.compare(ctx, samples)
		if err != nil {
			return err
		}
		report.Results = append(report.Results, p, g)
		report.Ratio[fmt.Sprint(samples)] = g.PerCore / p.PerCore
	}
	report.print(out)
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(data, '\n'), 0o600)
}

// parts is how many requests hold all series.
func (o options) parts() int { return (o.series + perRequest - 1) / perRequest }

func notes() []string {
	return []string{
		"per core: samples divided by user and system time of the receiving process; making series is not measured",
		"Prometheus also writes every sample to a log on disk and keeps it; GRACE makes rates, keeps the buckets and of other series what its models need, and looks at every series once in 30 s of the load's time",
		"12 of 24 series are buckets of histograms, which an expression makes a quantile of every service of",
	}
}

func versionOf(program string) string {
	out, err := exec.Command(program, "--version").CombinedOutput()
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first
}

// compare loads both in turn.
func (o options) compare(ctx context.Context, samples int) (g, p Measured, err error) {
	const warm = 3 // times before the measure; the third makes what needs two
	list := build(o.series)
	measured := o.times / samples
	// The newest sample must not be in the future.
	first := time.Now().UnixMilli() - int64((warm+measured+1)*samples)*interval
	before := requests(list, first, 0, warm, samples)
	load := requests(list, first, warm*samples, measured, samples)
	g, p = Measured{Receiver: "grace", Samples: samples}, Measured{Receiver: "prometheus", Samples: samples}
	// How many requests are 30 seconds of the load's time.
	evaluation := max(1, 2*o.parts()/samples)
	var gs, ps []float64
	for range o.rounds {
		for _, c := range []struct {
			m     *Measured
			rates *[]float64
			start func() (*process, error)
			took  func(*process) (float64, error)
		}{
			{&p, &ps, func() (*process, error) { return startPrometheus(ctx, o.prometheus) }, tookPrometheus},
			{&g, &gs, func() (*process, error) { return startGrace(evaluation) }, tookGrace},
		} {
			proc, err := c.start()
			if err != nil {
				return g, p, err
			}
			spent, err := o.measure(ctx, proc, before, load, c.took, o.series*measured*samples)
			c.m.ResidentBytes = max(c.m.ResidentBytes, proc.memory())
			proc.stop()
			if err != nil {
				return g, p, fmt.Errorf("%s: %w", c.m.Receiver, err)
			}
			*c.rates = append(*c.rates, float64(o.series*measured*samples)/spent.Seconds())
		}
	}
	g.set(gs)
	p.set(ps)
	return g, p, nil
}

func (m *Measured) set(rates []float64) {
	slices.Sort(rates)
	m.PerCore, m.Lowest, m.Highest = rates[(len(rates)-1)/2], rates[0], rates[len(rates)-1]
	m.Nanoseconds = 1e9 / m.PerCore
}

// measure gives the processor time that the load took. Every sample must have
// been taken.
func (o options) measure(
	ctx context.Context, p *process, before, load [][]byte, took func(*process) (float64, error), samples int,
) (time.Duration, error) {
	parts := o.parts()
	if err := send(ctx, p.url, before, parts); err != nil {
		return 0, err
	}
	had, err := took(p)
	if err != nil {
		return 0, err
	}
	from, err := p.cpu()
	if err != nil {
		return 0, err
	}
	if err := send(ctx, p.url, load, parts); err != nil {
		return 0, err
	}
	to, err := p.cpu()
	if err != nil {
		return 0, err
	}
	has, err := took(p)
	switch {
	case err != nil:
		return 0, err
	case int(has-had) != samples:
		return 0, fmt.Errorf("%.0f of %d samples were taken", has-had, samples)
	case to <= from:
		return 0, errors.New("the load was too small to measure; raise -series or -times")
	}
	return to - from, nil
}

// send posts requests over two connections. All of one time are answered before
// the next time begins, as scrapes have it.
func send(ctx context.Context, url string, list [][]byte, parts int) error {
	const connections = 2
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	errs := make([]error, connections)
	for time := range slices.Chunk(list, parts) {
		var wg sync.WaitGroup
		for c := range connections {
			wg.Go(func() {
				for i := c; i < len(time) && errs[c] == nil; i += connections {
					errs[c] = post(ctx, client, url, time[i])
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "snappy")
	r.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("answered %s: %s", resp.Status, text)
	}
	return nil
}

func (r *Report) print(out io.Writer) {
	fmt.Fprintf(out, "remote write 1.0, %d series in requests of %d, %d rounds; %s\n\n", r.Series, perRequest, r.Rounds, r.Prometheus)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "samples a series\treceiver\tsamples/s a core\tlowest\thighest\tns a sample\tresident MiB\t")
	for _, m := range r.Results {
		fmt.Fprintf(w, "%d\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%d\t\n", m.Samples, m.Receiver, m.PerCore, m.Lowest, m.Highest, m.Nanoseconds, m.ResidentBytes>>20)
	}
	_ = w.Flush()
	fmt.Fprintln(out)
	for _, samples := range []string{"1", "5"} {
		fmt.Fprintf(out, "GRACE to Prometheus, %s samples a series and request: %.2f\n", samples, r.Ratio[samples])
	}
	for _, n := range r.Notes {
		fmt.Fprintln(out, "note:", n)
	}
}
