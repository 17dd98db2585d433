package gracetest

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"grace"
)

// wantProblem checks that exactly the problem that was built in is found.
func wantProblem(t *testing.T, got []string, want string) {
	t.Helper()
	if want == "" {
		if len(got) != 0 {
			t.Errorf("good, but found %q", got)
		}
		return
	}
	if len(got) != 1 || !strings.Contains(got[0], want) {
		t.Errorf("found %q, want one problem with %q", got, want)
	}
}

func TestOutcomeProblems(t *testing.T) {
	at := time.Unix(1, 0)
	good := grace.Outcome{Status: grace.OutcomeSucceeded, Started: at, Ended: at, Data: map[string]string{"a": "b"}}
	bad := good
	bad.Status, bad.Error = grace.OutcomeFailed, "why"
	for name, tt := range map[string]struct {
		out  grace.Outcome
		make func(*grace.Outcome)
		want string
	}{
		"good":             {good, func(*grace.Outcome) {}, ""},
		"good failure":     {bad, func(*grace.Outcome) {}, ""},
		"error of success": {good, func(o *grace.Outcome) { o.Error = "x" }, "succeeded with an error"},
		"silent failure":   {bad, func(o *grace.Outcome) { o.Error = "" }, "without saying why"},
		"no times":         {good, func(o *grace.Outcome) { o.Started, o.Ended = time.Time{}, time.Time{} }, "must be set"},
		"backwards":        {good, func(o *grace.Outcome) { o.Ended = at.Add(-1) }, "ended before"},
		"long":             {good, func(o *grace.Outcome) { o.Output = strings.Repeat("x", grace.MaxOutput+1) }, "bytes, more than"},
		"binary":           {good, func(o *grace.Outcome) { o.Output = "\xff" }, "cannot be stored"},
		"NUL":              {good, func(o *grace.Outcome) { o.Data = map[string]string{"a": "\x00"} }, "cannot be stored"},
		"secret in output": {good, func(o *grace.Outcome) { o.Output = `x pass"word y` }, "a secret"},
		"secret in data":   {good, func(o *grace.Outcome) { o.Data = map[string]string{"t": `pass"word`} }, "a secret"},
		"secret in error":  {bad, func(o *grace.Outcome) { o.Error = `pass"word` }, "a secret"},
	} {
		t.Run(name, func(t *testing.T) {
			out := tt.out
			tt.make(&out)
			wantProblem(t, outcomeProblems(out, tt.out.Status, []string{`pass"word`}), tt.want)
		})
	}
	wantProblem(t, outcomeProblems(good, grace.OutcomeUnknown, nil), "it ended succeeded, want unknown")
	odd := good
	odd.Status = "fine"
	wantProblem(t, outcomeProblems(odd, "fine", nil), "is no outcome status")
}

func TestSampleProblems(t *testing.T) {
	good := grace.Sample{Service: "shop", Sensor: "web", Metric: "m", Kind: grace.SampleMetric, At: time.Unix(1, 0)}
	for name, tt := range map[string]struct {
		make func(*grace.Sample)
		want string
	}{
		"good":          {func(*grace.Sample) {}, ""},
		"other service": {func(s *grace.Sample) { s.Service = "cart" }, "want shop"},
		"other sensor":  {func(s *grace.Sample) { s.Sensor = "x" }, "names the sensor"},
		"no metric":     {func(s *grace.Sample) { s.Metric = "" }, "no metric"},
		"no time":       {func(s *grace.Sample) { s.At = time.Time{} }, "no time"},
		"no number":     {func(s *grace.Sample) { s.Value = math.NaN() }, "NaN"},
		"no kind":       {func(s *grace.Sample) { s.Kind = "gauge" }, "no kind"},
		"half a probe":  {func(s *grace.Sample) { s.Kind, s.Value = grace.SampleProbe, .5 }, "1 passed or 0 failed"},
		"mute probe":    {func(s *grace.Sample) { s.Kind = grace.SampleProbe }, "without saying why"},
		"anonymous alert": {func(s *grace.Sample) {
			s.Kind, s.Code = grace.SampleAlert, grace.CodeCapacity
		}, "no fingerprint"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good
			tt.make(&s)
			wantProblem(t, sampleProblems(s, "web", "shop"), tt.want)
		})
	}
}

func goodPlaybook() grace.Playbook {
	return grace.Playbook{
		ID: "p", Title: "P", Risk: grace.RiskLow, Impact: grace.ImpactLow, Triggers: []grace.Code{grace.CodeCapacity},
		Parameters: []grace.Parameter{
			{Name: "n", Type: grace.ParameterInt, Default: 1, Min: new(0.0), Max: new(3.0)},
			{Name: "ttl", Type: grace.ParameterDuration, Default: "1m", Min: new(0.0)},
			{Name: "level", Type: grace.ParameterString, Default: "info", Allowed: []string{"info"}},
		},
		Binding: grace.Binding{
			Steps:  []grace.Step{{Name: "s", Action: "http", Undo: &grace.Call{Action: "http"}}},
			Verify: []grace.Check{{Type: grace.CheckHTTPHealth}},
		},
	}
}

func TestPlaybookProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(*grace.Playbook)
		want string
	}{
		"good":             {func(*grace.Playbook) {}, ""},
		"no title":         {func(p *grace.Playbook) { p.Title = "" }, "no title"},
		"no trigger":       {func(p *grace.Playbook) { p.Triggers = nil }, "no trigger"},
		"no risk":          {func(p *grace.Playbook) { p.Risk = "" }, "the risk"},
		"moderate":         {func(p *grace.Playbook) { p.Risk = "moderate" }, "the risk"},
		"no impact":        {func(p *grace.Playbook) { p.Impact = "" }, "the impact"},
		"no undo":          {func(p *grace.Playbook) { p.Steps[0].Undo = nil }, "give its undo"},
		"both":             {func(p *grace.Playbook) { p.Steps[0].Irreversible = true }, "irreversible and has an undo"},
		"no action":        {func(p *grace.Playbook) { p.Steps[0].Action = "" }, "no action"},
		"same step":        {func(p *grace.Playbook) { p.Steps = append(p.Steps, p.Steps[0]) }, "two steps"},
		"no check":         {func(p *grace.Playbook) { p.Verify = nil }, "verifies nothing"},
		"stray argument":   {func(p *grace.Playbook) { p.Arguments = map[string]any{"m": 1} }, "no parameter"},
		"same parameter":   {func(p *grace.Playbook) { p.Parameters = append(p.Parameters, p.Parameters[0]) }, "there twice"},
		"default too high": {func(p *grace.Playbook) { p.Parameters[0].Default = 4 }, "above its maximum"},
		"default no int":   {func(p *grace.Playbook) { p.Parameters[0].Default = 1.0 }, "is no int"},
		"bounds crossed":   {func(p *grace.Playbook) { p.Parameters[0].Min, p.Parameters[0].Default = new(4.0), nil }, "above its maximum"},
		"negative ttl":     {func(p *grace.Playbook) { p.Parameters[1].Default = "-1s" }, "below its minimum"},
		"ttl as number":    {func(p *grace.Playbook) { p.Parameters[1].Default = 60 }, "no duration"},
		"not allowed":      {func(p *grace.Playbook) { p.Parameters[2].Default = "trace" }, "not allowed"},
		"no type":          {func(p *grace.Playbook) { p.Parameters[2].Type = "" }, "the type"},
	} {
		t.Run(name, func(t *testing.T) {
			p := goodPlaybook()
			tt.make(&p)
			wantProblem(t, playbookProblems([]grace.Playbook{p}), tt.want)
		})
	}
	wantProblem(t, playbookProblems([]grace.Playbook{goodPlaybook(), goodPlaybook()}), "is there twice")
}

func TestNodeProblems(t *testing.T) {
	state := func(h grace.Health, text string) func(context.Context) (grace.Health, string) {
		return func(context.Context) (grace.Health, string) { return h, text }
	}
	good := grace.HealthNode{
		Service: grace.Service{ID: "d.a", Domain: "d", Criticality: grace.CriticalityLow, DependsOn: []grace.ServiceID{"d.b"}},
		State:   state(grace.HealthHealthy, ""),
	}
	for name, tt := range map[string]struct {
		make func(*grace.HealthNode)
		want string
	}{
		"good":           {func(*grace.HealthNode) {}, ""},
		"other domain":   {func(n *grace.HealthNode) { n.Domain = "" }, "of domain"},
		"itself":         {func(n *grace.HealthNode) { n.DependsOn = []grace.ServiceID{"d.a"} }, "itself"},
		"no state":       {func(n *grace.HealthNode) { n.State = nil }, "no State"},
		"no criticality": {func(n *grace.HealthNode) { n.Criticality = "" }, "criticality"},
	} {
		t.Run(name, func(t *testing.T) {
			n := good
			tt.make(&n)
			wantProblem(t, nodeProblems("d", []grace.HealthNode{n}), tt.want)
		})
	}
	good.State = state("fine", "")
	wantProblem(t, stateProblems(t.Context(), good), "is no health")
	good.State = state(grace.HealthUnknown, "")
	wantProblem(t, stateProblems(t.Context(), good), "does not say why")
}

func TestMetricProblems(t *testing.T) {
	specs := []grace.MetricSpec{{Name: "a", Description: "A"}}
	wantProblem(t, telemetryProblems(specs), "")
	wantProblem(t, telemetryProblems(append(specs, specs...)), "described twice")
	wantProblem(t, metricProblems(specs, map[string]float64{"a": 1}), "")
	wantProblem(t, metricProblems(specs, map[string]float64{"b": 1}), "not in the telemetry schema")
	wantProblem(t, metricProblems(specs, map[string]float64{"a": math.Inf(1)}), "leave out")
}
