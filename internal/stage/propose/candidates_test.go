package propose

import (
	"slices"
	"testing"
	"time"

	"grace"
)

// TestOverrideIsOnRecord: what a person overrides of one playbook is among the reasons,
// with who did.
func TestOverrideIsOnRecord(t *testing.T) {
	in := input()
	in.Diagnosis.Code = grace.CodeFlagIssue
	p := past("rollback_flag", grace.RunSucceeded, 9*time.Minute)
	p.Code = grace.CodeFlagIssue
	in.State.Past, in.Override = []grace.PastRun{p}, "token:ada"
	out := New(DefaultConfig(), services()).Propose(in)
	i := slices.IndexFunc(out.Reasons, func(r grace.Reason) bool { return r.Code == grace.ReasonOverridden })
	if out.Proposal == nil || i < 0 || out.Reasons[i].Source != "person/token:ada" {
		t.Errorf("%+v: %+v", out.Proposal, out.Reasons)
	}
}

// TestPlaybooksForOthers: a playbook that names other services is no candidate, and
// nobody is sent to bind it.
func TestPlaybooksForOthers(t *testing.T) {
	in := input()
	in.Playbooks = append(in.Playbooks, grace.Playbook{ID: "tune_db", Triggers: []grace.Code{in.Diagnosis.Code}, Services: []grace.ServiceID{"db"}})
	for _, c := range New(DefaultConfig(), services()).Propose(in).Candidates {
		if c.Playbook == "tune_db" {
			t.Errorf("%+v", c)
		}
	}
}
