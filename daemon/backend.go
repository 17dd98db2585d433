package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"grace"
	"grace/internal/api"
	"grace/internal/decide"
	"grace/internal/healthgraph"
	"grace/internal/loop"
	"grace/internal/mesh"
	"grace/internal/stage/learn"
	"grace/internal/store"
	"grace/sensor/alertmanager"
)

// backend is the API's view of the daemon.
type backend struct {
	*loop.Loop

	d *Daemon
}

var _ api.Backend = backend{}

// Observe meets api.Backend.
func (b backend) Observe(ctx context.Context, samples []grace.Sample) error {
	err := b.d.loop.Observe(ctx, b.d.ofTheList(samples)...)
	if slices.ContainsFunc(samples, func(s grace.Sample) bool { return s.Sensor == alertmanager.Sensor }) {
		b.d.alertsCame()
	}
	return busy(err)
}

// busy words a refusal of samples for who sent them.
func busy(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, loop.ErrNoRoom):
		return &api.Busy{
			Message: "not every alert was taken: " + loop.ErrNoRoom.Error(), RetryAfter: time.Minute,
			Hint: "raise sense.max_series, or group alerts so that there are fewer; what was taken does no harm when it is sent again",
		}
	case errors.Is(err, loop.ErrBusy):
		if _, away := errors.AsType[*store.Outage](err); away {
			return err
		}
		return &api.Busy{Message: "nothing was taken: " + loop.ErrBusy.Error(), RetryAfter: 5 * time.Second, Hint: "send it again"}
	}
	return err
}

// PostEvents meets api.Backend.
func (b backend) PostEvents(ctx context.Context, p api.Post) error {
	return busy(b.d.loop.Post(ctx, p.Events, p.Samples, p.Predictions))
}

// Replay meets api.Backend.
func (b backend) Replay(ctx context.Context, from, to time.Time, cursor string) (decide.Replayed, error) {
	return loop.Replay(ctx, b.d.store, from, to, cursor)
}

// Backtest meets api.Backend.
func (b backend) Backtest(ctx context.Context, rules *decide.Rules, from, to time.Time, cursor string) (decide.Backtested, error) {
	return loop.Backtest(ctx, b.d.store, rules, from, to, cursor)
}

// Decide meets api.Backend.
func (b backend) Decide(ctx context.Context, id grace.ApprovalID, in api.DecisionInput) (grace.Approval, error) {
	moved := b.d.bus.Subscribe(followBuffer, "self_heal.run.*")
	defer moved.Close()
	a, err := b.d.loop.DecideApproval(ctx, id, in.Approve, in.Reason, in.Actor, in.Revision)
	if err == nil {
		b.d.awaitMoved(ctx, moved, a.Run)
	}
	if decided, ok := errors.AsType[*loop.DecidedError](err); ok {
		at := decided.Approval.At
		if decided.Approval.DecidedAt != nil {
			at = *decided.Approval.DecidedAt
		}
		return a, &api.AlreadyDecided{By: decided.Approval.Actor, At: at, State: decided.Approval.State, Reason: decided.Approval.Reason}
	}
	if expired, ok := errors.AsType[*loop.ExpiredError](err); ok {
		return a, &api.Expired{At: expired.Approval.Expires}
	}
	return a, err
}

// movedWithin is how long the answer to a decision waits for its run.
const movedWithin = 2 * time.Second

// awaitMoved waits until a run that was decided on has moved on, so that who
// decided does not still see it waiting. The decision stands either way.
func (d *Daemon) awaitMoved(ctx context.Context, sub *mesh.Subscription, id grace.RunID) {
	ctx, cancel := context.WithTimeout(ctx, movedWithin)
	defer cancel()
	for {
		run, err := d.store.Run(ctx, d.store.Q(), id)
		if err != nil || run.Status != grace.RunAwaitingApproval {
			return
		}
		for moved := false; !moved; {
			select {
			case <-ctx.Done():
				return
			case e, ok := <-sub.C():
				if !ok {
					return
				}
				moved = e.Resource == "run/"+string(id)
			}
		}
	}
}

// Abort meets api.Backend.
func (b backend) Abort(ctx context.Context, id grace.RunID, actor, reason string) error {
	err := b.d.loop.Abort(ctx, id, actor, reason)
	if ended, ok := errors.AsType[*loop.EndedError](err); ok {
		e := &api.Ended{State: ended.Run.Status}
		if ended.Run.EndedAt != nil {
			e.At = *ended.Run.EndedAt
		}
		return e
	}
	return err
}

// SetMode meets api.Backend.
func (b backend) SetMode(ctx context.Context, set grace.ModeSetting, actor string) (grace.ModeSetting, error) {
	return b.d.loop.SetMode(ctx, set, actor)
}

// RunByHand meets api.Backend.
func (b backend) RunByHand(ctx context.Context, want api.ByHand, actor string) (grace.Decision, error) {
	dec, err := b.d.loop.RunByHand(ctx, loop.ByHand(want), actor)
	if bad, ok := errors.AsType[*loop.ErrTrial](err); ok {
		return dec, &api.Invalid{Message: bad.Error()}
	}
	return dec, err
}

// AddSilence meets api.Backend.
func (b backend) AddSilence(ctx context.Context, s grace.Silence, actor string) (grace.Silence, error) {
	made, err := b.d.loop.AddSilence(ctx, s, actor)
	if bad, ok := errors.AsType[*loop.InvalidError](err); ok {
		return made, &api.Invalid{Message: bad.Error()}
	}
	return made, err
}

// Health meets api.Backend.
func (b backend) Health(context.Context) []grace.HealthState {
	health := b.d.loop.Health()
	for i := range health {
		b.d.unready.mark(&health[i])
	}
	return health
}

// Symptoms meets api.Backend.
func (b backend) Symptoms(context.Context) map[grace.ServiceID]api.Symptoms {
	all := b.d.loop.Symptoms()
	out := make(map[grace.ServiceID]api.Symptoms, len(all))
	for id, s := range all {
		out[id] = api.Symptoms(s)
	}
	return out
}

// Latest meets api.Backend.
func (b backend) Latest(_ context.Context, signals []grace.Signal) []grace.Signal {
	return b.d.loop.Latest(signals)
}

// Services meets api.Backend.
func (b backend) Services(context.Context) []api.ServiceView {
	health := map[grace.ServiceID]grace.HealthState{}
	for _, h := range b.d.loop.Health() {
		health[h.Service] = h
	}
	out := slices.Clone(b.d.places(b.d.loop.Graph()))
	for i := range out {
		out[i].Health = health[out[i].ID]
		b.d.unready.mark(&out[i].Health)
	}
	return out
}

// placed are the services of a graph without their health.
type placed struct {
	graph *healthgraph.Graph
	views []api.ServiceView
}

// places gives the services with their place in a graph, which takes long to
// find out for thousands and changes with the configuration only.
func (d *Daemon) places(g *healthgraph.Graph) []api.ServiceView {
	if p := d.placed.Load(); p != nil && p.graph == g {
		return p.views
	}
	p := &placed{graph: g}
	for _, s := range g.Services() {
		p.views = append(p.views, api.ServiceView{
			Service: s, Dependents: g.Direct(s.ID), Transitive: g.Needed(s.ID), BlastRadius: g.BlastRadius(s.ID, nil),
		})
	}
	d.placed.Store(p)
	return p.views
}

// Domains meets api.Backend.
func (b backend) Domains(context.Context) []api.DomainView {
	var out []api.DomainView
	for _, dom := range b.d.domains {
		v := api.DomainView{Name: dom.Name(), Telemetry: dom.Telemetry()}
		for _, n := range dom.HealthNodes() {
			v.Nodes = append(v.Nodes, n.ID)
		}
		for _, p := range dom.Playbooks() {
			v.Playbooks = append(v.Playbooks, p.ID)
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b api.DomainView) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Playbooks meets api.Backend.
func (b backend) Playbooks(context.Context) []grace.Playbook { return b.d.loop.Playbooks() }

// DryRun meets api.Backend.
func (b backend) DryRun(ctx context.Context, playbook grace.PlaybookID, service grace.ServiceID, params map[string]any) (api.DryRun, error) {
	t, err := b.d.loop.DryRun(ctx, playbook, service, params)
	if bad, ok := errors.AsType[*loop.ErrTrial](err); ok {
		return api.DryRun{}, &api.Invalid{Message: bad.Error()}
	}
	return api.DryRun{
		Playbook: t.Playbook, Service: service, Parameters: t.Parameters, Verdict: t.Verdict, Policy: t.Policy, Reasons: t.Reasons,
	}, err
}

// Reload meets api.Backend.
func (b backend) Reload(ctx context.Context, actor string) error {
	err := b.d.reload(ctx, actor)
	refused, ok := errors.AsType[*ConfigError](err)
	if !ok {
		return err
	}
	bad := &api.Invalid{Message: "the configuration was refused and nothing has changed"}
	for _, p := range refused.Problems {
		bad.Details = append(bad.Details, api.Detail{
			Location: fmt.Sprintf("%s:%d:%d %s", p.File, p.Line, p.Column, p.Key), Message: p.Message, Hint: p.Hint,
		})
	}
	return bad
}

// KPIs meets api.Backend.
func (b backend) KPIs(ctx context.Context) (learn.KPIs, error) { return b.d.loop.KPIs(ctx) }

// Rates meets api.Backend.
func (b backend) Rates(_ context.Context, bucket time.Duration) []learn.Row {
	return b.d.loop.Rates(now(), bucket)
}
