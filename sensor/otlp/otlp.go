// Package otlp receives OpenTelemetry metrics: OTLP over HTTP (POST
// /v1/metrics, protobuf or JSON, gzip or plain) and over gRPC
// (MetricsService/Export).
//
// # Points
//
// Every data point goes to [series.DB], which maps, judges and limits
// the series. Its labels are the attributes of the resource, the scope's name
// (otel_scope_name) and the attributes of the point, of which the nearest to the
// point counts. Attributes that change with every start and tell nothing more
// about which series it is (Config.DropResource) are left out of resources that
// name a service.
//
//	gauge                                      a gauge
//	sum, monotonic or delta                    a counter
//	sum, cumulative and not monotonic          a gauge
//	histogram                                  NAME_bucket with the label le, NAME_count, NAME_sum
//	exponential histogram                      a native histogram
//	summary                                    NAME with the label quantile, NAME_count, NAME_sum
//
// What is delta is added up: expressions see counters, as those of Prometheus.
//
// A point flagged "no recorded value" ends its series until the next point. A
// start time later than the point before is a reset.
//
// # Refusals
//
// A request that cannot be read, is too long, or has too many parts is refused
// whole, as google.rpc.Status in the request's own encoding. Otherwise every
// point is taken or counted in partial_success, with the reasons; a sender must
// not send these again. What the answer means by "later" (429 or
// RESOURCE_EXHAUSTED with a delay) is safe to send again: a point that is there
// already is a duplicate.
//
// # Limits
//
// A request costs no more memory than its decompressed length and its parts
// allow; both are known before anything is built of it. No more than
// Config.Concurrent requests are decoded at once, Config.Waiting others wait up to
// Config.MaxWait, and the rest are told to come later.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"grace"
	"grace/internal/series"
)

// Sensor is the sensor name of the samples.
const Sensor = "otlp"

// Config bounds a request, and how many there are at once.
type Config struct {
	MaxDecoded  int            `json:"max_decoded" doc:"bytes of a request, decompressed"`
	MaxParts    int            `json:"max_parts" doc:"points, attributes and texts of a request"`
	Concurrent  int            `json:"concurrent" doc:"requests decoded at once"`
	Waiting     int            `json:"waiting" doc:"further requests that wait for their turn; more are told to retry"`
	MaxWait     grace.Duration `json:"max_wait" doc:"how long they wait"`
	ReadTimeout grace.Duration `json:"read_timeout" doc:"until the whole body of an HTTP request is there"`
	RetryAfter  grace.Duration `json:"retry_after" doc:"when who is told to retry should"`

	DropResource []string `json:"drop_resource" doc:"attributes of resources that are no labels, where the resource names a service; a * stands for any text"`
}

// DefaultConfig takes what collectors and SDKs send by default many times over.
func DefaultConfig() Config {
	return Config{
		MaxDecoded: 16 << 20, MaxParts: 1_000_000, Concurrent: 4, Waiting: 32,
		MaxWait: grace.Duration(2 * time.Second), ReadTimeout: grace.Duration(15 * time.Second), RetryAfter: grace.Duration(5 * time.Second),
		DropResource: DefaultDropResource(),
	}
}

// DefaultDropResource are attributes that describe a resource, but do not tell
// it from others of its service. A new version or process keeps its series.
// process.pid stays where a resource has no service.instance.id.
func DefaultDropResource() []string {
	return []string{
		"telemetry.*", "process.*", "os.*", "host.arch", "host.id", "host.image.*", "host.ip", "host.mac", "host.type", "host.cpu.*",
		"service.version", "container.id", "container.image.*", "container.command*", "container.runtime*", "oci.*",
		"k8s.pod.uid", "k8s.pod.ip", "k8s.pod.start_time", "k8s.container.restart_count", "k8s.*.uid", "webengine.*", "vcs.*",
	}
}

// Validate names every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	for _, l := range []struct {
		key   string
		value int
	}{{"max_decoded", c.MaxDecoded}, {"max_parts", c.MaxParts}, {"concurrent", c.Concurrent}, {"waiting", c.Waiting}} {
		if l.value <= 0 {
			errs = append(errs, grace.Field(l.key, "%d is not positive", l.value))
		}
	}
	for _, d := range []struct {
		key   string
		value grace.Duration
		least time.Duration
	}{{"max_wait", c.MaxWait, time.Millisecond}, {"read_timeout", c.ReadTimeout, time.Millisecond}, {"retry_after", c.RetryAfter, time.Second}} {
		if d.value.D() < d.least {
			errs = append(errs, grace.Field(d.key, "%s is less than %s", d.value, d.least))
		}
	}
	for i, pattern := range c.DropResource {
		if pattern == "" {
			errs = append(errs, grace.Field(fmt.Sprintf("drop_resource[%d]", i), "is empty"))
		}
		if strings.Count(pattern, "*") > 1 {
			errs = append(errs, grace.Field(fmt.Sprintf("drop_resource[%d]", i), "%q has more than one *", pattern))
		}
	}
	return errors.Join(errs...)
}

// Stats counts since the receiver was made.
type Stats struct {
	Requests      uint64 // all that arrived
	Refused       uint64 // of these, not taken at all: bad, too long, unauthenticated
	Later         uint64 // of these, told to come later
	Points        uint64 // in requests that were taken
	RefusedPoints uint64 // of these, counted in partial_success
}

// Receiver takes requests. It is safe for concurrent use.
type Receiver struct {
	cfg    Config
	db     *series.DB
	inside chan struct{} // one for each request in the house
	slots  chan struct{} // one for each that is being decoded
	gzips  sync.Pool

	requests, refused, later, points, refusedPoints atomic.Uint64
}

// New makes a receiver, or says what is wrong with its configuration.
func New(cfg Config, db *series.DB) (*Receiver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("otlp receiver: %w", err)
	}
	return &Receiver{
		cfg: cfg, db: db,
		inside: make(chan struct{}, cfg.Concurrent+cfg.Waiting), slots: make(chan struct{}, cfg.Concurrent),
	}, nil
}

// Stats gives the counts so far.
func (r *Receiver) Stats() Stats {
	return Stats{
		Requests: r.requests.Load(), Refused: r.refused.Load(), Later: r.later.Load(),
		Points: r.points.Load(), RefusedPoints: r.refusedPoints.Load(),
	}
}

// refusal is why a whole request was not taken.
type refusal struct {
	status int // of HTTP
	code   codes.Code
	text   string
	retry  time.Duration // to retry after; 0 if that is of no use
}

func refuse(status int, code codes.Code, format string, args ...any) *refusal {
	return &refusal{status: status, code: code, text: grace.CleanOutput(fmt.Sprintf(format, args...))}
}

// count counts a request that was not taken.
func (r *Receiver) count(no *refusal) *refusal {
	if no.retry > 0 {
		r.later.Add(1)
	} else {
		r.refused.Add(1)
	}
	return no
}

func (r *Receiver) comeLater(why string) *refusal {
	no := refuse(http.StatusTooManyRequests, codes.ResourceExhausted, "%s: retry later", why)
	no.retry = r.cfg.RetryAfter.D()
	return no
}

// enter lets a request into the house, if there is room; leave must follow.
func (r *Receiver) enter() *refusal {
	select {
	case r.inside <- struct{}{}:
		return nil
	default:
		return r.comeLater(fmt.Sprintf("%d requests are under way", cap(r.inside)))
	}
}

func (r *Receiver) leave() { <-r.inside }

// export takes the bytes of one request.
func (r *Receiver) export(ctx context.Context, source string, body []byte, asJSON bool) (*collector.ExportMetricsServiceResponse, *refusal) {
	wait, cancel := context.WithTimeout(ctx, r.cfg.MaxWait.D())
	defer cancel()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-wait.Done():
		return nil, r.comeLater(fmt.Sprintf("no turn within %s", r.cfg.MaxWait))
	}
	req, no := r.decode(body, asJSON)
	if no != nil {
		return nil, no
	}
	return r.take(source, req), nil
}

// maxDepth bounds how deep messages may be in one another; an attribute is some
// seven deep, and each list in it two more.
const maxDepth = 40

// decode reads a request, after it is known how many parts it has.
func (r *Receiver) decode(body []byte, asJSON bool) (*collector.ExportMetricsServiceRequest, *refusal) {
	req := &collector.ExportMetricsServiceRequest{}
	count, read := countParts, proto.UnmarshalOptions{RecursionLimit: maxDepth, DiscardUnknown: true}.Unmarshal
	if asJSON {
		count, read = countJSON, protojson.UnmarshalOptions{RecursionLimit: maxDepth, DiscardUnknown: true}.Unmarshal
	}
	parts, err := count(body, r.cfg.MaxParts)
	switch {
	case errors.Is(err, errParts):
		return nil, refuse(http.StatusRequestEntityTooLarge, codes.ResourceExhausted,
			"the request has over %d points, attributes and texts: send smaller ones, or raise max_parts", r.cfg.MaxParts)
	case err == nil:
		err = read(body, req)
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, codes.InvalidArgument, "read the request of %d bytes and %d parts: %v", len(body), parts, err)
	}
	return req, nil
}
