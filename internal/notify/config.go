package notify

import (
	"crypto/sha256"
	"fmt"
	"path"
	"slices"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/httpclient"
	"grace/internal/stage/govern"
)

// Names that a file may give alone where a list is wanted.
type (
	// Name is that of a receiver.
	Name string
	// Team is the owner of services.
	Team string
	// TokenName is that of a token of the API.
	TokenName string
	// Glob matches service names: * and ? as in file names.
	Glob string
)

// Config says who is told of what.
type Config struct {
	People    []Person   `yaml:"people" doc:"who may answer from Slack"`
	Receivers []Receiver `yaml:"receivers" doc:"where messages go. Without one nobody is told, and status, console and metrics say so"`
	Routes    []Route    `yaml:"routes" doc:"which message goes where: the first route that matches counts, and those after it when it says continue. Without routes every receiver gets everything. A question or an open incident that no route takes goes to every receiver"`
}

// Receiver is one place where messages go. Which keys count depends on its type.
type Receiver struct {
	Name string `yaml:"name" required:"true" example:"team-web" doc:"unique; how routes, commands and metrics call it. A new name begins with what is new"`
	Type string `yaml:"type" required:"true" enum:"slack,pagerduty,email,webhook,teams,ntfy,mattermost" doc:"the kind of receiver"`

	Token         string `yaml:"token" only:"slack,ntfy" secret:"true" example:"\"${env:SLACK_TOKEN}\"" doc:"of a Slack app with chat:write, or an access token of ntfy"`
	Channel       string `yaml:"channel" only:"slack,mattermost" example:"\"#web-alerts\"" doc:"where it writes"`
	SigningSecret string `yaml:"signing_secret" only:"slack" secret:"true" example:"\"${env:SLACK_SIGNING_SECRET}\"" doc:"of the Slack app; with it questions get Approve and Deny buttons, and /api/notify/slack/NAME takes the answers"`
	APIURL        string `yaml:"api_url" only:"slack" doc:"of a Slack that is not slack.com (default https://slack.com/api/)"`

	RoutingKey string `yaml:"routing_key" only:"pagerduty" secret:"true" example:"\"${file:/etc/grace/pagerduty.key}\"" doc:"integration key of a PagerDuty service (Events API v2)"`

	Server   string   `yaml:"server" only:"email" example:"smtp.example.com:587" doc:"host and port of the mail server"`
	From     string   `yaml:"from" only:"email" example:"grace@example.com" doc:"the sender's address"`
	To       []string `yaml:"to" only:"email" example:"[web@example.com]" doc:"who gets the mail"`
	Username string   `yaml:"username" only:"email" doc:"for a server that wants a login"`
	Password string   `yaml:"password" only:"email" secret:"true" example:"\"${env:SMTP_PASSWORD}\"" doc:"of the login"`

	URL     string            `yaml:"url" only:"webhook,teams,mattermost,ntfy,pagerduty" example:"\"${env:HOOK_URL}\"" doc:"what is posted to; it may hold a secret. Of ntfy the server (default https://ntfy.sh), of pagerduty the API (default https://events.pagerduty.com)"`
	Headers map[string]string `yaml:"headers" only:"webhook" doc:"sent along, as Go templates; credentials as ${env:NAME} or ${file:PATH}"`
	Body    string            `yaml:"body" only:"webhook" example:"'{\"text\": {{json .Title}}}'" doc:"Go template of the body (default: the message as JSON); {{json .Title}} quotes a value"`
	HMAC    string            `yaml:"hmac" only:"webhook" secret:"true" example:"\"${env:HOOK_KEY}\"" doc:"key that signs each request in the header X-Grace-Signature"`
	Topic   string            `yaml:"topic" only:"ntfy" example:"grace" doc:"the ntfy topic"`

	TLS     ReceiverTLS    `yaml:"tls" doc:"whom to trust and who GRACE is; of email also how it is begun"`
	Proxy   string         `yaml:"proxy" only:"slack,pagerduty,webhook,teams,mattermost,ntfy" doc:"proxy that is asked instead; HTTP_PROXY of the environment does not count" example:"http://proxy.example.com:3128"`
	Timeout grace.Duration `yaml:"timeout" default:"8s" min:"100ms" max:"10s" doc:"of one attempt"`
}

// ReceiverTLS is the TLS of a receiver; a text alone is its mode.
type ReceiverTLS struct {
	Mode string `yaml:"mode" short:"true" enum:"starttls,implicit,none" doc:"of email: starttls (default) refuses a server without it; implicit is TLS from the first byte (port 465); none sends in the clear. tls: implicit says the same"`
	httpclient.TLS
}

// Route sends messages to receivers. What it does not say matches everything.
type Route struct {
	Teams    []Team          `yaml:"teams" example:"[team-web]" doc:"owners of the service"`
	Services []Glob          `yaml:"services" example:"[\"web*\"]" doc:"names of the service, * and ? as in file names"`
	Severity grace.Severity  `yaml:"severity" doc:"the mildest that matches"`
	Events   []Kind          `yaml:"events" example:"[asked, unhealed, escalated]" enum:"asked,acted,helped,ineffective,undone,unhealed,escalated,acknowledged,resolved,mode_changed,circuit_breaker" doc:"what happened. An end goes to who was told of the beginning, whatever is named here"`
	Hours    []govern.Window `yaml:"hours" doc:"working hours: outside of all of them the route does not match"`

	Receivers      []Name         `yaml:"receivers" required:"true" example:"[team-web]" doc:"who is told"`
	Continue       bool           `yaml:"continue" doc:"the routes after this one are looked at too"`
	SendResolved   bool           `yaml:"send_resolved" default:"true" doc:"who was told of a question or an incident is told of its answer, acknowledgement and end"`
	RepeatInterval grace.Duration `yaml:"repeat_interval" example:"1h" min:"0s" doc:"says a question or an incident again that is still open and not acknowledged; at least 1m (default: never)"`
	Escalate       []Rung         `yaml:"escalate" doc:"the ladder: who is told when nobody answers a question or acknowledges an incident"`
}

// Rung is one step of an escalation ladder.
type Rung struct {
	After     grace.Duration `yaml:"after" required:"true" example:"10m" min:"1s" doc:"counted from the first message that the route matched"`
	Receivers []Name         `yaml:"receivers" required:"true" example:"[oncall]" doc:"who is told then"`
}

// Person may answer questions from elsewhere.
type Person struct {
	Name  string `yaml:"name" required:"true" example:"ada" doc:"how the audit log names who answered: slack:NAME"`
	Slack string `yaml:"slack" required:"true" example:"U012AB3CD" doc:"the person's Slack user id"`
	Role  string `yaml:"role" required:"true" enum:"viewer,operator,approver,admin" doc:"approver and admin may answer questions"`

	Tokens []TokenName `yaml:"tokens" example:"[ada-laptop]" doc:"the person's tokens of the API that have another name; one of the same name always counts. What a person reported or asked for with a token, that person does not approve from Slack either (api.own_approval)"`
}

// Names gives how the audit log names the person.
func (p Person) Names() []string {
	names := []string{"slack:" + p.Name, "token:" + p.Name}
	for _, t := range p.Tokens {
		names = append(names, "token:"+string(t))
	}
	return names
}

// maxTimeout of one attempt: another replica takes a dead one's receivers over
// after it.
const maxTimeout = 10 * time.Second

func (r Receiver) timeout() time.Duration {
	if t := r.Timeout.D(); t > 0 {
		return min(t, maxTimeout)
	}
	return maxTimeout
}

// mayAnswer tells whether a role may answer questions.
func mayAnswer(role string) bool { return role == "approver" || role == "admin" }

// Router finds the receivers of a message.
type Router struct {
	receivers []string
	routes    []route
}

type route struct {
	Route
	hours govern.Schedule
	key   string // a route that was changed is another one
}

// NewRouter reads the routes. Its errors are [grace.FieldError].
func NewRouter(c Config) (*Router, error) {
	r := &Router{}
	for _, one := range c.Receivers {
		r.receivers = append(r.receivers, one.Name)
	}
	for i, one := range c.Routes {
		hours, err := govern.NewSchedule(one.Hours)
		if err != nil {
			return nil, grace.Under(fmt.Sprintf("routes[%d].hours", i), err)
		}
		r.routes = append(r.routes, route{one, hours, fmt.Sprintf("%x", sha256.Sum256(event.Encode(one)))[:16]})
	}
	return r, nil
}

// matching gives the routes of a message, in order.
func (r *Router) matching(m *Message) []route {
	var out []route
	for _, one := range r.routes {
		if !one.matches(m) {
			continue
		}
		out = append(out, one)
		if !one.Continue {
			break
		}
	}
	return out
}

// Receivers gives who gets a message, in the order of the routes, whatever they
// were told before. What needs a person and is taken by no route goes to
// everybody: a gap in the routes must not be a silence. An end goes to who was
// told of the beginning, and by the routes only where they name it.
func (r *Router) Receivers(m *Message) []string {
	if len(m.to) > 0 { // the ladder has chosen
		return slices.DeleteFunc(slices.Clone(m.to), func(name string) bool { return !slices.Contains(r.receivers, name) })
	}
	if len(r.routes) == 0 {
		if m.twin || m.over() { // of a twin they get the incident, which says the same
			return nil
		}
		return r.receivers
	}
	routes := r.matching(m)
	if len(routes) == 0 && m.Kind.needsPerson() && !m.twin && !m.over() {
		return r.receivers
	}
	var out []string
	for _, one := range routes {
		if m.over() && (!one.SendResolved || !slices.Contains(one.Events, m.Kind)) {
			continue
		}
		for _, name := range one.Receivers {
			if !slices.Contains(out, string(name)) {
				out = append(out, string(name))
			}
		}
	}
	return out
}

func (r route) matches(m *Message) bool {
	if r.Severity != "" && m.Severity.Rank() < r.Severity.Rank() {
		return false
	}
	if len(r.Teams) > 0 && !slices.ContainsFunc(m.Teams, func(t string) bool { return slices.Contains(r.Teams, Team(t)) }) {
		return false
	}
	if len(r.Services) > 0 && !slices.ContainsFunc(m.Services, r.names) {
		return false
	}
	return r.takes(m) && r.hours.Open(m.At)
}

// wantsEnd tells whether a receiver that is told of something open is told of its
// end, too: unless every route that names it says no.
func (r *Router) wantsEnd(m *Message, name string) bool {
	if !slices.Contains(r.Receivers(m), name) {
		return false // it was told before, which said so
	}
	named := false
	for _, one := range r.matching(m) {
		if one.tells(Name(name)) {
			named = true
			if one.SendResolved {
				return true
			}
		}
	}
	return !named
}

// tells tells whether a receiver is the route's or its ladder's.
func (r route) tells(name Name) bool {
	return slices.Contains(r.Receivers, name) ||
		slices.ContainsFunc(r.Escalate, func(rung Rung) bool { return slices.Contains(rung.Receivers, name) })
}

func (r route) names(id grace.ServiceID) bool {
	return slices.ContainsFunc(r.Services, func(g Glob) bool {
		ok, err := path.Match(string(g), string(id))
		return ok && err == nil
	})
}

// takes tells whether the route wants what happened.
func (r route) takes(m *Message) bool {
	if m.twin && r.wants(Unhealed) {
		return false // the incident of the same run says the same
	}
	return r.wants(m.Kind) || slices.ContainsFunc(m.also, r.wants)
}

func (r route) wants(k Kind) bool { return len(r.Events) == 0 || slices.Contains(r.Events, k) }
