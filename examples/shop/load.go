package shop

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// patienceLoad is how long a customer waits.
	patienceLoad = 4 * time.Second
	// loadInFlight bounds the requests the load generator has open per target;
	// one more is counted as an error without being sent.
	loadInFlight = 200
	loadKeep     = 120 // seconds of reports that the platform keeps
	buyShare     = 0.2 // of the customers
	users        = 20
	pageSize     = 6 // products on a page
)

// loadSettings is the line the load generator gets on standard input.
type loadSettings struct {
	Report  string       `json:"report"` // where to post each second
	Targets []loadTarget `json:"targets"`
}

type loadTarget struct {
	Service string  `json:"service"`
	URL     string  `json:"url"`
	Rate    float64 `json:"rate"` // requests per second
}

// LoadSecond is what the load generator saw of one service in one second, by
// the time the answers came.
type LoadSecond struct {
	Service string  `json:"service"`
	OK      int     `json:"ok"`
	Errors  int     `json:"errors"`
	P50     float64 `json:"p50_seconds"`
	P95     float64 `json:"p95_seconds"`
	Max     float64 `json:"max_seconds"`
}

// LoadReport is one second of all services.
type LoadReport struct {
	At       time.Time    `json:"at"`
	Services []LoadSecond `json:"services"`
}

// LoadStatus is the answer of GET /load: the last two minutes, oldest first.
type LoadStatus struct {
	Factor  float64      `json:"factor"` // 0 is no load
	Seconds []LoadReport `json:"seconds"`
}

// loads keeps the reports.
type loads struct {
	mu      sync.Mutex
	factor  float64
	reports []LoadReport
	rising  map[string]rise // by service
}

// rise is a load that grows: it adds a share of what came at its start.
type rise struct {
	from time.Time
	rate float64 // requests a second at the start
}

func (l *loads) rise(service string, rate float64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rising == nil {
		l.rising = map[string]rise{}
	}
	l.rising[service] = rise{now, rate}
}

func (l *loads) calm(service string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.rising, service)
}

// more gives the requests a second on top of the usual, by service.
func (l *loads) more(now time.Time) map[string]float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	more := map[string]float64{}
	for service, r := range l.rising {
		more[service] = r.rate * min(risingBy*now.Sub(r.from).Seconds(), risingUpTo-1)
	}
	return more
}

func (l *loads) status() LoadStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LoadStatus{Factor: l.factor, Seconds: append([]LoadReport{}, l.reports...)}
}

// takeLoad is POST /load: one second from the load generator. The answer says
// what to send on top.
func (p *platform) takeLoad(w http.ResponseWriter, req *http.Request) {
	var r LoadReport
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, maxBody)).Decode(&r); err != nil {
		reply(w, http.StatusBadRequest, problem{err.Error()})
		return
	}
	p.loads.take(r)
	reply(w, http.StatusOK, p.loads.more(time.Now()))
}

func (l *loads) take(r LoadReport) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reports = append(l.reports, r)
	if n := len(l.reports); n > loadKeep {
		l.reports = l.reports[n-loadKeep:]
	}
}

// keepLoad runs the load generator until ctx ends. It is no service that
// somebody should heal, so it is started again when it ends.
func (p *platform) keepLoad(ctx context.Context) {
	p.loads.mu.Lock()
	p.loads.factor = p.settings.load
	p.loads.mu.Unlock()
	if p.settings.load <= 0 {
		return
	}
	s := loadSettings{Report: p.state.URL + "/load"}
	for _, sp := range specs() {
		s.Targets = append(s.Targets, loadTarget{sp.name, p.services[sp.name].url, sp.direct * p.settings.load})
	}
	for ctx.Err() == nil {
		proc, err := p.spawner.start("load", s)
		if err != nil {
			p.logger.Error("start the load generator", "error", err)
		} else {
			go func() { _, _ = io.Copy(p.log, proc.stdout) }()
			select {
			case <-proc.exited:
			case <-ctx.Done():
				proc.stop()
			}
		}
		pause(ctx, time.Second)
	}
}

// runLoad is the subcommand "load": it sends requests, whether or not they are
// answered, until in closes.
func runLoad(in io.Reader) error {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read settings from standard input: %w", err)
	}
	var s loadSettings
	if err := json.Unmarshal(line, &s); err != nil {
		return fmt.Errorf("read settings from standard input: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		cancel()
	}()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: loadInFlight, IdleConnTimeout: 30 * time.Second}}
	var gens []*generator
	var wg sync.WaitGroup
	for _, t := range s.Targets {
		if t.Rate <= 0 {
			continue
		}
		g := &generator{target: t, client: client, open: make(chan struct{}, loadInFlight)}
		gens = append(gens, g)
		wg.Go(func() { g.run(ctx) })
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			wg.Wait()
			return nil
		case now := <-tick.C:
			r := LoadReport{At: now.UTC()}
			for _, g := range gens {
				r.Services = append(r.Services, g.second())
			}
			var more map[string]float64
			if _, err := request(ctx, client, http.MethodPost, s.Report, r, &more); err != nil {
				if ctx.Err() == nil {
					// One second is lost from the picture; the load goes on.
					fmt.Fprintln(os.Stderr, "report the load:", err)
				}
				continue
			}
			for _, g := range gens {
				g.more.Store(math.Float64bits(more[g.target.Service]))
			}
		}
	}
}

// generator sends one target its requests.
type generator struct {
	target loadTarget
	client *http.Client
	open   chan struct{}
	more   atomic.Uint64 // requests a second on top, as math.Float64bits

	mu     sync.Mutex
	took   []float64
	errors int
}

func (g *generator) run(ctx context.Context) {
	next := time.Now()
	for ctx.Err() == nil {
		every := float64(time.Second) / (g.target.Rate + math.Float64frombits(g.more.Load()))
		next = next.Add(time.Duration(every * (0.7 + 0.6*rand.Float64())))
		pause(ctx, time.Until(next))
		select {
		case g.open <- struct{}{}:
			go func() {
				defer func() { <-g.open }()
				g.send(ctx)
			}()
		default:
			g.note(0, true)
		}
	}
}

func (g *generator) send(ctx context.Context) {
	method, path := visit(g.target.Service)
	start := time.Now()
	call, cancel := context.WithTimeout(ctx, patienceLoad)
	defer cancel()
	_, err := request(call, g.client, method, g.target.URL+path, nil, nil)
	if ctx.Err() == nil {
		g.note(time.Since(start), err != nil)
	}
}

func (g *generator) note(took time.Duration, failed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if failed {
		g.errors++
	}
	g.took = append(g.took, took.Seconds())
}

// second gives what was seen since it was last asked.
func (g *generator) second() LoadSecond {
	g.mu.Lock()
	defer g.mu.Unlock()
	took := g.took
	s := LoadSecond{Service: g.target.Service, OK: len(took) - g.errors, Errors: g.errors}
	g.took, g.errors = nil, 0
	if len(took) > 0 {
		slices.SortFunc(took, cmp.Compare)
		at := func(q float64) float64 { return took[int(q*float64(len(took)-1)+0.5)] }
		s.P50, s.P95, s.Max = at(.5), at(.95), at(1)
	}
	return s
}

// visit makes up what a customer asks of a service.
func visit(service string) (method, path string) {
	user := strconv.Itoa(1 + rand.IntN(users))
	ids := make([]int, pageSize)
	for i := range ids {
		// The square favours the small numbers: some articles sell better.
		r := rand.Float64()
		ids[i] = 1 + int(r*r*products)
	}
	buys := rand.Float64() < buyShare
	switch service {
	case Frontend:
		if buys {
			return http.MethodPost, "/buy?user=" + user
		}
		return http.MethodGet, "/?user=" + user + "&ids=" + joinIDs(ids)
	case Catalog:
		return http.MethodGet, "/products?ids=" + joinIDs(ids)
	case Cache:
		return http.MethodGet, "/items?ids=" + joinIDs(ids)
	case Cart:
		if buys {
			return http.MethodPost, "/carts/" + user + "?ids=" + joinIDs(ids[:1])
		}
		return http.MethodGet, "/carts/" + user
	case Checkout:
		return http.MethodPost, "/checkout?user=" + user
	default: // store
		return http.MethodGet, "/products?ids=" + joinIDs(ids[:1])
	}
}
