package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/store"
)

// serviceName of the i-th service: layers of a hundred, each service depends on
// one of the layer below.
func serviceName(i int) grace.ServiceID { return grace.ServiceID(fmt.Sprintf("svc-%04d", i)) }

const layer = 100

// writeConfig makes the data folder with a key, and a configuration in which
// every service has an owner, a dependency, a probe and a remedy.
func writeConfig(o options, probed string) error {
	if err := os.MkdirAll(dataDir(o), 0o700); err != nil {
		return err
	}
	key := hex.EncodeToString([]byte("load: thirty-two bytes for a key"))
	if err := os.WriteFile(filepath.Join(dataDir(o), "audit.key"), []byte(key+"\n"), 0o600); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "listen: 127.0.0.1:0\ndata_dir: %s\nmode: autonomous\nsense: {max_series: %d, stale_after: 60s}\n", dataDir(o), o.alerts+10*o.services)
	fmt.Fprintf(&b, "log: {level: warn}\nalertmanager: {bearer: %s, service_label: service, code_label: code}\n", bearer)
	if o.database != "" {
		fmt.Fprintf(&b, "database: \"${env:%s}\"\n", databaseVariable)
	}
	b.WriteString("services:\n")
	for i := range o.services {
		fmt.Fprintf(&b, "  - name: %s\n    owner: team-%d\n    criticality: medium\n", serviceName(i), i%20)
		if i >= layer {
			fmt.Fprintf(&b, "    depends_on: [%s]\n", serviceName(i-layer))
		}
		fmt.Fprintf(&b, "    bindings: {restart_service: {auto: true, impact: low, steps: [{name: restart, action: http, irreversible: true, with: {url: \"%s/restart\"}}],"+
			" verify: [{type: http_health, url: \"%s/\"}]}}\n", probed, probed)
	}
	b.WriteString("sensors:\n")
	for i := range o.services {
		fmt.Fprintf(&b, "  - {name: up-%d, type: http, service: %s, url: \"%s/%d\", interval: 6s, timeout: 2s}\n", i, serviceName(i), probed, i)
	}
	return os.WriteFile(configFile(o), []byte(b.String()), 0o600)
}

// databaseVariable carries the database's URL, which may hold a password.
const databaseVariable = "GRACE_LOAD_DATABASE"

const bearer = "load-webhook-secret"

const seedBatch = 250 // runs a transaction

// seed fills the store with ended runs of the last 30 days, each with its
// decision and audit entries, and with incidents and learning entries.
func seed(ctx context.Context, o options) error {
	s, err := open(ctx, o)
	if err != nil {
		return err
	}
	defer s.Close()
	now := time.Now().UTC()
	step := 30 * 24 * time.Hour / time.Duration(max(1, o.runs))
	for from := 0; from < o.runs; from += seedBatch {
		var events []event.Event
		for i := from; i < min(from+seedBatch, o.runs); i++ {
			events = append(events, past(i, serviceName(i*7%o.services), now.Add(-time.Duration(o.runs-i)*step-time.Hour))...)
		}
		err := s.Do(ctx, func(ctx context.Context, tx store.Tx) error { return s.Append(ctx, tx, events...) })
		if err != nil {
			return err
		}
	}
	return nil
}

// open opens the store beside GRACE, before it starts or after it has ended.
func open(ctx context.Context, o options) (*store.Store, error) {
	url := o.database
	if url == "" {
		url = "sqlite:" + filepath.Join(dataDir(o), "grace.db")
	}
	return store.Open(ctx, store.Options{URL: url, AuditKey: []byte("load: thirty-two bytes for a key")})
}

// past gives one run that has ended, with what belongs to it.
func past(i int, service grace.ServiceID, at time.Time) []event.Event {
	id, dec := grace.RunID(fmt.Sprintf("r-%08d", i)), grace.DecisionID(fmt.Sprintf("dec-%08d", i))
	state, result := grace.RunSucceeded, grace.ResultSuccess
	if i%10 == 0 {
		state, result = grace.RunRolledBack, grace.ResultFailure
	}
	started, ended := at.Add(time.Second), at.Add(40*time.Second)
	run := grace.Run{
		ID: id, Status: state, Service: service, Code: grace.CodeServiceDown, Kind: grace.TriggerReactive, Decision: dec, Revision: 1, Auto: true,
		Playbook: grace.Playbook{
			ID: "restart_service", Title: "Restart the service", Risk: grace.RiskMedium, Impact: grace.ImpactLow, Triggers: []grace.Code{grace.CodeServiceDown},
		},
		Cone: []grace.ServiceID{service}, SickSince: at, CreatedAt: at, StartedAt: &started, EndedAt: &ended, RecoveredIn: grace.Duration(40 * time.Second),
	}
	for n := range 3 {
		run.Steps = append(run.Steps, grace.StepRecord{
			Name: fmt.Sprintf("step-%d", n), Phase: grace.PhaseDo, State: grace.StepSucceeded, Action: "http", Attempts: 1,
			Output: strings.Repeat("output ", 20), StartedAt: &started, EndedAt: &ended,
		})
	}
	var reasons []grace.Reason
	for _, gate := range []string{"duplicate", "rate", "backoff", "storm", "cone", "mode", "impact", "blast_radius", "confidence", "change_window"} {
		reasons = append(reasons, grace.Reason{Gate: gate, OK: true, Actual: 1.0, Required: 2.0})
	}
	decided := event.Decided{Decision: grace.Decision{
		ID: dec, Verdict: grace.VerdictAllow, Mode: grace.ModeAutonomous, Service: service, Run: id, At: at, Reasons: reasons,
		Diagnosis: grace.Diagnosis{ID: "d", Code: grace.CodeServiceDown, Cause: service, Kind: grace.TriggerReactive, Likelihood: 0.9, Since: at, At: at},
	}, Snapshot: grace.Recorded{ID: string(dec), Kind: grace.RecordDecision, Service: service, At: at, Snapshot: json.RawMessage(`{}`)}}
	moved := event.RunMoved{Run: run, At: ended, Learned: &grace.LearningEntry{
		ID: "l-" + string(id), Service: service, Diagnosis: grace.CodeServiceDown, Playbook: "restart_service", Kind: grace.TriggerReactive, Run: id,
		Result: result, State: state, Auto: true, At: ended,
	}}
	for _, action := range []string{"approved", "running", string(state)} {
		moved.Moves = append(moved.Moves, event.Move{Action: action, Reason: "seeded"})
	}
	out := []event.Event{decided, moved}
	if state == grace.RunRolledBack {
		out = append(out, event.IncidentChanged{What: event.IncidentResolved, At: ended, Incident: grace.Incident{
			ID: grace.IncidentID("i-" + string(id)), State: grace.IncidentResolved, Service: service, Run: id, Severity: grace.SeverityWarning,
			Title: "restart_service on " + string(service) + " was undone", OpenedAt: ended, ResolvedAt: &ended,
		}})
	}
	return out
}
