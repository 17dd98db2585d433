package otlp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"grace"
	"grace/sensor/otlp"
)

// serve offers the service on a port of its own.
func (h *house) serve(t *testing.T, g otlp.GRPC) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := h.Server(g)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestGRPC(t *testing.T) {
	h := newHouse(t, nil)
	client := collector.NewMetricsServiceClient(dial(t, h.serve(t, otlp.GRPC{})))
	for _, option := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
		resp, err := client.Export(t.Context(), request(gauge("heat", number(time.Second, 1), &metrics.NumberDataPoint{})), option...)
		if err != nil || resp.GetPartialSuccess().GetRejectedDataPoints() != 1 {
			t.Errorf("%v, %v", resp, err)
		}
	}
	if v := h.sink.got()["shop/heat"]; len(v) != 1 { // the second was the same again
		t.Errorf("%v", v)
	}
	if st := h.Stats(); st.Requests != 2 || st.Points != 4 || st.RefusedPoints != 2 {
		t.Errorf("%+v", st)
	}
}

func TestGRPCRefusals(t *testing.T) {
	t.Parallel()
	many := make([]*common.KeyValue, 2000)
	for i := range many {
		many[i] = &common.KeyValue{}
	}
	for name, tt := range map[string]struct {
		message any // what is sent
		option  grpc.CallOption
		code    codes.Code
		text    string
	}{
		"no protobuf": {message: []byte("hello"), code: codes.InvalidArgument, text: "read the request"},
		"cut":         {message: marshal(t, request(gauge("heat", number(0, 1))))[:30], code: codes.InvalidArgument, text: "read the request"},
		"long":        {message: make([]byte, 20_000), code: codes.ResourceExhausted, text: "larger than max"},
		"bomb":        {message: make([]byte, 4<<20), option: grpc.UseCompressor(gzip.Name), code: codes.ResourceExhausted, text: "larger than max"},
		"many parts":  {message: marshal(t, request(gauge("heat", number(0, 1, many...)))), code: codes.ResourceExhausted, text: "raise max_parts"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, func(c *otlp.Config) {
				c.MaxDecoded, c.MaxParts, c.RetryAfter = 10_000, 1000, grace.Duration(7*time.Second)
			})
			conn := dial(t, h.serve(t, otlp.GRPC{}))
			options := []grpc.CallOption{grpc.ForceCodec(bytesCodec{})}
			if tt.option != nil {
				options = append(options, tt.option)
			}
			err := conn.Invoke(t.Context(), collector.MetricsService_Export_FullMethodName, tt.message, &[]byte{}, options...)
			st := status.Convert(err)
			if st.Code() != tt.code || !strings.Contains(st.Message(), tt.text) {
				t.Errorf("%v: %s, want %v with %q", st.Code(), st.Message(), tt.code, tt.text)
			}
			got := h.Stats()
			if got.Requests != 1 || got.Refused != 1 || got.Later != 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestGRPCOverload: who is told to come later is told when.
func TestGRPCOverload(t *testing.T) {
	h := newHouse(t, func(c *otlp.Config) {
		c.Concurrent, c.Waiting, c.RetryAfter = 1, 1, grace.Duration(7*time.Second)
	})
	var ends []*io.PipeWriter
	done, reading := make(chan int, 2), make(chan struct{}, 2)
	for range 2 {
		ends = append(ends, h.stall(done, reading))
	}
	<-reading
	<-reading
	client := collector.NewMetricsServiceClient(dial(t, h.serve(t, otlp.GRPC{})))
	_, err := client.Export(t.Context(), request())
	st := status.Convert(err)
	if st.Code() != codes.ResourceExhausted || !strings.Contains(st.Message(), "retry later") || len(st.Details()) != 1 {
		t.Fatalf("%v: %s %v", st.Code(), st.Message(), st.Details())
	}
	if info, ok := st.Details()[0].(*errdetails.RetryInfo); !ok || info.GetRetryDelay().AsDuration() != 7*time.Second {
		t.Errorf("%v", st.Details())
	}
	for _, w := range ends {
		_ = w.Close()
		if code := <-done; code != 200 {
			t.Errorf("one that waited got %d", code)
		}
	}
	if got := h.Stats(); got.Later != 1 || got.Refused != 0 {
		t.Errorf("%+v", got)
	}
}

// bytesCodec sends bytes as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) ([]byte, error) {
	data, ok := v.([]byte)
	if !ok {
		return nil, errors.New("no bytes")
	}
	return data, nil
}

func (bytesCodec) Unmarshal(data []byte, v any) error {
	into, ok := v.(*[]byte)
	if !ok {
		return errors.New("no bytes")
	}
	*into = data
	return nil
}

func TestGRPCAuthorize(t *testing.T) {
	h := newHouse(t, nil)
	client := collector.NewMetricsServiceClient(dial(t, h.serve(t, otlp.GRPC{
		Authorize: func(_ context.Context, token string) error {
			switch token {
			case "t0ken":
				return nil
			case "away":
				return status.Error(codes.Unavailable, "the store is away")
			default:
				return errors.New("the token is unknown")
			}
		},
		Source: func(ctx context.Context) string {
			md, _ := metadata.FromIncomingContext(ctx)
			return strings.Join(md.Get("x-tenant"), "")
		},
	})))
	for name, tt := range map[string]struct {
		header []string
		code   codes.Code
	}{
		"none":         {nil, codes.Unauthenticated},
		"other scheme": {[]string{"authorization", "Basic t0ken"}, codes.Unauthenticated},
		"other token":  {[]string{"authorization", "Bearer token"}, codes.Unauthenticated},
		"store away":   {[]string{"authorization", "Bearer away"}, codes.Unavailable},
		"empty":        {[]string{"authorization", "Bearer "}, codes.Unauthenticated},
		"two":          {[]string{"authorization", "Bearer t0ken", "authorization", "Bearer x"}, codes.Unauthenticated},
		"right":        {[]string{"authorization", "bearer t0ken"}, codes.OK},
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), tt.header...)
		_, err := client.Export(ctx, request(gauge(strings.ReplaceAll(name, " ", "_"), number(time.Second, 1))))
		if st := status.Convert(err); st.Code() != tt.code || strings.Contains(st.Message(), "t0ken") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := h.sink.got(); len(got) != 1 || len(got["shop/right"]) != 1 {
		t.Errorf("%v", got)
	}
	if st := h.Stats(); st.Requests != 7 || st.Refused != 6 {
		t.Errorf("%+v", st)
	}
}
