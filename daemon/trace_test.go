package daemon

import (
	"fmt"
	"strings"
	"testing"
)

// TestExporterOfTheEnvironment: the standard variables say whether, and how, traces go out.
func TestExporterOfTheEnvironment(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
	for environ, want := range map[string]string{
		"":       "none",
		"HOME=/": "none",
		endpoint: "*otlptrace.Exporter",
		endpoint + " OTEL_EXPORTER_OTLP_PROTOCOL=grpc":                                           "*otlptrace.Exporter",
		endpoint + " OTEL_EXPORTER_OTLP_PROTOCOL=http/json":                                      "want grpc or http/protobuf",
		endpoint + " OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=thrift": "want grpc or http/protobuf",
		endpoint + " OTEL_TRACES_EXPORTER=none":                                                  "none",
		"OTEL_TRACES_EXPORTER=otlp":                                                              "*otlptrace.Exporter",
		"OTEL_TRACES_EXPORTER=zipkin":                                                            "want otlp or none",
	} {
		t.Run(environ, func(t *testing.T) {
			list := strings.Fields(environ)
			for _, kv := range list {
				name, value, _ := strings.Cut(kv, "=")
				t.Setenv(name, value)
			}
			got := "none"
			if otelConfigured(list) {
				exporter, err := newExporter(t.Context())
				if got = fmt.Sprintf("%T", exporter); err != nil {
					got = err.Error()
				}
			}
			if !strings.Contains(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
