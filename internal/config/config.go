package config

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"
	_ "time/tzdata" // zones must not depend on what the host has installed

	"grace"
	"grace/internal/labelmap"
	"grace/internal/notify"
	"grace/internal/series"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
)

// Options is what a configuration is judged against.
type Options struct {
	// Actions holds Action.Validate by the action's name. A step with an action
	// that is not in it is a problem.
	Actions map[string]func(with map[string]any) error
	// SeedPlaybooks are those of the domains. A configured playbook with the id
	// of one of them changes only the keys it gives.
	SeedPlaybooks []grace.Playbook
	// ExtraServices are the health nodes of the domains. A configured service
	// with the name of one of them adds what it gives.
	ExtraServices []grace.Service
	// ReservedSensors are names of sensors of GRACE's own, and of the domains.
	ReservedSensors []string
	// LookupEnv gives the four SELF_HEAL_ variables. Nil leaves them out.
	LookupEnv func(name string) (value string, ok bool)
	// Host is on to look also whether this machine has the secrets and programs
	// that the file names.
	Host bool
}

// Config is a whole, valid configuration: plain data that is never changed.
type Config struct {
	Listen   string         // address and port of the API
	DataDir  string         // as written: relative to where GRACE is started
	Database string         // PostgreSQL URL, perhaps with secret references; empty is SQLite in DataDir
	Mode     grace.Mode     // of a new store
	Location *time.Location // of change windows and services that name no zone
	Log      Log

	Services   []grace.Service   // configured ones and those of domains, by id
	Sensors    []SensorSpec      // in the order of the file
	Objectives []sense.Objective // in the order of the file, as are the limits; then those that are rules
	Limits     []sense.Limit
	Recordings []series.Group
	Rules      Rules
	RuleFiles  []RuleFile
	Playbooks  []grace.Playbook // the domains' and configured ones, by id; a service's bindings are in Services

	Sense       sense.Config
	Predict     predict.Config
	LSTM        string // file of a trained net; empty is none
	Diagnose    diagnose.Config
	Propose     propose.Config
	Govern      govern.Config // with the change windows
	Learn       learn.Config
	ApprovalTTL grace.Duration

	EscalateAfter, EscalateAfterCritical, HoldDown, RecoverWithin grace.Duration

	Telemetry    Telemetry
	Alertmanager Alertmanager
	ExternalURL  string // base of links, "" for none
	Notify       notify.Config
	Heartbeat    Heartbeat
	API          API
	Metrics      Metrics
	Retention    Retention

	Needs []Need // what the file needs of this machine, when it was looked at
}

// Playbook finds a playbook by its id.
func (c *Config) Playbook(id grace.PlaybookID) (grace.Playbook, bool) {
	i, ok := slices.BinarySearchFunc(c.Playbooks, id, func(p grace.Playbook, id grace.PlaybookID) int { return cmp.Compare(p.ID, id) })
	if !ok {
		return grace.Playbook{}, false
	}
	return c.Playbooks[i], true
}

// RuleMap says whose what rules find is.
func (c *Config) RuleMap() []labelmap.Rule { return mapOf(c.Rules.Map) }

// Load reads a file. One that cannot be read is a problem like any other. The
// problems call the file by the path as given; its playbooks_dir starts at its
// folder.
func Load(path string, o Options) (*Config, Problems) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, Problems{unreadable(path, err)}
	}
	return Parse(path, data, filepath.Dir(path), o)
}

func unreadable(path string, err error) Problem {
	p := Problem{File: path, Message: "cannot be read: " + err.Error()}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		p.Message = "cannot be read: " + pe.Err.Error()
	}
	if errors.Is(err, fs.ErrNotExist) {
		p.Hint = "give the path of the configuration with --config"
	}
	return p
}

// Parse reads the text of a file that problems call name. dir is where a
// relative playbooks_dir starts. Config is nil exactly when Problems.Err is not.
func Parse(name string, data []byte, dir string, o Options) (*Config, Problems) {
	d := newDecoder(name, reflect.TypeFor[file]())
	f := withDefaults(reflect.TypeFor[file]()).Interface().(file)
	if root := d.root(data); root != nil {
		d.value(root, reflect.ValueOf(&f).Elem(), "", field{})
	}
	d.problems = append(d.problems, applyEnv(&f.Trust.Config, o.LookupEnv)...)

	c := newChecker(spot{d, ""}, &f, o)
	c.addPlaybooks(dir)
	c.addServices()
	c.addRules(dir)
	c.checkPlaybooks()
	c.checkServices()
	sensors := c.checkSensors()
	c.checkObjectives()
	c.checkTelemetry()
	c.checkAlertmanager()
	c.checkPlaces()
	c.checkTelling()
	c.checkNotify()
	c.checkStages()
	c.checkWatched()
	c.checkMetrics()
	c.checkCodes()
	c.checkRules()
	c.checkTrap()
	c.checkHost()

	problems := c.problems()
	problems.sort(name)
	if problems.Err() != nil {
		return nil, problems
	}
	return c.build(sensors), problems
}

// byID gives what has an id, in its order.
func byID[K cmp.Ordered, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, id := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[id])
	}
	return out
}

// build puts together what was found to be right.
func (c *checker) build(sensors []SensorSpec) *Config {
	f := c.file
	playbooks, services := byID(c.playbooks), byID(c.services)
	var objectives []sense.Objective
	for _, o := range f.Objectives {
		known, _ := c.metricsOf(o.Service)
		o.Interval = c.every(o.Source)
		expr, err := series.CompileAt(o.Expr, o.Source)
		for _, k := range known {
			if err == nil && slices.Contains(expr.Metrics(), k.metric) {
				o.Interval = max(o.Interval, k.interval.D())
			}
		}
		objectives = append(objectives, o)
	}
	ruled, recordings := c.ruled()
	objectives = append(objectives, ruled...)
	return &Config{
		Listen: f.Listen, DataDir: f.DataDir, Database: f.Database, Mode: f.Mode, Location: c.location, Log: f.Log,
		Services: services, Sensors: sensors, Objectives: objectives, Limits: f.Limits, Recordings: recordings, Rules: f.Rules, RuleFiles: c.ruleFiles(), Telemetry: f.Telemetry, Playbooks: playbooks,
		Sense: f.Sense, Predict: f.Predict.Config, LSTM: f.Predict.LSTM, Diagnose: f.Diagnose, Propose: f.Propose,
		Govern: c.govern(), Learn: f.Learn, ApprovalTTL: f.Trust.ApprovalTTL,
		EscalateAfter: f.EscalateAfter, EscalateAfterCritical: f.EscalateAfterCritical, HoldDown: f.HoldDown, RecoverWithin: f.RecoverWithin,
		Alertmanager: f.Alertmanager, ExternalURL: f.ExternalURL, Notify: c.notify(), Heartbeat: f.Heartbeat, API: f.API, Metrics: f.Metrics, Retention: f.Retention, Needs: c.needs,
	}
}
