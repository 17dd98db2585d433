package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"grace/internal/pgtest"
)

// stack is everything that GRACE looks after, and GRACE.
type stack struct {
	dir      string
	units    map[string]*unit
	order    []*unit // in which they were started
	ports    map[string]string
	cluster  *pgtest.Cluster
	db       string
	spool    string
	control  *control
	server   *http.Server
	grace    *unit
	locker   *pgx.Conn
	programs map[string]string
	hushed   hushed // what is silenced at Alertmanager
	clock    string // the file that sets GRACE's clock
}

// services in the order of the table.
func services() []string {
	return []string{"edge", "web1", "web2", "orders", "shaky", "redis", "db", "spool", "billing", "ledger"}
}

// find looks a program up; the error says how to get it.
func find(program, pkg string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	if path := filepath.Join("/usr/sbin", program); exec.Command("test", "-x", path).Run() == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s is missing: apt-get install %s", program, pkg)
}

func newStack(graceProgram string) (*stack, error) {
	s := &stack{units: map[string]*unit{}, ports: map[string]string{}, programs: map[string]string{}}
	var errs []error
	for program, pkg := range map[string]string{
		"haproxy": "haproxy", "nginx": "nginx-light", "redis-server": "redis-server", "prometheus": "prometheus",
		"prometheus-alertmanager": "prometheus-alertmanager",
	} {
		path, err := find(program, pkg)
		errs = append(errs, err)
		s.programs[program] = path
	}
	if err := errors.Join(errs...); err != nil {
		return s, err
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "grace-field-"); err != nil {
		return s, err
	}
	if err := os.Chmod(s.dir, 0o755); err != nil { //nolint:gosec // nginx drops its rights and reads its page here
		return s, err
	}
	if err := s.choosePorts("edge", "web1", "web2", "orders", "shaky", "billing", "ledger", "redis", "prometheus", "alertmanager", "grace", "control"); err != nil {
		return s, err
	}
	if s.cluster, err = pgtest.Open(); err != nil {
		return s, fmt.Errorf("%w: apt-get install postgresql", err)
	}
	if s.db, err = s.cluster.Database("orders"); err != nil {
		return s, err
	}
	if err := s.sql("CREATE TABLE orders (n int); INSERT INTO orders VALUES (0)"); err != nil {
		return s, err
	}
	s.spool = filepath.Join(s.dir, "spool")
	if err := os.Mkdir(s.spool, 0o700); err != nil {
		return s, err
	}
	s.control = &control{stack: s}
	mux := http.NewServeMux()
	mux.Handle("/{verb}/{service}", s.control)
	s.server = &http.Server{Addr: s.at("control"), Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.ListenAndServe() }() // until close
	return s, s.launch(graceProgram)
}

// choosePorts finds a free port for every name, below the range of those that
// outgoing connections are given. None is let go before all are found: else two
// could get the same.
func (s *stack) choosePorts(names ...string) error {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for tries := 0; len(held) < len(names); tries++ {
		if tries > 1000 {
			return errors.New("too few ports are free between 20000 and 32000")
		}
		port := strconv.Itoa(20000 + rand.IntN(12000)) //nolint:gosec // nobody has to guess it
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			s.ports[names[len(held)]] = port
			held = append(held, l)
		}
	}
	return nil
}

func (s *stack) at(name string) string { return "127.0.0.1:" + s.ports[name] }

// launch writes the configurations and starts the programs.
func (s *stack) launch(graceProgram string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := filepath.Abs(graceProgram)
	if err != nil {
		return err
	}
	files := map[string]string{
		"web1.conf": s.nginx("web1"), "web2.conf": s.nginx("web2"), "haproxy.cfg": s.haproxy(), "prometheus.yaml": s.prometheus(),
		"rules.yaml": rules, "alertmanager.yaml": s.alertmanager(), "grace.yaml": s.config(self), "index.html": "hello\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // nginx reads it with other rights
			return err
		}
	}
	if err := os.Chmod(filepath.Join(s.dir, "grace.yaml"), 0o600); err != nil {
		return err
	}
	for _, one := range []struct {
		name string
		argv []string
	}{
		{"redis", []string{s.programs["redis-server"], "--port", s.ports["redis"], "--bind", "127.0.0.1", "--save", "", "--dir", s.dir}},
		{"web1", []string{s.programs["nginx"], "-p", s.dir, "-c", filepath.Join(s.dir, "web1.conf")}},
		{"web2", []string{s.programs["nginx"], "-p", s.dir, "-c", filepath.Join(s.dir, "web2.conf")}},
		{"edge", []string{s.programs["haproxy"], "-db", "-f", filepath.Join(s.dir, "haproxy.cfg")}},
		{"orders", s.app(self, "orders")},
		{"shaky", s.app(self, "shaky")},
		{"billing", s.app(self, "billing")},
		{"ledger", s.app(self, "ledger")},
		{"alertmanager", []string{
			s.programs["prometheus-alertmanager"], "--config.file", filepath.Join(s.dir, "alertmanager.yaml"), "--storage.path", filepath.Join(s.dir, "am"),
			"--web.listen-address", s.at("alertmanager"), "--cluster.listen-address=",
		}},
		{"prometheus", []string{
			s.programs["prometheus"], "--config.file", filepath.Join(s.dir, "prometheus.yaml"), "--storage.tsdb.path", filepath.Join(s.dir, "prom"),
			"--web.listen-address", s.at("prometheus"), "--rules.alert.resend-delay", resend.String(),
		}},
		{"grace", []string{program, "serve", "--config", filepath.Join(s.dir, "grace.yaml")}},
	} {
		u := &unit{name: one.name, dir: s.dir, argv: one.argv, env: []string{"FIELD_BEARER=" + bearer}}
		s.units[one.name] = u
		s.order = append(s.order, u)
		if err := u.start(); err != nil {
			return err
		}
	}
	s.grace = s.units["grace"]
	return nil
}

func (s *stack) app(self, name string) []string {
	return []string{self, "app", s.at(name), s.at("redis"), filepath.Join(s.dir, name)}
}

// look is the campaign's own look at a service: nil is well.
func (s *stack) look(service string) error {
	switch service {
	case "redis":
		return lookPing(s.at("redis"))
	case "db":
		return lookOrders(s.db)
	case "spool":
		return lookSpool(s.spool)
	case "orders":
		if err := lookHTTP("http://" + s.at("orders") + "/healthz"); err != nil {
			return err
		}
		return s.leaking()
	case "shaky", "billing", "ledger":
		return lookHTTP("http://" + s.at(service) + "/healthz")
	case "alertmanager":
		return lookHTTP("http://" + s.at(service) + "/-/ready")
	default:
		return lookHTTP("http://" + s.at(service) + "/")
	}
}

func (s *stack) leaking() error {
	text, err := get("http://" + s.at("orders") + "/metrics")
	if err != nil {
		return err
	}
	var n int
	for line := range strings.Lines(text) {
		if _, err := fmt.Sscanf(line, "open_connections %d", &n); err == nil && n > leakLimit {
			return fmt.Errorf("%d connections are open", n)
		}
	}
	return nil
}

const leakLimit = 20

func (s *stack) sql(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.db)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer func() { _ = c.Close(ctx) }()
	_, err = c.Exec(ctx, text)
	return err
}

// lock is what somebody's forgotten session does.
func (s *stack) lock() error {
	ctx := context.Background()
	var err error
	if s.locker, err = pgx.Connect(ctx, s.db); err != nil {
		return err
	}
	_, err = s.locker.Exec(ctx, "BEGIN; LOCK TABLE orders")
	return err
}

func (s *stack) unlock() error {
	return s.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'orders'::regclass AND mode = 'AccessExclusiveLock' AND granted")
}

func (s *stack) fill() error {
	return os.WriteFile(filepath.Join(s.spool, "debug.log"), make([]byte, spoolLimit), 0o600)
}

func (s *stack) clean() error {
	err := os.Remove(filepath.Join(s.spool, "debug.log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (s *stack) close(keep bool) {
	for _, u := range slices.Backward(s.order) {
		u.signal(syscall.SIGCONT, true)
		if u == s.grace {
			u.stop(syscall.SIGTERM)
			continue
		}
		u.stop(syscall.SIGKILL)
	}
	if s.locker != nil {
		_ = s.locker.Close(context.Background())
	}
	if s.server != nil {
		_ = s.server.Close()
	}
	if s.cluster != nil {
		s.cluster.Close()
	}
	if s.dir != "" && !keep {
		_ = os.RemoveAll(s.dir)
	}
}
