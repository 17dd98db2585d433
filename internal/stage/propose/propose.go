// Package propose picks a remedy for a diagnosis, or says why there is none.
//
//	diagnosis -> limits of the service -> playbooks that fit -> ranking -> proposal
//
// # Limits
//
// [Agent.Propose] looks at all of these every time, in this order, and returns
// a [grace.Reason] for each:
//
//	evidence         the newest evidence shows the condition
//	redundancy       of every group that the service belongs to, enough other
//	                 members are shown to be well; a service that is down
//	                 anyway may be healed all the same
//	declared         the service is one of the configuration
//	person           nothing was left half done on the service, and no person has
//	                 stopped a run for what lasts still
//	storm            not too many services are sick at once, see [Agent.Storm]
//	concurrency      fewer than MaxConcurrent runs may be changing something
//	cone             no such run targets a service that depends on the target
//	                 or that the target depends on, and the target is in no
//	                 such run's cone
//	rate             fewer than RatePerHour proposals for the service in an hour
//	open             no run for the same condition (service and code) is open
//	crash_loop       the wait is over that grows with each time the same
//	                 condition comes back after it was healed; of a playbook:
//	                 any condition that it healed
//	playbook         a playbook is left to propose
//
// Then each playbook that is triggered by the code is looked at: it must be
// bound to the service (no_binding), its arguments within bounds
// (bad_parameters), not be expected to do worse than doing nothing
// (do_nothing_ranks_higher), not wait after failures of its own (backoff), and
// not have been proposed for the same condition within DuplicateWindow
// (duplicate); what comes again after it was healed is another one. A person's
// own run that did not help counts for the rate alone, unless a person wants the
// next one, too. When a proposal is made every reason has passed, and the one of
// gate "playbook" names it. When none is made, every reason that failed is there.
// The candidates hold the ranking, and why each was passed over, in either case.
//
// # Ranking
//
// Proven playbooks (at least MinTrials outcomes, score at least ProvenScore)
// come first, by score; then those with too few outcomes, which all count as
// even; then the rest, by score. Equals are ordered by lower risk, then lower
// impact, then by name. Doing nothing takes part: under the name [DoNothing]
// the learning log may hold how often a condition passed by itself; until it has
// MinTrials outcomes, Config.DoNothing is assumed.
//
// # Confidence
//
// A proposal is as sure as its diagnosis, and less when the playbook has
// proved poor:
//
//	confidence = likelihood                                           trials <  MinTrials
//	confidence = likelihood * (0.5 + 0.5 * min(1, score/ProvenScore)) trials >= MinTrials
//
// It is rounded down to four places.
//
// # Purity
//
// An Agent never changes and holds no state of its own: same input, same
// proposal, the id included. It may be used by several goroutines at once if
// its Graph may.
package propose

import (
	"slices"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/gate"
)

// DoNothing is the name under which the outcomes of waiting are learned.
const DoNothing grace.PlaybookID = "do_nothing"

// GateOpen is the gate that fails while a run for the same condition is open.
const GateOpen = "open"

// Graph knows the services and how they depend on each other.
type Graph interface {
	BlastRadius(id grace.ServiceID, ill func(grace.ServiceID) bool) int
	Memberships(id grace.ServiceID) []grace.Membership
	Cone(id grace.ServiceID) []grace.ServiceID
	Service(id grace.ServiceID) (grace.Service, bool)
}

// State is what is going on, read in the transaction that decides.
type State struct {
	Past []grace.PastRun
	Open []grace.OpenRun
	// Sick are the services that are themselves the cause of a condition now.
	// Victims do not count: one sick database is not a storm.
	Sick []grace.ServiceID
	// Total is the number of services there are, Undeclared how many of the sick
	// ones nobody described: they count on both sides of a share, but cannot open
	// the breaker alone: anybody could make them up.
	Total      int
	Undeclared int
	// Well are the services that are shown to be well now.
	Well map[grace.ServiceID]bool
	// Manual and Stopped are open incidents of the service: something may have been
	// left half done; what a person stopped a run for lasts.
	Manual, Stopped grace.IncidentID
}

func (s State) ill(id grace.ServiceID) bool { return !s.Well[id] }

// Input is one question. Seed spreads the jitter of backoff; it must be the
// same each time, or a wait is drawn anew with every look.
type Input struct {
	Now       time.Time
	Seed      uint64
	Diagnosis grace.Diagnosis
	// Playbooks are not bound yet: Propose binds them to the service.
	Playbooks []grace.Playbook
	State     State
	// Evidence is what the newest samples say of the condition.
	Evidence gate.Evidence
	// Posteriors say how well playbooks have done on the service for the code; one
	// that is missing has never been tried.
	Posteriors []grace.Posterior
	// Arguments are laid over the playbook's own, for a run that a person wants.
	Arguments map[string]any
	// Override names the person who lets the limits pass that time alone would
	// lift, for a run of their own; empty for nobody.
	Override string
}

// Overridable are the limits that a person may let pass. What keeps two runs
// apart, and the trust core's guardrails, nobody may.
func Overridable(c grace.ReasonCode) bool {
	switch c {
	case grace.ReasonRateLimited, grace.ReasonBackoff, grace.ReasonDuplicate, grace.ReasonStorm, grace.ReasonDoNothing:
		return true
	default:
		return false
	}
}

// override lets a limit pass that a person overrides, and says so.
func (in Input) override(r grace.Reason) grace.Reason {
	if r.OK || in.Override == "" || r.Gate == GateOpen || !Overridable(r.Code) {
		return r
	}
	r.OK, r.Code, r.Source = true, grace.ReasonOverridden, "person/"+in.Override
	return r
}

// Agent proposes by one configuration.
type Agent struct {
	cfg   Config
	graph Graph
}

// New makes an agent. cfg must be valid.
func New(cfg Config, g Graph) *Agent { return &Agent{cfg: cfg, graph: g} }

// Answer is what Propose says: a proposal, or none. Reasons hold every gate that
// was looked at in either case, and Candidates every playbook, by rank.
type Answer struct {
	Proposal   *grace.Proposal
	Candidates []grace.Candidate
	Reasons    []grace.Reason
}

// Propose picks a playbook.
func (a *Agent) Propose(in Input) Answer {
	service, known := a.graph.Service(in.Diagnosis.Cause)
	if !known {
		service = grace.Service{ID: in.Diagnosis.Cause}
	}
	cone := a.graph.Cone(service.ID)
	out := Answer{Reasons: a.limits(in, cone, known)}
	for i := range out.Reasons {
		out.Reasons[i] = in.override(out.Reasons[i])
	}
	best, candidates, reasons := a.choose(in, service)
	out.Candidates, out.Reasons = candidates, append(out.Reasons, reasons...)
	if best == nil || slices.ContainsFunc(out.Reasons, func(r grace.Reason) bool { return !r.OK }) {
		return out
	}
	d := in.Diagnosis
	out.Proposal = &grace.Proposal{
		ID:          grace.ProposalID("p-" + content.ID(d.ID, best.playbook.ID, in.Now)),
		Diagnosis:   d.ID,
		Code:        d.Code,
		Kind:        d.Kind,
		Service:     service.ID,
		Playbook:    best.playbook.ID,
		Parameters:  best.parameters,
		Risk:        best.playbook.Risk,
		Auto:        best.playbook.Auto,
		Impact:      best.playbook.Impact,
		BlastRadius: a.graph.BlastRadius(service.ID, in.State.ill),
		Confidence:  a.confidence(d.Likelihood, *best),
		Score:       best.score,
		Trials:      best.trials,
		Criticality: service.Criticality,
		Cone:        cone,
		BreachAt:    d.BreachAt,
		At:          in.Now,
	}
	return out
}

// Storm tells whether so much is sick at once that single remedies would do
// more harm than good: a common cause outside of what GRACE sees is likely.
// With fewer than four described services the share says nothing and does not count.
func (a *Agent) Storm(s State) (grace.Reason, bool) {
	const fewest = 4
	sick := make(map[grace.ServiceID]bool, len(s.Sick))
	for _, id := range s.Sick {
		sick[id] = true
	}
	described, of := len(sick)-s.Undeclared, s.Total-s.Undeclared
	storm := described > a.cfg.StormServices ||
		of >= fewest && float64(len(sick)) > a.cfg.StormShare*float64(s.Total) && float64(described) > a.cfg.StormShare*float64(of)
	r := grace.Reason{
		Gate: "storm", Code: grace.ReasonPassed, OK: !storm,
		Actual:   grace.Numbers{"sick": float64(described), "services": float64(of), "undeclared": float64(s.Undeclared)},
		Required: grace.Numbers{"services": float64(a.cfg.StormServices), "share": a.cfg.StormShare, "fewest": fewest},
	}
	if storm {
		r.Code = grace.ReasonStorm
	}
	return r, storm
}
