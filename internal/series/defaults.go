package series

import (
	"slices"
	"strings"

	"grace"
)

// DefaultRules are the built-in rules, in their order: the semantic conventions
// of OpenTelemetry, the common exporters of Prometheus, and last what names of
// any application tell.
func DefaultRules() []Rule {
	return slices.Concat(noise(), requests(), machines(), stores(), runtimes(), names())
}

func drop(metric string) Rule { return Rule{Metric: metric, Drop: true} }

func latency(metric string) Rule {
	return Rule{Metric: metric, Role: grace.RoleLatency, Direction: DirectionUp}
}

func failing(metric string) Rule {
	return Rule{Metric: metric, Role: grace.RoleErrors, Direction: DirectionUp}
}

// alive is 1, or 0 when the service does not answer.
func alive(metric string) Rule {
	return Rule{Metric: metric, Role: grace.RoleErrors, Direction: DirectionDown}
}

// filling is what is in use; what counts things by its name (_count) does not
// count up.
func filling(metric string) Rule {
	r := Rule{Metric: metric, Role: grace.RoleSaturation, Direction: DirectionUp}
	if strings.HasSuffix(metric, "_count") {
		r.Kind = KindGauge
	}
	return r
}

func traffic(metric string) Rule { return Rule{Metric: metric, Role: grace.RoleTraffic} }

// room is capacity that is left: the less, the worse.
func room(metric string) Rule {
	return Rule{Metric: metric, Role: grace.RoleCapacity, Direction: DirectionDown}
}

// size is how much there is.
func size(metric string) Rule { return Rule{Metric: metric, Role: grace.RoleCapacity} }

func (r Rule) where(name, value string) Rule {
	r.Labels = map[string]string{name: value}
	return r
}

func (r Rule) unit(u string) Rule { r.Unit = u; return r }

func (r Rule) counter() Rule { r.Kind = KindCounter; return r }

// noise tells nothing of health, or what another series tells better.
func noise() []Rule {
	return []Rule{
		drop("*_created"), drop("*_sum"), drop("*_info"), drop("*_info_total"), drop("target_info"),
		drop("scrape_*"), drop("ALERTS*"), drop("promhttp_*"), drop("prometheus_sd_*"), drop("otel_scope_info"),
		drop("node_scrape_*"), drop("go_memstats_*_total"), drop("process_start_time_seconds"),
		// On file systems of the kernel's own nothing is stored.
		drop("node_filesystem_*").where("fstype", "tmpfs|ramfs|overlay|squashfs|iso9660|devtmpfs|nsfs"),
		drop("node_network_*").where("device", "lo"),
		// The sum over all containers of a pod, and the pause container.
		drop("container_*").where("container", "POD"),
	}
}

// requests: what users feel, over HTTP, RPC, databases and queues.
func requests() []Rule {
	var out []Rule
	for _, status := range []string{"http_response_status_code", "http_status_code", "status_code", "status", "code"} {
		out = append(
			out,
			failing("*http*_requests_total").where(status, "5*"),
			failing("*http*_requests_count").where(status, "5*"),
			failing("*_request_duration*_count").where(status, "5*"),
			failing("*_requests_seconds_count").where(status, "5*"),
		)
	}
	return append(
		out,
		failing("*_request_duration*_count").where("error_type", "!"),
		failing("grpc_server_handled_total").where("grpc_code", "!OK|Canceled|NotFound|AlreadyExists|InvalidArgument"),
		failing("rpc_*_duration*_count").where("rpc_grpc_status_code", "!0|"),
		traffic("grpc_server_handled_total"), traffic("grpc_server_started_total"),
		// http.server.request.duration, http.client..., rpc.server..., db.client..., messaging...
		traffic("*_duration*_count"), traffic("*_seconds_count"), traffic("*_milliseconds_count"), traffic("*_latency*_count"),
		latency("http_server_*duration*"), latency("http_client_*duration*"), latency("rpc_*_duration*"),
		latency("db_client_*duration*"), latency("db_client_connections_wait_time*"), latency("db_client_connections_use_time*"),
		latency("messaging_*duration*"), latency("dns_lookup_duration*"),
		filling("http_server_active_requests"), filling("http_client_active_requests"), filling("http_client_open_connections"),
		filling("db_client_connection_count"), filling("db_client_connections_usage"), filling("db_client_connections_pending_requests"),
		filling("db_client_connection_pending_requests"), size("db_client_connection_max"), size("db_client_connections_max"),
		failing("db_client_connection_timeouts*").counter(), failing("db_client_connections_timeouts*").counter(),
		traffic("messaging_client_*_messages*").counter(), filling("*consumer_lag*"), filling("*consumergroup_lag*"),
		// blackbox_exporter
		alive("probe_success"),
		latency("probe_duration_seconds"), latency("probe_http_duration_seconds"), latency("probe_dns_lookup_time_seconds"),
		room("probe_ssl_earliest_cert_expiry").unit("s"),
		alive("up"),
	)
}

// machines: hosts, processes, containers, Kubernetes.
func machines() []Rule {
	return []Rule{
		// system.*, process.*, container.*, k8s.* of OpenTelemetry
		filling("system_cpu_utilization"), filling("system_memory_utilization"), filling("system_filesystem_utilization"),
		filling("system_paging_utilization"), filling("system_cpu_load_average_*"),
		filling("system_memory_usage*").where("state", "used"), room("system_memory_usage*").where("state", "free"),
		filling("system_filesystem_usage*").where("state", "used"), room("system_filesystem_usage*").where("state", "free"),
		traffic("system_network_io*").counter(), failing("system_network_errors*").counter(), failing("system_network_dropped*").counter(),
		traffic("system_disk_io*").counter(), filling("system_disk_io_time*").counter(),
		filling("process_cpu_utilization"), filling("process_memory_usage*"), filling("process_memory_virtual"),
		filling("process_open_file_descriptor*"), filling("process_thread*_count"),
		filling("container_cpu_usage"), filling("container_memory_usage"), filling("container_memory_working_set"),
		filling("k8s_*_cpu_usage"), filling("k8s_*_cpu_utilization"), filling("k8s_*_memory_usage"), filling("k8s_*_memory_working_set"),
		room("k8s_*_filesystem_available"), room("k8s_*_memory_available"), filling("k8s_*_filesystem_usage"),
		room("k8s_volume_available"), size("k8s_volume_capacity"), failing("k8s_container_restarts"),
		// node_exporter
		filling("node_cpu_seconds_total").where("mode", "!idle|iowait|guest*"), room("node_cpu_seconds_total").where("mode", "idle"),
		filling("node_load1"), filling("node_load5"), filling("node_pressure_*_seconds_total"),
		room("node_memory_MemAvailable_bytes").unit("By"), size("node_memory_MemTotal_bytes").unit("By"), room("node_memory_SwapFree_bytes").unit("By"),
		room("node_filesystem_avail_bytes").unit("By"), room("node_filesystem_files_free"), size("node_filesystem_size_bytes").unit("By"),
		filling("node_disk_io_time_seconds_total"), filling("node_disk_io_time_weighted_seconds_total"),
		traffic("node_disk_*_bytes_total"), traffic("node_network_*_bytes_total"), failing("node_network_*_errs_total"), failing("node_network_*_drop_total"),
		filling("node_filefd_allocated"), size("node_filefd_maximum"), filling("node_nf_conntrack_entries"), size("node_nf_conntrack_entries_limit"),
		filling("node_sockstat_TCP_inuse"), failing("node_vmstat_oom_kill").counter(), failing("node_netstat_Tcp_RetransSegs").counter(),
		// cAdvisor and kube-state-metrics
		filling("container_cpu_usage_seconds_total"), filling("container_cpu_cfs_throttled_seconds_total"),
		filling("container_memory_working_set_bytes").unit("By"), filling("container_memory_usage_bytes").unit("By"),
		size("container_spec_memory_limit_bytes").unit("By"), failing("container_oom_events_total"),
		filling("container_fs_usage_bytes").unit("By"), size("container_fs_limit_bytes").unit("By"),
		traffic("container_network_*_bytes_total"), failing("container_network_*_errors_total"),
		room("kubelet_volume_stats_available_bytes").unit("By"), size("kubelet_volume_stats_capacity_bytes").unit("By"),
		room("kubelet_volume_stats_inodes_free"), filling("kubelet_volume_stats_used_bytes").unit("By"),
		failing("kube_pod_container_status_restarts_total"), failing("kube_deployment_status_replicas_unavailable"),
		room("kube_deployment_status_replicas_available"), size("kube_deployment_spec_replicas"),
		filling("kube_horizontalpodautoscaler_status_current_replicas"), size("kube_horizontalpodautoscaler_spec_max_replicas"),
		filling("kube_resourcequota").where("type", "used"), size("kube_resourcequota").where("type", "hard"),
		// any process by a Prometheus client
		filling("process_cpu_seconds_total"), filling("process_resident_memory_bytes").unit("By"),
		filling("process_open_fds"), size("process_max_fds"),
	}
}

// stores: databases, caches, proxies.
func stores() []Rule {
	return []Rule{
		// postgres_exporter
		filling("pg_stat_activity_count"), filling("pg_stat_database_numbackends"), size("pg_settings_max_connections"),
		traffic("pg_stat_database_xact_commit*").counter(), failing("pg_stat_database_xact_rollback*").counter(),
		failing("pg_stat_database_deadlocks*").counter(), failing("pg_stat_database_conflicts*").counter(),
		latency("pg_stat_activity_max_tx_duration"), latency("pg_replication_lag*"), filling("pg_database_size_bytes").unit("By"),
		filling("pg_locks_count"), alive("pg_up"),
		// redis_exporter
		filling("redis_memory_used_bytes").unit("By"), size("redis_memory_max_bytes").unit("By"), filling("redis_connected_clients"),
		size("redis_config_maxclients"), filling("redis_blocked_clients"), traffic("redis_commands_processed_total"),
		failing("redis_rejected_connections_total"), failing("redis_evicted_keys_total"), traffic("redis_keyspace_hits_total"),
		failing("redis_keyspace_misses_total"), alive("redis_up"),
		// mysqld_exporter
		filling("mysql_global_status_threads_connected"), filling("mysql_global_status_threads_running"),
		size("mysql_global_variables_max_connections"), traffic("mysql_global_status_queries").counter(),
		failing("mysql_global_status_slow_queries").counter(), failing("mysql_global_status_aborted_connects").counter(),
		alive("mysql_up"),
		// nginx, haproxy, envoy
		filling("nginx_connections_active"), filling("nginx_connections_waiting"), traffic("nginx_http_requests_total"),
		traffic("nginx_connections_accepted*").counter(), alive("nginx_up"),
		filling("haproxy_*_current_sessions"), size("haproxy_*_limit_sessions"), filling("haproxy_*_current_queue"),
		failing("haproxy_*_http_responses_total").where("code", "5xx"), traffic("haproxy_*_http_responses_total"),
		traffic("haproxy_*_http_requests_total"), traffic("haproxy_*_sessions_total"), failing("haproxy_*_errors_total"),
		latency("haproxy_*_time_average_seconds"), alive("haproxy_*_up"),
		failing("envoy_*_upstream_rq_xx").where("envoy_response_code_class", "5").counter(), traffic("envoy_*_upstream_rq_total"),
		latency("envoy_*_rq_time*"), filling("envoy_*_cx_active"), filling("envoy_*_rq_pending_active"),
		// queues
		filling("rabbitmq_queue_messages*"), filling("kafka_*_lag*"), filling("*_queue_size"), filling("*_queue_length"), filling("*_queue_depth"),
	}
}

// runtimes: Go, the JVM, Micrometer, Node.
func runtimes() []Rule {
	return []Rule{
		filling("go_goroutines"), filling("go_goroutine_count"), filling("go_threads"), filling("go_memstats_heap_inuse_bytes").unit("By"),
		filling("go_memstats_heap_alloc_bytes").unit("By"), filling("go_memory_used"), size("go_memory_limit"), latency("go_gc_duration_seconds"),
		filling("jvm_memory_used*"), size("jvm_memory_max*"), size("jvm_memory_limit*"), filling("jvm_threads_live*"), filling("jvm_thread_count"),
		latency("jvm_gc_pause_seconds*"), latency("jvm_gc_duration*"), filling("jvm_cpu_recent_utilization*"),
		filling("system_cpu_usage"), filling("process_cpu_usage"), filling("jvm_buffer_memory_used*"),
		latency("http_server_requests_seconds*"), latency("http_client_requests_seconds*"),
		filling("hikaricp_connections_active"), filling("hikaricp_connections_pending"), size("hikaricp_connections_max"),
		failing("hikaricp_connections_timeout_total"), latency("hikaricp_connections_acquire_seconds*"),
		filling("tomcat_threads_busy_threads"), size("tomcat_threads_config_max_threads"), filling("executor_active_threads"), filling("executor_queued_tasks"),
		filling("executor_pool_size_threads"), size("executor_pool_max_threads"),
		latency("nodejs_eventloop_lag*"), latency("nodejs_eventloop_delay*"), filling("nodejs_heap_size_used_bytes").unit("By"), filling("nodejs_active_handles*"),
	}
}

// names: what the name of a metric of any application tells.
func names() []Rule {
	return []Rule{
		failing("*_errors_total"), failing("*_error_total"), failing("*_failures_total"), failing("*_failed_total"), failing("*_timeouts_total"),
		failing("*_rejected_total"), failing("*_dropped_total"), failing("*_retries_total"), failing("*_exceptions_total"), failing("*_panics_total"),
		failing("*error_ratio"), failing("*error_rate"), failing("*errors_rate"),
		latency("*_duration_seconds*"), latency("*_duration_ms*"), latency("*_duration_milliseconds*"), latency("*_latency*"), latency("latency_*"),
		latency("*_response_time*"), latency("*_request_seconds*"), latency("*_wait_seconds*"), latency("*_lag_seconds"),
		traffic("*_requests_total"), traffic("*_request_total"), traffic("*_messages_total"), traffic("*_events_total"), traffic("*_operations_total"),
		traffic("*_queries_total"), traffic("*_connections_total"), traffic("*_bytes_total"), traffic("*_jobs_total"),
		filling("*_utilization"), filling("*_usage_ratio"), filling("*_usage_percent"), filling("*_used_bytes"), filling("*_used_percent"),
		filling("*_in_flight*"), filling("*_inflight*"), filling("*_pending"), filling("*_active_connections"), filling("*_connections_active"),
		room("*_free_bytes"), room("*_available_bytes"), room("*_avail_bytes"), room("*_remaining"), size("*_max_bytes"), size("*_limit_bytes"), size("*_capacity_bytes"),
	}
}
