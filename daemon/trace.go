package daemon

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"grace"
)

// trace exports one OpenTelemetry trace for every run that ends in this
// process: the run, its steps, its verification and its undo, with their real
// times. Where to is said by the standard OTEL_ variables; without any of them
// nothing is exported.
func (d *Daemon) trace(ctx context.Context) {
	if !otelConfigured(os.Environ()) {
		return
	}
	exporter, err := newExporter(ctx)
	if err != nil {
		d.log.Error("traces are not exported", "error", err)
		return
	}
	res, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "grace")), resource.WithFromEnv())
	if err != nil {
		d.log.Warn("some OTEL_RESOURCE_ATTRIBUTES were not understood", "error", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res))
	defer func() {
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
		defer cancel()
		if err := provider.Shutdown(flush); err != nil {
			d.log.Warn("last traces not exported", "error", err)
		}
	}()
	tracer := provider.Tracer("grace")
	d.follow(ctx, "traces of runs", func(e grace.Event) { d.traceEnded(ctx, tracer, e) }, "self_heal.run.*")
}

// newExporter makes what the standard variables name; the exporters read the others of
// them themselves.
func newExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if name := os.Getenv("OTEL_TRACES_EXPORTER"); name != "" && name != "otlp" {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER=%s: want otlp or none", name)
	}
	protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	switch protocol {
	case "grpc":
		return otlptracegrpc.New(ctx)
	case "http/protobuf":
		return otlptracehttp.New(ctx)
	}
	return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%s: want grpc or http/protobuf", protocol)
}

func otelConfigured(environ []string) bool {
	wanted := false
	for _, kv := range environ {
		switch {
		case kv == "OTEL_TRACES_EXPORTER=none":
			return false
		case strings.HasPrefix(kv, "OTEL_EXPORTER_OTLP_"), strings.HasPrefix(kv, "OTEL_TRACES_EXPORTER="):
			wanted = true
		}
	}
	return wanted
}

func (d *Daemon) traceEnded(ctx context.Context, tracer trace.Tracer, e grace.Event) {
	state := grace.RunStatus(strings.TrimPrefix(e.Type, "self_heal.run."))
	if !state.Terminal() {
		return
	}
	run, err := d.store.Run(ctx, d.store.Q(), grace.RunID(strings.TrimPrefix(e.Resource, "run/")))
	if err != nil || run.EndedAt == nil || run.Owner != d.owner && run.Owner != "" {
		return // the replica that drove it exports it
	}
	root, span := tracer.Start(ctx, "run "+string(run.Playbook.ID), trace.WithTimestamp(run.CreatedAt), trace.WithNewRoot(),
		trace.WithAttributes(attribute.String("grace.run", string(run.ID)), attribute.String("grace.service", string(run.Service)),
			attribute.String("grace.code", string(run.Code)), attribute.String("grace.state", string(run.Status))))
	for _, s := range run.Steps {
		if s.StartedAt == nil {
			continue
		}
		end := *run.EndedAt
		if s.EndedAt != nil {
			end = *s.EndedAt
		}
		child(root, tracer, string(s.Phase)+" "+s.Name, *s.StartedAt, end, s.Error)
	}
	if began, ended, ok := verification(run); ok {
		problem := ""
		if run.Status != grace.RunSucceeded {
			problem = run.Error
		}
		child(root, tracer, "verify", began, ended, problem)
	}
	if run.Status == grace.RunSucceeded {
		span.SetStatus(codes.Ok, "")
	} else {
		span.SetStatus(codes.Error, run.Error)
	}
	span.End(trace.WithTimestamp(*run.EndedAt))
}

// verification gives the time between the last step and the end or the undo.
func verification(run grace.Run) (began, ended time.Time, ok bool) {
	if len(run.Checks) == 0 {
		return began, ended, false
	}
	ended = *run.EndedAt
	for _, s := range run.Steps {
		switch {
		case s.Phase == grace.PhaseDo && s.EndedAt != nil:
			began, ok = *s.EndedAt, true
		case s.Phase == grace.PhaseUndo && s.StartedAt != nil && s.StartedAt.Before(ended):
			ended = *s.StartedAt
		}
	}
	return began, ended, ok
}

func child(ctx context.Context, tracer trace.Tracer, name string, start, end time.Time, problem string) {
	_, span := tracer.Start(ctx, name, trace.WithTimestamp(start))
	if problem != "" {
		span.SetStatus(codes.Error, problem)
	}
	span.End(trace.WithTimestamp(end))
}
