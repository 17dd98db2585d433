package otlp

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Path is where senders expect Handler.
const Path = "/v1/metrics"

const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// Handler answers POST /v1/metrics. Who may send is judged before it. source
// names the sender, whose series are limited together; nil takes the address.
func (r *Receiver) Handler(source func(*http.Request) string) http.Handler {
	if source == nil {
		source = func(req *http.Request) string { return host(req.RemoteAddr) }
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.requests.Add(1)
		encoding := typeJSON // of a refusal when it is not known what the sender speaks
		kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
		if err == nil && (kind == typeProtobuf || kind == typeJSON) {
			encoding = kind
		}
		resp, no := r.serve(w, req, kind, source)
		if no == nil {
			write(w, encoding, http.StatusOK, resp)
			return
		}
		r.count(no)
		if no.retry > 0 {
			w.Header().Set("Retry-After", strconv.FormatInt(int64((no.retry+time.Second-1)/time.Second), 10))
		}
		if no.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", http.MethodPost)
		}
		write(w, encoding, no.status, &status.Status{Code: int32(no.code), Message: no.text})
	})
}

// host is an address without its port, which is another for each connection.
func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request, kind string, source func(*http.Request) string) (proto.Message, *refusal) {
	if req.Method != http.MethodPost {
		return nil, refuse(http.StatusMethodNotAllowed, codes.Unimplemented, "method %s: want POST", req.Method)
	}
	if kind != typeProtobuf && kind != typeJSON {
		return nil, refuse(http.StatusUnsupportedMediaType, codes.InvalidArgument,
			"content type %.100q: want %s or %s", req.Header.Get("Content-Type"), typeProtobuf, typeJSON)
	}
	if no := r.enter(); no != nil {
		return nil, no
	}
	defer r.leave()
	body, no := r.body(w, req)
	if no != nil {
		return nil, no
	}
	resp, no := r.export(req.Context(), source(req), body, kind == typeJSON)
	if no != nil {
		return nil, no
	}
	return resp, nil
}

// body reads and decompresses the body, both within the limit.
func (r *Receiver) body(w http.ResponseWriter, req *http.Request) ([]byte, *refusal) {
	// Without a deadline, a few senders that stall would keep all others out. A
	// writer that knows none (of a test) has none.
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(r.cfg.ReadTimeout.D())); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, refuse(http.StatusBadRequest, codes.Unavailable, "read the body: %v", err)
	}
	var from io.Reader = http.MaxBytesReader(w, req.Body, int64(r.cfg.MaxDecoded))
	switch encoding := strings.ToLower(req.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
	case "gzip":
		unzip, _ := r.gzips.Get().(*gzip.Reader)
		if unzip == nil {
			unzip = &gzip.Reader{}
		}
		defer r.gzips.Put(unzip)
		if err := unzip.Reset(from); err != nil {
			return nil, r.unreadable(fmt.Errorf("gzip: %w", err))
		}
		from = unzip
	default:
		return nil, refuse(http.StatusUnsupportedMediaType, codes.InvalidArgument, "content encoding %.100q: want gzip or none", encoding)
	}
	var body bytes.Buffer
	n, err := body.ReadFrom(io.LimitReader(from, int64(r.cfg.MaxDecoded)+1))
	if err != nil {
		return nil, r.unreadable(err)
	}
	if n > int64(r.cfg.MaxDecoded) {
		return nil, r.tooLong()
	}
	return body.Bytes(), nil
}

func (r *Receiver) tooLong() *refusal {
	return refuse(http.StatusRequestEntityTooLarge, codes.ResourceExhausted,
		"the request has over %d bytes, decompressed: send smaller ones, or raise telemetry.max_body", r.cfg.MaxDecoded)
}

func (r *Receiver) unreadable(err error) *refusal {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return r.tooLong()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return refuse(http.StatusRequestTimeout, codes.DeadlineExceeded, "no whole body within %s", r.cfg.ReadTimeout)
	}
	return refuse(http.StatusBadRequest, codes.InvalidArgument, "read the body: %v", err)
}

func write(w http.ResponseWriter, encoding string, code int, m proto.Message) {
	marshal := proto.Marshal
	if encoding == typeJSON {
		marshal = protojson.Marshal
	}
	data, err := marshal(m)
	if err != nil { // only text that is not UTF-8 could be the cause, and none is
		code, data = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", encoding)
	w.WriteHeader(code)
	_, _ = w.Write(data)
}
