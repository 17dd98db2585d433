package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	databaseSQLite   = "sqlite"
	databasePostgres = "postgres"
)

// settings of one run.
type settings struct {
	Database string
	Kills    int
	Seed     uint64
	Logs     string // folder for the logs of the processes
}

func main() {
	if path := os.Getenv(childConfig); path != "" {
		if err := serve(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	s := settings{}
	flags.StringVar(&s.Database, "database", databaseSQLite, "sqlite (one process) or postgres (three replicas)")
	flags.IntVar(&s.Kills, "kills", 200, "how often to kill -9")
	flags.Uint64Var(&s.Seed, "seed", uint64(time.Now().UnixNano()), "what decides whom to strike, when")
	flags.StringVar(&s.Logs, "logs", "", "keep the processes' logs in this folder")
	asJSON := flags.Bool("json", false, "print the result as JSON")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if s.Database != databaseSQLite && s.Database != databasePostgres || flags.NArg() > 0 || s.Kills < 1 {
		fmt.Fprintln(stderr, "usage: chaos [--database sqlite|postgres] [--kills N] [--seed N] [--json] [--logs DIR]")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprintf(stderr, "chaos on %s: %d kills, seed %d\n", s.Database, s.Kills, s.Seed)
	r, err := chaos(ctx, s)
	if err != nil {
		fmt.Fprintln(stderr, "chaos:", err)
		return 1
	}
	if *asJSON {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		if err := out.Encode(r); err != nil {
			fmt.Fprintln(stderr, "chaos:", err)
			return 1
		}
	} else {
		fmt.Fprint(stdout, r.text())
	}
	if len(r.Violations) > 0 {
		return 1
	}
	return 0
}

// times are percentiles in seconds.
type times struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_seconds"`
	P95   float64 `json:"p95_seconds"`
	Max   float64 `json:"max_seconds"`
}

// result of one run.
type result struct {
	Database string `json:"database"`
	Seed     uint64 `json:"seed"`
	Kills    int    `json:"kills"`
	Stops    int    `json:"stops"`             // SIGSTOP, then SIGCONT
	Fenced   int    `json:"fenced"`            // ended by themselves after a long stop
	Outages  int    `json:"database_restarts"` // of PostgreSQL
	Accepted int    `json:"triggers_accepted"` // answered 2xx, one a service
	Runs     int    `json:"runs"`
	States   string `json:"states"`
	Keys     int    `json:"idempotency_keys"`
	Resumed  int    `json:"steps_resumed"` // found started by another process
	Redone   int    `json:"calls_repeated"`
	Takeover times  `json:"takeover"`
	Lost     int    `json:"lost"`
	Doubled  int    `json:"doubled"`
	Audit    int64  `json:"audit_entries"`
	AuditOK  bool   `json:"audit_ok"`
	Seconds  float64

	Violations []string `json:"violations"`
}

func (r result) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, seed %d: %d kills, %d stops (%d fenced), %d database restarts in %.0f s\n",
		r.Database, r.Seed, r.Kills, r.Stops, r.Fenced, r.Outages, r.Seconds)
	fmt.Fprintf(&b, "  triggers accepted %d, runs %d (%s), steps %d, found unfinished and resumed %d, calls repeated with the same key %d\n",
		r.Accepted, r.Runs, r.States, r.Keys, r.Resumed, r.Redone)
	fmt.Fprintf(&b, "  takeover of %d runs: p50 %.1f s, p95 %.1f s, max %.1f s\n", r.Takeover.Count, r.Takeover.P50, r.Takeover.P95, r.Takeover.Max)
	fmt.Fprintf(&b, "  lost %d, doubled %d, audit log of %d entries ok: %v\n", r.Lost, r.Doubled, r.Audit, r.AuditOK)
	for _, v := range r.Violations {
		fmt.Fprintln(&b, "  VIOLATION:", v)
	}
	return b.String()
}
