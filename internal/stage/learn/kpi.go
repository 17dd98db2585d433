package learn

import (
	"slices"
	"time"

	"grace"
)

// The spans that the KPIs look back.
const (
	kpiSpan      = 24 * time.Hour
	proposalSpan = 10 * time.Minute
)

// Fact is what the KPIs need to know of a run.
type Fact struct {
	State      grace.RunStatus
	Kind       grace.TriggerKind
	Auto       bool // approved by the trust core, not by a person
	LowRisk    bool // of the playbook, and the service is not critical
	CreatedAt  time.Time
	EndedAt    *time.Time
	Recovered  grace.Duration // of a succeeded run: from the oldest symptom to the check that passed
	RolledBack bool           // an undo was begun, however it ended
	Moot       bool           // its end tells nothing of healing: nothing had been wrong, or what healed it cannot be told
}

// KPIs are the numbers by which the healing is judged. "In 24 h" means later
// than 24 hours before now and not after now. A rate of nothing is 0: the
// counts tell it from a bad one.
type KPIs struct {
	ProposalsPerMin     float64        `json:"proposals_per_min" doc:"runs that GRACE proposed in the last 10 min / 10; those by hand are no proposals"`
	ApprovalRate        float64        `json:"approval_rate" doc:"auto_approved_24h / approved_24h: the share that the trust core approved, not a person"`
	SuccessRate         float64        `json:"success_rate" doc:"succeeded_24h / (succeeded_24h + failed_24h)"`
	MeanTimeToRecover   grace.Duration `json:"mean_time_to_recover" doc:"mean over the runs that succeeded in 24 h, from the oldest symptom to the check that passed"`
	MedianTimeToRecover grace.Duration `json:"median_time_to_recover" doc:"median over the same runs (the lower of the middle two)"`
	RecoverReactive     grace.Duration `json:"mean_time_to_recover_reactive" doc:"mean over those that something had begun"`
	RecoverProactive    grace.Duration `json:"mean_time_to_recover_proactive" doc:"mean over those that rest on a prediction"`
	Rollbacks24h        int            `json:"rollbacks_24h" doc:"runs that ended in 24 h and undid something, whether that worked or not"`
	AutoApproved24h     int            `json:"auto_approved_24h" doc:"runs created in 24 h that the trust core approved without a person; those by hand are none of them"`

	Proposals24h int `json:"proposals_24h" doc:"runs created in 24 h, but for those by hand"`
	Proactive24h int `json:"proactive_24h" doc:"those of them that rest on a prediction"`
	Decided24h   int `json:"decided_24h" doc:"runs created in 24 h that were approved, denied or left to expire; waiting, cancelled and observed ones are not decided"`
	Approved24h  int `json:"approved_24h" doc:"those of them that were approved, by the trust core or a person"`
	Succeeded24h int `json:"succeeded_24h" doc:"runs that ended in 24 h as succeeded; a run by hand where nothing was wrong, or of which a crash left open whether it healed, is in none of these counts of ended runs"`
	Failed24h    int `json:"failed_24h" doc:"runs that ended in 24 h as ineffective, rolled_back, rollback_failed, escalated or aborted"`

	LowRisk24h     int         `json:"low_risk_24h" doc:"approved runs of playbooks of low risk on services that are not critical"`
	LowRiskAuto24h int         `json:"low_risk_auto_24h" doc:"those of them that the trust core approved"`
	Criteria       []Criterion `json:"criteria" doc:"what healing must achieve, and whether it does"`
}

// Measure computes the KPIs at a time; runs are those of the last 24 hours and
// any older ones that ended within them. Others do no harm.
func Measure(now time.Time, runs []Fact) KPIs {
	var k KPIs
	recent := 0
	var recovered, reactive, proactive []grace.Duration
	for _, r := range runs {
		// What a person wants was neither proposed by GRACE nor approved without one.
		if r.Kind != grace.TriggerManual {
			if within(r.CreatedAt, now, proposalSpan) {
				recent++
			}
			if within(r.CreatedAt, now, kpiSpan) {
				k.created(r)
			}
		}
		if r.EndedAt != nil && within(*r.EndedAt, now, kpiSpan) && !r.Moot {
			k.ended(r)
			if r.State == grace.RunSucceeded {
				recovered = append(recovered, r.Recovered)
				if r.Kind == grace.TriggerProactive {
					proactive = append(proactive, r.Recovered)
				} else {
					reactive = append(reactive, r.Recovered)
				}
			}
		}
	}
	k.ProposalsPerMin = float64(recent) / proposalSpan.Minutes()
	k.ApprovalRate = ratio(k.AutoApproved24h, k.Approved24h)
	k.SuccessRate = ratio(k.Succeeded24h, k.Succeeded24h+k.Failed24h)
	k.MeanTimeToRecover, k.RecoverReactive, k.RecoverProactive = mean(recovered), mean(reactive), mean(proactive)
	k.Criteria = k.criteria(recovered)
	if n := len(recovered); n > 0 {
		slices.Sort(recovered)
		k.MedianTimeToRecover = recovered[(n-1)/2]
	}
	return k
}

func within(t, now time.Time, span time.Duration) bool {
	return t.After(now.Add(-span)) && !t.After(now)
}

func (k *KPIs) created(r Fact) {
	k.Proposals24h++
	if r.Kind == grace.TriggerProactive {
		k.Proactive24h++
	}
	switch r.State {
	case grace.RunApproved, grace.RunRunning, grace.RunVerifying, grace.RunRollingBack, grace.RunSucceeded,
		grace.RunIneffective, grace.RunRolledBack, grace.RunRollbackFailed, grace.RunEscalated, grace.RunAborted:
		k.Decided24h++
		k.Approved24h++
		if r.Auto {
			k.AutoApproved24h++
		}
		if r.LowRisk {
			k.LowRisk24h++
			if r.Auto {
				k.LowRiskAuto24h++
			}
		}
	case grace.RunDenied, grace.RunExpired:
		k.Decided24h++
	case grace.RunProposed, grace.RunAwaitingApproval, grace.RunCancelled, grace.RunObservedOnly:
	}
}

func (k *KPIs) ended(r Fact) {
	if r.RolledBack || r.State == grace.RunRolledBack || r.State == grace.RunRollbackFailed {
		k.Rollbacks24h++
	}
	switch ResultOf(r.State) {
	case grace.ResultSuccess:
		k.Succeeded24h++
	case grace.ResultFailure:
		k.Failed24h++
	case grace.ResultNeutral:
	}
}

// Metrics gives the six metrics of the core domain under their names; the time
// to recover is in seconds.
func (k KPIs) Metrics() map[string]float64 {
	return map[string]float64{
		"self_heal.proposals_per_min":    k.ProposalsPerMin,
		"self_heal.approval_rate":        k.ApprovalRate,
		"self_heal.success_rate":         k.SuccessRate,
		"self_heal.mean_time_to_recover": k.MeanTimeToRecover.D().Seconds(), // on /metrics a histogram
		"self_heal.rollbacks_24h":        float64(k.Rollbacks24h),
		"self_heal.auto_approved_24h":    float64(k.AutoApproved24h),
	}
}
