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
		State: grace.RunRunning, SickSince: time.Now(), Asked: &grace.Note{Actor: "token:ada", Text: "it feels slow"},
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
		ID: "r-1", Service: "web", Code: grace.CodeServiceDown, Playbook: grace.Playbook{ID: "restart_service"}, State: grace.RunApproved,
		Reasons: []grace.Reason{{Gate: "cone", Code: grace.ReasonConeBusy, Actual: "run r-0 on db is running", Required: "no other run"}},
	}
	for name, show := range map[string]func(io.Writer){
		"show": func(w io.Writer) { a.run(w, r) },
		"list": func(w io.Writer) { a.runTable(w, []grace.Run{r}) },
	} {
		var out strings.Builder
		show(&out)
		if got := strings.ToLower(out.String()); !strings.Contains(got, "waits for cone: run r-0 on db is running") || strings.Contains(got, "ended because") {
			t.Errorf("%s:\n%s", name, out.String())
		}
	}
}
