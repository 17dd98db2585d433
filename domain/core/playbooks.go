package core

import "grace"

// The seed playbooks.
const (
	RestartService       grace.PlaybookID = "restart_service"
	RollbackFlag         grace.PlaybookID = "rollback_flag"
	ScaleUpInstances     grace.PlaybookID = "scale_up_instances"
	WarmCache            grace.PlaybookID = "warm_cache"
	IncreaseLogging      grace.PlaybookID = "increase_logging"
	FlushCircuitBreakers grace.PlaybookID = "flush_circuit_breakers"
)

// Playbooks gives the six seed playbooks, a fresh copy each time. They have no
// steps: bindings bring them.
func Playbooks() []grace.Playbook {
	return []grace.Playbook{
		{
			ID: RestartService, Title: "Restart the service",
			Description: "Stops and starts a service that does not answer. Requests in flight are lost after the grace period.",
			Risk:        grace.RiskMedium, Impact: grace.ImpactMedium,
			Triggers: []grace.Code{grace.CodeServiceDown, grace.CodeDegradation},
			Parameters: []grace.Parameter{
				{Name: "grace_period", Type: grace.ParameterDuration, Default: "10s", Min: new(0.0)},
			},
		},
		{
			ID: RollbackFlag, Title: "Roll a feature flag back",
			Description: "Turns off the flag that the errors came with.",
			Risk:        grace.RiskLow, Impact: grace.ImpactLow, Auto: true,
			Triggers: []grace.Code{grace.CodeElevatedErrors, grace.CodeFlagIssue},
			Parameters: []grace.Parameter{
				{Name: "flag", Type: grace.ParameterString, Required: true, NonEmpty: true},
			},
		},
		{
			ID: ScaleUpInstances, Title: "Add instances",
			Description: "Changes the number of serving instances by min_delta.",
			Risk:        grace.RiskLow, Impact: grace.ImpactLow, Auto: true,
			Triggers: []grace.Code{grace.CodeLatencySpike, grace.CodeCapacity},
			Parameters: []grace.Parameter{
				{Name: "min_delta", Type: grace.ParameterInt, Default: 1, Min: new(-3.0), Max: new(3.0)},
			},
		},
		{
			ID: WarmCache, Title: "Warm the cache",
			Description: "Loads what is asked for most, to be kept for ttl.",
			Risk:        grace.RiskLow, Impact: grace.ImpactLow, Auto: true,
			Triggers: []grace.Code{grace.CodeLatencySpike, grace.CodeCacheCold},
			Parameters: []grace.Parameter{
				{Name: "ttl", Type: grace.ParameterDuration, Default: "5m", Min: new(0.0)},
			},
		},
		{
			ID: IncreaseLogging, Title: "Log more for a while",
			Description: "Raises the log level for ttl, so that a person finds more to look at.",
			Risk:        grace.RiskLow, Impact: grace.ImpactLow, Auto: true,
			Triggers: []grace.Code{grace.CodeDegradation, grace.CodeInvestigation},
			Parameters: []grace.Parameter{
				{Name: "level", Type: grace.ParameterString, Default: "debug", Allowed: []string{"debug", "info", "warn", "error"}},
				{Name: "ttl", Type: grace.ParameterDuration, Default: "15m", Min: new(0.0)},
			},
		},
		{
			ID: FlushCircuitBreakers, Title: "Close the circuit breakers",
			Description: "Lets calls through again. When the service behind is still ill, it meets the full load at once.",
			Risk:        grace.RiskMedium, Impact: grace.ImpactMedium,
			Triggers: []grace.Code{grace.CodeElevatedErrors, grace.CodeCircuitBreakerOpen},
		},
	}
}
