package sim

import (
	"fmt"
	"time"

	"grace"
	"grace/domain/core"
	"grace/internal/decide"
	"grace/internal/loop"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
)

// Names of the simulated actions.
const (
	actRestart = "restart"
	actFlag    = "flag"
	actScale   = "scale"
	actWarm    = "warm"
	actLog     = "log"
	actBreaker = "breaker"
	actRead    = "read"
)

const (
	stepTimeout = 20 * time.Second
	watchdog    = 4 * time.Minute
	approvalTTL = 5 * time.Minute
	sampleEvery = 5 * time.Second
	holdDown    = 30 * time.Second
	// Shorter than by default, as the stories are.
	escalateAfter    = 3 * time.Minute
	escalateCritical = time.Minute
)

// loopConfig is what GRACE is told about the world: the seed playbooks with the
// triggers of examples/shop, bound to actions that change it, and the defaults
// of every stage.
func loopConfig(st Story, epoch time.Time) loop.Config {
	cfg := loop.Config{
		Config: decide.Config{
			Playbooks: playbooks(), Diagnose: diagnose.DefaultConfig(), Propose: propose.DefaultConfig(), Govern: govern.DefaultConfig(), PredictEvery: 30 * time.Second, HoldDown: holdDown,
		},
		Sense: sense.DefaultConfig(), Predict: predict.DefaultConfig(), Learn: learn.DefaultConfig(), ApprovalTTL: approvalTTL, Mode: st.Mode, GroupWait: diagnose.DefaultConfig().GroupWait.D(), EscalateAfter: escalateAfter, EscalateCritical: escalateCritical,
	}
	cfg.Sources = map[string]any{"": "the world"}
	cfg.Govern.PredictiveShadow = st.Shadow
	cfg.Propose.MaxConcurrent = maxConcurrent
	for _, w := range st.Windows {
		cfg.Govern.Windows = append(cfg.Govern.Windows, govern.Window{
			Name: "story", Start: epoch.Add(w.From).Format("15:04"), End: epoch.Add(w.To).Format("15:04"),
		})
	}
	for _, n := range st.Services {
		cfg.Services = append(cfg.Services, grace.Service{
			ID: n.ID, Owner: "sim", Criticality: n.Criticality, DependsOn: n.DependsOn, Bindings: bindings(n),
		})
		cfg.Probes = append(cfg.Probes, sense.Probe{Service: n.ID, Sensor: probeSensor, Metric: metricUp})
		for _, l := range limits(n) {
			cfg.Objectives = append(cfg.Objectives, l.Objective)
		}
	}
	return cfg
}

const (
	maxConcurrent = 3
	// memoryLeak is a code of the operator's own: for a vague degradation GRACE
	// would first log more, which is of low risk and helps nobody here.
	memoryLeak grace.Code = "memory_leak"
)

// playbooks are the seed playbooks, with what an operator knows who has a
// metric for each cause: errors alone do not say that a flag or a breaker is to
// blame, nor latency alone that a cache is cold or instances too few: it may be
// a dependency's. Each remedy is verified by what it mends.
func playbooks() []grace.Playbook {
	out := core.Playbooks()
	for i := range out {
		switch out[i].ID {
		case core.RestartService:
			out[i].Triggers = append(out[i].Triggers, memoryLeak)
		case core.RollbackFlag:
			out[i].Triggers = []grace.Code{grace.CodeFlagIssue}
		case core.ScaleUpInstances:
			out[i].Triggers = []grace.Code{grace.CodeCapacity}
		case core.WarmCache:
			out[i].Triggers = []grace.Code{grace.CodeCacheCold}
		case core.FlushCircuitBreakers:
			out[i].Triggers = []grace.Code{grace.CodeCircuitBreakerOpen}
		}
	}
	return out
}

// limit is a threshold that a metric is held to, and the objective that says so.
type limit struct {
	sense.Objective

	metric, op string
	threshold  float64
}

func (l *limit) breached(v float64) bool {
	switch l.op {
	case ">":
		return v > l.threshold
	case "<":
		return v < l.threshold
	default:
		return v >= l.threshold
	}
}

// hold gives the objective its expression.
func (l *limit) hold() {
	l.Expr = fmt.Sprintf("%s{service=%q} %s %g", l.metric, l.Service, l.op, l.threshold)
}

func limits(n Node) []limit {
	critical := func(metric, op string, threshold float64, code grace.Code) limit {
		l := limit{metric: metric, op: op, threshold: threshold}
		l.Code, l.Severity = code, grace.SeverityCritical
		return l
	}
	all := []limit{
		critical(metricLatency, ">", latencyLimit, grace.CodeLatencySpike),
		critical(metricErrors, ">", errorLimit, grace.CodeElevatedErrors),
		critical(metricLoad, ">", loadLimit, grace.CodeCapacity),
		critical(metricMemory, ">", memoryLimit, memoryLeak),
	}
	all[0].Unit, all[2].Severity = "ms", grace.SeverityWarning
	if n.Flag {
		all = append(all, critical(metricFlag, ">", flagLimit, grace.CodeFlagIssue))
	}
	if n.Cache {
		all = append(all, critical(metricCache, "<", cacheLimit, grace.CodeCacheCold))
	}
	if len(n.DependsOn) > 0 {
		all = append(all, critical(metricBreaker, ">=", 1, grace.CodeCircuitBreakerOpen))
	}
	for i := range all {
		all[i].Name, all[i].Service = string(all[i].Code), n.ID
		all[i].hold()
	}
	return all
}

// moreInstances is by how many a service is scaled: to twice what it has, as
// autoscalers do, within the playbook's bound.
func moreInstances(n Node) int { return min(n.Instances, 3) }

func bindings(n Node) map[grace.PlaybookID]grace.Binding {
	up := grace.Check{Name: "up", Type: grace.CheckHTTPHealth, URL: "sim://${service}", Interval: grace.Duration(2 * time.Second)}
	check := func(metric, op string, limit float64) grace.Check {
		return grace.Check{
			Name: metric, Type: grace.CheckExpr, Expr: fmt.Sprintf(`%s{service="${service}"} %s %g`, metric, op, limit),
			Interval: grace.Duration(2 * time.Second), MinSamples: 2,
		}
	}
	errorsLow := check(metricErrors, "<=", errorLimit)
	// drain is how long a surge and the queue that it leaves may take to pass with
	// the instances that were added; autoscalers wait five minutes before they
	// think again. Checks that hold sooner end the wait.
	const drain = 3 * time.Minute
	bind := func(action string, undo bool, args map[string]any, verify ...grace.Check) grace.Binding {
		step := grace.Step{
			Name: action, Action: action, With: args, Timeout: grace.Duration(stepTimeout), Retries: 1, Irreversible: !undo,
		}
		if undo {
			step.Snapshot = &grace.Call{Action: actRead, With: map[string]any{"of": action}, Timeout: grace.Duration(stepTimeout)}
			step.Undo = &grace.Call{Action: action, With: map[string]any{"to": "${snapshot.value}"}, Timeout: grace.Duration(stepTimeout)}
		}
		return grace.Binding{
			Steps: []grace.Step{step}, Verify: verify,
			Settle: grace.Duration(40 * time.Second), Soak: grace.Duration(10 * time.Second), Watchdog: grace.Duration(watchdog),
		}
	}
	// tells gives the step a check of its own: its effect can be seen.
	tells := func(b grace.Binding) grace.Binding {
		b.Steps[0].Check = &b.Verify[len(b.Verify)-1]
		return b
	}
	auto := n.Auto
	out := map[grace.PlaybookID]grace.Binding{}
	restart := bind(actRestart, false, nil, up, check(metricMemory, "<=", memoryLimit))
	restart.AutoOverride = &auto
	out[core.RestartService] = restart
	scale := bind(actScale, true, map[string]any{"delta": "${min_delta}"}, check(metricLoad, "<=", loadLimit),
		grace.Check{Name: "no instance lost", Type: grace.CheckCapacity, Expr: metricInstances + `{service="${service}"}`, MinSamples: 2})
	scale.Arguments = map[string]any{"min_delta": moreInstances(n)}
	scale.Settle = grace.Duration(drain)
	out[core.ScaleUpInstances] = scale
	out[core.IncreaseLogging] = bind(actLog, true, map[string]any{"level": "${level}"}, up)
	if n.Flag {
		b := tells(bind(actFlag, true, map[string]any{"flag": "${flag}"}, errorsLow, check(metricFlag, "<=", flagLimit)))
		b.Arguments = map[string]any{"flag": "new_checkout"}
		out[core.RollbackFlag] = b
	}
	if n.Cache {
		out[core.WarmCache] = tells(bind(actWarm, false, nil, check(metricCache, ">=", cacheLimit)))
	}
	if len(n.DependsOn) > 0 {
		b := tells(bind(actBreaker, true, nil, errorsLow, check(metricBreaker, "<", 1)))
		b.AutoOverride = &auto
		out[core.FlushCircuitBreakers] = b
	}
	return out
}
