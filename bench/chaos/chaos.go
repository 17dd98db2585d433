package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"grace"
	"grace/daemon"
	"grace/internal/pgtest"
	"grace/internal/store"
)

const (
	replicas = 3 // on PostgreSQL
	// A run's share of the bound on the whole: a kill takes about a second.
	boundPerKill = 5 * time.Second
	boundBase    = 4 * time.Minute
)

// world is everything that runs.
type world struct {
	settings
	dir      string
	cluster  *pgtest.Cluster
	target   *target
	replicas []*replica
	load     *load
	watch    *watch // nil on SQLite
	url      string

	mu     sync.Mutex // guards result
	result result
}

// chaos is one run, from an empty database to the verdict.
func chaos(ctx context.Context, s settings) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, boundBase+time.Duration(s.Kills)*boundPerKill)
	defer cancel()
	began := time.Now()
	w := &world{settings: s, result: result{Database: s.Database, Seed: s.Seed, Violations: []string{}}}
	defer w.close()
	if err := w.build(ctx); err != nil {
		return w.result, err
	}
	more, enough := context.WithCancel(ctx)
	defer enough()
	var errs []error
	var group sync.WaitGroup
	group.Go(func() { errs = w.load.run(ctx, more) })
	if w.watch != nil {
		go w.watch.run(ctx)
	}
	err := w.disturb(ctx)
	enough()
	group.Wait()
	if err != nil {
		return w.result, err
	}
	for _, err := range errs {
		w.result.lose("%v", err)
	}
	if w.watch != nil {
		w.result.Takeover = w.watch.times()
	}
	err = w.judge(ctx)
	w.result.Seconds = time.Since(began).Seconds()
	return w.result, err
}

// services are more than there can be runs: the load must not end early.
func (w *world) services() int { return 10*w.Kills + 100 }

func (w *world) build(ctx context.Context) error {
	var err error
	if w.dir, err = os.MkdirTemp("", "grace-chaos-"); err != nil {
		return err
	}
	if w.target, err = newTarget(); err != nil {
		return err
	}
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	env := []string{"GRACE_AUDIT_KEY=" + hex.EncodeToString(key[:])}
	// Also for reading the store when all is over.
	if err := os.Setenv("GRACE_AUDIT_KEY", hex.EncodeToString(key[:])); err != nil {
		return err
	}
	text, n := configuration(w.target.URL, w.services(), time.Second/5), 1
	workers := workersSQLite
	if w.Database == databasePostgres {
		// Longer runs, so that some are open wherever a kill strikes.
		text, n = configuration(w.target.URL, w.services(), 3*time.Second/2), replicas
		workers = workersPostgres
		// What a crash of the server must not lose is on disk.
		if w.cluster, err = pgtest.Open("fsync=on", "synchronous_commit=on", "full_page_writes=on"); err != nil {
			return err
		}
		if w.url, err = w.cluster.Database("chaos"); err != nil {
			return err
		}
		if w.watch, err = newWatch(ctx, w.url); err != nil {
			return err
		}
		text = "database: \"" + w.url + "\"\n" + text
	}
	for i := range n {
		r, err := newReplica(w.dir, fmt.Sprintf("replica%d", i), text, env, w.Logs)
		if err != nil {
			return err
		}
		w.replicas = append(w.replicas, r)
		if err := r.start(ctx); err != nil {
			return errors.Join(err, w.lastWords(r))
		}
	}
	w.load = newLoad(w.replicas, w.services(), workers)
	return nil
}

// lastWords gives the end of a replica's log.
func (w *world) lastWords(r *replica) error {
	text, err := os.ReadFile(r.log.Name())
	if err != nil {
		return err
	}
	return errors.New(string(text[max(0, len(text)-2000):]))
}

// configuration gives services of which each has one run of three steps, and
// no limit that would keep them from it.
func configuration(target string, services int, soak time.Duration) string {
	var b strings.Builder
	b.WriteString(`mode: autonomous
hold_down: 1s
diagnose: {group_wait: 0s}
propose: {storm_services: 100000, storm_share: 1, max_concurrent: 1000}
playbooks:
  - id: heal
    risk: low
    impact: low
    auto: true
    triggers: [service_down]
    settle: 30s
    soak: ` + soak.String() + `
    verify: [{type: http_health, url: "` + target + `/ok", interval: 50ms}]
    steps:
`)
	for i := range 3 {
		fmt.Fprintf(&b, `      - name: s%[1]d
        action: http
        with: {url: "%[2]s/do/${service}-s%[1]d"}
        check: {type: http_health, url: "%[2]s/do/${service}-s%[1]d"}
        irreversible: true
`, i+1, target)
	}
	b.WriteString("services:\n")
	for i := range services {
		fmt.Fprintf(&b, "  - {name: %s, criticality: medium}\n", serviceName(int64(i)))
	}
	return b.String()
}

// judge reads the store as any command of GRACE would.
func (w *world) judge(ctx context.Context) error {
	cfg, problems := daemon.Load(w.replicas[0].config)
	if cfg == nil {
		return problems.Err()
	}
	st, err := daemon.OpenStore(ctx, cfg)
	if err != nil {
		return err
	}
	defer st.Close()
	if err := calm(ctx, st); err != nil {
		return err
	}
	for _, r := range w.replicas {
		if err := r.end(); err != nil {
			w.result.violate("%v", err)
		}
	}
	w.load.mu.Lock()
	accepted := append([]grace.ServiceID(nil), w.load.accepted...)
	w.load.mu.Unlock()
	return check(ctx, st, accepted, w.target.counts(), &w.result)
}

// calmWithin is how long what is open may take when nobody disturbs any more.
const calmWithin = time.Minute

// calm waits until nothing is open, and leaves it to check to say what is.
func calm(ctx context.Context, st *store.Store) error {
	ctx, cancel := context.WithTimeout(ctx, calmWithin)
	defer cancel()
	for ctx.Err() == nil {
		pending, err := st.PendingTriggers(ctx, st.Q(), 1)
		if err != nil {
			return err
		}
		open, err := st.OpenRunHeads(ctx, st.Q())
		if err != nil || len(pending)+len(open) == 0 {
			return err
		}
		sleep(ctx, lookAgain)
	}
	return nil
}

func (w *world) close() {
	for _, r := range w.replicas {
		r.kill()
		_ = r.log.Close()
	}
	if w.watch != nil {
		w.watch.pool.Close()
	}
	if w.cluster != nil {
		w.cluster.Close()
	}
	if w.target != nil {
		w.target.close()
	}
	if w.dir == "" {
		return
	}
	if len(w.result.Violations) > 0 && w.Logs == "" {
		fmt.Fprintln(os.Stderr, "the processes' logs are in", filepath.Clean(w.dir))
		return
	}
	_ = os.RemoveAll(w.dir)
}
