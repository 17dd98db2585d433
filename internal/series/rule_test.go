package series

import (
	"fmt"
	"strings"
	"testing"

	"grace"
)

// What the built-in rules make of series as exporters and instrumentations
// name them.
func TestDefaultRules(t *testing.T) {
	for _, tt := range []struct {
		series, want string // service/metric role unit direction; empty for none
		kind         Kind
	}{
		// OpenTelemetry by OTLP: names with dots, kinds from the source
		{series: "process.cpu.utilization{service.name=pay}", kind: KindGauge, want: "pay/process_cpu_utilization saturation  up"},
		{series: "http.server.active_requests{service.name=pay}", kind: KindGauge, want: "pay/http_server_active_requests saturation  up"},
		{series: "db.client.connection.count{service.name=pay,state=used}", kind: KindGauge, want: `pay/db_client_connection_count saturation  up`},
		{series: "system.memory.usage{service.name=pay,state=free}", kind: KindGauge, want: "pay/system_memory_usage capacity  down"},
		{series: "k8s.container.restarts{service.name=pay}", kind: KindGauge, want: "pay/k8s_container_restarts errors  up"},
		// counters without _total in their name
		{series: "shop.requests{service.name=pay}", kind: KindCounter, want: "pay/shop_requests_rate traffic /s "},
		{series: "shop.http.requests{http.response.status_code=503,service.name=pay}", kind: KindCounter, want: "pay/shop_http_requests_rate errors /s up"},
		{series: "shop.errors{service.name=pay}", kind: KindDelta, want: "pay/shop_errors_rate errors /s up"},
		{series: "shop.errors{service.name=pay}", kind: KindGauge},
		// and by a collector's remote write: job is namespace/name
		{series: "http_server_request_duration_seconds_count{http_response_status_code=503,job=shop/cart}", want: "cart/http_server_request_duration_seconds_rate errors /s up"},
		{series: "http_server_request_duration_seconds_count{http_response_status_code=200,job=shop/cart}", want: "cart/http_server_request_duration_seconds_rate traffic /s "},
		{series: "http_server_request_duration_seconds_count{error_type=timeout,job=shop/cart}", want: "cart/http_server_request_duration_seconds_rate errors /s up"},
		{series: "http_server_request_duration_seconds_sum{job=shop/cart}"},
		{series: "target_info{job=shop/cart}"},
		// any application
		{series: "http_requests_total{code=500,job=cart}", want: "cart/http_requests_rate errors /s up"},
		{series: "http_requests_total{code=200,job=cart}", want: "cart/http_requests_rate traffic /s "},
		{series: "rpc_duration_seconds{job=cart,quantile=0.99}", want: "cart/rpc_duration_seconds_p99 latency  up"},
		{series: "up{job=cart}", want: "cart/up errors  down"},
		{series: "go_goroutines{job=cart}", want: "cart/go_goroutines saturation  up"},
		{series: "process_resident_memory_bytes{job=cart}", want: "cart/process_resident_memory_bytes saturation By up"},
		{series: "nobody_knows_this{job=cart}"},
		{series: "go_goroutines{job=stranger}"},
		{series: "go_goroutines{job=stranger,service=stranger}", want: "stranger/go_goroutines saturation  up"},
		// node_exporter, cAdvisor, kube-state-metrics
		{series: "node_cpu_seconds_total{job=cart,mode=user}", want: "cart/node_cpu_seconds_rate saturation s/s up"},
		{series: "node_cpu_seconds_total{job=cart,mode=idle}", want: "cart/node_cpu_seconds_rate capacity s/s down"},
		{series: "node_cpu_seconds_total{job=cart,mode=iowait}"},
		{series: "node_filesystem_avail_bytes{fstype=ext4,job=cart}", want: "cart/node_filesystem_avail_bytes capacity By down"},
		{series: "node_filesystem_avail_bytes{fstype=tmpfs,job=cart}"},
		{series: "node_memory_MemAvailable_bytes{job=cart}", want: "cart/node_memory_MemAvailable_bytes capacity By down"},
		{series: "container_memory_working_set_bytes{container=cart,job=kubelet}", want: "cart/container_memory_working_set_bytes saturation By up"},
		{series: "kube_pod_container_status_restarts_total{container=cart}", want: "cart/kube_pod_container_status_restarts_rate errors /s up"},
		// postgres, redis, nginx, haproxy, JVM, blackbox
		{series: "pg_stat_activity_count{job=cart}", want: "cart/pg_stat_activity_count saturation  up"},
		{series: "pg_settings_max_connections{job=cart}", want: "cart/pg_settings_max_connections capacity  "},
		{series: "pg_stat_database_deadlocks{job=cart}", want: "cart/pg_stat_database_deadlocks_rate errors /s up"},
		{series: "redis_memory_used_bytes{job=cart}", want: "cart/redis_memory_used_bytes saturation By up"},
		{series: "nginx_http_requests_total{job=cart}", want: "cart/nginx_http_requests_rate traffic /s "},
		{series: "haproxy_backend_http_responses_total{code=5xx,job=cart}", want: "cart/haproxy_backend_http_responses_rate errors /s up"},
		{series: "haproxy_backend_http_responses_total{code=2xx,job=cart}", want: "cart/haproxy_backend_http_responses_rate traffic /s "},
		{series: "jvm_memory_used_bytes{area=heap,job=cart}", want: "cart/jvm_memory_used_bytes saturation By up"},
		{series: "http_server_requests_seconds_count{job=cart,status=500}", want: "cart/http_server_requests_seconds_rate errors /s up"},
		{series: "probe_success{job=cart}", want: "cart/probe_success errors  down"},
	} {
		b := newRig(t, nil)
		b.send(tt.series, Meta{Kind: tt.kind}, at(0, 1))
		got := ""
		for _, s := range b.series {
			got += fmt.Sprintf("%s/%s %s %s %s", s.Service, s.Metric, s.Role, s.Unit, s.Direction)
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.series, got, tt.want)
		}
	}
}

func TestOwnRules(t *testing.T) {
	b := newRig(t, func(c *Config, _ *Options) {
		c.Rules = []Rule{
			{Metric: "go_goroutines", Labels: map[string]string{"env": "!prod"}, Drop: true},
			{Metric: "disk_*_used", Service: "host-${host}", As: "disk_used_${disk}", Role: grace.RoleSaturation, Unit: "By", Direction: DirectionUp},
			{Metric: "*errors", Kind: KindCounter, Role: grace.RoleErrors, Service: "cart"},
		}
	})
	for _, s := range []string{
		"go_goroutines{env=dev,job=cart}", "go_goroutines{env=prod,job=cart}",
		"disk_bytes_used{disk=sda,host=a}", "disk_bytes_used{disk=sda}", "odd.errors",
	} {
		b.send(s, Meta{}, at(0, 1))
	}
	var got []string
	for _, s := range b.series {
		got = append(got, name(s))
	}
	want := `[cart/go_goroutines{env="prod",job="cart"} host-a/disk_used_sda{disk="sda",host="a"} cart/odd_errors_rate]`
	if fmt.Sprint(got) != want {
		t.Errorf("%v\nwant %v", got, want)
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for i, r := range DefaultRules() {
		if err := r.Validate(); err != nil {
			t.Errorf("built-in rule %d (%s): %v", i, r.Metric, err)
		}
	}
	for want, change := range map[string]func(*Config){
		"limits.series: 0":           func(c *Config) { c.Limits.Series = 0 },
		"max_age: 0s":                func(c *Config) { c.MaxAge = 0 },
		"out_of_order: -1ns":         func(c *Config) { c.OutOfOrder = -1 },
		"forget_after: 1ns is less":  func(c *Config) { c.ForgetAfter = 1 },
		"service_labels[0]: is":      func(c *Config) { c.ServiceLabels = []string{""} },
		"rules[1].metric: is":        func(c *Config) { c.Rules = []Rule{{Metric: "a", Drop: true}, {Role: "errors"}} },
		`rules[0].role: unknown "x"`: func(c *Config) { c.Rules = []Rule{{Metric: "a", Role: "x"}} },
		"rules[0].role: is missing":  func(c *Config) { c.Rules = []Rule{{Metric: "a"}} },
		"rules[0].service:":          func(c *Config) { c.Rules = []Rule{{Metric: "a", Service: "${job"}} },
		"rules[0].as:":               func(c *Config) { c.Rules = []Rule{{Metric: "a", As: "x${}"}} },
		"rules[0].direction:": func(c *Config) {
			c.Rules = []Rule{{Metric: "a", Role: "errors", Direction: "left"}}
		},
		"rules[0].kind:": func(c *Config) { c.Rules = []Rule{{Metric: "a", Role: "errors", Kind: "sum"}} },
		"rules[0].drop:": func(c *Config) { c.Rules = []Rule{{Metric: "a", Role: "errors", Drop: true}} },
		"rules[0].labels:": func(c *Config) {
			c.Rules = []Rule{{Labels: map[string]string{"": "x"}, Drop: true}}
		},
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
		if _, err := New(c, Options{}); err == nil {
			t.Errorf("%s: an intake was made", want)
		}
	}
	if _, err := New(DefaultConfig(), Options{Sinks: make([]Sink, 3)}); err == nil {
		t.Error("three sinks")
	}
}

// Known series cost no memory, nor do those that are passed over.
func TestNoAllocation(t *testing.T) {
	db, err := New(DefaultConfig(), Options{Known: func(grace.ServiceID) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	var keys [][]byte
	for i := range 10 {
		for _, k := range []string{"jobs_pending{id=%d,job=cart}", "http_requests_total{id=%d,job=cart}", "rpc_duration_seconds_bucket{job=cart,le=%d}", "nobody_knows_this{id=%d,job=cart}"} {
			keys = append(keys, key(fmt.Sprintf(k, i)))
		}
	}
	clock := start.UnixMilli()
	b := db.Begin(From{Sensor: "test", Source: "x", History: true})
	defer b.End()
	samples := make([]Sample, 1)
	send := func() {
		clock += 1000
		samples[0] = Sample{At: clock, Value: float64(clock)}
		for _, k := range keys {
			b.Append(k, Meta{}, samples...)
		}
	}
	for range 5 {
		send()
	}
	if n := testing.AllocsPerRun(100, send); n > 0 {
		t.Errorf("%v allocations for %d known series", n, len(keys))
	}
}

func FuzzKey(f *testing.F) {
	f.Add(key("jobs_pending{job=cart}"), 1.5)
	f.Add(key("x_bucket{job=cart,le=0.5}"), 2.0)
	f.Add(key("x{job=cart,le=,quantile=0.9}")[:12], 0.0)
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 1.0)
	cfg := DefaultConfig()
	cfg.KeepUnmapped, cfg.NoDefaultRules = true, true // to be made a thousand times a second
	all := compiled(f, `{__name__!=""} > 1`)
	f.Fuzz(func(t *testing.T, k []byte, v float64) {
		db, err := New(cfg, Options{Known: func(grace.ServiceID) bool { return true }})
		if err != nil {
			t.Fatal(err)
		}
		db.Watch([]*Expr{all})
		for i := range 3 {
			b := db.Begin(From{Source: "fuzz", History: true})
			b.Append(k, Meta{}, at(float64(i), v))
			b.Append(k, Meta{Kind: KindDelta}, whole(float64(i)+0.5, 1, 2))
			r := b.End()
			if (r.Err() != nil) != (r.Refused() > 0) || r.Samples != 2 {
				t.Errorf("%d samples, %d refused, %v", r.Samples, r.Refused(), r.Err())
			}
		}
		if err := db.Reconfigure(cfg); err != nil {
			t.Error(err)
		}
		if _, err := db.Evaluate(t.Context(), all, after(3)); err != nil {
			t.Error(err)
		}
	})
}
