package shop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// flagFailures is the share of requests that a bad flag fails: enough to
	// hurt, too few to open the callers' breakers.
	flagFailures = 0.4
	// A leak grows by leakStep up to leakMax, and each mebibyte costs every
	// request leakCost. Two kinds differ in how often.
	leakStep  = 1 << 20
	leakFast  = 200 * time.Millisecond
	leakSlow  = 2000 * time.Millisecond
	leakMax   = 96 << 20
	leakCost  = 6 * time.Millisecond
	leakCheck = 50 * time.Millisecond
	// heapGrowth is how much garbage, in percent of what is in use, may gather:
	// little, so that the heap tells of a leak and not of the collector.
	heapGrowth = 20
	// saturationOver is how far back the share of busy slots looks.
	saturationOver = 5 * time.Second
)

// statusGone is what is counted when the caller gave up before the answer.
const statusGone = 499

// flagHeader names the feature flag whose code failed a request.
const flagHeader = "X-Shop-Flag"

// answer is what a service's own handler gives.
type answer struct {
	status int
	body   any
}

// replica is one process of a service.
type replica struct {
	spec     spec
	id       string
	pool     pool
	level    *slog.LevelVar
	log      *slog.Logger
	breakers map[string]*breaker
	peers    map[string]string
	client   *http.Client
	cache    items
	shelf    *shelf // store's data
	carts    carts
	meter    replicaMeter

	mu     sync.Mutex
	state  replicaState
	leaked [][]byte
	leaks  atomic.Int64  // bytes
	busy   atomic.Uint64 // share of busy slots, as math.Float64bits
}

// runReplica is the subcommand "service": it serves until in closes.
func runReplica(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read settings from standard input: %w", err)
	}
	var settings replicaSettings
	if err := json.Unmarshal(line, &settings); err != nil {
		return fmt.Errorf("read settings from standard input: %w", err)
	}
	r, err := newReplica(settings)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := json.NewEncoder(out).Encode(hello{Addr: ln.Addr().String()}); err != nil {
		return fmt.Errorf("tell the platform the address: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	debug.SetGCPercent(heapGrowth)
	go r.leakOn(ctx)
	go r.watchLoad(ctx)
	srv := &http.Server{Handler: r.routes(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		// The platform never writes more: this returns when it closes the
		// pipe or dies.
		_, _ = io.Copy(io.Discard, lines)
		_ = srv.Close()
	}()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func newReplica(s replicaSettings) (*replica, error) {
	for _, sp := range specs() {
		if sp.name != s.Service {
			continue
		}
		level := new(slog.LevelVar)
		r := &replica{
			spec:     sp,
			id:       s.ID,
			level:    level,
			log:      slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("instance", s.ID),
			breakers: map[string]*breaker{},
			peers:    s.Peers,
			client:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}},
			carts:    carts{byUser: map[string][]int{}},
		}
		if sp.name == Store {
			r.shelf = newShelf()
		}
		for _, peer := range sp.needs {
			r.breakers[peer] = &breaker{}
		}
		r.meter = newReplicaMeter(r)
		return r, r.apply(s.State)
	}
	return nil, fmt.Errorf("unknown service %q", s.Service)
}

// apply makes the replica what the platform wants it to be.
func (r *replica) apply(s replicaState) error {
	if err := r.level.UnmarshalText([]byte(s.Level)); err != nil {
		return fmt.Errorf("log level %q: %w", s.Level, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.Revision < r.state.Revision {
		return nil
	}
	r.state = s
	if s.Leak == 0 {
		r.leaked = nil
		r.leaks.Store(0)
	}
	r.pool.resize(s.Slots)
	for _, b := range r.breakers {
		b.stick(s.BreakerStuck)
	}
	r.cache.setCold(s.Cold)
	return nil
}

func (r *replica) current() replicaState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// leakOn holds on to more and more memory while the leak is on.
func (r *replica) leakOn(ctx context.Context) {
	tick := time.NewTicker(leakCheck)
	defer tick.Stop()
	var last time.Time
	for {
		var now time.Time
		select {
		case <-ctx.Done():
			return
		case now = <-tick.C:
		}
		r.mu.Lock()
		if r.state.Leak > 0 && now.Sub(last) >= r.state.Leak && r.leaks.Load() < leakMax {
			r.leaked = append(r.leaked, make([]byte, leakStep))
			r.leaks.Add(leakStep)
			last = now
		}
		r.mu.Unlock()
	}
}

// watchLoad keeps the share of busy slots of the last seconds.
func (r *replica) watchLoad(ctx context.Context) {
	const looks = 10
	tick := time.NewTicker(saturationOver / looks)
	defer tick.Stop()
	var at [looks]time.Time
	var worked [looks]time.Duration
	for n := 0; ; n++ {
		var now time.Time
		select {
		case <-ctx.Done():
			return
		case now = <-tick.C:
		}
		done, slots := r.pool.load(now)
		oldest := &at[n%looks]
		if !oldest.IsZero() && slots > 0 {
			busy := float64(done-worked[n%looks]) / float64(now.Sub(*oldest)) / float64(slots)
			r.busy.Store(math.Float64bits(min(busy, 1)))
		}
		*oldest, worked[n%looks] = now, done
	}
}

func (r *replica) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, "ok") })
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.meter.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("PUT /admin/state", r.putState)
	mux.HandleFunc("POST /admin/breakers/flush", func(w http.ResponseWriter, _ *http.Request) {
		for _, b := range r.breakers {
			b.flush()
		}
		reply(w, http.StatusOK, r.report())
	})
	r.handle(mux)
	return mux
}

func (r *replica) putState(w http.ResponseWriter, req *http.Request) {
	var s replicaState
	err := json.NewDecoder(req.Body).Decode(&s)
	if err == nil {
		err = r.apply(s)
	}
	if err != nil {
		reply(w, http.StatusBadRequest, problem{err.Error()})
		return
	}
	reply(w, http.StatusOK, r.report())
}

// serve puts a service's own handler behind the queue, the faults and the
// meter.
func (r *replica) serve(own func(*http.Request) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		start := time.Now()
		r.meter.inFlight.Inc()
		a, flag := r.work(req, own)
		r.meter.inFlight.Dec()
		r.meter.requests.WithLabelValues(strconv.Itoa(a.status)).Inc()
		r.meter.duration.Observe(time.Since(start).Seconds())
		r.log.Debug("request", "method", req.Method, "path", req.URL.Path, "status", a.status, "took", time.Since(start).String())
		if flag != "" {
			w.Header().Set(flagHeader, flag)
		}
		reply(w, a.status, a.body)
	}
}

func (r *replica) work(req *http.Request, own func(*http.Request) answer) (a answer, badFlag string) {
	ctx := req.Context()
	if err := r.pool.acquire(ctx); err != nil {
		return answer{statusGone, problem{"the caller gave up"}}, ""
	}
	state := r.current()
	// The slot is held for the replica's own work only, not while others work
	// for it: a slow dependency must not look like a lack of capacity here.
	pause(ctx, time.Duration(float64(state.Work)*(0.8+0.4*rand.Float64())))
	r.pool.release()
	pause(ctx, state.Delay+time.Duration(r.leaks.Load()>>20)*leakCost)
	if ctx.Err() != nil {
		return answer{statusGone, problem{"the caller gave up"}}, ""
	}
	if state.Flags[r.spec.flag] && rand.Float64() < flagFailures {
		return answer{http.StatusInternalServerError, problem{"failed in " + r.spec.flag}}, r.spec.flag
	}
	a = own(req)
	if ctx.Err() != nil {
		a = answer{statusGone, problem{"the caller gave up"}}
	}
	return a, ""
}

func (r *replica) report() report {
	state := r.current()
	rep := report{Flags: state.Flags, Level: int(r.level.Level()), Heap: heapBytes(), Saturation: math.Float64frombits(r.busy.Load())}
	for _, b := range r.breakers {
		rep.BreakerOpen = rep.BreakerOpen || b.isOpen()
	}
	if r.spec.name == Cache {
		ratio, n := r.cache.stats()
		rep.HitRatio, rep.Entries = &ratio, &n
	}
	return rep
}

func heapBytes() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// pause waits, but not longer than the caller does.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// problem is the body of every answer that is not a success.
type problem struct {
	Error string `json:"error"`
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The caller may be gone; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(body)
}

// replicaMeter counts what one replica did.
type replicaMeter struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration prometheus.Histogram
	inFlight prometheus.Gauge
}

func newReplicaMeter(r *replica) replicaMeter {
	m := replicaMeter{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shop_requests_total", Help: "Answered requests."}, []string{"code"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "shop_request_duration_seconds", Help: "Time to answer, waiting included.", Buckets: buckets()}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "shop_in_flight", Help: "Requests being answered."}),
	}
	m.registry.MustRegister(m.requests, m.duration, m.inFlight,
		newReportCollector(r.spec, func() []report { return []report{r.report()} }))
	return m
}

// buckets are finest around the objectives of a shop: some 0.5 s.
func buckets() []float64 {
	return []float64{.005, .01, .02, .03, .05, .075, .1, .15, .2, .3, .4, .5, .6, .8, 1, 1.25, 1.5, 2, 3, 5}
}
