// Package httpclient makes the HTTP clients with which GRACE asks others: the
// probes, the scrapes, the PromQL API, the read-back of Alertmanager, the
// receivers of messages and the heartbeat.
//
// One [Config] says the same for all of them: headers, a bearer token or basic
// authentication, TLS, a proxy, a unix socket, redirects. Secrets (${env:NAME},
// ${file:PATH}) are resolved for every request and redacted from errors.
//
// What holds for every client:
//
//	proxies       only the configured one; HTTP_PROXY of the environment would
//	              let a variable decide what a probe measures
//	redirects     refused unless asked for. A redirect that would turn a POST
//	              into a GET without its body is always an error
//	connections   are dropped every minute, so that a name that moved to
//	              another address is noticed
//
// An error is judged by [Classify]. [Fault] is GRACE's own: a secret that is
// missing, no file descriptors, an address that cannot exist. It says nothing
// about the peer and must never count as its failure.
package httpclient
