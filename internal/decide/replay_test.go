package decide

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/propose"
)

// record is a decision about one sick service of three, as it is stored.
func record(t *testing.T, cfg Config) (rd *Reader, rec grace.Recorded, blobs map[grace.Digest][]byte) {
	t.Helper()
	r, err := NewRules(cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	sick := grace.Signal{
		Key: "web/http/up", Service: "web", Sensor: "http", Metric: "up", Code: grace.CodeServiceDown, State: grace.SignalFiring, Severity: grace.SeverityCritical,
		Kind: grace.SignalProbe, Since: now.Add(-time.Minute), At: now, Fired: now, FailingSince: now.Add(-time.Minute), Message: "up failed 9 times",
	}
	well := grace.Signal{Key: "db/http/up", Service: "db", Sensor: "http", Metric: "up", State: grace.SignalOK, Severity: grace.SeverityCritical, Kind: grace.SignalProbe, At: now}
	signals := []grace.Signal{well, sick}
	k := Known{Scene: r.Look(now, signals, nil), Own: []grace.Signal{sick}}
	k.SignalMap = content.Map{}.With("web", content.Blob([]grace.Signal{sick})).With("db", content.Blob([]grace.Signal{well}))
	k.Open = []grace.OpenRun{{Run: "r-other", Service: "db", Status: grace.RunAwaitingApproval, CreatedAt: now.Add(-time.Hour)}}
	k.OpenMap = MapOf(content.Map{}, k.Open, func(o grace.OpenRun) string { return string(o.Run) })
	k.Silences = []grace.Silence{{ID: "s-1", Service: "cache*", Starts: now.Add(-time.Hour), Ends: now.Add(time.Hour)}}
	s := grace.Snapshot{At: now, Seen: now, Service: "web", Mode: grace.ModeAutonomous, Since: now.Add(-time.Hour)}
	r.Name(&s, &k)
	dec, _ := r.Decide(s, k)
	dec.Triggers = []grace.TriggerID{"t-1"}
	rec = RecordDecision(s, dec)
	rec.Answer = content.Blob(dec)
	blobs = map[grace.Digest][]byte{}
	none := func([]grace.Digest) (map[grace.Digest]bool, error) { return nil, nil }
	if err := k.Parts.Missing(none, func(d grace.Digest, blob []byte) { blobs[d] = blob }); err != nil {
		t.Fatal(err)
	}
	return &Reader{Get: func(d grace.Digest) ([]byte, error) {
		blob, known := blobs[d]
		if !known {
			return nil, fmt.Errorf("no blob %s", d)
		}
		return blob, nil
	}}, rec, blobs
}

func threeServices() Config {
	return Config{
		Services: []grace.Service{{ID: "web", Criticality: grace.CriticalityLow, DependsOn: []grace.ServiceID{"db"}}, {ID: "db", Criticality: grace.CriticalityLow}, {ID: "cache"}},
		Playbooks: []grace.Playbook{{ID: "restart", Risk: grace.RiskLow, Impact: grace.ImpactLow, Auto: true, Triggers: []grace.Code{grace.CodeServiceDown}, Binding: grace.Binding{
			Steps: []grace.Step{{Name: "restart", Action: "command", Irreversible: true}},
		}}},
		Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig(), HoldDown: 30 * time.Second,
	}
}

// TestReplay: a decision follows from what is stored, byte for byte.
func TestReplay(t *testing.T) {
	rd, rec, _ := record(t, threeServices())
	var dec grace.Decision
	if err := json.Unmarshal(rec.Answer, &dec); err != nil || dec.Proposal == nil {
		t.Fatalf("the record proposes nothing, and shows little: %s, %v", rec.Answer, err)
	}
	if d := rd.Replay(rec); d != nil {
		t.Errorf("%s", d)
	}
	rec.Answer = []byte(strings.Replace(string(rec.Answer), `"mode":"autonomous"`, `"mode":"stopped"`, 1))
	if d := rd.Replay(rec); d == nil || d.Field != "mode" || d.Then != `"stopped"` || d.Now != `"autonomous"` {
		t.Errorf("an answer that was changed: %v", d)
	}
	rec.Answer = nil
	if d := rd.Replay(rec); d == nil || d.Error == "" {
		t.Errorf("an answer that is gone: %v", d)
	}
}

// TestReplayFindsEveryByte: no byte of a snapshot, nor of anything that it names, can
// be changed unseen.
func TestReplayFindsEveryByte(t *testing.T) {
	_, rec, blobs := record(t, threeServices())
	check := func(what string, body []byte, put func([]byte)) {
		for i := range body {
			changed := append([]byte(nil), body...)
			changed[i] ^= 1
			put(changed)
			anew := &Reader{Get: func(d grace.Digest) ([]byte, error) { return blobs[d], nil }}
			if d := anew.Replay(rec); d == nil || d.Error == "" {
				t.Fatalf("byte %d of %s: %v", i, what, d)
			}
		}
		put(body)
	}
	check("the snapshot", rec.Snapshot, func(b []byte) { rec.Snapshot = b })
	for d, body := range blobs {
		check("blob "+string(d), body, func(b []byte) { blobs[d] = b })
	}
	anew := &Reader{Get: func(d grace.Digest) ([]byte, error) { return blobs[d], nil }}
	if _, _, err := anew.Again(rec, nil); err != nil {
		t.Fatal(err)
	}
	rec.Snapshot[0] ^= 1
	if _, _, err := anew.Again(rec, nil); !errors.Is(err, ErrTampered) {
		t.Errorf("%v", err)
	}
}

// TestBacktest: under another configuration what would differ is counted.
func TestBacktest(t *testing.T) {
	rd, rec, _ := record(t, threeServices())
	for name, tt := range map[string]struct {
		edit func(*Config)
		want string
	}{
		"the same":    {func(*Config) {}, ""},
		"asks always": {func(c *Config) { c.Playbooks[0].Auto = false }, "allow -> require_approval"},
		"no playbook": {func(c *Config) { c.Playbooks = nil }, "allow -> none"},
	} {
		cfg := threeServices()
		tt.edit(&cfg)
		rules, err := NewRules(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var out Backtested
		rd.Backtest(&out, rec, rules)
		got := ""
		if out.Changed > 0 {
			got = out.Verdicts[0].Then + " -> " + out.Verdicts[0].Now
		}
		if got != tt.want || out.Failed > 0 || out.Decisions != 1 {
			t.Errorf("%s: %+v", name, out)
		}
	}
}
