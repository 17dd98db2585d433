package otlp

import (
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // registers itself: exporters compress with it
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"grace"
)

// Defaults of GRPC.
const (
	DefaultMaxStreams = 64
	connectTimeout    = 10 * time.Second
	idleTimeout       = 10 * time.Minute
)

// GRPC says how the service is offered.
type GRPC struct {
	// Authorize judges the token of every call, before its message is read. An
	// error that is a status of gRPC is told to the sender as it is (a store that
	// is away should be Unavailable), any other as Unauthenticated with its text.
	// Without it, everybody may send.
	Authorize func(ctx context.Context, token string) error
	// Source names the sender, whose series are limited together; nil takes the
	// address.
	Source func(ctx context.Context) string
	TLS    *tls.Config // nil is plain text
	// MaxStreams bounds the calls at once of one connection; default 64.
	MaxStreams uint32
}

// Server makes a gRPC server with the service on it; the caller serves, and
// stops it.
func (r *Receiver) Server(g GRPC) *grpc.Server {
	if g.MaxStreams == 0 {
		g.MaxStreams = DefaultMaxStreams
	}
	if g.Source == nil {
		g.Source = address
	}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(r.cfg.MaxDecoded), grpc.MaxConcurrentStreams(g.MaxStreams), grpc.ConnectionTimeout(connectTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout}),
		grpc.ForceServerCodecV2(codec{}),
	}
	if g.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(g.TLS)))
	}
	s := grpc.NewServer(options...)
	// As a stream of one message, which is the same on the wire: so the caller
	// is judged before the message is read.
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: collector.MetricsService_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Export", Handler: func(_ any, stream grpc.ServerStream) error {
			return r.call(stream, g)
		}}},
		Metadata: collector.MetricsService_ServiceDesc.Metadata,
	}, r)
	return s
}

func address(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		return host(p.Addr.String())
	}
	return ""
}

// call takes one message. It comes as bytes, so that its parts are counted
// before it is decoded, and so that what cannot be read is the sender's fault
// and not an internal error.
func (r *Receiver) call(stream grpc.ServerStream, g GRPC) error {
	ctx := stream.Context()
	r.requests.Add(1)
	if err := authorize(ctx, g.Authorize); err != nil {
		r.refused.Add(1)
		return err
	}
	var body raw
	if err := stream.RecvMsg(&body); err != nil {
		r.refused.Add(1)
		return err
	}
	resp, no := r.receive(ctx, g.Source(ctx), body)
	if no == nil {
		return stream.SendMsg(resp)
	}
	r.count(no)
	st := status.New(no.code, no.text)
	if no.retry > 0 {
		detail := protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(no.retry)})
		if with, err := st.WithDetails(detail); err == nil {
			st = with
		}
	}
	return st.Err()
}

func (r *Receiver) receive(ctx context.Context, source string, body []byte) (*collector.ExportMetricsServiceResponse, *refusal) {
	if no := r.enter(); no != nil {
		return nil, no
	}
	defer r.leave()
	return r.export(ctx, source, body, false)
}

func authorize(ctx context.Context, judge func(context.Context, string) error) error {
	if judge == nil {
		return nil
	}
	header, _ := metadata.FromIncomingContext(ctx)
	values := header.Get("authorization")
	scheme, token := "", ""
	if len(values) == 1 {
		scheme, token, _ = strings.Cut(values[0], " ")
	}
	if token = strings.TrimSpace(token); token == "" || !strings.EqualFold(scheme, "Bearer") {
		return status.Error(codes.Unauthenticated, "send the metadata authorization: Bearer and a token")
	}
	err := judge(ctx, token)
	if _, is := status.FromError(err); is {
		return err
	}
	return status.Error(codes.Unauthenticated, grace.CleanOutput(err.Error()))
}

// raw is a message that is not decoded.
type raw []byte

// codec hands messages over as they came.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no protobuf message", v)
	}
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}, nil
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	body, ok := v.(*raw)
	if !ok {
		return fmt.Errorf("%T is not what messages are read into", v)
	}
	*body = data.Materialize()
	return nil
}
