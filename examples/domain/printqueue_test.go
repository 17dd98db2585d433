package printqueue_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"testing"
	"time"

	"grace"
	printqueue "grace/examples/domain"
	"grace/gracetest"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

// submit puts a job into the spool folder that has waited for some time.
func submit(spool, name string, waited time.Duration) error {
	path := filepath.Join(spool, name)
	if err := os.WriteFile(path, []byte("%!PS"), 0o600); err != nil {
		return err
	}
	return os.Chtimes(path, noon.Add(-waited), noon.Add(-waited))
}

// A domain tells what there is, how it is, and what can be done.
func Example() {
	spool, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(spool)
	for name, waited := range map[string]time.Duration{"invoice.ps": 12 * time.Minute, "letter.ps": time.Minute} {
		if err := submit(spool, name, waited); err != nil {
			log.Fatal(err)
		}
	}

	ctx := context.Background()
	d := printqueue.New(spool, clock)
	for _, n := range d.HealthNodes() {
		health, detail := n.State(ctx)
		fmt.Println(n.ID, health, detail)
	}
	values := d.Metrics(ctx)
	for _, m := range d.Telemetry() {
		fmt.Println(m.Name, values[m.Name], m.Unit)
	}
	for _, p := range d.Playbooks() {
		fmt.Println(p.ID, "for", p.Triggers)
		for _, s := range p.Steps {
			fmt.Println("  do  ", s.With["argv"])
			fmt.Println("  undo", s.Undo.With["argv"])
		}
	}
	// Output:
	// print.spooler healthy 2 jobs wait
	// print.printer degraded the oldest job has waited for 12m0s
	// print.jobs_waiting 2 1
	// print.oldest_job_age 720 s
	// resume_printer for [queue_stuck degradation]
	//   do   [cupsenable ${printer}]
	//   undo [cupsdisable ${printer}]
}

func TestConformance(t *testing.T) {
	gracetest.Domain(t, func(t *testing.T) grace.Domain {
		spool := t.TempDir()
		if err := submit(spool, "job.ps", time.Minute); err != nil {
			t.Fatal(err)
		}
		return printqueue.New(spool, clock)
	})
	t.Run("folder gone", func(t *testing.T) {
		gracetest.Domain(t, func(t *testing.T) grace.Domain {
			return printqueue.New(filepath.Join(t.TempDir(), "gone"), clock)
		})
	})
}
