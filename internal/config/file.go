package config

import (
	"grace"
	"grace/internal/httpclient"
	"grace/internal/notify"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/govern"
	"grace/internal/stage/learn"
	"grace/internal/stage/predict"
	"grace/internal/stage/propose"
	"grace/internal/stage/sense"
)

// file is the shape of the YAML file. Its tags are the source of the decoder,
// of the schema and of the reference; fields.go reads them.
type file struct {
	Listen                string            `yaml:"listen" doc:"address and port of the API and the console; reachable from other machines only when you say so" default:"127.0.0.1:8000"`
	DataDir               string            `yaml:"data_dir" doc:"folder of the SQLite database, the audit key and the local CLI's token; a relative one starts where GRACE is started, and the CLI looks for its token there too" default:"grace-data"`
	Database              string            `yaml:"database" doc:"PostgreSQL for several replicas; empty is SQLite in data_dir" example:"\"${env:GRACE_DATABASE}\""`
	Mode                  grace.Mode        `yaml:"mode" doc:"where a new store starts; later changes by API or CLI are kept in the store and win" default:"observe_only"`
	EscalateAfter         grace.Duration    `yaml:"escalate_after" doc:"a condition that lasts longer, while nothing that helps is being done, opens an incident and is told to people" default:"5m" min:"1s"`
	EscalateAfterCritical grace.Duration    `yaml:"escalate_after_critical" doc:"the same for services that are critical, or whose criticality is not given" default:"1m" min:"1s"`
	HoldDown              grace.Duration    `yaml:"hold_down" doc:"how long what began a run, or an incident, must have been clear for it to count as healed" default:"30s" min:"0s"`
	RecoverWithin         grace.Duration    `yaml:"recover_within" doc:"how long after a remedy what began it may take to clear; after that the remedy was ineffective. Longer than the source of alerts takes to resolve one" default:"5m" min:"1s"`
	TimeZone              string            `yaml:"time_zone" doc:"IANA name; the zone of change windows and services that name none" default:"UTC" example:"Europe/Berlin"`
	Log                   Log               `yaml:"log" doc:"what is written to standard error"`
	Services              []service         `yaml:"services" doc:"what is kept healthy: the nodes of the health graph, and what each playbook means for them"`
	Sensors               []sensor          `yaml:"sensors" doc:"where samples come from"`
	Alertmanager          Alertmanager      `yaml:"alertmanager" doc:"alerts of others: the webhook POST /api/alertmanager, and POST /api/v2/alerts for a Prometheus that sends without an Alertmanager"`
	Objectives            []sense.Objective `yaml:"objectives" doc:"when a metric is a symptom"`
	RuleFiles             []ruleFiles       `yaml:"rule_files" doc:"files of alerting and recording rules, as Prometheus or Kubernetes (PrometheusRule) has them. Every alerting rule is an objective" example:"[rules/*.yaml]"`
	SLOs                  []ruleFiles       `yaml:"slos" doc:"files of service level objectives, in OpenSLO or as Sloth has them. Each is an objective for four windows in which its budget burns too fast" example:"[slos/*.yaml]"`
	Rules                 Rules             `yaml:"rules" doc:"what rule_files and slos mean here: whose a rule is, and of what it is a symptom"`
	Limits                []sense.Limit     `yaml:"limits" doc:"what must not run out, such as disk space, connections or a quota: a breach is predicted, and is no symptom by itself"`
	Telemetry             Telemetry         `yaml:"telemetry" doc:"series that others send: Prometheus remote write at /api/v1/write, OTLP at /v1/metrics"`
	Playbooks             []playbook        `yaml:"playbooks" doc:"remedies of your own, and changes to the built-in ones: one with the id of a built-in playbook changes only the keys it gives"`
	PlaybooksDir          string            `yaml:"playbooks_dir" doc:"folder of further playbooks, one or a list in each .yaml file; relative to this file" example:"playbooks"`
	ChangeWindows         []govern.Window   `yaml:"change_windows" doc:"times in which playbooks may run without a person; none means always"`
	Trust                 trust             `yaml:"trust" doc:"the trust core's guardrails: what may run without a person"`
	ExternalURL           string            `yaml:"external_url" doc:"where people reach this GRACE with a browser: the base of links in messages" example:"https://grace.example.com"`
	Notify                notify.Config     `yaml:"notify" doc:"who is told of questions, actions and incidents"`
	Heartbeat             Heartbeat         `yaml:"heartbeat" doc:"who watches GRACE"`
	Sense                 sense.Config      `yaml:"sense" doc:"when a sample becomes a signal"`
	Predict               foresee           `yaml:"predict" doc:"forecasts"`
	Diagnose              diagnose.Config   `yaml:"diagnose" doc:"from signals to a cause"`
	Propose               propose.Config    `yaml:"propose" doc:"limits on proposing playbooks"`
	Learn                 learn.Config      `yaml:"learn" doc:"how outcomes count"`
	API                   API               `yaml:"api" doc:"limits of the API"`
	Metrics               Metrics           `yaml:"metrics" doc:"GET /metrics"`
	Retention             Retention         `yaml:"retention" doc:"how long rows are kept; 0s is for ever. The audit log is never pruned"`
}

// Log says what is written to standard error.
type Log struct {
	Level  string `yaml:"level" doc:"the mildest level that is written" enum:"debug,info,warn,error" default:"info"`
	Format string `yaml:"format" enum:"json,text" default:"json" doc:"json is one object a line"`
}

// dependency is a service, or redundant ones.
type dependency struct {
	Service grace.ServiceID   `yaml:"service" short:"true" doc:"a service it cannot do without; its name alone says the same"`
	AnyOf   []grace.ServiceID `yaml:"any_of" doc:"redundant services: it lives as long as one of them is well" example:"[web-1, web-2]"`
	KOfN    *kOfN             `yaml:"k_of_n" doc:"redundant services: it lives as long as some of them are well"`
}

// kOfN are redundant services.
type kOfN struct {
	K  int               `yaml:"k" required:"true" min:"1" doc:"how many must be well"`
	Of []grace.ServiceID `yaml:"of" required:"true" doc:"the services"`
}

// service is one node of the health graph.
type service struct {
	Name        grace.ServiceID              `yaml:"name" doc:"unique; letters, digits, dot, dash and underscore" required:"true" example:"web"`
	Owner       string                       `yaml:"owner" doc:"who is asked about it" example:"team-web"`
	Criticality grace.Criticality            `yaml:"criticality" doc:"how much it matters to its users. Nothing runs by itself on a critical service, nor on one that does not say"`
	DependsOn   []dependency                 `yaml:"depends_on" doc:"services it cannot do without, and groups of redundant ones; cycles are allowed" example:"[database, {any_of: [web-1, web-2]}]"`
	Labels      map[string]string            `yaml:"labels" doc:"free text for people"`
	TimeZone    string                       `yaml:"time_zone" doc:"IANA name; the zone of its users, by whose days and weeks its load repeats (default: the time_zone of the file)" example:"America/New_York"`
	Bindings    map[grace.PlaybookID]binding `yaml:"bindings" doc:"by playbook id: what the playbook means for this service. A built-in playbook without a binding is not proposed here"`
}

// Remedy is what a playbook does, for all services or for one.
type Remedy struct {
	Arguments map[string]any `yaml:"arguments" doc:"values for the playbook's parameters" example:"{min_delta: 1}"`
	Steps     []grace.Step   `yaml:"steps" doc:"done one after the other; undone in reverse order when one fails or verification does"`
	Verify    []grace.Check  `yaml:"verify" doc:"what must hold afterwards. Without a check a run cannot succeed"`
	Settle    grace.Duration `yaml:"settle" doc:"how long the remedy may take to show before a failing check counts (default 30s)"`
	Soak      grace.Duration `yaml:"soak" doc:"how long every check must then hold (default 10s)"`
	Watchdog  grace.Duration `yaml:"watchdog" doc:"the run is aborted and undone after this long (default 10m). At least the timeouts of the steps, and the longer of settle + soak (or hold_down) and recover_within + hold_down: else it would undo a remedy that helps"`
}

// binding is a Remedy for one service, with the playbook's trust changed where
// given.
type binding struct {
	Auto   *bool        `yaml:"auto" doc:"may run here without a person when every gate agrees; the playbook's when not given"`
	Impact grace.Impact `yaml:"impact" doc:"what the remedy does to users of this service; the playbook's when not given"`
	Remedy
}

// playbook is a named Remedy.
type playbook struct {
	ID          grace.PlaybookID  `yaml:"id" doc:"unique; letters, digits, dot, dash and underscore" required:"true" example:"restart_service"`
	Title       string            `yaml:"title" doc:"for people; the id when not given"`
	Description string            `yaml:"description"  doc:"what it does, and when it helps"`
	Risk        grace.Risk        `yaml:"risk" doc:"how much it can hurt; moderate is read as medium"`
	Impact      grace.Impact      `yaml:"impact" doc:"what the remedy itself does to users while it runs"`
	Auto        bool              `yaml:"auto" doc:"may run without a person when every gate agrees"`
	Triggers    []grace.Code      `yaml:"triggers" doc:"the diagnoses it is a remedy for: service_down, latency_spike, elevated_errors, capacity, cache_cold, circuit_breaker_open, flag_issue, degradation, or a code of your own"`
	Services    []grace.ServiceID `yaml:"services" doc:"restricts a playbook with steps of its own; empty is any"`
	Parameters  []grace.Parameter `yaml:"parameters" doc:"what a binding may give as arguments, with bounds that are checked before anything starts"`
	Remedy
}

// sensor is one source of samples. Which keys count depends on its type.
type sensor struct {
	Name            string            `yaml:"name" doc:"unique; it is part of the identity of its signals" required:"true" example:"web-health"`
	Type            string            `yaml:"type" doc:"http, tcp and command are probes: 1 passed, 0 failed; prometheus scrapes a /metrics page, whose series expressions look at; promql asks the API of a Prometheus" enum:"http,tcp,command,prometheus,promql" required:"true"`
	Service         grace.ServiceID   `yaml:"service" doc:"the service it watches; of promql that of queries that name none" example:"web"`
	Interval        grace.Duration    `yaml:"interval" doc:"between two samples" default:"10s" min:"100ms"`
	Timeout         grace.Duration    `yaml:"timeout" doc:"an answer that takes longer is a failure" default:"5s" min:"1ms"`
	Code            grace.Code        `yaml:"code" only:"http,tcp,command,prometheus" doc:"the diagnosis code of every failure (default by what went wrong: refused, reset, no such host and exit codes are service_down; 5xx and other unwanted answers elevated_errors; a timeout after the connection was accepted latency_spike)" example:"service_down"`
	Severity        grace.Severity    `yaml:"severity" only:"http,tcp,command,prometheus" doc:"of a failed probe; format nagios says it itself" default:"critical"`
	URL             string            `yaml:"url" only:"http,prometheus,promql" example:"http://127.0.0.1:8080/healthz" doc:"what is asked; also unix:///run/app.sock:/path"`
	Method          string            `yaml:"method" only:"http" doc:"HTTP method (default GET)"`
	Headers         map[string]string `yaml:"headers" only:"http,prometheus,promql" doc:"sent along; credentials as ${env:NAME} or ${file:PATH}"`
	BearerToken     string            `yaml:"bearer_token" only:"http,prometheus,promql" secret:"true" doc:"sent as Authorization: Bearer" example:"\"${env:WEB_TOKEN}\""`
	Username        string            `yaml:"username" only:"http,prometheus,promql" doc:"of basic authentication"`
	Password        string            `yaml:"password" only:"http,prometheus,promql" secret:"true" doc:"of basic authentication"`
	TLS             TLS               `yaml:"tls" only:"http,prometheus,promql" doc:"whom to trust and who GRACE is, for https"`
	Proxy           string            `yaml:"proxy" only:"http,prometheus,promql" doc:"proxy that is asked instead; HTTP_PROXY of the environment does not count" example:"http://proxy.example.com:3128"`
	UnixSocket      string            `yaml:"unix_socket" only:"http,prometheus,promql" doc:"socket that is dialled, whatever the host of the url is" example:"/run/app.sock"`
	FollowRedirects bool              `yaml:"follow_redirects" only:"http" doc:"judge the page that a redirect leads to. Otherwise a redirect is a failure: a login page is no success"`
	Status          int               `yaml:"status" only:"http" doc:"wanted HTTP status (default any 2xx)" min:"0" max:"599"`
	Contains        string            `yaml:"contains" only:"http" doc:"text that the body must hold"`
	NotContains     string            `yaml:"not_contains" only:"http" doc:"text that the body must not hold"`
	Regex           string            `yaml:"regex" only:"http" doc:"regular expression (RE2) that must match somewhere in the body" example:"\"^ok\""`
	JSON            map[string]string `yaml:"json" only:"http" doc:"values that the body, as JSON, must have: keys and list indices joined by dots" example:"{status: ok, checks.0.up: \"true\"}"`
	MaxLatency      grace.Duration    `yaml:"max_latency" only:"http,tcp" doc:"a slower answer fails (default: the timeout)"`
	Address         string            `yaml:"address" only:"tcp" example:"127.0.0.1:5432" doc:"host and port to connect to, or unix:///run/app.sock"`
	Argv            []string          `yaml:"argv" only:"command" example:"[pg_isready, -q]" doc:"program and arguments, never a shell line; exit code 0 passes"`
	Env             map[string]string `yaml:"env" only:"command" doc:"environment of the program; credentials as ${env:NAME} or ${file:PATH}"`
	Format          string            `yaml:"format" only:"command" enum:"nagios,prometheus,json" doc:"read numbers from what it prints, as metrics of the service: nagios also reads exit codes (0 ok, 1 warning, 2 critical, 3 unknown) and performance data; json is {name: number}"`
	Native          bool              `yaml:"native_histograms" only:"prometheus" doc:"ask for the page in protobuf, which has native histograms; the classic ones come beside them"`
	Queries         []query           `yaml:"queries" only:"promql" doc:"what is asked: each element of an answer is a series, with its labels, of the query's name. What expressions ask whose source this sensor is comes besides"`
	Dialect         string            `yaml:"dialect" only:"promql" enum:"promql,metricsql" doc:"of the queries; those of VictoriaMetrics' metricsql are not checked beforehand (default promql)"`
	WarmUp          grace.Duration    `yaml:"warm_up" only:"promql" doc:"how much history is read at the start, so that a restart does not blind the forecasts (default 24h)"`
}

// client says how the sensor asks.
func (s sensor) client() HTTPClient {
	return HTTPClient{
		Auth: httpclient.Auth{Headers: s.Headers, BearerToken: s.BearerToken, Username: s.Username, Password: s.Password},
		TLS:  s.TLS, Proxy: s.Proxy, UnixSocket: s.UnixSocket,
	}
}

// Alertmanager is about the alerts of others: how they are trusted and read.
type Alertmanager struct {
	Bearer        string         `yaml:"bearer" secret:"true" doc:"the token Alertmanager or Prometheus sends; when neither this nor hmac is given, a token of GRACE's own with the role operator" example:"\"${env:ALERTMANAGER_TOKEN}\""`
	HMAC          string         `yaml:"hmac" secret:"true" doc:"key of the signature in X-Signature-256, for senders that sign: t=SECONDS,sha256=HEX of the HMAC of SECONDS, a dot and the body"`
	ServiceLabel  string         `yaml:"service_label" doc:"the label that names the service" default:"service"`
	CodeLabel     string         `yaml:"code_label" doc:"the label that holds the diagnosis code" default:"code"`
	SeverityLabel string         `yaml:"severity_label" doc:"the label that holds the severity; case and common words (fatal, page, error, P1 to P5, info, none) are understood" default:"severity"`
	ReplicaLabel  string         `yaml:"replica_label" doc:"the label by which a pair of Prometheus servers differ; it is no part of an alert's identity" default:"prometheus_replica"`
	Map           []AlertRule    `yaml:"map" doc:"for alerts without such labels: the first rule that matches counts"`
	URL           string         `yaml:"url" doc:"Alertmanager's address. GRACE reads /api/v2/alerts there after every start and reload, soon after a webhook and then every read_every: what is listed goes on, what no longer is is over, and what is silenced or inhibited is not healed" example:"http://127.0.0.1:9093"`
	ReadEvery     grace.Duration `yaml:"read_every" doc:"between two readings of url" default:"30s" min:"1s"`
	HTTP          HTTPClient     `yaml:"http" doc:"how url is asked"`
}

// AlertRule says what an alert with the given labels is about.
type AlertRule struct {
	Match    map[string]string `yaml:"match" doc:"label: value, with * for any text, a|b for either, ! for not, empty for absent, ~ before a regular expression of the whole value; all must hold" required:"true" example:"{alertname: \"Nginx*\", env: \"~prod-[0-9]+\"}"`
	Service  grace.ServiceID   `yaml:"service" doc:"the service it is about, with ${label} for a label's value" example:"${job}"`
	Code     grace.Code        `yaml:"code" doc:"the diagnosis code, with ${label} for a label's value"`
	Severity grace.Severity    `yaml:"severity" doc:"the severity"`
}

// trust is the trust core's section.
type trust struct {
	govern.Config
	ApprovalTTL grace.Duration `yaml:"approval_ttl" doc:"a question to a person expires after this long" default:"30m" min:"1s"`
}

// foresee is the section of the forecasts.
type foresee struct {
	predict.Config
	LSTM string `yaml:"lstm" doc:"file of a trained net that takes part in the forecasts (grace forecast train)" example:"lstm.bin"`
}

// Heartbeat tells somebody else that GRACE lives.
type Heartbeat struct {
	URL      string         `yaml:"url" example:"\"${env:HEARTBEAT_URL}\"" doc:"asked with GET while GRACE can decide and write; who gets it raises the alarm when it stops"`
	Interval grace.Duration `yaml:"interval" doc:"between two requests" default:"1m" min:"1s"`
	HTTPClient
}

// API holds the limits of the API.
type API struct {
	MaxBody            Size           `yaml:"max_body" doc:"largest request body" default:"1MiB"`
	ReadTimeout        grace.Duration `yaml:"read_timeout" doc:"a request must have arrived after this long" default:"10s" min:"100ms"`
	WriteTimeout       grace.Duration `yaml:"write_timeout" doc:"a request must be answered after this long; event streams are exempt" default:"30s" min:"100ms"`
	MaxConnections     int            `yaml:"max_connections" doc:"connections at once, half of them from one address; never more than half of the descriptors that the process may have" default:"1024" min:"2"`
	SessionTTL         grace.Duration `yaml:"session_ttl" doc:"how long a login in the console lasts" default:"12h" min:"1m"`
	DecisionsPerMinute int            `yaml:"decisions_per_minute" doc:"approvals and denials of one person, by API, console or Slack; more get 429 with Retry-After" default:"30" min:"1"`
	OwnApproval        bool           `yaml:"own_approval" doc:"on: a person may approve the run about a condition that the same one reported, and the run by hand that the same one asked for, by API, console or Slack (notify.people says which tokens are whose); admins always may"`
	DecisionBurst      int            `yaml:"decision_burst" doc:"how many of them at once" default:"5" min:"1"`
}

// Metrics is about GET /metrics.
type Metrics struct {
	Unauthenticated bool `yaml:"unauthenticated" doc:"on: /metrics needs no token"`
}

// Retention says how long rows are kept. Zero is for ever. Its fields are
// those of store.Retention, so that the one converts to the other.
type Retention struct {
	Signals     grace.Duration `yaml:"signals" doc:"signals that are ok, since their last sample" default:"168h"`
	Triggers    grace.Duration `yaml:"triggers" doc:"decided and cleared triggers" default:"2160h"`
	Decisions   grace.Duration `yaml:"decisions" doc:"decisions, unless their run is open" default:"2160h"`
	Runs        grace.Duration `yaml:"runs" doc:"ended runs" default:"2160h"`
	Approvals   grace.Duration `yaml:"approvals" doc:"settled approvals" default:"2160h"`
	Incidents   grace.Duration `yaml:"incidents" doc:"resolved incidents" default:"2160h"`
	Predictions grace.Duration `yaml:"predictions" doc:"predictions: what became of them teaches after a restart" default:"2160h"`
	Events      grace.Duration `yaml:"events" doc:"events; a client of the stream that was away for longer starts anew" default:"168h"`
	Operations  grace.Duration `yaml:"operations" doc:"the operational log: transitions of signals, predictions, what was pruned" default:"168h"`
	Learning    grace.Duration `yaml:"learning" doc:"the learning log: what GRACE knows" default:"0s"`
}
