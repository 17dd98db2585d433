package otlp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"

	"grace/internal/series"
	"grace/sensor/otlp"
)

// The exporters of OpenTelemetry's Go SDK, unmodified, with both temporalities
// and both kinds of histograms.
func TestSDK(t *testing.T) {
	for name, export := range map[string]func(*testing.T, *house, sdk.TemporalitySelector) (sdk.Exporter, error){
		"http": func(t *testing.T, h *house, temporality sdk.TemporalitySelector) (sdk.Exporter, error) {
			srv := httptest.NewServer(authorized(h.Handler(nil)))
			t.Cleanup(srv.Close)
			return otlpmetrichttp.New(t.Context(), otlpmetrichttp.WithEndpointURL(srv.URL+otlp.Path), otlpmetrichttp.WithTemporalitySelector(temporality),
				otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression), otlpmetrichttp.WithHeaders(map[string]string{"Authorization": "Bearer t0ken"}))
		},
		"grpc": func(t *testing.T, h *house, temporality sdk.TemporalitySelector) (sdk.Exporter, error) {
			address := h.serve(t, otlp.GRPC{Authorize: func(_ context.Context, token string) error {
				if token != "t0ken" {
					t.Errorf("token %q", token)
				}
				return nil
			}})
			return otlpmetricgrpc.New(t.Context(), otlpmetricgrpc.WithEndpoint(address), otlpmetricgrpc.WithInsecure(), otlpmetricgrpc.WithTemporalitySelector(temporality),
				otlpmetricgrpc.WithCompressor("gzip"), otlpmetricgrpc.WithHeaders(map[string]string{"authorization": "Bearer t0ken"}))
		},
	} {
		for kind, temporality := range map[string]sdk.TemporalitySelector{
			"cumulative": sdk.DefaultTemporalitySelector,
			"delta":      func(sdk.InstrumentKind) metricdata.Temporality { return metricdata.DeltaTemporality },
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				h := newHouse(t, nil, func(c *series.Config, o *series.Options) {
					c.NoDefaultRules, c.KeepUnmapped, o.Now = false, false, time.Now
				})
				watched := h.watch(
					t,
					`histogram_quantile(0.5, sum by (le) (rate({"http.server.request.duration_bucket"}[2s])))`,
					`histogram_quantile(0.99, sum by (le) (rate({"http.server.request.duration_bucket"}[2s])))`,
					`{"http.server.request.duration_count"}`,
					`histogram_quantile(0.5, rate({"rpc.server.duration"}[2s]))`,
					`histogram_quantile(0.99, rate({"rpc.server.duration"}[2s]))`,
					`histogram_count({"rpc.server.duration"})`,
				)
				exporter, err := export(t, h, temporality)
				if err != nil {
					t.Fatal(err)
				}
				measure(t, exporter, func() { check(t, h, watched) })
			})
		}
	}
}

func authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t0ken" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// measure works like an instrumented server, and exports three times; then looks
// before the last export, at which nothing has happened any more.
func measure(t *testing.T, exporter sdk.Exporter, then func()) {
	t.Helper()
	exponential := sdk.NewView(
		sdk.Instrument{Name: "rpc.server.duration"},
		sdk.Stream{Aggregation: sdk.AggregationBase2ExponentialHistogram{MaxSize: 160, MaxScale: 20}},
	)
	provider := sdk.NewMeterProvider(
		sdk.WithReader(sdk.NewPeriodicReader(exporter, sdk.WithInterval(time.Hour))),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop"), attribute.String("service.version", "1.2"))),
		sdk.WithView(exponential),
	)
	defer func() {
		if err := provider.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	meter := provider.Meter("example")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	requests, err := meter.Float64Histogram("http.server.request.duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(.01, .1, 1))
	must(err)
	calls, err := meter.Float64Histogram("rpc.server.duration", metric.WithUnit("ms"))
	must(err)
	failures, err := meter.Int64Counter("shop_errors_total")
	must(err)
	active, err := meter.Int64UpDownCounter("http.server.active_requests")
	must(err)
	_, err = meter.Float64ObservableGauge("system.cpu.utilization", metric.WithUnit("1"), metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
		o.Observe(.25, metric.WithAttributes(attribute.String("state", "user")))
		return nil
	}))
	must(err)
	route := metric.WithAttributes(attribute.String("http.route", "/"), attribute.Int("http.response.status_code", 200))
	for range 3 {
		for range 100 {
			requests.Record(t.Context(), .05, route)
			calls.Record(t.Context(), 50)
		}
		failures.Add(t.Context(), 3)
		active.Add(t.Context(), 2)
		// The clock of points is that of the process: a while must pass.
		time.Sleep(100 * time.Millisecond)
		must(provider.ForceFlush(t.Context()))
	}
	then()
}

func check(t *testing.T, h *house, watched []*series.Expr) {
	t.Helper()
	got := h.sink.got()
	within := func(name string, atLeast int, low, high float64) {
		t.Helper()
		values := got[name]
		if len(values) < atLeast {
			t.Errorf("%s has %d values", name, len(values))
		}
		for _, v := range values {
			if v < low || v > high {
				t.Errorf("%s is %v, want %v to %v", name, v, low, high)
			}
		}
	}
	const most = 100 / .1
	http := `{http_response_status_code="200",http_route="/",otel_scope_name="example"}`
	within("shop/http_server_request_duration_rate"+http, 2, 1, most)
	for i, want := range [][2]float64{{.05, .06}, {.09, .1}, {300, 300}, {48, 52}, {48, 52}, {300, 300}} {
		if v := h.says(t, watched[i], time.Now()); !(v >= want[0] && v <= want[1]) {
			t.Errorf("%s is %v, want %v to %v", watched[i], v, want[0], want[1])
		}
	}
	within(`shop/shop_errors_rate{otel_scope_name="example"}`, 2, .1, most)
	within(`shop/system_cpu_utilization{otel_scope_name="example",state="user"}`, 3, .25, .25)
	found := false
	for name := range got {
		found = found || strings.HasPrefix(name, "shop/http_server_active_requests") // a value, or the rate of its changes
	}
	if !found {
		t.Errorf("http_server_active_requests is missing of %v", got)
	}
	if st := h.Stats(); st.RefusedPoints != 0 || st.Refused != 0 || st.Later != 0 || st.Requests < 3 {
		t.Errorf("%+v", st)
	}
}
