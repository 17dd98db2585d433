// Package remotewrite receives what a Prometheus, or an agent that speaks like
// one, remote-writes: versions 1.0 (prometheus.WriteRequest) and 2.0
// (io.prometheus.write.v2.Request), in snappy blocks.
//
// [Handler] reads a request into memory it uses again, goes through the bytes
// without building messages of them, and hands every series to
// internal/series as it comes. What it answers:
//
//	204  everything was taken, or passed over as the rules want
//	400  something was refused: the body says what, how many and why. The rest
//	     was taken, and must not be sent again
//	413  more bytes than MaxBody, or than MaxDecoded by the block's own word
//	415  another content type or encoding: neither gzip nor anything else is
//	     decompressed, so that no request is larger inside than it says outside
//	503  too many requests at once: nothing was taken, and Retry-After says when to
//	     send again
//
// Version 2.0 gets the counts of what was written in its headers. Samples that
// rules pass over count as written: they were received, and sending them again
// would change nothing. Exemplars are read over and none is written. Native
// histograms, of integers, of floats and with buckets of their own, are kept as they
// are; schemas that are not known, and more buckets than anybody has, are refused one by
// one.
package remotewrite

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/snappy"

	"grace"
	"grace/internal/series"
)

// Sensor is the sensor name of the samples.
const Sensor = "remote_write"

// The messages, as a content type's proto parameter names them.
const (
	protoV1 = "prometheus.WriteRequest"
	protoV2 = "io.prometheus.write.v2.Request"
)

// Config bounds a request, and how many there are at once.
type Config struct {
	MaxBody    int            `json:"max_body" doc:"bytes of a request as sent"`
	MaxDecoded int            `json:"max_decoded" doc:"bytes of a request, decompressed"`
	Concurrent int            `json:"concurrent" doc:"requests at once; more are told to retry"`
	RetryAfter grace.Duration `json:"retry_after" doc:"when"`
}

// DefaultConfig takes what a Prometheus sends by default many times over.
func DefaultConfig() Config {
	return Config{MaxBody: 8 << 20, MaxDecoded: 32 << 20, Concurrent: 32, RetryAfter: grace.Duration(5 * time.Second)}
}

// Validate names every setting that cannot work.
func (c Config) Validate() error {
	var errs []error
	for _, l := range []struct {
		key   string
		value int
	}{{"max_body", c.MaxBody}, {"max_decoded", c.MaxDecoded}, {"concurrent", c.Concurrent}} {
		if l.value <= 0 {
			errs = append(errs, grace.Field(l.key, "%d is not positive", l.value))
		}
	}
	if c.RetryAfter.D() < time.Second {
		errs = append(errs, grace.Field("retry_after", "%s is less than a second", c.RetryAfter))
	}
	return errors.Join(errs...)
}

// Stats counts requests by their answer.
type Stats struct {
	Taken       uint64 // 204
	Partial     uint64 // 400, what was good was taken
	Malformed   uint64 // 400, snappy or protobuf that is none
	TooLarge    uint64 // 413
	Unsupported uint64 // 405, 415
	Busy        uint64 // 503
	Lost        uint64 // the peer went away in the middle
}

// Handler takes remote-write requests. It is safe for concurrent use.
type Handler struct {
	cfg    Config
	db     *series.DB
	source func(*http.Request) string
	places chan struct{}
	pool   sync.Pool
	open   atomic.Int64 // bytes that requests in flight have when decompressed

	taken, partial, malformed, tooLarge, unsupported, busy, lost atomic.Uint64
}

// New makes a handler. Source names the sender whose series are counted
// together; without one it is the peer's address.
func New(cfg Config, db *series.DB, source func(*http.Request) string) (*Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("remote write: %w", err)
	}
	if source == nil {
		source = peer
	}
	h := &Handler{cfg: cfg, db: db, source: source, places: make(chan struct{}, cfg.Concurrent)}
	h.pool.New = func() any { return &scratch{} }
	return h, nil
}

func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// Stats reads the figures.
func (h *Handler) Stats() Stats {
	return Stats{
		Taken: h.taken.Load(), Partial: h.partial.Load(), Malformed: h.malformed.Load(), TooLarge: h.tooLarge.Load(),
		Unsupported: h.unsupported.Load(), Busy: h.busy.Load(), Lost: h.lost.Load(),
	}
}

// scratch is the memory of one request.
type scratch struct {
	packed  bytes.Buffer
	decoded []byte
	decoder decoder
	claimed int // bytes of Handler.open
}

const (
	// mostExpansion bounds what a snappy block can become: an element of 3 bytes
	// copies at most 64. A block that says more is none, and no memory is taken
	// for it.
	mostExpansion = 22
	// largeScratch is not kept for the next request.
	largeScratch = 8 << 20
	// budgetRequests of the largest kind may be decompressed at once.
	budgetRequests = 4
)

func (h *Handler) putBack(s *scratch) {
	if cap(s.decoded) <= largeScratch && s.packed.Cap() <= largeScratch {
		h.pool.Put(s)
	}
}

// ServeHTTP takes one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		h.unsupported.Add(1)
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "remote write is POST", http.StatusMethodNotAllowed)
		return
	}
	v2, err := version(r.Header)
	if err != nil {
		h.unsupported.Add(1)
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		h.later(w, fmt.Sprintf("nothing was taken: %d requests are in flight", h.cfg.Concurrent))
		return
	}
	s := h.pool.Get().(*scratch)
	defer h.putBack(s)
	body, status, err := h.unpack(s, w, r)
	defer func() { h.open.Add(-int64(s.claimed)); s.claimed = 0 }()
	if status == http.StatusServiceUnavailable {
		h.later(w, err.Error())
		return
	}
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	h.take(w, s, body, v2, h.source(r))
}

// version reads the content type and encoding. Senders of 1.0 may leave them
// out.
func version(header http.Header) (v2 bool, err error) {
	if e := header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "snappy") {
		return false, fmt.Errorf("content encoding %.40q: want snappy", e)
	}
	t := header.Get("Content-Type")
	if t == "" || t == "application/x-protobuf" {
		return false, nil
	}
	kind, parameters, err := mime.ParseMediaType(t)
	if err != nil || kind != "application/x-protobuf" {
		return false, fmt.Errorf("content type %.80q: want application/x-protobuf", t)
	}
	switch p := parameters["proto"]; p {
	case "", protoV1:
		return false, nil
	case protoV2:
		return true, nil
	default:
		return false, fmt.Errorf("content type with proto=%.80q: want %s or %s", p, protoV1, protoV2)
	}
}

func (h *Handler) later(w http.ResponseWriter, text string) {
	h.busy.Add(1)
	w.Header().Set("Retry-After", strconv.Itoa(int(h.cfg.RetryAfter.D().Seconds())))
	http.Error(w, text, http.StatusServiceUnavailable)
}

// unpack reads the body. The length that the block itself gives is looked at
// before memory is taken for it.
func (h *Handler) unpack(s *scratch, w http.ResponseWriter, r *http.Request) (body []byte, status int, err error) {
	limit := int64(h.cfg.MaxBody)
	tooLarge := func() (_ []byte, _ int, err error) {
		h.tooLarge.Add(1)
		return nil, http.StatusRequestEntityTooLarge,
			fmt.Errorf("the body is larger than %d bytes; send fewer samples at once, or raise telemetry.max_body", limit)
	}
	if r.ContentLength > limit {
		return tooLarge()
	}
	s.packed.Reset()
	if r.ContentLength > 0 {
		s.packed.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	if _, err := s.packed.ReadFrom(http.MaxBytesReader(w, r.Body, limit)); err != nil {
		if _, over := errors.AsType[*http.MaxBytesError](err); over {
			return tooLarge()
		}
		h.lost.Add(1)
		return nil, http.StatusBadRequest, fmt.Errorf("read the body: %w", err)
	}
	packed := s.packed.Bytes()
	n, err := snappy.DecodedLen(packed)
	if err != nil {
		h.malformed.Add(1)
		return nil, http.StatusBadRequest, fmt.Errorf("the body of %d bytes is not a valid snappy block: it does not begin with a length", len(packed))
	}
	if n > h.cfg.MaxDecoded {
		h.tooLarge.Add(1)
		return nil, http.StatusRequestEntityTooLarge,
			fmt.Errorf("the body would have %d bytes decompressed, the limit is %d; send fewer samples at once, or raise telemetry.max_body", n, h.cfg.MaxDecoded)
	}
	if n > mostExpansion*len(packed) {
		h.malformed.Add(1)
		return nil, http.StatusBadRequest, fmt.Errorf("the body of %d bytes is not a valid snappy block: it cannot become the %d bytes that it says", len(packed), n)
	}
	s.claimed = n
	if h.open.Add(int64(n)) > budgetRequests*int64(h.cfg.MaxDecoded) {
		return nil, http.StatusServiceUnavailable, errors.New("nothing was taken: requests in flight have no memory left for another one")
	}
	if cap(s.decoded) < n {
		s.decoded = make([]byte, n+n/4)
	}
	body, err = snappy.Decode(s.decoded[:cap(s.decoded)], packed)
	if err != nil {
		h.malformed.Add(1)
		return nil, http.StatusBadRequest, fmt.Errorf("the body of %d bytes is not a valid snappy block: %w", len(packed), err)
	}
	return body, 0, nil
}

// take decodes a body, and answers.
func (h *Handler) take(w http.ResponseWriter, s *scratch, body []byte, v2 bool, source string) {
	batch := h.db.Begin(series.From{Sensor: Sensor, Source: source})
	d := &s.decoder
	d.reset(batch, body)
	var broken error
	if v2 {
		broken = d.v2()
	} else {
		broken = d.v1()
	}
	report := batch.End()
	defer d.reset(nil, nil)
	refused := report.Err()
	if v2 {
		histograms := d.histograms - d.refused - report.RefusedHistograms()
		header := w.Header()
		header.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(d.samples-(report.Refused()-report.RefusedHistograms())))
		header.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(histograms))
		header.Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	}
	switch {
	case broken != nil:
		h.malformed.Add(1)
		http.Error(w, join(fmt.Sprintf("the body is no protobuf of its type: %v; %d samples before were taken", broken, report.Samples-report.Refused()), refused), http.StatusBadRequest)
	case refused != nil || d.problem != nil:
		h.partial.Add(1)
		text := ""
		if d.problem != nil {
			text = fmt.Sprintf("%d of %d native histograms refused: %v", d.refused, d.histograms, d.problem)
		}
		http.Error(w, join(text, refused), http.StatusBadRequest)
	default:
		h.taken.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}
}

func join(text string, err error) string {
	switch {
	case err == nil:
		return text
	case text == "":
		return err.Error()
	default:
		return text + "; " + err.Error()
	}
}
