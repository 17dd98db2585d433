package loop

import (
	"fmt"

	"grace"
	"grace/internal/heal"
)

// Admit asks once more what may have changed since the decision: mode, trust,
// silences, the evidence, the change window, the circuit breaker, other runs.
func (j journal) Admit(run grace.Run) (heal.Admission, error) {
	standing, err := j.runs.Store.StandingToDecide(j.ctx, j.tx, j.runs.Now())
	if err != nil {
		return heal.Admission{}, fmt.Errorf("read what stands: %w", err)
	}
	st := j.runs.stages.Load() // as they are once it is this one's turn
	j.runs.in.noticeStill()
	p := j.runs.presentOf(j.runs.glance(st), standing)
	s, k, dec, err := j.runs.admission(j.ctx, j.tx, st, p, run)
	if err != nil {
		return heal.Admission{}, err
	}
	a := st.rules.Admit(s, k, dec)
	if a.End != "" || a.Wait.IsZero() || namesOf(a.Reasons) != namesOf(run.Reasons) { // else it was told so before
		if err := j.runs.admitted(j.ctx, j.tx, s, k, a); err != nil {
			return heal.Admission{}, err
		}
	}
	out := heal.Admission{End: a.End, Wait: a.Wait, Reasons: a.Reasons}
	if a.End == "" && a.Wait.IsZero() {
		out.Before, err = j.symptoms(run.Service)
	}
	return out, err
}

// symptoms gives what is wrong with a service now.
func (j journal) symptoms(id grace.ServiceID) ([]grace.Symptom, error) {
	signals, err := j.runs.signalsNow(j.ctx, j.tx, id)
	if err != nil {
		return nil, err
	}
	var out []grace.Symptom
	for _, s := range signals {
		if s.Sick() {
			out = append(out, grace.Symptom{Signal: s.Key, Code: s.Code, Severity: s.Severity})
		}
	}
	return out, nil
}
