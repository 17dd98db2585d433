package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"grace"
)

// TestRunAskedFor: a run by hand names who wants it and why, and no condition
// that nobody diagnosed.
func TestRunAskedFor(t *testing.T) {
	var out strings.Builder
	a := testApp()
	r := grace.Run{
		ID: "r-1", Service: "web", Code: grace.CodeManual, Kind: grace.TriggerManual, Playbook: grace.Playbook{ID: "restart_service"},
		Status: grace.RunRunning, SickSince: time.Now(), Asked: &grace.Note{Actor: "token:ada", Text: "it feels slow"},
	}
	a.run(&out, r)
	if got := out.String(); !strings.Contains(got, "restart_service on web, asked for by token:ada: it feels slow: running") || strings.Contains(got, "sick since") {
		t.Error(got)
	}
}

// TestRunWaits: a run that waits says for what, and has not ended.
func TestRunWaits(t *testing.T) {
	a := testApp()
	r := grace.Run{
		ID: "r-1", Service: "web", Code: grace.CodeServiceDown, Playbook: grace.Playbook{ID: "restart_service"}, Status: grace.RunApproved,
		Reasons: []grace.Reason{{Gate: "cone", Code: grace.ReasonConeBusy, Actual: "db", Source: "run/r-0"}},
	}
	for name, show := range map[string]func(io.Writer){
		"show": func(w io.Writer) { a.run(w, r) },
		"list": func(w io.Writer) { a.runTable(w, []grace.Run{r}) },
	} {
		var out strings.Builder
		show(&out)
		if got := strings.ToLower(out.String()); !strings.Contains(got, "waits for cone: run r-0 is on db") || strings.Contains(got, "ended because") {
			t.Errorf("%s:\n%s", name, out.String())
		}
	}
}

// TestLimitsOfTimeHint: --override is offered only where it would help.
func TestLimitsOfTimeHint(t *testing.T) {
	limit, bad := grace.Reason{Code: grace.ReasonBackoff}, grace.Reason{Code: grace.ReasonBadParameters}
	for _, tt := range []struct {
		reasons []grace.Reason
		want    bool
	}{{[]grace.Reason{limit}, true}, {[]grace.Reason{bad}, false}, {[]grace.Reason{limit, bad}, false}} {
		var out strings.Builder
		testApp().byHand(&out, grace.Decision{Verdict: grace.VerdictNone, Reasons: tt.reasons}, false)
		if got := strings.Contains(out.String(), "--override"); got != tt.want {
			t.Errorf("%v: override offered %v:\n%s", tt.reasons, got, out.String())
		}
	}
}

// TestStatusCountsWhatItLists: the node that sums up GRACE's own parts is no
// further sick one beside the part that is.
func TestStatusCountsWhatItLists(t *testing.T) {
	view := func(id grace.ServiceID, status grace.Health) healthView {
		return healthView{HealthState: grace.HealthState{Service: id, Status: status}}
	}
	web := view("web", grace.HealthHealthy)
	sum := view(grace.CoreService, grace.HealthDegraded)
	for want, health := range map[string][]healthView{
		"1 degraded of 2 services": {web, sum, view("core.trigger_mesh", grace.HealthDegraded)},
		"1 degraded of 3 services": {web, sum, view("core.trigger_mesh", grace.HealthHealthy)},
		"All services are healthy": {web, view(grace.CoreService, grace.HealthHealthy)},
	} {
		var out strings.Builder
		a := testApp()
		a.headline(&out, "", health, 0, 0, 0)
		a.sick(&out, health)
		if got := out.String(); !strings.HasPrefix(got, want) || strings.Count(got, "degraded ") != min(2, 2*strings.Count(want, "degraded")) {
			t.Errorf("want %s:\n%s", want, got)
		}
	}
}
