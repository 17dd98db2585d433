package grace

import "time"

// Code names a symptom or a cause: the diagnosis codes of the seed playbooks.
type Code string

// Codes that the built-in rules know. Others may come by configuration or by
// event; they are matched against the triggers of playbooks as they are.
const (
	CodeServiceDown        Code = "service_down"
	CodeLatencySpike       Code = "latency_spike"
	CodeElevatedErrors     Code = "elevated_errors"
	CodeCapacity           Code = "capacity"
	CodeCacheCold          Code = "cache_cold"
	CodeCircuitBreakerOpen Code = "circuit_breaker_open"
	CodeFlagIssue          Code = "flag_issue"
	CodeDegradation        Code = "degradation"
	CodeInvestigation      Code = "investigation"
	// CodeManual is no condition: a person wants a run where nothing that the
	// playbook is for is diagnosed. Its end tells nothing of a remedy.
	CodeManual Code = "manual"
)

// Canonical gives the code that GRACE knows a code by: the original system
// called two of them otherwise.
func (c Code) Canonical() Code {
	switch c { //nolint:exhaustive // all others are called as they are
	case "degraded":
		return CodeDegradation
	case "CB_open":
		return CodeCircuitBreakerOpen
	}
	return c
}

// SampleKind says how a Sample's value is to be read.
type SampleKind string

// Sample kinds.
const (
	SampleMetric SampleKind = "metric" // Value in Unit, judged by rules
	SampleProbe  SampleKind = "probe"  // Value 1 passed, 0 failed
	SampleAlert  SampleKind = "alert"  // somebody else judged: firing unless Resolved
	// SampleSeries: the sensor has measured it and appended it to the series, with labels of
	// its own; here it says no more than that.
	SampleSeries SampleKind = "series"
	// SampleSensorError: the sensor could not look, for GRACE's own reasons,
	// which Message tells. It says nothing about the service.
	SampleSensorError SampleKind = "sensor_error"
)

// Severity of a signal.
type Severity string

// Severities, mildest first.
const (
	SeverityInfo     Severity = "info"
	SeverityWarning  Severity = "warning"
	SeverityCritical Severity = "critical"
)

// Valid tells whether it is a severity, or none was given.
func (s Severity) Valid() bool {
	switch s {
	case "", SeverityInfo, SeverityWarning, SeverityCritical:
		return true
	}
	return false
}

// Rank orders severities: a worse one is greater, an unknown one is 0.
func (s Severity) Rank() int {
	switch s {
	case SeverityInfo:
		return 1
	case SeverityWarning:
		return 2
	case SeverityCritical:
		return 3
	}
	return 0
}

// Serious severities are those that somebody must know of.
func (s Severity) Serious() bool { return s == SeverityWarning || s == SeverityCritical }

// Sample is what a sensor saw of a service at one time.
type Sample struct {
	Service ServiceID  `json:"service"`
	Sensor  string     `json:"sensor" doc:"the name of the configured sensor or source"`
	Metric  string     `json:"metric" doc:"the series within the service, for example http_health or latency_p99_ms"`
	Kind    SampleKind `json:"kind"`
	Value   float64    `json:"value"`
	Unit    string     `json:"unit,omitempty"`
	At      time.Time  `json:"at"`
	// Code and Severity are what the source calls it (alerts, ingested
	// signals, probes); a metric gets them from the rule that fires.
	Code        Code              `json:"code,omitempty"`
	Severity    Severity          `json:"severity,omitempty"`
	Resolved    bool              `json:"resolved,omitempty"`
	Fingerprint string            `json:"fingerprint,omitempty" doc:"the source's own identity of an alert; the same fingerprint is the same signal"`
	StartsAt    time.Time         `json:"starts_at,omitzero" doc:"of an alert: when this occurrence began"`
	Expires     time.Time         `json:"expires,omitzero" doc:"of a firing alert: its sender is silent unless it is repeated by then; of a list of alerts: until when it shows something"`
	Silenced    string            `json:"silenced,omitempty" doc:"of an alert: by what its sender has silenced or inhibited it"`
	Listed      bool              `json:"listed,omitempty" doc:"of an alert: it was read from the list of its Alertmanager; of a metric or an error: that list was read, after the alerts that it holds, or could not be"`
	Repeated    time.Time         `json:"repeated,omitzero" doc:"of an alert of a list: when its sender sent it last, which alone shows anew that it fires"`
	Message     string            `json:"message,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
}

// SignalState is what a signal says now.
type SignalState string

// Signal states. Stale means that data stopped coming, unstable that it keeps
// changing and passed when last seen: a person may be asked, nothing is done.
const (
	SignalUnknown  SignalState = ""
	SignalOK       SignalState = "ok"
	SignalFiring   SignalState = "firing"
	SignalStale    SignalState = "stale"
	SignalUnstable SignalState = "unstable"
)

// SignalKind says what a signal is made of.
type SignalKind string

// Signal kinds.
const (
	SignalProbe     SignalKind = "probe"     // pass or fail, as a sensor sees it
	SignalObjective SignalKind = "objective" // a metric held against a threshold
	SignalAlert     SignalKind = "alert"     // judged by its source
)

// Signal is a judged series: one rule or probe or alert about one service.
type Signal struct {
	Key       SignalKey   `json:"key" doc:"service/sensor/metric[/rule or fingerprint]: the signal's identity"`
	Service   ServiceID   `json:"service"`
	Sensor    string      `json:"sensor"`
	Metric    string      `json:"metric"`
	Code      Code        `json:"code"`
	State     SignalState `json:"state"`
	Severity  Severity    `json:"severity"`
	Value     float64     `json:"value"`
	Threshold float64     `json:"threshold,omitempty"`
	Unit      string      `json:"unit,omitempty"`
	Since     time.Time   `json:"since" doc:"when this state began"`
	At        time.Time   `json:"at" doc:"the newest sample behind it"`
	Fired     time.Time   `json:"fired,omitzero" doc:"when it was last seen firing; absent if it never was"`
	// FailingSince lets a replica that saw it pass later say so at once.
	FailingSince time.Time `json:"failing_since,omitzero" doc:"of a firing probe or objective whose newest sample failed: its first failure since it was last ok; of an objective without a state: it fails since then, and has not for long enough to fire; of one that is stale: since when it had been firing"`
	Interval     Duration  `json:"interval,omitempty" doc:"how far apart its samples come, as far as is known"`
	Flapping     bool      `json:"flapping,omitempty"`
	StartsAt     time.Time `json:"starts_at,omitzero" doc:"of an alert: when its newest occurrence began"`
	Expires      time.Time `json:"expires,omitzero" doc:"of a firing alert: its sender is silent unless it is repeated by then"`
	Message      string    `json:"message,omitempty"`
	// Labels change no more than Value does what the signal says: new ones are
	// published with what it says next.
	Labels map[string]string `json:"labels,omitempty" doc:"of the newest sample when the signal last changed, as its sensor or sender gave them: at most 64 and 4096 bytes, the first by name"`
	Kind   SignalKind        `json:"kind,omitempty" enum:"probe,objective,alert"`
	// Configured signals belong to a sensor or an objective of the
	// configuration; the others were sent by somebody.
	Configured bool `json:"configured,omitempty" doc:"of a sensor or objective of the configuration"`
	// Passing: nothing is done about a signal that fires by hysteresis alone.
	Passing bool `json:"passing,omitempty" doc:"it fires still, but its newest sample passed"`
	// Unconfirmed: nothing is done about what no sample has shown since then.
	Unconfirmed bool      `json:"unconfirmed,omitempty" doc:"from before a restart or a change of the configuration, and no sample has come since; or it passes, and not all of it is seen"`
	Silenced    string    `json:"silenced,omitempty" doc:"by whom or what its source keeps it silent: it is not healed"`
	Repeated    time.Time `json:"repeated,omitzero" doc:"of an alert of a list: when its sender sent it last"`
	Listed      bool      `json:"listed,omitempty" doc:"of an alert: its Alertmanager, which GRACE reads, lists it, and ends it when it does so no more; of one that is over: listed it"`
	Lost        bool      `json:"lost,omitempty" doc:"of a gone one: it was sick when last seen, and nothing is heard of it any more"`
	Gone        bool      `json:"gone,omitempty" doc:"its sensor, objective or alert is no more, and neither is the signal"`
}

// Sick tells whether the signal says that something is wrong now, seriously
// enough for somebody to know.
func (s *Signal) Sick() bool {
	return s.Severity.Serious() && s.Silenced == "" && (s.State == SignalFiring || s.State == SignalUnstable)
}

// Pending tells whether the signal is of an objective that fails, has not for long enough to
// fire, and was never seen to pass: it has data, and is neither ok nor a symptom.
func (s *Signal) Pending() bool { return s.State == SignalUnknown && !s.FailingSince.IsZero() }

// SeenFailing tells whether whoever published the signal saw it fail with the newest
// sample, also where another replica sees it pass.
func (s *Signal) SeenFailing() bool { return !s.FailingSince.IsZero() && s.Fired.Equal(s.At) }

// SilencedAtSource tells whether it is an alert that fires and that its sender
// keeps silent.
func (s *Signal) SilencedAtSource() bool { return s.Silenced != "" && s.State == SignalFiring }

// TriggerKind says whether something happened or is about to.
type TriggerKind string

// Trigger kinds.
const (
	TriggerReactive  TriggerKind = "reactive"
	TriggerProactive TriggerKind = "proactive"
	TriggerManual    TriggerKind = "manual"
)

// TriggerState follows a trigger through the deciding transaction.
type TriggerState string

// Trigger states. An accepted trigger is pending until a decision names it.
const (
	TriggerPending TriggerState = "pending"
	TriggerDecided TriggerState = "decided"
	TriggerCleared TriggerState = "cleared"
)

// Trigger is a reason to think: a signal that fires or a prediction.
type Trigger struct {
	ID          TriggerID    `json:"id"`
	Kind        TriggerKind  `json:"kind"`
	State       TriggerState `json:"state"`
	Service     ServiceID    `json:"service"`
	Code        Code         `json:"code"`
	Severity    Severity     `json:"severity"`
	Signal      SignalKey    `json:"signal,omitempty"`
	Likelihood  float64      `json:"likelihood,omitempty" minimum:"0" maximum:"1" doc:"of a proactive trigger"`
	BreachAt    *time.Time   `json:"breach_at,omitempty"`
	Source      string       `json:"source,omitempty"`
	Fingerprint string       `json:"fingerprint" doc:"the same condition has the same fingerprint"`
	Message     string       `json:"message,omitempty"`
	At          time.Time    `json:"at"`
}

// Evidence is one thing that a diagnosis rests on.
type Evidence struct {
	Service  ServiceID   `json:"service"`
	Code     Code        `json:"code"`
	Signal   SignalKey   `json:"signal,omitempty"`
	State    SignalState `json:"state,omitempty" doc:"of the signal then; ok: it had recovered a moment ago; absent for a prediction"`
	Severity Severity    `json:"severity,omitempty" doc:"of the signal then"`
	Weight   float64     `json:"weight" doc:"how much it raised the likelihood, as a probability of its own"`
	Text     string      `json:"text"`
}

// Diagnosis names the sick service and what ails it.
type Diagnosis struct {
	ID         DiagnosisID `json:"id"`
	Code       Code        `json:"code"`
	Cause      ServiceID   `json:"cause"`
	Kind       TriggerKind `json:"kind"`
	Likelihood float64     `json:"likelihood" minimum:"0" maximum:"1"`
	Impact     Impact      `json:"impact"`
	Severity   Severity    `json:"severity,omitempty" doc:"the worst of the signals that fire"`
	Victims    []ServiceID `json:"victims,omitempty" doc:"services whose symptoms are attributed to the cause"`
	Evidence   []Evidence  `json:"evidence"`
	Since      time.Time   `json:"since" doc:"the oldest symptom behind it"`
	BreachAt   *time.Time  `json:"breach_at,omitempty"`
	At         time.Time   `json:"at"`
}

// Condition gives the signals that the diagnosis stands and falls with: those
// of the cause that fired and are what the code names, the serious ones if there
// are any. It is empty for a diagnosis that only rests on a prediction.
func (d *Diagnosis) Condition() []SignalKey {
	var serious, all []SignalKey
	for _, e := range d.Evidence {
		if e.Service != d.Cause || e.Code != d.Code || e.Signal == "" || e.State != SignalFiring {
			continue
		}
		all = append(all, e.Signal)
		if e.Severity.Serious() {
			serious = append(serious, e.Signal)
		}
	}
	if len(serious) > 0 {
		return serious
	}
	return all
}

// Role says what a series tells of its service: what users feel (latency,
// errors), what is asked of it (traffic), and how near it is to its end
// (saturation of a resource, and the capacity there is or is left).
type Role string

// Roles. A series that nobody gave a role has the empty one.
const (
	RoleNone       Role = ""
	RoleLatency    Role = "latency"
	RoleErrors     Role = "errors"
	RoleSaturation Role = "saturation"
	RoleTraffic    Role = "traffic"
	RoleCapacity   Role = "capacity"
)

// Valid tells whether it is a role, the empty one included.
func (r Role) Valid() bool {
	switch r {
	case RoleNone, RoleLatency, RoleErrors, RoleSaturation, RoleTraffic, RoleCapacity:
		return true
	}
	return false
}
