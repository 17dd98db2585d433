package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"grace"
	"grace/domain/core"
	"grace/internal/api"
	"grace/internal/config"
	"grace/internal/flow"
	"grace/internal/forecast"
	"grace/internal/heal"
	"grace/internal/loop"
	"grace/internal/mesh"
	"grace/internal/notify"
	"grace/internal/stage/predict"
	"grace/internal/store"
	"grace/sensor/alertmanager"
)

const (
	// drainTimeout is how long Stop waits for requests and for running actions.
	drainTimeout = 10 * time.Second
	idleTimeout  = 2 * time.Minute
	// writeSpare is the time to read an answer that took as long as it may.
	writeSpare = 10 * time.Second
	maxHeader  = 64 << 10
)

// Version of the program, set by the linker.
var Version = "dev" //nolint:gochecknoglobals // the linker's -X needs a variable

// phase of a daemon's life. It starts once.
type phase int

const (
	phaseNew phase = iota
	phaseStarted
	phaseEnded
)

// Daemon is one GRACE process. Make it with New.
type Daemon struct {
	opts *options
	log  *slog.Logger

	// turn is held by Start, Stop or Reload while at work. It is a channel so
	// that a reload asked for by a request can give up when Stop ends requests.
	turn  chan struct{}
	phase phase // guarded by turn

	// mu guards what others read meanwhile. It is never held while waiting:
	// the services that Stop waits for take it.
	mu       sync.Mutex
	cfg      *config.Config
	listener net.Listener

	owner      string // this process, among replicas and over restarts
	home       *dataDirectory
	store      *store.Store
	bus        *mesh.Bus
	engine     *flow.Engine
	loop       *loop.Loop
	domains    []grace.Domain
	sensors    *sensors
	skipped    skipped
	alerts     atomic.Pointer[alertmanager.Reader] // the newest
	webhooks   chan struct{}                       // alerts came: what Alertmanager lists is read
	telemetry  *receivers
	gate       *predict.Gate // of the agents of receivers and loop
	notifier   *notify.Notifier
	metrics    *metrics
	api        *api.Handler
	server     *http.Server
	supervisor supervisor

	ctx    context.Context //nolint:containedctx // the life of the background services, ended by Stop
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	fatal  chan error // why the daemon must end by itself

	forgeries forgeries
	born      time.Time // for the monotonic clock
	clock     clock
	asking    asking  // whether GRACE is ready
	unready   unready // why it was not
}

// New checks that a daemon can be built from the configuration. Nothing is
// opened before Start.
func New(cfg *config.Config, opts ...Option) (*Daemon, error) {
	if cfg == nil {
		return nil, errors.New("daemon: no configuration")
	}
	o := collect(opts)
	d := &Daemon{opts: o, log: o.log, cfg: cfg, turn: make(chan struct{}, 1), webhooks: make(chan struct{}, 1), fatal: make(chan error, 1), supervisor: newSupervisor(os.Getenv)}
	d.born = time.Now()
	d.forgeries.heard = make(chan forgery, maxForgeries)
	if _, err := d.buildSensors(cfg, nil, nil, nil); err != nil {
		return nil, err
	}
	return d, nil
}

// Addr is where the API listens, after Start.
func (d *Daemon) Addr() net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener == nil {
		return nil
	}
	return d.listener.Addr()
}

// Run starts, waits until ctx is done or the daemon must end by itself, and
// stops.
func (d *Daemon) Run(ctx context.Context) error {
	if err := d.Start(ctx); err != nil {
		return err
	}
	var cause error
	select {
	case <-ctx.Done():
		d.log.Info("stopping", "because", context.Cause(ctx))
	case cause = <-d.fatal:
		d.log.Info("stopping", "because", cause)
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*drainTimeout)
	defer cancel()
	return errors.Join(cause, d.Stop(stopCtx))
}

// config gives the configuration in force.
func (d *Daemon) config() *config.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg
}

// Start opens everything, in the order of the package comment. When it fails
// everything is closed again. A daemon starts only once: make a new one to
// start again.
func (d *Daemon) Start(ctx context.Context) (err error) {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if d.phase != phaseNew {
		return errors.New("this daemon was started before")
	}
	d.phase = phaseStarted
	d.ctx, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			d.phase = phaseEnded
			err = errors.Join(err, d.stop(context.WithoutCancel(ctx)))
		}
	}()
	for _, open := range []func(context.Context) error{d.openStore, d.openLoop, d.openAPI, d.openSensors} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	if err := d.supervisor.say("READY=1"); err != nil {
		d.log.Warn("the service manager was not told that GRACE is ready", "error", err)
	}
	d.log.Info("started", "version", Version, "listen", d.listener.Addr().String(), "services", len(d.cfg.Services),
		"sensors", len(d.cfg.Sensors), "database", d.home.database())
	return nil
}

func (d *Daemon) openStore(ctx context.Context) error {
	// The address first: a port that is taken must not touch the data.
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; is another GRACE running? Set listen to a free address", d.cfg.Listen, err)
	}
	d.mu.Lock()
	d.listener = listener
	d.mu.Unlock()
	if d.home, err = openHome(d.cfg, true); err != nil {
		return err
	}
	d.home.forged, d.home.log = d.forgeries.tell, d.log.With("part", "store")
	if d.store, err = d.home.openStore(ctx, false); err != nil {
		return err
	}
	return d.home.bootstrapToken(ctx, d.store)
}

func (d *Daemon) openLoop(ctx context.Context) error {
	d.bus = mesh.New()
	owner, executor := identity(d.store.Postgres())
	d.owner = owner
	runner := &heal.Runner{Actions: d.opts.actionsByName(), Prober: prober{d}, Clock: heal.NewWallClock(), Owner: owner}
	d.domains = append([]grace.Domain{core.New(d.coreParts())}, d.opts.domains...)
	var err error
	d.engine, err = flow.New(d.ctx, flow.Config{
		SQL: d.store.SQL(), PG: d.store.PG(), Executor: executor, Run: func(r *flow.Run) error { return d.loop.Execute(r) },
		Logger: d.log.With("part", "engine"), Lost: d.fail, Key: d.store.SealKey(), Forged: d.forgeries.tell,
	})
	if err != nil {
		return err
	}
	d.gate = predict.NewGate(d.cfg.Predict.Gate, &sync.Mutex{})
	if d.telemetry, err = newReceivers(d); err != nil {
		return err
	}
	models, err := trained(d.cfg.LSTM)
	if err != nil {
		return err
	}
	d.loop, err = loop.New(loopConfig(d.cfg, d.origins(d.cfg)), loop.Deps{
		Store: d.store, Bus: d.bus, Runner: runner, Engine: d.engine, Series: d.telemetry.db, Shards: d.telemetry, Gate: d.gate, Models: models,
		Log: d.log, Now: now, Owner: owner, Elapsed: elapsed(),
	})
	if err != nil {
		return err
	}
	d.sensors = &sensors{log: d.log, sink: grace.SinkFunc(d.loop.Observe), now: now}
	d.metrics = newMetrics(d)
	// Before anything can happen: a new receiver begins with what is new.
	if d.notifier, err = d.newNotifier(); err != nil {
		return err
	}
	if err := d.notifier.Start(d.ctx); err != nil {
		return err
	}
	if err := d.loop.Start(ctx); err != nil {
		return err
	}
	return d.engine.Start(ctx)
}

// trained loads the trained net, if the configuration names one.
func trained(file string) ([]forecast.Model, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("predict.lstm: %w", err)
	}
	net := new(forecast.LSTM)
	if err := net.UnmarshalBinary(data); err != nil {
		return nil, fmt.Errorf("predict.lstm: %s: %w", file, err)
	}
	return []forecast.Model{net}, nil
}

// fail makes Run return.
func (d *Daemon) fail(err error) {
	select {
	case d.fatal <- err:
	default:
	}
}

func (d *Daemon) openAPI(ctx context.Context) error {
	var err error
	d.api, err = api.New(api.Config{
		MaxBody: int64(d.cfg.API.MaxBody), Timeout: d.cfg.API.WriteTimeout.D(), SessionTTL: d.cfg.API.SessionTTL.D(),
		DecisionsPerMinute: d.cfg.API.DecisionsPerMinute, DecisionBurst: d.cfg.API.DecisionBurst,
		SessionKey: d.home.derive("console session"), Metrics: d.metrics.handler(), MetricsOpen: d.cfg.Metrics.Unauthenticated,
		Reserved: d.reserved, OwnApproval: d.cfg.API.OwnApproval, SamePerson: d.samePerson, Receivers: d.telemetry.handlers(), Slack: d.slackInteractions(), Version: Version,
	}, api.Deps{
		Store: d.store, Core: d.loop, Process: process{d}, Alerts: senders{d}, Notifier: d.notifier, Bus: d.bus, Log: d.log.With("part", "api"), Now: now,
	})
	if err != nil {
		return fmt.Errorf("build the API: %w", err)
	}
	d.server = d.httpServer(d.api)
	if err := d.telemetry.start(ctx, d.cfg.Telemetry); err != nil {
		return err
	}
	listener := limitConnections(d.listener, d.cfg.API.MaxConnections)
	d.tasks.Go(func() {
		if err := d.server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			d.fail(fmt.Errorf("serve the API: %w", err))
		}
	})
	d.tasks.Go(func() { d.heartbeat(d.ctx) })
	d.tasks.Go(func() { d.watchdog(d.ctx) })
	d.tasks.Go(func() { d.enforceRetention(d.ctx) })
	d.tasks.Go(func() { d.trace(d.ctx) })
	d.tasks.Go(func() { d.countRuns(d.ctx) })
	d.tasks.Go(func() { d.watchData(d.ctx) })
	d.tasks.Go(func() { d.watchClock(d.ctx) })
	d.tasks.Go(func() { d.narrate(d.ctx, newNarrator(d.log)) })
	return nil
}

// httpServer cuts off who is slow: a request must have come, and its answer been
// read, within the configured times. Event streams set the time for every event
// themselves.
func (d *Daemon) httpServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: d.cfg.API.ReadTimeout.D(), ReadTimeout: d.cfg.API.ReadTimeout.D(), IdleTimeout: idleTimeout,
		// From the end of the header on: to read the body, to answer, to be read.
		WriteTimeout: d.cfg.API.ReadTimeout.D() + d.cfg.API.WriteTimeout.D() + writeSpare, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return d.ctx },
		ErrorLog:    slog.NewLogLogger(d.log.Handler(), slog.LevelWarn),
	}
}

func (d *Daemon) openSensors(context.Context) error {
	list, err := d.buildSensors(d.cfg, d.origins(d.cfg), d.loop.Backfill, d.telemetry.db)
	if err != nil {
		return err
	}
	d.startSensors(list)
	d.tasks.Go(func() { d.watchDomains(d.ctx) })
	return nil
}

// Stop ends everything in the reverse order. It is safe to call again.
func (d *Daemon) Stop(ctx context.Context) error {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if d.phase != phaseStarted {
		return nil
	}
	d.phase = phaseEnded
	err := d.stop(ctx)
	d.log.Info("stopped; open runs go on after the next start")
	return err
}

func (d *Daemon) stop(ctx context.Context) error {
	var errs []error
	if err := d.supervisor.say("STOPPING=1"); err != nil {
		d.log.Warn("the service manager was not told that GRACE stops", "error", err)
	}
	if d.sensors != nil {
		d.sensors.halt(nil)
	}
	d.cancel() // event streams end, so that the server can drain
	if d.telemetry != nil {
		d.telemetry.close()
	}
	if d.server != nil {
		drain, cancel := context.WithTimeout(ctx, drainTimeout)
		errs = append(errs, d.server.Shutdown(drain))
		cancel()
	} else if d.listener != nil {
		errs = append(errs, d.listener.Close())
	}
	// A database that does not answer, or is damaged, must not keep the process
	// from ending: what does not end in its time is left behind.
	errs = append(errs, within(partTimeout, "the background tasks", func() error { d.tasks.Wait(); return nil }))
	if d.notifier != nil {
		errs = append(errs, within(partTimeout, "the notifications", func() error { d.notifier.Stop(); return nil }))
	}
	if d.loop != nil {
		errs = append(errs, within(partTimeout, "the loop", func() error { d.loop.Stop(); return nil }))
	}
	if d.engine != nil {
		errs = append(errs, within(2*drainTimeout+partTimeout, "the run engine", func() error { return d.engine.Stop(drainTimeout) }))
	}
	if d.store != nil {
		errs = append(errs, within(partTimeout, "the store", func() error { d.store.Close(); return nil }))
	}
	if d.home != nil {
		errs = append(errs, d.home.close())
	}
	return errors.Join(errs...)
}

// partTimeout is how long one part of the daemon may take to stop.
const partTimeout = 5 * time.Second

// within waits for f, for at most d. What it leaves behind ends with the process.
func within(d time.Duration, what string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(d):
		return fmt.Errorf("%s did not end within %s and was left behind; what was open goes on after the next start", what, d)
	}
}

// Reload reads the configuration file again. Everything is built before
// anything is swapped.
func (d *Daemon) Reload(ctx context.Context) error { return d.reload(ctx, "host") }

// reload is Reload on behalf of an actor.
func (d *Daemon) reload(ctx context.Context, actor string) error {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return fmt.Errorf("reload: %w", context.Cause(ctx))
	}
	if d.phase != phaseStarted {
		return errors.New("reload: the daemon is not running")
	}
	if d.opts.configFile == "" {
		return errors.New("reload: this daemon was not started from a file")
	}
	cfg, problems := config.Load(d.opts.configFile, d.opts.configOptions())
	if cfg == nil {
		return &ConfigError{Problems: problems}
	}
	origins := d.origins(cfg)
	list, err := d.buildSensors(cfg, origins, d.loop.Backfill, d.telemetry.db)
	if err != nil {
		return err
	}
	// What was read under the old configuration must not confirm anything under the new
	// one: sensors that are in it as they were go on, and what others send is read by the
	// new one before it is judged by it.
	stopped := d.sensors.halt(list)
	old := d.configure(cfg)
	taken := d.telemetry.reconfigure(cfg)
	if err := d.loop.Reconfigure(ctx, loopConfig(cfg, origins), actor); err != nil {
		d.configure(old)
		d.sensors.start(stopped)
		return errors.Join(err, d.telemetry.reconfigure(old))
	}
	d.startSensors(list)
	senders{d}.Came() // the list of alerts is read after every reload
	if err := errors.Join(taken, d.reloadNotify(ctx, cfg)); err != nil {
		return fmt.Errorf("the new configuration is in force but for this: %w; reload again", err)
	}
	if cfg.Listen != old.Listen || cfg.DataDir != old.DataDir || cfg.Database != old.Database ||
		cfg.Log != old.Log || cfg.API != old.API || cfg.Metrics != old.Metrics ||
		cfg.Telemetry.OTLPListen != old.Telemetry.OTLPListen || cfg.Telemetry.MaxBody != old.Telemetry.MaxBody {
		d.log.Warn("listen, data_dir, database, log, api, metrics and telemetry's otlp_listen and max_body change only with a restart; the old values stay in force")
	}
	d.log.Info("configuration reloaded", "file", d.opts.configFile, "actor", actor)
	return nil
}

// configure puts a configuration in force for what reads it where it is used, and gives
// the one of before.
func (d *Daemon) configure(cfg *config.Config) (old *config.Config) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old, d.cfg = d.cfg, cfg
	return old
}

// ConfigError carries the problems of a configuration that was refused.
type ConfigError struct{ Problems config.Problems }

func (e *ConfigError) Error() string {
	return "the configuration was refused and nothing has changed:\n" + e.Problems.String()
}

func now() time.Time { return time.Now().UTC() }
