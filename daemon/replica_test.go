package daemon_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/patience"
	"grace/internal/pgtest"
)

// sharedKey is what all replicas of a test have as their audit key.
var sharedKey = "GRACE_AUDIT_KEY=" + strings.Repeat("5a", 32)

// spawnReplicas starts identical replicas on one database.
func spawnReplicas(t *testing.T, n int, database, text string) []*process {
	t.Helper()
	var all []*process
	for range n {
		h := newHome(t, "database: ${env:GRACE_TEST_DATABASE}\n"+text)
		all = append(all, h.spawn(t, sharedKey, "GRACE_TEST_DATABASE="+database))
	}
	return all
}

// TestReplicasDecideOnce: the same condition, told to every replica at the same
// moment, is one decision and one run, and the decision follows from what is recorded.
func TestReplicasDecideOnce(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			var services []string
			for i := range 6 {
				services = append(services, fmt.Sprintf("svc%d", i))
			}
			g := newTarget(t)
			all := spawnReplicas(t, n, pgtest.Start(t), fiveSteps(g, services))
			var posting sync.WaitGroup
			for _, p := range all {
				for _, service := range services {
					posting.Go(func() { tell(t, p.client, service) })
				}
			}
			posting.Wait()
			for i, service := range services {
				run := all[i%n].waitRun(service, grace.RunSucceeded)
				if runs := items[grace.Run](all[0].client, "/api/runs?service="+service); len(runs) != 1 {
					t.Errorf("%s has %d runs: %+v", service, len(runs), runs)
				}
				for step := 1; step <= 5; step++ {
					if calls := g.called(fmt.Sprintf("%s/do/s%d", run.ID, step)); calls != 1 {
						t.Errorf("%s: step %d was called %d times", service, step, calls)
					}
				}
				auditedOnce(t, all[0].client, service, run)
				by := map[grace.TriggerID]grace.DecisionID{}
				for _, dec := range items[grace.Decision](all[0].client, "/api/governance/decisions?service="+service) {
					for _, id := range dec.Triggers {
						by[id] = dec.ID
					}
					if dec.Run != run.ID {
						t.Errorf("%s: a second decision: %+v", service, dec)
					}
				}
				if len(by) == 0 {
					t.Errorf("%s: no trigger was decided", service)
				}
			}
			all[0].verifyAudit()
			var replayed decide.Replayed
			all[0].call(http.MethodGet, "/api/replay", nil, &replayed)
			if replayed.Differ > 0 || replayed.Decisions < len(services) || replayed.Admissions < len(services) {
				t.Errorf("computed again: %+v", replayed)
			}
			for _, p := range all {
				p.terminate(t)
			}
		})
	}
}

// tell is client.alert for many goroutines.
func tell(t *testing.T, c client, service string) {
	status, answer, err := c.try(http.MethodPost, "/api/health/ingest_signal", alertOf(service))
	if err != nil || status/100 != 2 {
		t.Errorf("alert of %s: %d %s %v", service, status, answer, err)
	}
}

func alertOf(service string) map[string]any {
	return map[string]any{"service": service, "kind": "alert", "code": "service_down", "severity": "critical", "message": "down"}
}

// away wants every request to be refused with a reason and when to come again,
// by a process that lives.
func away(t *testing.T, c client) {
	t.Helper()
	for _, ask := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/api/health/ingest_signal", alertOf(between)},
		{http.MethodGet, "/api/runs", nil},
		{http.MethodGet, "/readyz", nil},
	} {
		if err := refused(c, ask.method, ask.path, ask.body, "store"); err != nil {
			t.Error(err)
		}
	}
	if status, _, err := c.try(http.MethodGet, "/healthz", nil); err != nil || status != http.StatusOK {
		t.Errorf("the process does not live: %d %v", status, err)
	}
}

// TestReplicasKilled kills replicas under open runs, stops one for a while, and
// restarts the database: the short form of bench/chaos.
func TestReplicasKilled(t *testing.T) {
	t.Parallel()
	const kills = 4
	var services []string
	for i := range 2 * kills {
		services = append(services, fmt.Sprintf("svc%d", i))
	}
	g := newTarget(t)
	cluster := pgtest.StartCluster(t, "fsync=on", "synchronous_commit=on")
	text := "database: ${env:GRACE_TEST_DATABASE}\n" + fiveSteps(g, services)
	env := []string{sharedKey, "GRACE_TEST_DATABASE=" + cluster.URL(t, "grace")}
	homes := []home{newHome(t, text), newHome(t, text), newHome(t, text)}
	all := make([]*process, len(homes))
	for i, h := range homes {
		all[i] = h.spawn(t, env...)
	}
	for i := range kills {
		victim := i % len(all)
		all[victim].alert(services[2*i])
		all[(victim+1)%len(all)].alert(services[2*i+1])
		switch i {
		case 1:
			other := all[(victim+1)%len(all)]
			_ = other.cmd.Process.Signal(syscall.SIGSTOP)
			time.AfterFunc(2*time.Second, func() { _ = other.cmd.Process.Signal(syscall.SIGCONT) })
		case 2:
			cluster.Restart(t)
		}
		time.Sleep(time.Duration(137*i%300) * time.Millisecond) // somewhere in its runs
		all[victim].kill()
		all[victim] = homes[victim].spawn(t, env...)
	}
	for i, service := range services {
		run := all[i%len(all)].waitRun(service, grace.RunSucceeded)
		auditedOnce(t, all[0].client, service, run)
		if runs := items[grace.Run](all[0].client, "/api/runs?service="+service); len(runs) != 1 {
			t.Errorf("%s has %d runs", service, len(runs))
		}
	}
	if n := g.repeated(); n > 0 {
		t.Errorf("%d calls for an effect that was there already", n)
	}
	all[0].verifyAudit()
	for _, p := range all {
		p.terminate(t)
	}
}

// TestDatabaseAway: while the database is away for longer than the leases last,
// the API says so, nothing ends, and afterwards everything goes on where it was.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	cluster := pgtest.StartCluster(t)
	all := spawnReplicas(t, 2, cluster.URL(t, "grace"), fiveSteps(g, moments))
	step := g.hold("POST", "/do/in-step-s3", false)
	all[0].alert(inStep)
	step.wait(t, "step 3")
	all[0].alert(waiting)
	asked := ask(all[0].client, waiting)
	owner := all[0].waitRun(inStep, grace.RunRunning).Owner

	cluster.Stop()
	gone := time.Now()
	time.AfterFunc(time.Second, g.release) // the step's answer finds nobody to record it
	for time.Since(gone) < 13*time.Second {
		for _, p := range all {
			away(t, p.client)
		}
		time.Sleep(500 * time.Millisecond)
	}
	cluster.Restart(t)
	back := time.Now()
	patience.Until(t, func() error {
		status, answer, err := all[1].try(http.MethodPost, "/api/health/ingest_signal", alertOf(between))
		if err != nil || status/100 != 2 {
			return fmt.Errorf("%d %s %w", status, answer, err)
		}
		return nil
	})
	run := all[0].waitRun(between, grace.RunSucceeded)
	t.Logf("decided %s and healed %s after the database was back", run.CreatedAt.Sub(back).Round(time.Millisecond), run.EndedAt.Sub(back).Round(time.Millisecond))
	run = all[0].waitRun(inStep, grace.RunSucceeded)
	auditedOnce(t, all[0].client, inStep, run)
	for i := 1; i <= 5; i++ {
		if n := g.called(fmt.Sprintf("%s/do/s%d", run.ID, i)); n != 1 {
			t.Errorf("step %d was called %d times", i, n)
		}
	}
	if run.Owner != owner {
		t.Errorf("the run was taken over by %s though its owner %s was alive", run.Owner, owner)
	}
	approve(all[1].client, asked)
	all[1].waitRun(waiting, grace.RunSucceeded)
	for _, p := range all {
		select {
		case <-p.exited:
			t.Errorf("a process ended because the database was away: %s", tail(p.stderr.String()))
		default:
		}
	}
	all[0].verifyAudit()
	for _, p := range all {
		p.terminate(t)
	}
}

// TestReplicasNotifyOnce: one of the replicas posts an incident. The first
// answer is a refusal, after which the same one tries again.
func TestReplicasNotifyOnce(t *testing.T) {
	t.Parallel()
	hook := newHook(t, "s3cret")
	hook.slow = 1500 * time.Millisecond // in which every replica looks for what is to be posted
	g := newTarget(t)
	services := []string{"web", "shop", "mail"}
	text := hook.config("Bearer s3cret") + "services:\n"
	for _, service := range services {
		g.fail("POST", "/do/"+service, true)
		text += fmt.Sprintf("  - {name: %[1]s, criticality: medium, bindings: {restart_service: {auto: true, impact: low, "+
			"steps: [{name: restart, action: http, with: {url: '%[2]s/do/%[1]s'}, irreversible: true}], verify: [{type: http_health, url: '%[2]s/do/%[1]s'}]}}}\n", service, g.URL)
	}
	all := spawnReplicas(t, 3, pgtest.Start(t), text)
	for i, service := range services {
		all[i].alert(service)
		all[i].waitRun(service, grace.RunEscalated)
	}
	hook.wait(t, len(services)+1)
	for _, p := range all { // whatever they were at is over then
		p.terminate(t)
	}
	keys := map[string]int{}
	for _, d := range hook.deliveries() {
		keys[d.key]++
	}
	if n := len(hook.deliveries()); n != len(services)+1 || len(keys) != len(services) {
		t.Errorf("%d deliveries of %d incidents: %v", n, len(services), keys)
	}
}
