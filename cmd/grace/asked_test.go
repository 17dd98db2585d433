package main

import (
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
