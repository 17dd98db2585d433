package config

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/notify"
	"grace/internal/stage/govern"
)

// checkNotify looks at who is told of what.
func (c *checker) checkNotify() {
	at, n := c.root.key("notify"), c.file.Notify
	names, used := c.checkReceivers(at, n), map[string]bool{}
	last := -1 // the first route that takes everything and ends the search
	for i, r := range n.Routes {
		route := at.key("routes").item(i)
		if last >= 0 {
			route.warn(fmt.Sprintf("set continue: true on routes[%d], or move that one to the end", last), "is never reached: routes[%d] takes everything and does not say continue", last)
		} else if !r.Continue && takesAll(r) {
			last = i
		}
		c.routed(route.key("receivers"), r.Receivers, names, used)
		for j, rung := range r.Escalate {
			at := route.key("escalate").item(j)
			c.routed(at.key("receivers"), rung.Receivers, names, used)
			if j > 0 && rung.After <= r.Escalate[j-1].After {
				at.key("after").add("write the rungs in the order of their times", "is %s, and the rung before it is at %s", shortDuration(rung.After), shortDuration(r.Escalate[j-1].After))
			}
		}
		c.checkRoute(route, r)
		if r.RepeatInterval > 0 && r.RepeatInterval < minRepeat {
			route.key("repeat_interval").add("for example repeat_interval: 1h; 0s, or no key, is never", "is %s, want at least %s: people would be told without end", shortDuration(r.RepeatInterval), shortDuration(minRepeat))
		}
	}
	for i, r := range n.Receivers {
		if len(n.Routes) > 0 && r.Name != "" && !used[r.Name] {
			at.key("receivers").item(i).key("name").warn("name it in a route, or remove it", "no route sends anything to %s", quote(r.Name))
		}
	}
	checkPeople(at.key("people"), n.People)
	if len(n.Receivers) > 0 && c.file.ExternalURL == "" {
		at.key("receivers").warn("set external_url to where people reach this GRACE with a browser", "messages will hold no links")
	}
}

// checkPeople looks at who may answer. A token is one person's: by its name, or
// because it is listed.
func checkPeople(at spot, people []notify.Person) {
	names, users, tokens := map[string]string{}, map[string]string{}, map[string]string{}
	for i, p := range people {
		person := at.item(i)
		checkName(person.key("name"), p.Name)
		if unique(person.key("name"), "person", p.Name, names) {
			tokens[p.Name] = person.path
		}
		unique(person.key("slack"), "Slack user", p.Slack, users)
	}
	for i, p := range people {
		eachName(at.item(i).key("tokens"), p.Tokens, func(at spot, name notify.TokenName) {
			checkName(at, string(name))
			if before, taken := tokens[string(name)]; taken {
				at.add("a token is one person's, and one of a person's name is that person's anyway; remove it here", "the token %s is already that of %s", name, before)
			}
			tokens[string(name)] = at.path
		})
	}
}

// checkReceivers gives the names of the receivers.
func (c *checker) checkReceivers(at spot, n notify.Config) []string {
	first := map[string]string{}
	var names []string
	for i, r := range n.Receivers {
		receiver := at.key("receivers").item(i)
		checkName(receiver.key("name"), r.Name)
		unique(receiver.key("name"), "receiver", r.Name, first)
		names = append(names, r.Name)
		receiverKeys(receiver, r)
		receiver.key("headers").secretsIn(r.Headers)
		checkWebURL(receiver.key("url"), r.URL, "https://chat.example.com/hook")
		checkWebURL(receiver.key("api_url"), r.APIURL, "https://slack.example.com/api/")
		if r.Server != "" {
			checkAddress(receiver.key("server"), r.Server, "smtp.example.com:587")
		}
		checkTLS(receiver.key("tls"), TLS(r.TLS.TLS))
		receiver.key("proxy").secretInURL(r.Proxy)
		checkLogin(receiver, r.Username, r.Password)
		if r.TLS.Mode == "none" && r.Username != "" {
			receiver.key("tls").add("use starttls or implicit", "a password would be sent in the clear")
		}
		if r.Type == "slack" && r.SigningSecret != "" && len(n.People) == 0 {
			receiver.key("signing_secret").warn("map Slack users under notify.people", "nobody may answer from Slack")
		}
		if !receiver.failed() {
			receiver.addError(notify.Check(r))
		}
	}
	return names
}

// receiverKeys reports keys that belong to other types of receiver, and those
// that this one cannot do without.
func receiverKeys(at spot, r notify.Receiver) {
	if r.Type == "" || at.key("type").failed() {
		return
	}
	required := map[string][]string{
		"slack": {"token", "channel"}, "pagerduty": {"routing_key"}, "email": {"server", "from", "to"},
		"webhook": {"url"}, "teams": {"url"}, "mattermost": {"url"}, "ntfy": {"topic"},
	}[r.Type]
	for _, f := range fieldsOf(reflect.TypeFor[notify.Receiver]()) {
		given := at.key(f.name).given()
		if f.only != nil && given && !slices.Contains(f.only, r.Type) {
			at.key(f.name).add("remove the key, or change the type", "a receiver of type %s has no %s; it belongs to %s",
				r.Type, f.name, strings.Join(f.only, ", "))
		}
		switch value := reflect.ValueOf(r).FieldByIndex(f.index); {
		case !slices.Contains(required, f.name):
		case !given:
			at.key(f.name).add(exampleHint(f), "required key is missing for type %s", r.Type)
		case value.Len() == 0 && !at.key(f.name).failed():
			at.key(f.name).add(exampleHint(f), "is empty")
		}
	}
}

// minRepeat is the shortest time after which people are told the same again.
const minRepeat = grace.Duration(time.Minute)

// routed looks at receivers that a route names.
func (c *checker) routed(at spot, list []notify.Name, known []string, used map[string]bool) {
	if len(list) == 0 && at.given() && !at.failed() {
		at.add("name at least one receiver", "what comes here would reach nobody")
	}
	eachName(at, list, func(at spot, name notify.Name) {
		used[string(name)] = true
		if !slices.Contains(known, string(name)) {
			hint := didYouMean(string(name), known)
			if len(known) == 0 {
				hint = "define it under notify.receivers"
			}
			at.add(hint, "unknown receiver %s", quote(string(name)))
		}
	})
}

// takesAll tells whether every message matches a route.
func takesAll(r notify.Route) bool {
	return len(r.Teams)+len(r.Services)+len(r.Events)+len(r.Hours) == 0 && (r.Severity == "" || r.Severity == grace.SeverityInfo)
}

// checkRoute looks at what a route matches. A team or a pattern that matches
// nothing is a warning: domains bring services of their own.
func (c *checker) checkRoute(at spot, r notify.Route) {
	_, err := govern.NewSchedule(r.Hours)
	at.key("hours").addError(err)
	var owners []string
	for _, s := range c.services {
		owners = append(owners, s.Owner)
	}
	eachName(at.key("teams"), r.Teams, func(at spot, team notify.Team) {
		if !slices.Contains(owners, string(team)) {
			at.warn(didYouMean(string(team), slices.Compact(slices.Sorted(slices.Values(owners)))), "no service has the owner %s", quote(string(team)))
		}
	})
	eachName(at.key("services"), r.Services, func(at spot, glob notify.Glob) {
		if _, err := path.Match(string(glob), ""); err != nil {
			at.add("* matches any text, ? one character, [a-c] one of some", "%s is not a pattern", quote(string(glob)))
			return
		}
		for id := range maps.Keys(c.services) {
			if ok, _ := path.Match(string(glob), string(id)); ok {
				return
			}
		}
		at.warn(didYouMean(string(glob), texts(slices.Collect(maps.Keys(c.services))...)), "no service matches %s", quote(string(glob)))
	})
}

// notify gives the configuration with the zone of hours that name none.
func (c *checker) notify() notify.Config {
	out := c.file.Notify
	out.Routes = slices.Clone(out.Routes)
	for i := range out.Routes {
		out.Routes[i].Hours = slices.Clone(out.Routes[i].Hours)
		for j := range out.Routes[i].Hours {
			if w := &out.Routes[i].Hours[j]; w.TimeZone == "" {
				w.TimeZone = c.location.String()
			}
		}
	}
	return out
}
