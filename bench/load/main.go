// Command load puts GRACE under the load of a large installation and measures
// what it does to it.
//
//	a store with --runs runs, seeded through the store
//	   └> grace serve: 1,000 services, each probed every 6 s here
//	        1. calm:  the lists that people look at
//	        2. storm: 50,000 alerts in a minute by the Alertmanager webhook,
//	                  the lists meanwhile
//	        3. after: everything accepted is looked up through the API
//
// # What must hold (exit code 1 otherwise)
//
//   - every webhook is answered with 2xx, or refused with 503 or 429 and
//     Retry-After; one that is refused is sent again;
//   - every alert that was accepted is a signal of its service, and no trigger
//     waits for a decision at the end;
//   - the storm breaker opens, with one incident, and nothing is done;
//   - the 99th percentile of the lists in the calm is at most 100 ms;
//   - a decision takes at most 4 KiB on average, with all that it rests on;
//   - the audit log verifies.
//
// Everything listens on 127.0.0.1. With --database postgres the store is a
// PostgreSQL server that is started for the purpose, with its durable settings;
// its memory and its processor time are not in the figures of GRACE. It takes
// about three minutes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"grace/internal/pgtest"
)

// options are what can be asked for.
type options struct {
	grace, database, dir string
	services, runs       int
	alerts               int
	storm                time.Duration
	json                 string
}

func main() {
	var o options
	flag.StringVar(&o.grace, "grace", "bin/grace", "the program to measure")
	flag.StringVar(&o.database, "database", databaseSQLite, "sqlite, postgres (a cluster of its own is started), or postgres://... of an empty database")
	flag.StringVar(&o.dir, "dir", "", "where the data goes (default: a temporary folder)")
	flag.IntVar(&o.services, "services", 1000, "services, each with a probe every 6 s")
	flag.IntVar(&o.runs, "runs", 100000, "runs in the store before the start")
	flag.IntVar(&o.alerts, "alerts", 50000, "alerts of the storm")
	flag.DurationVar(&o.storm, "storm", time.Minute, "how long the storm is sent")
	flag.StringVar(&o.json, "json", "", "also write the report to this file, as JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := prepare(ctx, o)
	if report != nil {
		report.print(os.Stdout)
		err = errors.Join(err, report.write(o.json))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// What --database may say besides a URL.
const (
	databaseSQLite   = "sqlite"
	databasePostgres = "postgres"
)

// prepare starts the database where it is ours, then measures.
func prepare(ctx context.Context, o options) (*report, error) {
	switch o.database {
	case databaseSQLite:
		o.database = ""
	case databasePostgres:
		// A server as it is run: what it has said it wrote is on disk.
		cluster, err := pgtest.Open("fsync=on", "synchronous_commit=on", "full_page_writes=on")
		if err != nil {
			return nil, err
		}
		defer cluster.Close()
		if o.database, err = cluster.Database("load"); err != nil {
			return nil, err
		}
	}
	return measure(ctx, o)
}

// measure does all of it. The report is nil when there is nothing to report.
func measure(ctx context.Context, o options) (*report, error) {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "grace-load-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	probed := newProbed()
	defer probed.close()
	if err := writeConfig(o, probed.url); err != nil {
		return nil, err
	}
	say("seeding %d runs", o.runs)
	began := time.Now()
	if err := seed(ctx, o); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	r := &report{Database: "sqlite", Services: o.services, Runs: o.runs, SeedSeconds: time.Since(began).Seconds()}
	if o.database != "" {
		r.Database = "postgresql"
	}
	p, err := start(ctx, o)
	if err != nil {
		return nil, err
	}
	defer p.kill()
	began = time.Now()
	err = observe(ctx, o, p, probed, r)
	p.kill()
	return r, errors.Join(err, r.weigh(ctx, o, began))
}

// maxRecord is how much a decision may take on average, in bytes, with all that it
// rests on.
const maxRecord = 4096

// weigh fills in what the decisions take that were made since a time.
func (r *report) weigh(ctx context.Context, o options, since time.Time) error {
	s, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer s.Close()
	decisions, bytes, err := s.RecordedBytes(ctx, s.Q(), since)
	if err != nil {
		return err
	}
	if decisions > 0 {
		r.RecordBytes = float64(bytes) / float64(decisions)
	}
	if r.RecordBytes > maxRecord {
		return fmt.Errorf("a decision takes %.0f bytes on average, want at most %d", r.RecordBytes, maxRecord)
	}
	return nil
}

// observe fills the report; its error is what must hold and does not.
func observe(ctx context.Context, o options, p *process, probed *probed, r *report) error {
	say("calm: lists, while every service is probed")
	began, probes := time.Now(), probed.count()
	if err := p.login(ctx); err != nil {
		return err
	}
	calm, err := p.lists(ctx, 20*time.Second)
	if err != nil {
		return err
	}
	r.Calm = calm
	r.ProbesPerMinute = float64(probed.count()-probes) / time.Since(began).Minutes()
	r.CalmUse = p.use()

	say("storm: %d alerts in %s", o.alerts, o.storm)
	before := p.use()
	stormed := make(chan *storm, 1)
	go func() { stormed <- p.storm(ctx, o) }()
	if r.Storm, err = p.lists(ctx, o.storm*3/4); err != nil {
		return err
	}
	s := <-stormed
	r.Alerts = s.outcome()
	r.StormUse = p.use().since(before)
	began = time.Now()
	r.Problems = append(r.Problems, s.problems...)

	say("after: is every accepted alert there")
	if err := p.settled(ctx, 90*time.Second); err != nil {
		r.Problems = append(r.Problems, err.Error())
	}
	r.SettledSeconds = time.Since(began).Seconds()
	r.check(p.lost(ctx, s))
	r.check(p.breaker(ctx, r))
	r.check(p.audit(ctx, r))
	if r.Decisions, err = p.decisions(ctx); err != nil {
		return err
	}
	r.EndUse = p.use()
	for _, l := range r.Calm {
		if l.P99 > maxList {
			r.Problems = append(r.Problems, fmt.Sprintf("%s took %.0f ms (p99), want at most %.0f", l.Path, l.P99, maxList))
		}
	}
	if len(r.Problems) > 0 {
		return fmt.Errorf("%d things do not hold", len(r.Problems))
	}
	return nil
}

// maxList is the longest a list may take at the 99th percentile, in ms.
const maxList = 100.0

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "load: "+format+"\n", args...)
}

func configFile(o options) string { return filepath.Join(o.dir, "grace.yaml") }

func dataDir(o options) string { return filepath.Join(o.dir, "data") }

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}
