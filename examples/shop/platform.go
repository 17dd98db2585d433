package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// settings of a platform.
type settings struct {
	dir     string // for the state file
	port    int    // the platform's; the services have the next six; 0 is any
	load    float64
	poll    time.Duration
	command []string // this binary, up to the subcommand
}

// stateFile is its name in the data directory.
const stateFile = "shop.json"

// state is what the state file holds.
type state struct {
	PID      int               `json:"pid"`
	Started  time.Time         `json:"started"`
	URL      string            `json:"url"`
	Services map[string]string `json:"services"`
}

// platform keeps the processes of the shop.
type platform struct {
	settings  settings
	state     state
	log       io.Writer
	logger    *slog.Logger
	transport *http.Transport
	client    *http.Client
	spawner   *spawner
	services  map[string]*service
	effects   effects
	faults    faults
	loads     loads
	registry  *prometheus.Registry
	stop      context.CancelFunc
}

// runPlatform is the subcommand "platform": it serves until ctx ends or it is
// told to shut down.
func runPlatform(ctx context.Context, s settings) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	transport := &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}
	p := &platform{
		settings: s, log: os.Stderr, logger: slog.New(slog.NewJSONHandler(os.Stderr, nil)),
		transport: transport, client: &http.Client{Transport: transport},
		spawner: newSpawner(s.command, os.Stderr), services: map[string]*service{},
		registry: prometheus.NewRegistry(), stop: stop,
	}
	own, err := p.listen()
	if err != nil {
		return err
	}
	var servers []*http.Server
	serve := func(ln net.Listener, h http.Handler) {
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
		servers = append(servers, srv)
		go func() {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				p.logger.Error("a listener ended", "address", ln.Addr().String(), "error", err)
				stop()
			}
		}()
	}
	for _, svc := range p.services {
		serve(svc.listener, svc.balance())
	}
	err = p.open(ctx)
	if err == nil {
		serve(own, p.routes())
		err = p.writeState()
	}
	if err == nil {
		p.watch(ctx)
	}
	// The platform answers until its children are gone: then, and not before,
	// a shop on the same ports can start.
	p.close()
	for _, srv := range servers {
		_ = srv.Close()
	}
	return err
}

// listen takes all ports first, so that a second platform on the same ones
// ends before it starts anything.
func (p *platform) listen() (net.Listener, error) {
	port := p.settings.port
	take := func(what string) (net.Listener, error) {
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return nil, fmt.Errorf("listen for %s: %w (is another shop running? choose another -port)", what, err)
		}
		if port != 0 {
			port++
		}
		return ln, nil
	}
	own, err := take("the platform")
	if err != nil {
		return nil, err
	}
	p.state = state{PID: os.Getpid(), Started: time.Now().UTC(), URL: "http://" + own.Addr().String(), Services: map[string]string{}}
	for _, sp := range specs() {
		ln, err := take(sp.name)
		if err != nil {
			return nil, err
		}
		svc := newService(sp, ln)
		p.services[sp.name] = svc
		p.state.Services[sp.name] = svc.url
		prometheus.WrapRegistererWith(prometheus.Labels{"service": sp.name}, p.registry).MustRegister(svc.meter.collectors(svc)...)
	}
	return own, nil
}

// open starts all replicas: store first, from which cache is warmed.
func (p *platform) open(ctx context.Context) error {
	if err := p.first(ctx, p.services[Store]); err != nil {
		return err
	}
	errs := make(chan error)
	for name, svc := range p.services {
		go func() {
			if name == Store {
				errs <- nil
				return
			}
			errs <- p.first(ctx, svc)
		}()
	}
	var all []error
	for range p.services {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func (p *platform) first(ctx context.Context, s *service) error {
	started, err := p.start(ctx, s, s.spec.replicas)
	if err == nil {
		s.replace(started)
	}
	return err
}

// writeState says where the platform is. The file is renamed into place so
// that nobody reads half of it.
func (p *platform) writeState() error {
	data, err := json.MarshalIndent(p.state, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the state: %w", err)
	}
	path := filepath.Join(p.settings.dir, stateFile)
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return nil
}

// watch polls replicas and takes log levels back, and keeps the load going,
// until ctx ends.
func (p *platform) watch(ctx context.Context) {
	var wg sync.WaitGroup
	for _, s := range p.services {
		wg.Go(func() {
			tick := time.NewTicker(p.settings.poll)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case now := <-tick.C:
					p.expireLevel(ctx, s, now)
					p.poll(ctx, s)
				}
			}
		})
	}
	wg.Go(func() { p.keepLoad(ctx) })
	wg.Wait()
}

func (p *platform) expireLevel(ctx context.Context, s *service, now time.Time) {
	s.mu.Lock()
	due := !s.until.IsZero() && !now.Before(s.until)
	if due {
		s.until = time.Time{}
	}
	s.mu.Unlock()
	if due {
		p.set(ctx, s, func(r *replicaState) { r.Level = slog.LevelInfo.String() })
	}
}

// close ends all children. The state file goes first: from here on there is
// nothing to find.
func (p *platform) close() {
	_ = os.Remove(filepath.Join(p.settings.dir, stateFile))
	var wg sync.WaitGroup
	for _, s := range p.services {
		s.op.Lock()
		for _, i := range s.all() {
			wg.Go(i.stop)
		}
		s.op.Unlock()
	}
	wg.Wait()
}

// peers gives the addresses a service's replicas need.
func (p *platform) peers(s spec) map[string]string {
	peers := map[string]string{}
	for _, name := range s.needs {
		peers[name] = p.services[name].url
	}
	return peers
}

// dump reads all products from a replica of store.
func (p *platform) dump(ctx context.Context) (map[int]json.RawMessage, error) {
	serving := p.services[Store].serving()
	if len(serving) == 0 {
		return nil, errors.New("no instance of store serves")
	}
	var items map[int]json.RawMessage
	if _, err := request(ctx, p.client, http.MethodGet, serving[0].base+"/admin/dump", nil, &items); err != nil {
		return nil, fmt.Errorf("read store: %w", err)
	}
	return items, nil
}
