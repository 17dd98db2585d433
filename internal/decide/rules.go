// Package decide is the whole way from what is known to what is done about it.
//
//	snapshot -> diagnoses -> proposal -> verdict of the trust core -> decision, run
//	snapshot, run -> admission
//
// All that a decision looks at is in its [grace.Snapshot] and in what is [Known]: the
// same under the same [Rules] gives the same decision, byte for byte, whenever it is
// computed.
package decide

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/healthgraph"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/propose"
)

// Config is the part of the configuration that decisions look at.
type Config struct {
	Services  []grace.Service  `json:"services"`
	Playbooks []grace.Playbook `json:"playbooks"`
	Diagnose  diagnose.Config  `json:"diagnose"`
	Propose   propose.Config   `json:"propose"`
	Govern    govern.Config    `json:"trust"`
	// HoldDown is how long a condition must stay clear to count as healed,
	// RecoverWithin how long after a remedy it may take to clear.
	HoldDown      time.Duration `json:"hold_down"`
	RecoverWithin time.Duration `json:"recover_within"`
	// PredictEvery is the time between two evaluations of every forecast.
	PredictEvery time.Duration `json:"predict_every"`
}

// Rules are one configuration, ready for use. They are never changed.
type Rules struct {
	Config

	Graph  *healthgraph.Graph
	Trust  *govern.Agent
	digest grace.Digest
	blob   []byte

	diagnose *diagnose.Agent
	propose  *propose.Agent
}

// NewRules checks a configuration; the error joins every fault.
func NewRules(cfg Config) (*Rules, error) {
	if errs := healthgraph.Validate(cfg.Services); len(errs) > 0 {
		return nil, fmt.Errorf("services: %w", errors.Join(errs...))
	}
	if cfg.PredictEvery <= 0 {
		cfg.PredictEvery = 30 * time.Second
	}
	if cfg.RecoverWithin <= 0 {
		cfg.RecoverWithin = 5 * time.Minute
	}
	trust, err := govern.New(cfg.Govern)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	blob, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be recorded: %w", err)
	}
	g := healthgraph.New(cfg.Services)
	return &Rules{
		Config: cfg, Graph: g, Trust: trust, digest: content.Sum(blob), blob: blob,
		diagnose: diagnose.New(cfg.Diagnose, g), propose: propose.New(cfg.Propose, g),
	}, nil
}

// Digest names the configuration.
func (r *Rules) Digest() grace.Digest { return r.digest }

// PredictionsFresh is how long a prediction holds that is not renewed.
func (r *Rules) PredictionsFresh() time.Duration { return 3 * r.PredictEvery }

// Declared tells whether a service is configured or a domain's.
func (r *Rules) Declared(id grace.ServiceID) bool {
	if _, ok := r.Graph.Service(id); ok {
		return true
	}
	return slices.ContainsFunc(r.Services, func(s grace.Service) bool { return s.Domain != "" && grace.ServiceID(s.Domain) == id })
}

// Bound gives a playbook as it runs on a service.
func (r *Rules) Bound(id grace.PlaybookID, s grace.Service) grace.Playbook {
	i := slices.IndexFunc(r.Playbooks, func(p grace.Playbook) bool { return p.ID == id })
	if i < 0 {
		return grace.Playbook{ID: id}
	}
	b, _ := r.Playbooks[i].Bind(s)
	return b
}

// Suited names the playbooks that are for a code, and doing nothing.
func (r *Rules) Suited(code grace.Code) []grace.PlaybookID {
	out := []grace.PlaybookID{propose.DoNothing}
	for i := range r.Playbooks {
		if slices.Contains(r.Playbooks[i].Triggers, code) {
			out = append(out, r.Playbooks[i].ID)
		}
	}
	return out
}

// SilencedBy gives the silence of a service that is in force.
func (r *Rules) SilencedBy(id grace.ServiceID, silences []grace.Silence, now time.Time) (grace.Silence, bool) {
	service, known := r.Graph.Service(id)
	if !known {
		service.ID = id
	}
	i := slices.IndexFunc(silences, func(s grace.Silence) bool { return s.Active(now) && s.Matches(service) })
	if i < 0 {
		return grace.Silence{}, false
	}
	return silences[i], true
}

// Observes tells whether what is decided now is at most observed. If not, what
// was only observed before counts for no limit: nothing was done then.
func (r *Rules) Observes(mode grace.Mode, kind grace.TriggerKind) bool {
	return mode == grace.ModeObserveOnly || r.Govern.ObserveOnly || !r.Govern.Execute ||
		r.Govern.PredictiveShadow && kind == grace.TriggerProactive
}
