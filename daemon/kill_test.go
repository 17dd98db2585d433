package daemon_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"grace"
	"grace/internal/patience"
	"grace/internal/pgtest"
)

// databases that a crash must be survived on: what to write into the
// configuration, and what the process must know.
var databases = []struct {
	name  string
	setup func(t *testing.T) (text string, env []string)
}{
	{"sqlite", func(*testing.T) (string, []string) { return "", nil }},
	{"postgres", func(t *testing.T) (string, []string) {
		return "database: ${env:GRACE_TEST_DATABASE}\n", []string{"GRACE_TEST_DATABASE=" + pgtest.Start(t)}
	}},
}

// moments are where kill -9 strikes, each with a service and a run of its own.
const (
	inStep      = "in-step"      // step 3 was called and has had no effect yet
	afterEffect = "after-effect" // step 3 has had its effect, its answer is lost
	between     = "between"      // step 2 is done, step 3 not begun: at its snapshot
	verifying   = "verifying"
	waiting     = "waiting"  // for a person
	approved    = "approved" // by a person, and in step 1
	undoing     = "undoing"  // step 5 failed, the undo of step 3 is under way
)

var moments = []string{inStep, afterEffect, between, verifying, waiting, approved, undoing}

// fiveSteps gives services whose restart takes five steps. Each may take longer
// than a busy machine needs to come to the kill.
func fiveSteps(g *target, services []string) string {
	var b strings.Builder
	b.WriteString("propose: {storm_services: 100, storm_share: 1, max_concurrent: 100}\nservices:\n")
	for _, service := range services {
		fmt.Fprintf(&b, "  - name: %s\n    criticality: medium\n    bindings:\n      restart_service:\n        auto: %v\n        impact: low\n"+
			"        settle: 30s\n        soak: 200ms\n        watchdog: 1h\n        verify: [{type: http_health, url: \"%s/verify/%s\", interval: 50ms}]\n        steps:\n",
			service, service != waiting && service != approved, g.URL, service)
		for i := 1; i <= 5; i++ {
			name := fmt.Sprintf("%s-s%d", service, i)
			fmt.Fprintf(&b, `          - name: s%d
            action: http
            timeout: 10m
            with: {url: "%[2]s/do/%[3]s"}
            check: {type: http_health, url: "%[2]s/do/%[3]s"}
            undo: {action: http, timeout: 10m, with: {url: "%[2]s/undo/%[3]s"}, check: {type: http_health, url: "%[2]s/undo/%[3]s"}}
            snapshot: {action: http, timeout: 10m, with: {method: GET, url: "%[2]s/snapshot/%[3]s"}}
`, i, g.URL, name)
		}
	}
	return b.String()
}

func TestKill(t *testing.T) {
	t.Parallel()
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			t.Parallel()
			g := newTarget(t)
			text, env := db.setup(t)
			h := newHome(t, text+fiveSteps(g, moments))
			old := h.spawn(t, env...)

			gates := map[string]*gate{
				inStep:      g.hold("POST", "/do/in-step-s3", false),
				afterEffect: g.hold("POST", "/do/after-effect-s3", true),
				between:     g.hold("GET", "/snapshot/between-s3", false),
				verifying:   g.hold("GET", "/verify/verifying", false),
				approved:    g.hold("POST", "/do/approved-s1", false),
				undoing:     g.hold("POST", "/undo/undoing-s3", false),
			}
			g.fail("POST", "/do/undoing-s5", true)
			for _, service := range moments {
				old.alert(service)
			}
			answered := ask(old.client, approved)
			approve(old.client, answered)
			asked := ask(old.client, waiting)
			runs := map[string]grace.Run{}
			for service, gate := range gates {
				gate.wait(t, service)
				runs[service], _ = old.run(service)
			}

			old.kill()
			killed := time.Now()
			for service, gate := range gates {
				gate.deserted(t, service)
			}
			g.release()

			fresh := h.spawn(t, env...)
			if a := approvalOf(fresh.client, asked.Run); a.State != grace.ApprovalPending || a.Revision != asked.Revision || !a.Expires.Equal(asked.Expires) {
				t.Errorf("the question did not survive: %+v, was %+v", a, asked)
			}
			approve(fresh.client, asked)
			for _, service := range moments {
				want := grace.RunSucceeded
				if service == undoing {
					want = grace.RunRolledBack
				}
				run := fresh.waitRun(service, want)
				if before, ok := runs[service]; ok && before.ID != run.ID {
					t.Errorf("%s: another run was started", service)
				}
				runs[service] = run
			}
			// How soon is make chaos' to judge: here it says how busy the machine is.
			t.Logf("taken over after %s", runs[inStep].Steps[2].EndedAt.Sub(killed).Round(time.Millisecond))
			for _, a := range []grace.Approval{answered, asked} {
				if a := approvalOf(fresh.client, a.Run); a.State != grace.ApprovalApproved || a.Reason != "go on" || a.Actor == "" {
					t.Errorf("the answer did not survive: %+v", a)
				}
			}
			for _, service := range moments {
				nothingTwice(t, g, fresh.client, service, runs[service])
			}
			if n := len(items[grace.Incident](fresh.client, "/api/incidents")); n != 1 {
				t.Errorf("%d incidents, want the one of the undone run", n)
			}
			fresh.verifyAudit()
			fresh.terminate(t)
		})
	}
}

// ask waits for the question about a service's run.
func ask(c client, service string) grace.Approval {
	c.t.Helper()
	return approvalOf(c, c.waitRun(service, grace.RunAwaitingApproval).ID)
}

func approve(c client, a grace.Approval) {
	c.t.Helper()
	c.call(http.MethodPost, "/api/governance/approvals/"+string(a.ID)+"/decision",
		map[string]any{"decision": "approve", "reason": "go on", "revision": a.Revision}, nil)
}

func approvalOf(c client, run grace.RunID) grace.Approval {
	c.t.Helper()
	var a grace.Approval
	c.call(http.MethodGet, "/api/governance/approvals/"+string(run), nil, &a)
	return a
}

// nothingTwice wants every step of a run to have been called once, but for the
// one that the crash interrupted; and each to be in the audit log once.
func nothingTwice(t *testing.T, g *target, c client, service string, run grace.Run) {
	t.Helper()
	twice := map[string]string{inStep: "/do/s3", approved: "/do/s1", undoing: "/undo/s3"}[service]
	for i := 1; i <= 5; i++ {
		for _, phase := range []string{"do", "undo"} {
			step := fmt.Sprintf("/%s/s%d", phase, i)
			want := 0
			switch {
			case step == twice:
				want = 2
			case phase == "do", service == undoing && i < 5:
				want = 1
			}
			if n := g.called(string(run.ID) + step); n != want {
				t.Errorf("%s: %s was called %d times, want %d", service, step, n, want)
			}
		}
		if want := service != undoing; g.has(fmt.Sprintf("%s-s%d", service, i)) != want {
			t.Errorf("%s: effect of step %d: %v, want %v", service, i, !want, want)
		}
	}
	if service == afterEffect && !run.Steps[2].Resumed {
		t.Errorf("%s: the interrupted step is not marked as resumed", service)
	}
	auditedOnce(t, c, service, run)
}

func auditedOnce(t *testing.T, c client, service string, run grace.Run) {
	t.Helper()
	seen := map[string]int{}
	for _, e := range items[grace.AuditEntry](c, "/api/log/entries?limit=200&object=run/"+string(run.ID)) {
		key := e.Action
		if strings.HasPrefix(e.Action, "run.step_") || strings.HasPrefix(e.Action, "run.snapshot") {
			key += " " + e.Reason
		}
		if seen[key]++; seen[key] > 1 {
			t.Errorf("%s: %q is in the audit log %d times", service, key, seen[key])
		}
	}
	if seen["run."+string(run.Status)] != 1 {
		t.Errorf("%s: the end is not in the audit log: %v", service, seen)
	}
}

// TestKillAnywhere kills again and again at moments that nobody chose.
func TestKillAnywhere(t *testing.T) {
	t.Parallel()
	const lives = 4
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var services []string
	for i := range 2 * lives {
		services = append(services, fmt.Sprintf("svc%d", i))
	}
	g := newTarget(t)
	h := newHome(t, fiveSteps(g, services))
	for life := range lives {
		p := h.spawn(t)
		p.alert(services[2*life])
		p.alert(services[2*life+1])
		// Runs take some 300 ms to their verification, which takes as long.
		time.Sleep(time.Duration(random.IntN(700)) * time.Millisecond)
		p.kill()
	}
	last := h.spawn(t)
	for _, service := range services {
		run := last.waitRun(service, grace.RunSucceeded)
		auditedOnce(t, last.client, service, run)
		for i := 1; i <= 5; i++ {
			if n := g.called(fmt.Sprintf("%s/do/s%d", run.ID, i)); n < 1 || n > lives {
				t.Errorf("%s: step %d was called %d times", service, i, n)
			}
		}
	}
	if n := g.repeated(); n > 0 {
		t.Errorf("%d calls for an effect that was there already", n)
	}
	last.verifyAudit()
	last.terminate(t)
}

// TestGracefulStop: a step under way ends, and everything else goes on at once
// in the next process, without waiting for the old one's lease.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			t.Parallel()
			g := newTarget(t)
			text, env := db.setup(t)
			h := newHome(t, text+fiveSteps(g, moments))
			old := h.spawn(t, env...)
			step := g.hold("POST", "/do/in-step-s3", false)
			check := g.hold("GET", "/verify/verifying", false)
			for _, service := range []string{inStep, verifying, waiting} {
				old.alert(service)
			}
			step.wait(t, "step 3")
			check.wait(t, "the verification")
			asked := old.waitRun(waiting, grace.RunAwaitingApproval)

			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				check.deserted(t, "the verification") // broken off: stopping has begun
				g.release()
			}()
			old.terminate(t)
			<-stopped

			fresh := h.spawn(t, env...)
			for _, service := range []string{inStep, verifying} {
				run := fresh.waitRun(service, grace.RunSucceeded)
				if run.Steps[2].Resumed {
					t.Errorf("%s: step 3 was broken off", service)
				}
				for i := 1; i <= 5; i++ {
					if n := g.called(fmt.Sprintf("%s/do/s%d", run.ID, i)); n != 1 {
						t.Errorf("%s: step %d was called %d times", service, i, n)
					}
				}
			}
			if a := approvalOf(fresh.client, asked.ID); a.State != grace.ApprovalPending {
				t.Errorf("the question was not kept: %+v", a)
			}
			fresh.verifyAudit()
			fresh.terminate(t)
		})
	}
}

// TestFrozenProcess: a process that stood still for longer than its lease finds
// its run adopted. It must end by itself and do nothing twice.
func TestFrozenProcess(t *testing.T) {
	t.Parallel()
	g := newTarget(t)
	text, env := databases[1].setup(t)
	h := newHome(t, text+fiveSteps(g, moments))
	old := h.spawn(t, env...)
	step := g.hold("POST", "/do/in-step-s3", true)
	old.alert(inStep)
	step.wait(t, "step 3")
	if err := old.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	fresh := h.spawn(t, env...)
	run := fresh.waitRun(inStep, grace.RunSucceeded)
	g.release() // the answer the frozen process has waited for
	if err := old.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	patience.Next(t, "end of the frozen process", old.exited)
	if code := old.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(old.stderr.String(), "another process may drive") {
		t.Errorf("the frozen process ended with %d", code)
	}
	for i := 1; i <= 5; i++ {
		if n := g.called(fmt.Sprintf("%s/do/s%d", run.ID, i)); n != 1 {
			t.Errorf("step %d was called %d times", i, n)
		}
	}
	if again, _ := fresh.run(inStep); again.Revision != run.Revision || again.Owner != run.Owner {
		t.Errorf("the frozen process changed the ended run: revision %d by %s, was %d by %s", again.Revision, again.Owner, run.Revision, run.Owner)
	}
	fresh.verifyAudit()
	fresh.terminate(t)
}
