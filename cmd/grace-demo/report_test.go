package main

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
	"grace/internal/cli"
	"grace/internal/clitest"
)

// TestReport holds the shape that scripts read.
func TestReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, text := range map[string]string{
		"self_heal/kpis":       `{"success_rate":0.8,"mean_time_to_recover":"6s"}`,
		"runs":                 `{"items":[{"id":"r-2","status":"cancelled"},{"id":"r-1","status":"succeeded","started_at":"2026-11-23T09:31:00Z"}]}`,
		"governance/decisions": `{"items":[{"id":"d-1","decision":"allow"},{"id":"d-2","decision":"none"},{"id":"d-3","decision":"none"}]}`,
		"log/verify":           `{"ok":false,"detail":"entry 7 is changed"}`,
		"replay":               `{"decisions":3,"admissions":1,"differ":0,"differences":[]}`,
	} {
		file := filepath.Join(dir, "api", "GET", "api", filepath.FromSlash(path)+".json")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := httptest.NewServer(&clitest.FakeAPI{Dir: dir})
	defer s.Close()
	c := cli.NewClient(s.URL, "grace_x", time.Minute)
	took := 4.5
	r, err := newReport(t.Context(), c, time.Now(), []faultReport{{Name: "crash", OK: true, RecoveredS: &took, healed: true}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Actions != 1 || r.Runs != 2 || r.AuditOK || r.Detail == "" || *r.MTTRp50 != 4.5 || r.Replay.Decisions != 3 {
		t.Errorf("got %+v", r)
	}
	if diff := cmp.Diff(map[grace.Verdict]int{grace.VerdictAllow: 1, grace.VerdictNone: 2}, r.Decisions); diff != "" {
		t.Error(diff)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Faults []map[string]any `json:"faults"`
	}
	all := map[string]any{}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"ok", "faults", "kpis", "mttr_p50_s", "actions", "replay"} {
		if _, there := all[key]; !there {
			t.Errorf("the report has no %q", key)
		}
	}
	want := []string{"acted_s", "detected_s", "expected", "injected_at", "name", "ok", "outcome", "recovered_s", "service"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got.Faults[0]))); diff != "" {
		t.Error(diff)
	}
}
