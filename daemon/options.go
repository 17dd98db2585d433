package daemon

import (
	"log/slog"
	"os"

	"grace"
	"grace/action/command"
	"grace/action/httpcall"
	"grace/action/systemd"
	"grace/domain/core"
	"grace/internal/config"
)

// Option changes what a daemon is made of.
type Option func(*options)

type options struct {
	domains    []grace.Domain
	sensors    []grace.Sensor
	actions    []grace.Action
	log        *slog.Logger
	configFile string
}

// WithDomain adds a domain: its health nodes become services, its playbooks
// can be bound, its metrics are observed.
func WithDomain(d grace.Domain) Option { return func(o *options) { o.domains = append(o.domains, d) } }

// WithSensor adds a sensor to those of the configuration.
func WithSensor(s grace.Sensor) Option { return func(o *options) { o.sensors = append(o.sensors, s) } }

// WithAction adds an action that steps can name. One with the name of a
// built-in action replaces it.
func WithAction(a grace.Action) Option { return func(o *options) { o.actions = append(o.actions, a) } }

// WithLogger sets where the daemon writes its log (default: nowhere).
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// WithConfigFile tells Reload which file to read.
func WithConfigFile(path string) Option { return func(o *options) { o.configFile = path } }

func collect(opts []Option) *options {
	o := &options{log: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// actionsByName gives the built-in actions and the added ones.
func (o *options) actionsByName() map[string]grace.Action {
	all := map[string]grace.Action{}
	for _, a := range append([]grace.Action{httpcall.New(), command.New(), systemd.New()}, o.actions...) {
		all[a.Name()] = a
	}
	return all
}

// ConfigOptions is what a configuration is judged against: the actions, the
// core domain and the added domains, and the environment.
func ConfigOptions(opts ...Option) config.Options { return collect(opts).configOptions() }

func (o *options) configOptions() config.Options {
	c := config.Options{
		Actions: map[string]func(map[string]any) error{}, SeedPlaybooks: core.Playbooks(), ReservedSensors: ownSensors(), LookupEnv: os.LookupEnv, Host: true,
	}
	for name, a := range o.actionsByName() {
		c.Actions[name] = a.Validate
	}
	for _, d := range append([]grace.Domain{core.New(core.Parts{})}, o.domains...) {
		c.ReservedSensors = append(c.ReservedSensors, d.Name())
		if d.Name() != coreDomain {
			c.SeedPlaybooks = append(c.SeedPlaybooks, d.Playbooks()...)
		}
		for _, n := range d.HealthNodes() {
			c.ExtraServices = append(c.ExtraServices, n.Service)
		}
	}
	return c
}

const coreDomain = "core"

// Load reads and judges a configuration file.
func Load(path string, opts ...Option) (*config.Config, config.Problems) {
	return config.Load(path, ConfigOptions(opts...))
}
