package propose

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"grace"
	"grace/internal/explain"
	"grace/internal/gate"
)

var now = time.Date(2026, 3, 2, 9, 31, 0, 0, time.UTC)

// world is a graph of named services: web depends on api, api on db; mail
// stands alone.
type world map[grace.ServiceID]grace.Service

func (w world) BlastRadius(id grace.ServiceID, _ func(grace.ServiceID) bool) int {
	if _, ok := w[id]; !ok {
		return 5
	}
	return map[grace.ServiceID]int{"db": 2, "api": 1}[id]
}

func (w world) Cone(id grace.ServiceID) []grace.ServiceID {
	if id == "mail" || w[id].ID == "" {
		return []grace.ServiceID{id}
	}
	return []grace.ServiceID{"api", "db", "web"}
}

// Memberships: web needs one of api and db.
func (w world) Memberships(id grace.ServiceID) []grace.Membership {
	switch id {
	case "db":
		return []grace.Membership{{Dependent: "web", Need: 1, Others: []grace.ServiceID{"api"}}}
	default:
		return nil
	}
}

func (w world) Service(id grace.ServiceID) (grace.Service, bool) { s, ok := w[id]; return s, ok }

// book is what was learned by playbook: score and trials.
type book map[grace.PlaybookID][2]float64

func (b book) of(code grace.Code) (list []grace.Posterior) {
	for id, v := range b {
		list = append(list, grace.Posterior{Code: code, Playbook: id, Score: v[0], Trials: v[1]})
	}
	return list
}

func services() world {
	bound := func(id grace.ServiceID, c grace.Criticality) grace.Service {
		binding := grace.Binding{Steps: []grace.Step{{Name: "do", Action: "http"}}}
		return grace.Service{ID: id, Criticality: c, Bindings: map[grace.PlaybookID]grace.Binding{
			"rollback_flag": binding, "flush_circuit_breakers": binding, "restart_service": binding,
			"scale_up_instances": binding, "warm_cache": binding,
		}}
	}
	return world{
		"web": bound("web", grace.CriticalityHigh), "api": bound("api", grace.CriticalityMedium),
		"db": bound("db", grace.CriticalityCritical), "mail": {ID: "mail", Criticality: grace.CriticalityLow},
	}
}

func playbooks() []grace.Playbook {
	return []grace.Playbook{
		{ID: "warm_cache", Risk: grace.RiskLow, Impact: grace.ImpactLow, Auto: true, Triggers: []grace.Code{grace.CodeLatencySpike, grace.CodeCacheCold}},
		{ID: "scale_up_instances", Risk: grace.RiskLow, Impact: grace.ImpactLow, Auto: true, Triggers: []grace.Code{grace.CodeLatencySpike, grace.CodeCapacity}},
		{ID: "flush_circuit_breakers", Risk: grace.RiskMedium, Impact: grace.ImpactMedium, Triggers: []grace.Code{grace.CodeElevatedErrors, grace.CodeCircuitBreakerOpen}},
		{ID: "rollback_flag", Risk: grace.RiskLow, Impact: grace.ImpactLow, Auto: true, Triggers: []grace.Code{grace.CodeElevatedErrors, grace.CodeFlagIssue}},
		{ID: "restart_service", Risk: grace.RiskMedium, Impact: grace.ImpactMedium, Triggers: []grace.Code{grace.CodeServiceDown}},
	}
}

func input() Input {
	return Input{
		Now: now, Seed: 1, Playbooks: playbooks(),
		Diagnosis: grace.Diagnosis{ID: "d-1", Code: grace.CodeElevatedErrors, Cause: "api", Kind: grace.TriggerReactive, Likelihood: 0.9},
		State:     State{Sick: []grace.ServiceID{"api"}, Total: 4},
		Evidence:  gate.Evidence{State: gate.EvidenceFresh},
	}
}

func ago(d time.Duration) time.Time { return now.Add(-d) }

func past(p grace.PlaybookID, state grace.RunStatus, at time.Duration) grace.PastRun {
	run := grace.PastRun{Service: "api", Code: grace.CodeElevatedErrors, Playbook: p, Status: state, Since: ago(at), At: ago(at)}
	if state.Terminal() {
		end := ago(at - time.Minute)
		run.EndedAt = &end
		run.Result = grace.ResultNeutral
	}
	switch state { //nolint:exhaustive // only these two tell whether the remedy works
	case grace.RunSucceeded:
		run.Result = grace.ResultSuccess
	case grace.RunRolledBack, grace.RunIneffective:
		run.Result = grace.ResultFailure
	}
	return run
}

// stoppedForecast is a run for what was foreseen, which a person stopped so long ago.
func stoppedForecast(ended time.Duration) grace.PastRun {
	p := past("other", grace.RunCancelled, ended+time.Minute)
	p.Kind, p.Aborted = grace.TriggerProactive, true
	return p
}

func byHand(run grace.PastRun, code grace.Code) grace.PastRun {
	run.Kind, run.Code = grace.TriggerManual, code
	return run
}

func TestPropose(t *testing.T) {
	const flag, flush = grace.PlaybookID("rollback_flag"), grace.PlaybookID("flush_circuit_breakers")
	elsewhere := past(flag, grace.RunSucceeded, 20*time.Minute)
	elsewhere.Service = "web"
	otherCode := past(flush, grace.RunAwaitingApproval, time.Minute)
	otherCode.Code = grace.CodeServiceDown
	before := past(flag, grace.RunSucceeded, 4*time.Minute) // ended 3 minutes ago
	before.Code = grace.CodeLatencySpike
	tests := []struct {
		name   string
		edit   func(*Input)
		book   book
		want   grace.PlaybookID // empty: none
		failed map[string][]grace.ReasonCode
	}{
		{"lower risk first", func(*Input) {}, nil, flag, nil},
		{"by name when all is equal", func(in *Input) { in.Diagnosis.Code = grace.CodeLatencySpike }, nil, "scale_up_instances", nil},
		{"proven beats lower risk", func(*Input) {}, book{flush: {0.7, 5}}, flush, nil},
		{"proven by score", func(*Input) {}, book{flush: {0.9, 5}, flag: {0.8, 50}}, flush, nil},
		{"too few trials are not proof", func(*Input) {}, book{flush: {0.99, 4.9}}, flag, nil},
		{"untried beats a low score", func(*Input) {}, book{flag: {0.6, 10}}, flush, nil},
		{"a low score is better than none", func(in *Input) { in.Diagnosis.Code = grace.CodeFlagIssue }, book{flag: {0.31, 10}}, flag, nil},
		{"worse than doing nothing", func(in *Input) { in.Diagnosis.Code = grace.CodeFlagIssue }, book{flag: {0.29, 10}}, "", map[string][]grace.ReasonCode{"playbook": {grace.ReasonDoNothing}}},
		{"worse than doing nothing, as learned", func(in *Input) { in.Diagnosis.Code = grace.CodeFlagIssue }, book{flag: {0.6, 10}, DoNothing: {0.65, 5}}, "", map[string][]grace.ReasonCode{"playbook": {grace.ReasonDoNothing}}},
		{"doing nothing is not known well", func(in *Input) { in.Diagnosis.Code = grace.CodeFlagIssue }, book{flag: {0.6, 10}, DoNothing: {0.65, 4}}, flag, nil},

		{"cleared", func(in *Input) { in.Evidence.State = gate.EvidenceCleared }, nil, "", map[string][]grace.ReasonCode{"evidence": {grace.ReasonCleared}}},
		{"not confirmed", func(in *Input) { in.Evidence = gate.Evidence{} }, nil, "", map[string][]grace.ReasonCode{"evidence": {grace.ReasonUnconfirmed}}},
		{"passing", func(in *Input) { in.Evidence.State = gate.EvidencePassing }, nil, "", map[string][]grace.ReasonCode{"evidence": {grace.ReasonUnstable}}},
		{"no data", func(in *Input) { in.Evidence.State = gate.EvidenceNoData }, nil, "", map[string][]grace.ReasonCode{"evidence": {grace.ReasonNoData}}},
		{"silenced", func(in *Input) { in.Evidence.State = gate.EvidenceSilenced }, nil, "", map[string][]grace.ReasonCode{"evidence": {grace.ReasonSilenced}}},
		{"storm", func(in *Input) { in.State.Sick = []grace.ServiceID{"api", "db", "web"} }, nil, "", map[string][]grace.ReasonCode{"storm": {grace.ReasonStorm}}},
		{"concurrency", func(in *Input) {
			for i := range 10 {
				in.State.Open = append(in.State.Open, grace.OpenRun{Run: grace.RunID(fmt.Sprint(i)), Service: "x", Status: grace.RunRunning})
			}
		}, nil, "", map[string][]grace.ReasonCode{"concurrency": {grace.ReasonConcurrency}}},
		{"waiting runs do not count", func(in *Input) {
			for i := range 20 {
				in.State.Open = append(in.State.Open, grace.OpenRun{Run: grace.RunID(fmt.Sprint(i)), Service: "db", Status: grace.RunAwaitingApproval})
			}
		}, nil, flag, nil},
		{"a dependency is being healed", func(in *Input) {
			in.State.Open = []grace.OpenRun{{Run: "r-1", Service: "db", Status: grace.RunVerifying}}
		}, nil, "", map[string][]grace.ReasonCode{"cone": {grace.ReasonConeBusy}}},
		{"the target is in the cone of another", func(in *Input) {
			in.State.Open = []grace.OpenRun{{Run: "r-1", Service: "old", Status: grace.RunRollingBack, Cone: []grace.ServiceID{"old", "api"}}}
		}, nil, "", map[string][]grace.ReasonCode{"cone": {grace.ReasonConeBusy}}},
		{"a stranger is being healed", func(in *Input) {
			in.State.Open = []grace.OpenRun{{Run: "r-1", Service: "mail", Status: grace.RunRunning, Cone: []grace.ServiceID{"mail"}}}
		}, nil, flag, nil},

		{"rate", func(in *Input) {
			in.State.Past = []grace.PastRun{past("a", grace.RunSucceeded, 20*time.Minute), past("b", grace.RunDenied, 30*time.Minute), past("c", grace.RunSucceeded, 59*time.Minute)}
		}, nil, "", map[string][]grace.ReasonCode{"rate": {grace.ReasonRateLimited}}},
		{"rate, an hour later", func(in *Input) {
			in.State.Past = []grace.PastRun{past("a", grace.RunSucceeded, 20*time.Minute), past("b", grace.RunDenied, 30*time.Minute), past("c", grace.RunSucceeded, time.Hour)}
		}, nil, flag, nil},
		{"rate of another service", func(in *Input) { in.State.Past = []grace.PastRun{elsewhere, elsewhere, elsewhere} }, nil, flag, nil},

		{"open for the same condition", func(in *Input) {
			in.State.Past = []grace.PastRun{past(flush, grace.RunAwaitingApproval, 25*time.Minute)}
		}, nil, "", map[string][]grace.ReasonCode{"open": {grace.ReasonDuplicate}}},
		{"open for another condition", func(in *Input) { in.State.Past = []grace.PastRun{otherCode} }, nil, flag, nil},
		{"duplicate: the next one", func(in *Input) { in.State.Past = []grace.PastRun{past(flag, grace.RunDenied, 9*time.Minute)} }, nil, flush, nil},
		{"duplicate: none left", func(in *Input) {
			in.Diagnosis.Code = grace.CodeFlagIssue
			p := past(flag, grace.RunSucceeded, 9*time.Minute)
			p.Code = grace.CodeFlagIssue
			in.State.Past = []grace.PastRun{p}
		}, nil, "", map[string][]grace.ReasonCode{"playbook": {grace.ReasonDuplicate}}},
		{"duplicate: another name for what was there before", func(in *Input) {
			in.State.Past, in.Diagnosis.Since = []grace.PastRun{before}, ago(5*time.Minute)
		}, nil, flush, nil},
		{"duplicate: other trouble since", func(in *Input) {
			in.State.Past, in.Diagnosis.Since = []grace.PastRun{before}, ago(2*time.Minute)
		}, nil, flag, nil},
		{"duplicate: foretold right after it", func(in *Input) {
			in.State.Past, in.Diagnosis.Since, in.Diagnosis.Kind = []grace.PastRun{before}, ago(time.Minute), grace.TriggerProactive
		}, nil, flush, nil},
		{"duplicate: over", func(in *Input) { in.State.Past = []grace.PastRun{past(flag, grace.RunSucceeded, 10*time.Minute)} }, nil, flag, nil},

		{"comes again after it was healed", func(in *Input) {
			in.State.Past, in.Diagnosis.Since = []grace.PastRun{past(flag, grace.RunSucceeded, 4*time.Minute)}, ago(time.Minute)
		}, nil, flag, nil},
		{"and again: the wait begins", func(in *Input) {
			in.State.Past = []grace.PastRun{past(flag, grace.RunSucceeded, 4*time.Minute), past(flag, grace.RunSucceeded, 8*time.Minute)}
			in.Diagnosis.Since = ago(time.Minute)
		}, nil, "", map[string][]grace.ReasonCode{"crash_loop": {grace.ReasonBackoff}}},
		{"and is over", func(in *Input) {
			in.State.Past = []grace.PastRun{past(flag, grace.RunSucceeded, 8*time.Minute), past(flag, grace.RunSucceeded, 12*time.Minute)}
			in.Diagnosis.Since = ago(6 * time.Minute)
		}, nil, flag, nil},
		{"two hours of calm end the row", func(in *Input) {
			in.State.Past = []grace.PastRun{past(flag, grace.RunSucceeded, 4*time.Minute), past(flag, grace.RunSucceeded, 126*time.Minute)}
			in.Diagnosis.Since = ago(time.Minute)
		}, nil, flag, nil},
		{"cancelled, since it had passed", func(in *Input) {
			in.State.Past, in.Diagnosis.Since = []grace.PastRun{past(flag, grace.RunCancelled, 4*time.Minute)}, ago(time.Minute)
		}, nil, flag, nil},
		{"aborted by a person before it began", func(in *Input) {
			p := past(flag, grace.RunCancelled, 4*time.Minute)
			p.Aborted = true
			in.State.Past, in.Diagnosis.Since = []grace.PastRun{p}, ago(5*time.Minute)
		}, nil, flush, nil},
		{"what a person stopped a run for lasts", func(in *Input) { in.State.Stopped = "i-1" }, nil, "", map[string][]grace.ReasonCode{"person": {grace.ReasonAborted}}},
		{"held, and wanted by a person", func(in *Input) {
			in.State.Manual, in.State.Stopped, in.Diagnosis.Kind = "i-1", "i-2", grace.TriggerManual
		}, nil, flag, nil},
		{"what is foreseen, stopped by a person", func(in *Input) {
			in.Diagnosis.Kind, in.State.Past = grace.TriggerProactive, []grace.PastRun{stoppedForecast(59 * time.Minute)}
		}, nil, "", map[string][]grace.ReasonCode{"person": {grace.ReasonAborted}}},
		{"what is foreseen, stopped by a person an hour ago", func(in *Input) {
			in.Diagnosis.Kind, in.State.Past = grace.TriggerProactive, []grace.PastRun{stoppedForecast(time.Hour)}
		}, nil, flag, nil},
		{"what is there, though a person stopped what was foreseen", func(in *Input) {
			in.State.Past = []grace.PastRun{stoppedForecast(59 * time.Minute)}
		}, nil, flag, nil},
		{"something may have been left half done", func(in *Input) {
			in.State.Manual = "i-1"
		}, nil, "", map[string][]grace.ReasonCode{"person": {grace.ReasonHalfDone}}},

		{"backoff: another remedy at once", func(in *Input) { in.State.Past = []grace.PastRun{past(flush, grace.RunRolledBack, 4*time.Minute)} }, nil, flag, nil},
		{"backoff", func(in *Input) {
			in.Diagnosis.Code = grace.CodeFlagIssue
			in.State.Past = []grace.PastRun{past(flag, grace.RunIneffective, 4*time.Minute)}
		}, nil, "", map[string][]grace.ReasonCode{"backoff": {grace.ReasonBackoff}}},
		{"a person's run on a service that was well holds nothing back", func(in *Input) {
			in.Diagnosis.Code = grace.CodeFlagIssue
			in.State.Past = []grace.PastRun{byHand(past(flag, grace.RunRolledBack, 2*time.Minute), grace.CodeManual)}
		}, nil, flag, nil},
		{"nor does one for the same condition", func(in *Input) {
			in.Diagnosis.Code = grace.CodeFlagIssue
			in.State.Past = []grace.PastRun{byHand(past(flag, grace.RunRolledBack, 2*time.Minute), grace.CodeFlagIssue)}
		}, nil, flag, nil},
		{"but what it helped may take its time", func(in *Input) {
			in.Diagnosis.Code = grace.CodeFlagIssue
			in.Diagnosis.Since = ago(5 * time.Minute)
			in.State.Past = []grace.PastRun{byHand(past(flag, grace.RunSucceeded, 2*time.Minute), grace.CodeFlagIssue)}
		}, nil, "", map[string][]grace.ReasonCode{"playbook": {grace.ReasonDuplicate}}},
		{"a person waits for a person's", func(in *Input) {
			in.Diagnosis.Code, in.Diagnosis.Kind = grace.CodeFlagIssue, grace.TriggerManual
			in.State.Past = []grace.PastRun{byHand(past(flag, grace.RunRolledBack, 2*time.Minute), grace.CodeFlagIssue)}
		}, nil, "", map[string][]grace.ReasonCode{"backoff": {grace.ReasonBackoff}}},
		{"a person's runs count for the rate", func(in *Input) {
			for range 3 {
				in.State.Past = append(in.State.Past, byHand(past(flag, grace.RunRolledBack, 30*time.Minute), grace.CodeManual))
			}
		}, nil, "", map[string][]grace.ReasonCode{"rate": {grace.ReasonRateLimited}}},
		{"backoff is over", func(in *Input) {
			in.Diagnosis.Code = grace.CodeFlagIssue
			in.State.Past = []grace.PastRun{past(flag, grace.RunRolledBack, 11*time.Minute)}
		}, nil, flag, nil},
		{"backoff doubles", func(in *Input) {
			in.Diagnosis.Code = grace.CodeFlagIssue
			in.State.Past = []grace.PastRun{past(flag, grace.RunRolledBack, 8*time.Minute), past(flag, grace.RunRolledBack, 30*time.Minute)}
		}, nil, "", map[string][]grace.ReasonCode{"backoff": {grace.ReasonBackoff}}},
		{"a success resets backoff", func(in *Input) {
			in.State.Past = []grace.PastRun{past(flag, grace.RunSucceeded, 11*time.Minute), past(flag, grace.RunRolledBack, 12*time.Minute)}
		}, nil, flag, nil},
		{"a success at the same moment does not", func(in *Input) {
			in.Diagnosis.Code = grace.CodeFlagIssue
			in.State.Past = []grace.PastRun{past(flag, grace.RunRolledBack, 4*time.Minute), past(flag, grace.RunSucceeded, 4*time.Minute)}
		}, nil, "", map[string][]grace.ReasonCode{"backoff": {grace.ReasonBackoff}}},
		{"an outcome that tells nothing does not", func(in *Input) {
			in.Diagnosis.Code = grace.CodeFlagIssue
			in.State.Past = []grace.PastRun{past("another", grace.RunCancelled, 2*time.Minute), past(flag, grace.RunRolledBack, 4*time.Minute)}
		}, nil, "", map[string][]grace.ReasonCode{"backoff": {grace.ReasonBackoff}}},

		{"the other member of a group is not well", func(in *Input) { in.Diagnosis.Cause = "db" }, nil, "", map[string][]grace.ReasonCode{"redundancy": {grace.ReasonRedundancy}}},
		{"the other member of a group is well", func(in *Input) {
			in.Diagnosis.Cause, in.State.Well = "db", map[grace.ServiceID]bool{"api": true}
		}, nil, flag, nil},
		{"another run acts on the other member of a group", func(in *Input) {
			in.Diagnosis.Cause, in.State.Well = "db", map[grace.ServiceID]bool{"api": true}
			in.State.Open = []grace.OpenRun{{Run: "r-1", Service: "api", Status: grace.RunVerifying}}
		}, nil, "", map[string][]grace.ReasonCode{"redundancy": {grace.ReasonRedundancy}, "cone": {grace.ReasonConeBusy}}},
		{"a member that is down serves nobody", func(in *Input) {
			in.Diagnosis.Cause, in.Diagnosis.Code = "db", grace.CodeServiceDown
		}, nil, "restart_service", nil},
		{"a member that is down serves nobody, also when a person wants it healed", func(in *Input) {
			in.Diagnosis.Cause, in.Diagnosis.Code, in.Diagnosis.Kind = "db", grace.CodeServiceDown, grace.TriggerManual
		}, nil, "restart_service", nil},
		{"a member that is foreseen to be down serves still", func(in *Input) {
			in.Diagnosis.Cause, in.Diagnosis.Code, in.Diagnosis.Kind = "db", grace.CodeServiceDown, grace.TriggerProactive
		}, nil, "", map[string][]grace.ReasonCode{"redundancy": {grace.ReasonRedundancy}}},

		{"no playbook", func(in *Input) { in.Diagnosis.Code = grace.CodeInvestigation }, nil, "", map[string][]grace.ReasonCode{"playbook": {grace.ReasonNoPlaybook}}},
		{"no binding", func(in *Input) { in.Diagnosis.Cause = "mail" }, nil, "", map[string][]grace.ReasonCode{"playbook": {grace.ReasonNoBinding, grace.ReasonNoBinding}}},
		{"unknown service", func(in *Input) { in.Diagnosis.Cause = "ghost" }, nil, "", map[string][]grace.ReasonCode{"declared": {grace.ReasonUndeclared}, "playbook": {grace.ReasonNoBinding, grace.ReasonNoBinding}}},
		{"bad parameters: the next one", func(in *Input) {
			in.Playbooks[3].Parameters = []grace.Parameter{{Name: "flag", Type: grace.ParameterString, NonEmpty: true}}
		}, nil, flush, nil},
		{"bad parameters: none left", func(in *Input) {
			in.Diagnosis.Code = grace.CodeFlagIssue
			in.Playbooks[3].Parameters = []grace.Parameter{{Name: "flag", Type: grace.ParameterString, NonEmpty: true}}
		}, nil, "", map[string][]grace.ReasonCode{"playbook": {grace.ReasonBadParameters}}},
		{"every no is told", func(in *Input) {
			in.Evidence.State = gate.EvidenceCleared
			in.Diagnosis.Cause = "mail"
			in.State.Sick = []grace.ServiceID{"1", "2", "3", "4", "5", "6"}
		}, nil, "", map[string][]grace.ReasonCode{
			"evidence": {grace.ReasonCleared}, "storm": {grace.ReasonStorm}, "playbook": {grace.ReasonNoBinding, grace.ReasonNoBinding},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := input()
			tt.edit(&in)
			in.Posteriors = tt.book.of(in.Diagnosis.Code)
			said := New(DefaultConfig(), services()).Propose(in)
			var got grace.PlaybookID
			if said.Proposal != nil {
				got = said.Proposal.Playbook
			}
			if got != tt.want {
				t.Errorf("got %q, want %q\n%v", got, tt.want, said.Reasons)
			}
			failed := map[string][]grace.ReasonCode{}
			for _, r := range said.Reasons {
				if r.Gate == "" || explain.Actual(r) == "" || explain.Required(r) == "" || !r.OK && explain.Hint(r) == "" || r.OK != (r.Code == grace.ReasonPassed) {
					t.Errorf("incomplete reason %+v", r)
				}
				if !r.OK {
					failed[r.Gate] = append(failed[r.Gate], r.Code)
				}
			}
			if tt.failed == nil {
				tt.failed = map[string][]grace.ReasonCode{}
			}
			if diff := cmp.Diff(tt.failed, failed); diff != "" {
				t.Errorf("failed gates (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCrashLoopGoesOn: what crashes a minute after each healing waits ever longer,
// up to the longest wait, and never begins anew by itself; whatever it is called.
func TestCrashLoopGoesOn(t *testing.T) {
	for name, codes := range map[string][]grace.Code{
		"one name": {grace.CodeElevatedErrors}, "named now this way, now that": {grace.CodeElevatedErrors, grace.CodeFlagIssue},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.RatePerHour = 100
			a, clock, last := New(cfg, services()), now, time.Duration(0)
			var runs []grace.PastRun
			for i := range 14 {
				in := input()
				in.Playbooks = in.Playbooks[3:4] // the one remedy
				in.Diagnosis.Since, in.Diagnosis.Code = clock.Add(time.Minute), codes[i%len(codes)]
				in.Now = in.Diagnosis.Since
				for ; ; in.Now = in.Now.Add(time.Minute) {
					in.State.Past = slices.DeleteFunc(slices.Clone(runs), func(p grace.PastRun) bool { return in.Now.Sub(p.At) > 24*time.Hour })
					if a.Propose(in).Proposal != nil {
						break
					}
				}
				wait := in.Now.Sub(in.Diagnosis.Since)
				if shortest := min(last*5/4, cfg.BackoffMax.D()*4/5-time.Minute); i > 1 && wait < shortest {
					t.Errorf("occurrence %d: waited %s after %s", i+1, wait, last)
				}
				end := in.Now.Add(time.Minute)
				runs = append(runs, grace.PastRun{
					Service: "api", Code: in.Diagnosis.Code, Playbook: in.Playbooks[0].ID, Status: grace.RunSucceeded, Result: grace.ResultSuccess,
					Since: in.Diagnosis.Since, At: in.Now, EndedAt: &end,
				})
				clock, last = end, wait
			}
		})
	}
}

func TestProposalIsWhole(t *testing.T) {
	in := input()
	breach := now.Add(time.Minute)
	in.Diagnosis.Kind, in.Diagnosis.BreachAt = grace.TriggerProactive, &breach
	in.Playbooks[3].Parameters = []grace.Parameter{{Name: "flag", Type: grace.ParameterString, Default: "new_price"}}
	said := New(DefaultConfig(), services()).Propose(Input{
		Posteriors: book{"rollback_flag": {0.35, 8}}.of(grace.CodeElevatedErrors),
		Now:        in.Now, Diagnosis: in.Diagnosis, Playbooks: in.Playbooks[3:4], Evidence: gate.Evidence{State: gate.EvidenceFresh}, State: in.State,
	})
	if said.Proposal == nil {
		t.Fatal("nothing was proposed")
	}
	got := *said.Proposal
	want := grace.Proposal{
		ID: got.ID, Diagnosis: "d-1", Code: grace.CodeElevatedErrors, Kind: grace.TriggerProactive, Service: "api",
		Playbook: "rollback_flag", Parameters: map[string]any{"flag": "new_price"}, Risk: grace.RiskLow, Auto: true,
		Impact: grace.ImpactLow, BlastRadius: 1, Score: 0.35, Trials: 8, Criticality: grace.CriticalityMedium,
		Confidence: 0.675, // 0.9 * (0.5 + 0.5 * 0.35/0.7)
		Cone:       []grace.ServiceID{"api", "db", "web"}, BreachAt: &breach, At: now,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(string(got.ID), "p-") || len(got.ID) != 18 {
		t.Errorf("id %q", got.ID)
	}
}

func TestConfidence(t *testing.T) {
	a := New(DefaultConfig(), services())
	tests := []struct{ likelihood, score, trials, want float64 }{
		{0.7, 0.5, 0, 0.7},
		{0.8, 0.1, 4.9, 0.8},
		{0.8, 0.7, 5, 0.8},
		{0.8, 1, 5, 0.8},
		{0.8, 0, 5, 0.4},
		{0.69999, 0, 0, 0.6999},
		{1.5, 0, 0, 1},
		{-1, 0, 0, 0},
		{math.NaN(), 0, 0, 0},
	}
	for _, tt := range tests {
		if got := a.confidence(tt.likelihood, candidate{score: tt.score, trials: tt.trials}); got != tt.want {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}

func TestStorm(t *testing.T) {
	ids := func(n int) (out []grace.ServiceID) {
		for i := range n {
			out = append(out, grace.ServiceID(fmt.Sprint(i)))
		}
		return out
	}
	tests := []struct {
		name  string
		state State
		want  bool
	}{
		{"nothing", State{}, false},
		{"at the number", State{Sick: ids(5), Total: 100}, false},
		{"over the number", State{Sick: ids(6), Total: 100}, true},
		{"half of four", State{Sick: ids(2), Total: 4}, false},
		{"more than half of four", State{Sick: ids(3), Total: 4}, true},
		{"all of three", State{Sick: ids(3), Total: 3}, false},
		{"over the number with made-up services", State{Sick: ids(6), Undeclared: 1, Total: 101}, false},
		{"more than half of all, but not of the described ones", State{Sick: ids(6), Undeclared: 4, Total: 4 + 4}, false},
		{"more than half of all and of the described ones", State{Sick: ids(7), Undeclared: 4, Total: 4 + 4}, true},
		{"the only described one, with made-up services", State{Sick: ids(10), Undeclared: 9, Total: 10}, false},
		{"named twice", State{Sick: append(ids(3), ids(3)...), Total: 100}, false},
	}
	for _, tt := range tests {
		r, got := New(DefaultConfig(), services()).Storm(tt.state)
		if got != tt.want || r.OK == got {
			t.Errorf("%s: got %v with %v", tt.name, got, r)
		}
	}
}

func TestBackoffBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := DefaultConfig()
		cfg.BackoffBase = grace.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "base"))
		cfg.BackoffMax = cfg.BackoffBase + grace.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "over"))
		cfg.BackoffJitter = rapid.Float64Range(0, 0.99).Draw(t, "jitter")
		failures, seed := rapid.IntRange(1, 10_000).Draw(t, "failures"), rapid.Uint64().Draw(t, "seed")
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		got := Backoff(cfg, failures, seed)
		whole := float64(min(float64(cfg.BackoffBase)*math.Pow(2, float64(failures-1)), float64(cfg.BackoffMax)))
		low, high := whole*(1-cfg.BackoffJitter), whole*(1+cfg.BackoffJitter)
		if f := float64(got); f < low-1 || f > high+1 {
			t.Fatalf("%v is not within %v and %v", got, time.Duration(low), time.Duration(high))
		}
		if got != Backoff(cfg, failures, seed) {
			t.Fatal("the same seed gave another wait")
		}
	})
}

func TestBackoffSteps(t *testing.T) {
	cfg := DefaultConfig()
	cfg.BackoffJitter = 0
	for failures, want := range []time.Duration{0, 5, 10, 20, 40, 80, 120, 120} {
		if got := Backoff(cfg, failures, 7); got != want*time.Minute {
			t.Errorf("%d failures: %v, want %v", failures, got, want*time.Minute)
		}
	}
	if got := Backoff(cfg, -1, 7); got != 0 {
		t.Errorf("-1 failures: %v", got)
	}
	seen := map[time.Duration]bool{}
	for seed := range uint64(50) {
		seen[Backoff(DefaultConfig(), 1, seed)] = true
	}
	if len(seen) < 45 {
		t.Errorf("50 seeds gave only %d waits", len(seen))
	}
}

// Neither the order of playbooks nor that of the past matters.
func TestSameInputSameProposal(t *testing.T) {
	states := []grace.RunStatus{grace.RunSucceeded, grace.RunRolledBack, grace.RunAwaitingApproval, grace.RunDenied}
	ids := []grace.PlaybookID{"rollback_flag", "flush_circuit_breakers"}
	rapid.Check(t, func(t *rapid.T) {
		in := input()
		for range rapid.IntRange(0, 4).Draw(t, "past") {
			in.State.Past = append(in.State.Past, past(rapid.SampledFrom(ids).Draw(t, "id"), rapid.SampledFrom(states).Draw(t, "state"),
				time.Duration(rapid.IntRange(1, 90).Draw(t, "ago"))*time.Minute))
		}
		b := book{}
		for _, id := range ids {
			b[id] = [2]float64{rapid.Float64Range(0, 1).Draw(t, "score"), rapid.Float64Range(0, 10).Draw(t, "trials")}
		}
		in.Posteriors = b.of(in.Diagnosis.Code)
		a := New(DefaultConfig(), services())
		said := a.Propose(in)
		if failed := slices.ContainsFunc(said.Reasons, func(r grace.Reason) bool { return !r.OK }); failed == (said.Proposal != nil) {
			t.Fatalf("proposed %v with %v", said.Proposal, said.Reasons)
		}
		turned := in
		turned.Playbooks, turned.State.Past = slices.Clone(in.Playbooks), slices.Clone(in.State.Past)
		slices.Reverse(turned.Playbooks)
		slices.Reverse(turned.State.Past)
		again := a.Propose(turned)
		if diff := cmp.Diff(said, again); diff != "" {
			t.Fatalf("another order gave another answer: %s", diff)
		}
	})
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default configuration: %v", err)
	}
	for key, edit := range map[string]func(*Config){
		"duplicate_window": func(c *Config) { c.DuplicateWindow = -1 },
		"rate_per_hour":    func(c *Config) { c.RatePerHour = 0 },
		"backoff_base":     func(c *Config) { c.BackoffBase = 0 },
		"backoff_max":      func(c *Config) { c.BackoffMax = c.BackoffBase - 1 },
		"backoff_jitter":   func(c *Config) { c.BackoffJitter = math.NaN() },
		"storm_services":   func(c *Config) { c.StormServices = 0 },
		"storm_share":      func(c *Config) { c.StormShare = 0 },
		"max_concurrent":   func(c *Config) { c.MaxConcurrent = 0 },
		"min_trials":       func(c *Config) { c.MinTrials = 0 },
		"proven_score":     func(c *Config) { c.ProvenScore = 2 },
		"do_nothing":       func(c *Config) { c.DoNothing = -1 },
	} {
		cfg := DefaultConfig()
		edit(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}
