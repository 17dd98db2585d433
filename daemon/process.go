package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"grace/internal/api"
)

// process is the daemon as the API sees it.
type process struct{ *Daemon }

var _ api.Process = process{}

// Domains meets api.Process.
func (p process) Domains() []api.DomainView {
	var out []api.DomainView
	for _, dom := range p.domains {
		v := api.DomainView{Name: dom.Name(), Telemetry: dom.Telemetry()}
		for _, n := range dom.HealthNodes() {
			v.Nodes = append(v.Nodes, n.ID)
		}
		for _, b := range dom.Playbooks() {
			v.Playbooks = append(v.Playbooks, b.ID)
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b api.DomainView) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Sensors meets api.Process.
func (p process) Sensors() []api.SensorView { return p.sensors.views() }

// Ready meets api.Process.
func (p process) Ready(ctx context.Context) error { return p.ready(ctx) }

// Unready meets api.Process.
func (p process) Unready() string { return p.unready.words() }

// Reload meets api.Process.
func (p process) Reload(ctx context.Context, actor string) error {
	err := p.reload(ctx, actor)
	refused, ok := errors.AsType[*ConfigError](err)
	if !ok {
		return err
	}
	bad := &api.Invalid{Message: "the configuration was refused and nothing has changed"}
	for _, one := range refused.Problems.Errors() {
		bad.Details = append(bad.Details, api.Detail{
			Location: fmt.Sprintf("%s:%d:%d %s", one.File, one.Line, one.Column, one.Key), Message: one.Message, Hint: one.Hint,
		})
	}
	return bad
}
