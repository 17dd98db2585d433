package grace

import "slices"

// Risk of a playbook: how much it can hurt.
type Risk string

// Risks, smallest first. "moderate" is read as medium by configuration.
const (
	RiskUnknown Risk = ""
	RiskLow     Risk = "low"
	RiskMedium  Risk = "medium"
	RiskHigh    Risk = "high"
)

// Rank orders risks: a higher one is greater, an unknown one is 0.
func (r Risk) Rank() int { return 1 + slices.Index([]Risk{RiskLow, RiskMedium, RiskHigh}, r) }

// Impact of a condition or of a remedy on the users of a service.
type Impact string

// Impacts, smallest first.
const (
	ImpactUnknown  Impact = ""
	ImpactLow      Impact = "low"
	ImpactMedium   Impact = "medium"
	ImpactHigh     Impact = "high"
	ImpactCritical Impact = "critical"
)

// Rank orders impacts: a higher one is greater, an unknown one is 0.
func (i Impact) Rank() int {
	return 1 + slices.Index([]Impact{ImpactLow, ImpactMedium, ImpactHigh, ImpactCritical}, i)
}

// Playbook is a named remedy. The steps come from the playbook itself or, for
// a seed playbook, from the service's Binding.
type Playbook struct {
	ID          PlaybookID  `json:"id"`
	Title       string      `json:"title"`
	Description string      `json:"description,omitempty"`
	Risk        Risk        `json:"risk"`
	Impact      Impact      `json:"impact" doc:"what the remedy itself does to users while it runs"`
	Auto        bool        `json:"auto" doc:"may run without a person when every gate agrees"`
	Triggers    []Code      `json:"triggers"`
	Services    []ServiceID `json:"services,omitempty" doc:"restricts a playbook with steps of its own; empty is any"`
	Parameters  []Parameter `json:"parameters,omitempty"`
	Binding
}

// Binding is what a playbook does, for all services or for one.
type Binding struct {
	// Auto and Impact override the playbook's where set.
	AutoOverride   *bool          `json:"auto_override,omitempty"`
	ImpactOverride Impact         `json:"impact_override,omitempty"`
	Arguments      map[string]any `json:"arguments,omitempty" doc:"values for the playbook's parameters"`
	Steps          []Step         `json:"steps,omitempty"`
	Verify         []Check        `json:"verify,omitempty"`
	Settle         Duration       `json:"settle,omitempty" doc:"how long the remedy may take to show before a failing check counts (default 30s)"`
	Soak           Duration       `json:"soak,omitempty" doc:"how long every check must then hold (default 10s)"`
	Watchdog       Duration       `json:"watchdog,omitempty" doc:"the run is aborted and undone after this long (default 10m)"`
}

// Bind joins a playbook with a service's binding: the binding's steps, checks
// and times replace the playbook's where given. ok is false when neither has
// steps, or the playbook is restricted to other services.
func (p Playbook) Bind(s Service) (bound Playbook, ok bool) {
	b, has := s.Bindings[p.ID]
	if !has {
		if len(p.Steps) == 0 {
			return p, false
		}
		return p, len(p.Services) == 0 || slices.Contains(p.Services, s.ID)
	}
	if b.AutoOverride != nil {
		p.Auto = *b.AutoOverride
	}
	if b.ImpactOverride != ImpactUnknown {
		p.Impact = b.ImpactOverride
	}
	if b.Arguments != nil {
		p.Arguments = b.Arguments
	}
	if len(b.Steps) > 0 {
		p.Steps = b.Steps
	}
	if len(b.Verify) > 0 {
		p.Verify = b.Verify
	}
	if b.Settle > 0 {
		p.Settle = b.Settle
	}
	if b.Soak > 0 {
		p.Soak = b.Soak
	}
	if b.Watchdog > 0 {
		p.Watchdog = b.Watchdog
	}
	return p, len(p.Steps) > 0
}

// ParameterType is the type of a parameter's value.
type ParameterType string

// Parameter types.
const (
	ParameterString   ParameterType = "string"
	ParameterInt      ParameterType = "int"
	ParameterDuration ParameterType = "duration"
)

// Parameter declares a value a playbook takes, with the bounds that are
// checked before anything starts. In a step's With, ${name} stands for it;
// ${service} and ${run} are always there, and ${snapshot.key} in an undo.
type Parameter struct {
	Name     string        `json:"name" doc:"${name} in a step stands for its value"`
	Type     ParameterType `json:"type" doc:"of the value"`
	Default  any           `json:"default,omitempty" doc:"its value when none is given"`
	Required bool          `json:"required,omitempty" doc:"without a value nothing starts"`
	NonEmpty bool          `json:"non_empty,omitempty" doc:"an empty string is refused"`
	Min      *float64      `json:"min,omitempty" doc:"smallest value of an int; of a duration in seconds"`
	Max      *float64      `json:"max,omitempty" doc:"greatest value of an int; of a duration in seconds"`
	Allowed  []string      `json:"allowed,omitempty" doc:"the only values of a string; empty is any"`
}

// Step is one action of a playbook.
type Step struct {
	Name    string         `json:"name" doc:"unique in the playbook; part of the idempotency key"`
	Action  string         `json:"action" doc:"a registered action: http, command, systemd, ..."`
	With    map[string]any `json:"with" doc:"the action's own settings"`
	Timeout Duration       `json:"timeout,omitempty" doc:"of one try (default 30s)"`
	Retries int            `json:"retries,omitempty" doc:"further tries after a failure that may pass"`
	// ReadOnly steps change nothing. Every other step declares Undo or
	// Irreversible.
	ReadOnly     bool  `json:"read_only,omitempty" doc:"it changes nothing, so there is nothing to undo"`
	Irreversible bool  `json:"irreversible,omitempty" doc:"it changes something that cannot be taken back"`
	Undo         *Call `json:"undo,omitempty" doc:"takes the step back when a later one or verification fails; a step that changes something has this or irreversible"`
	// Snapshot runs before the step; its Data is ${snapshot.*} in Undo.
	Snapshot *Call `json:"snapshot,omitempty" doc:"runs before the step; its values are ${snapshot.key} in undo"`
	// Check tells whether the effect is already there: asked when the step is
	// found started but unfinished, before it is done again.
	Check *Check `json:"check,omitempty" doc:"tells whether the effect is already there, when the step is found started but unfinished"`
}

// Call is an action with its settings, outside of a step.
type Call struct {
	Action  string         `json:"action" doc:"a registered action"`
	With    map[string]any `json:"with" doc:"the action's own settings"`
	Timeout Duration       `json:"timeout,omitempty" doc:"of one try (default 30s)"`
	// Check tells whether an undo took effect. Without it the step's Snapshot
	// is taken again and must equal the first.
	Check *Check `json:"check,omitempty" doc:"tells whether an undo took effect; without it the snapshot is taken again and must equal the first"`
}

// CheckType names a kind of verification.
type CheckType string

// Check types. Any other fails closed.
const (
	CheckHTTPHealth CheckType = "http_health"
	CheckCommand    CheckType = "command"
	CheckExpr       CheckType = "expr"
	CheckTrend      CheckType = "trend"
	CheckCapacity   CheckType = "capacity"
)

// Check is one thing verification wants to see. Which fields count depends on
// the type: http_health URL and Status; command Argv; expr Expr, which must hold of all
// that it gives; trend Expr, a value, and Direction; capacity Expr, a value (serving
// instances must not have become fewer than before the run).
type Check struct {
	Name       string    `json:"name,omitempty" doc:"for people; the type when not given"`
	Type       CheckType `json:"type" doc:"expr: expr must hold; trend: its value must go in a direction; capacity: its value, of serving instances, must not have fallen"`
	URL        string    `json:"url,omitempty" doc:"http_health: what is asked"`
	Status     int       `json:"status,omitempty" doc:"http_health: wanted HTTP status (default any 2xx)"`
	Expr       string    `json:"expr,omitempty" doc:"PromQL, with ${service} and parameters. expr: what must hold, for example queue{service=\"${service}\"} < 5; trend, capacity: one value, for example sum(up{service=\"${service}\"})"`
	Source     string    `json:"source,omitempty" doc:"expr, trend, capacity: name of a promql sensor, whose Prometheus is asked for the expression"`
	Direction  string    `json:"direction,omitempty" enum:"falling,rising,steady" doc:"trend: where it must be going over the soak"`
	Argv       []string  `json:"argv,omitempty" doc:"command: program and arguments; exit code 0 passes"`
	MinSamples int       `json:"min_samples,omitempty" doc:"fewer samples in the soak fail (default 3)"`
	Interval   Duration  `json:"interval,omitempty" doc:"between probes (default 1s)"`
	// Tolerate is the share of samples that may fail (default 0): the newest
	// one never may.
	Tolerate float64 `json:"tolerate,omitempty" minimum:"0" maximum:"1" doc:"share of samples that may fail; the newest never may (default 0)"`
}
