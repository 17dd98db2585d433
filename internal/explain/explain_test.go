package explain

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
)

var update = flag.Bool("update", false, "write testdata anew")

var ten = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// examples has every gate and every code as the stages give them.
func examples() []grace.Reason {
	numbers := func(of ...any) grace.Numbers {
		n := grace.Numbers{}
		for i := 0; i < len(of); i += 2 {
			n[of[i].(string)] = of[i+1].(float64)
		}
		return n
	}
	pass, no := grace.ReasonPassed, func(gate string, code grace.ReasonCode, actual, required any, source string) grace.Reason {
		return grace.Reason{Gate: gate, Code: code, Actual: actual, Required: required, Source: source}
	}
	yes := func(gate string, actual, required any, source string) grace.Reason {
		return grace.Reason{Gate: gate, Code: pass, OK: true, Actual: actual, Required: required, Source: source}
	}
	later := func(r grace.Reason) grace.Reason { r.Until = &ten; return r }
	overridden := later(no("rate", grace.ReasonOverridden, 3.0, 3.0, "person/token:ada"))
	overridden.OK = true
	down := no("redundancy", pass, 0.0, 1.0, "service/web")
	down.OK = true
	return []grace.Reason{
		yes("evidence", "up failed 2 times", nil, "signal/api/probe/up"),
		no("evidence", grace.ReasonUnconfirmed, "up failed 2 times", nil, "signal/api/probe/up"),
		no("evidence", grace.ReasonUnconfirmed, nil, nil, "prediction/api"),
		no("evidence", grace.ReasonUnconfirmed, nil, nil, ""),
		no("evidence", grace.ReasonCleared, "up passed", nil, "signal/api/probe/up"),
		no("evidence", grace.ReasonCleared, nil, nil, "prediction/api"),
		no("evidence", grace.ReasonCleared, nil, nil, ""),
		no("evidence", grace.ReasonUnstable, "up passed 1 time, ok after 2", nil, "signal/api/probe/up"),
		no("evidence", grace.ReasonNoData, "up: no data since 09:59:00 UTC", nil, "signal/api/probe/up"),
		no("evidence", grace.ReasonSilenced, "ada silenced it until 12:00: deploy", nil, "silence/s-1"),
		no("evidence", grace.ReasonSilenced, "silence 42", nil, "signal/api/alertmanager/Down/f1"),
		yes("declared", "api", nil, ""),
		no("declared", grace.ReasonUndeclared, "guest", nil, ""),
		yes("person", nil, nil, ""),
		no("person", grace.ReasonHalfDone, nil, nil, "incident/i-r-1"),
		no("person", grace.ReasonAborted, nil, nil, "incident/i-r-1"),
		later(no("person", grace.ReasonAborted, nil, nil, "run/r-1")),
		yes("redundancy", nil, nil, ""),
		down,
		no("redundancy", grace.ReasonRedundancy, 1.0, 2.0, "service/web"),
		yes("storm", numbers("sick", 1.0, "services", 8.0, "undeclared", 0.0), numbers("services", 5.0, "share", 0.5, "fewest", 4.0), ""),
		no("storm", grace.ReasonStorm, numbers("sick", 6.0, "services", 8.0, "undeclared", 2.0), numbers("services", 5.0, "share", 0.5, "fewest", 4.0), ""),
		yes("concurrency", 0.0, 10.0, ""),
		no("concurrency", grace.ReasonConcurrency, 1.0, 1.0, ""),
		yes("cone", nil, nil, ""),
		no("cone", grace.ReasonConeBusy, "db", nil, "run/r-1"),
		yes("rate", 1.0, 3.0, ""),
		later(no("rate", grace.ReasonRateLimited, 3.0, 3.0, "")),
		overridden,
		yes("open", nil, nil, ""),
		no("open", grace.ReasonDuplicate, "verifying", nil, "run/r-1"),
		yes("crash_loop", 1.0, nil, ""),
		later(no("crash_loop", grace.ReasonBackoff, 3.0, nil, "")),
		later(yes("crash_loop", 2.0, nil, "")),
		yes("playbook", "restart_service", nil, ""),
		no("playbook", grace.ReasonNoPlaybook, 6.0, nil, "code/disk_full"),
		no("playbook", grace.ReasonNoBinding, "api", nil, "playbook/restart_service"),
		no("playbook", grace.ReasonBadParameters, []string{"parameter delta: 20 is more than 10", "parameter to: missing"}, nil, "playbook/scale_up_instances"),
		no("playbook", grace.ReasonDoNothing, numbers("score", 0.11, "outcomes", 7.2), numbers("score", 0.3), "playbook/restart_service"),
		later(no("playbook", grace.ReasonDuplicate, "denied", nil, "playbook/restart_service")),
		yes("backoff", 0.0, nil, "playbook/restart_service"),
		later(no("backoff", grace.ReasonBackoff, 1.0, nil, "playbook/restart_service")),
		later(no("backoff", grace.ReasonBackoff, 2.0, nil, "playbook/restart_service")),
		yes("mode", "autonomous", "autonomous", ""),
		no("mode", grace.ReasonModeAsk, "ask_always", "autonomous", ""),
		no("mode", grace.ReasonModeStopped, "stopped", []string{"autonomous", "ask_always"}, ""),
		no("mode", grace.ReasonModeObserve, "autonomous", "autonomous", "configuration"),
		yes("execute", true, true, ""),
		no("execute", grace.ReasonExecuteOff, false, true, ""),
		no("playbook_auto", grace.ReasonNotAuto, false, true, "playbook/restart_service"),
		no("autoprove_low_risk", grace.ReasonLowRiskOff, false, true, ""),
		no("risk", grace.ReasonRisk, "medium", []string{"low"}, ""),
		no("impact", grace.ReasonImpact, "critical", []string{"low", "medium"}, ""),
		no("impact", grace.ReasonImpact, "low", []string{}, ""),
		no("blast_radius", grace.ReasonBlastRadius, 3.0, 2.0, ""),
		no("confidence", grace.ReasonLowConfidence, 0.69999, 0.7, "kind/reactive"),
		no("confidence", grace.ReasonLowConfidence, 0.75, 0.8, "kind/proactive"),
		yes("change_window", "no windows", nil, ""),
		yes("change_window", "inside", nil, ""),
		later(no("change_window", grace.ReasonOutsideWindow, "outside", nil, "")),
		no("change_window", grace.ReasonOutsideWindow, "outside", nil, ""),
		no("critical_target", grace.ReasonCriticalTarget, "unknown", []string{"low", "medium", "high"}, ""),
		yes("predictive_shadow", true, false, "kind/reactive"),
		no("predictive_shadow", grace.ReasonShadow, true, false, "kind/proactive"),
		yes("policy", "allow", "allow", "policy/low-risk"),
		no("policy", grace.ReasonPolicyApproval, "require_approval", "allow", "policy/ask"),
		no("policy", grace.ReasonPolicyDeny, "deny", "allow", "policy/freeze"),
		no("policy", grace.ReasonNoPolicy, 3.0, "allow", "action/self_heal_execute"),
		no("approval", grace.ReasonApprovalDenied, "not now", nil, "person/token:ada"),
		later(no("approval", grace.ReasonApprovalExpired, nil, nil, "")),
		no("trigger", grace.ReasonCleared, nil, nil, ""),
		no("trigger", grace.ReasonCleared, "the trend of api has turned", nil, ""),
		no("diagnosis", grace.ReasonLowConfidence, nil, nil, ""),
	}
}

// TestWords holds how every gate reads, also after it was stored.
func TestWords(t *testing.T) {
	var b strings.Builder
	told := map[string]bool{}
	for _, r := range examples() {
		told[r.Gate], told[string(r.Code)] = true, true
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var stored grace.Reason
		if err := json.Unmarshal(data, &stored); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, stored); diff != "" {
			t.Errorf("another one after it was stored (-before +after):\n%s", diff)
		}
		fmt.Fprintln(&b, Line(stored))
	}
	for gate := range gates {
		if !told[gate] {
			t.Errorf("no example of gate %s", gate)
		}
	}
	const path = "testdata/words.txt"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBadReason: what no stage makes is refused when it is read, and a gate that
// nobody knows is shown by its values.
func TestBadReason(t *testing.T) {
	for _, text := range []string{`{"actual":[1]}`, `{"required":{"a":"b"}}`, `{"actual":[["x"]]}`} {
		var r grace.Reason
		if err := json.Unmarshal([]byte(text), &r); err == nil {
			t.Errorf("%s was read as %+v", text, r)
		}
	}
	r := grace.Reason{Gate: "weather", Code: "rain", Actual: 3.5, Required: []string{"sun"}, Unit: "mm"}
	if got, want := Line(r), "weather: rain (actual 3.5 mm, required sun)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
