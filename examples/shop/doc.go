// Package shop is a small real system for GRACE to heal: six services as
// processes of their own that call each other over HTTP, a platform that keeps
// and balances them, and a load generator. It knows nothing of GRACE.
//
// # The graph
//
//	frontend ──> catalog ──> cache
//	   │            └──────> store
//	   ├───────> cart   (optional: without it the page lacks the cart)
//	   └───────> checkout ──> cart
//	                └───────> store
//
// catalog asks cache first and reads what is missing from store, then fills
// cache; a cache that is slow or gone costs time, not pages. Everything else
// that is not marked optional is needed: its failure is the caller's failure.
// So the services that depend on one, directly or not, are:
//
//	frontend  none
//	catalog   frontend
//	cart      frontend, checkout
//	checkout  frontend
//	cache     catalog, frontend
//	store     catalog, checkout, frontend
//
// # Processes
//
// Every process is the running binary again: [Main] dispatches the hidden
// subcommands platform, service and load, so that any binary that calls it can
// be the whole shop. The platform is a session of its own and outlives whoever
// started it; it writes its address to a state file, by which [Start] finds it
// again. Its children (replicas and load) get their settings as one line on
// standard input and end when that closes; on Linux they also get a signal
// when the platform dies. POST /shutdown ends everything. Apart from the state
// file nothing is kept: a new platform starts healthy and empty.
//
// # Replicas and the balancer
//
// A service has a fixed address, which is its balancer in the platform:
//
//	/healthz    200 while a replica answers, else 503
//	/metrics    of the whole service, counted at the balancer (see below)
//	/instances  the replicas
//	/...        to the serving replica with the fewest requests in flight
//
// A replica works on a few requests at once and queues the rest, so latency
// rises with load. The queue is bounded by the callers' patience: one that
// gives up leaves it. Each call to another service goes through a circuit
// breaker that opens when 16 of the last 20 calls failed (refused, or answered
// 5xx; slow is not failed) and tries again after a second.
//
// A crashed replica stays dead: restarting is the healer's work, not the
// platform's.
//
// # Metrics
//
// Each replica has /metrics of its own. The service's are (all prefixed shop_):
//
//	requests_total{code}           answered requests; 499 is a caller that gave up
//	errors_total                   those answered 5xx
//	flag_errors_total{flag}        those that failed in code behind a feature flag
//	request_duration_seconds       histogram
//	in_flight                      gauge
//	instances_serving              replicas that take requests
//	error_ratio                    errors over requests of the last 5 s, 0 to 1
//	breaker_open                   1 while a breaker of any replica is open
//	flag_enabled{flag}             1 while on in any replica
//	log_level                      the most talkative replica's: debug -4, info 0, warn 4, error 8
//	heap_bytes                     of the largest replica
//	saturation                     share of the busiest replica's slots that worked in the last 5 s, 0 to 1
//	cache_hit_ratio, cache_entries cache only: mean and sum over replicas
//
// Gauges taken from replicas are at most one poll (500 ms) old, and absent
// while no replica serves. The platform's own /metrics has all of them with a
// label "service".
//
// # Control
//
// Playbooks act through the platform. Bodies and answers are JSON; an answer
// carries the state before and after, and comes when the change is in effect.
//
//	GET  /services, /services/{s}; and of what POST changes, as it is now:
//	     /services/{s}/scale {instances}, /flags/{f} {enabled}, /loglevel {level}
//	POST /services/{s}/restart                   {before, instances}: new replicas first, then the old ones go
//	POST /services/{s}/scale          {delta} or {instances}; 1 to 8
//	POST /services/{s}/flags/{f}      {enabled}
//	POST /services/{s}/loglevel       {level, ttl}: back to info after ttl; 0 is never
//	POST /services/{s}/breakers/flush
//	POST /services/{s}/cache/warm     {ttl}: filled from store; entries live ttl, 0 is for ever
//	POST /faults {service, kind}, GET /faults[?all=true], DELETE /faults/{id}
//	GET  /load, /effects, /healthz, /metrics;  POST /shutdown
//
// A ttl is text ("10m") or a number of seconds. With an Idempotency-Key
// header, a repeated key gets the first answer again (header
// Idempotency-Replayed: true) and does nothing; the same key with another
// request is refused (422). An answer of 5xx means that nothing was done, and
// is not kept. GET /effects lists every key.
//
// # Faults
//
//	crash              every replica is killed; cured by restart
//	latency            capacity is lost: a queue builds under load; relieved by one more replica
//	dependency_slow    the same on a service that others need, which become its victims
//	errors_after_flag  a bad feature flag is turned on; cured by turning it off
//	cold_cache         the cache is emptied and takes nothing; cured by warming
//	leak               memory grows, latency follows; cured by restart
//	open_breaker       breakers open and stay so; cured by flushing
//	slow_leak          memory grows by 30 MiB a minute; cured by restart
//	rising_load        more customers every second, up to 3.2 times as many; relieved by one more replica
//	stuck_latency      every request is slow however many replicas there are; cured only by DELETE
package shop
