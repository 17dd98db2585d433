package config

import (
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/labelmap"
	"grace/internal/stage/govern"
	"grace/sensor/promql"
)

// checker holds what the file's names may point to. Its methods look at one
// part each and may be called only after addPlaybooks and addServices.
type checker struct {
	root     spot
	file     *file
	options  Options
	location *time.Location
	sources  []*decoder // of playbook files

	rules        []*ruleFile
	ruleProblems Problems
	recorded     map[string][]promql.Query // what sources are asked that SLOs record
	resolver     *labelmap.Services        // of what rules find to services
	treated      []string                  // codes that some playbook treats

	playbooks map[grace.PlaybookID]grace.Playbook // seed and configured, merged
	written   []writtenPlaybook
	needs     []Need
	services  map[grace.ServiceID]grace.Service // configured and of domains, merged
	anyName   bool                              // no services are known: any name passes (Lint)
}

func newChecker(root spot, f *file, o Options) *checker {
	c := &checker{
		root: root, file: f, options: o, location: time.UTC,
		playbooks: map[grace.PlaybookID]grace.Playbook{},
		services:  map[grace.ServiceID]grace.Service{},
		recorded:  map[string][]promql.Query{},
	}
	for _, p := range o.SeedPlaybooks {
		c.playbooks[p.ID] = p
	}
	return c
}

// problems gives those of all files.
func (c *checker) problems() Problems {
	out := c.root.d.problems
	for _, d := range c.sources {
		out = append(out, d.problems...)
	}
	return append(out, c.ruleProblems...)
}

// nameForm keeps names apart in keys, URLs and command lines.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func checkName(at spot, name string) {
	if name != "" && !nameForm.MatchString(name) {
		at.add("use letters, digits, dot, dash and underscore, and begin with a letter or digit", "%s is not a name", quote(name))
	}
}

// unique reports a name that was used before; first maps names to where.
func unique(at spot, kind, name string, first map[string]string) bool {
	if name == "" {
		return true
	}
	if before, taken := first[name]; taken {
		at.add("rename one of the two", "%s %s was already defined at %s", kind, name, before)
		return false
	}
	first[name] = parent(at.path)
	return true
}

// service reports a service that is not there.
func (c *checker) service(at spot, id grace.ServiceID) {
	if hint, unknown := c.unknown(id); unknown {
		at.add(hint, "unknown service %s", quote(string(id)))
	}
}

// unknown tells whether no service has this name, and what to do about it.
func (c *checker) unknown(id grace.ServiceID) (hint string, unknown bool) {
	if _, ok := c.services[id]; ok || id == "" || c.anyName || id == grace.CoreService {
		return "", false
	}
	var known []string
	for k := range c.services {
		if !c.domains(k) {
			known = append(known, string(k))
		}
	}
	hint = didYouMean(string(id), known)
	if !strings.HasPrefix(hint, "did you mean") {
		hint = strings.TrimSuffix("define it under services; "+hint, "; ")
	}
	return hint, true
}

// playbook reports a playbook that is not there.
func (c *checker) playbook(at spot, id grace.PlaybookID) bool {
	if _, ok := c.playbooks[id]; ok {
		return true
	}
	at.add(didYouMean(string(id), texts(slices.Collect(maps.Keys(c.playbooks))...)), "unknown playbook %s", quote(string(id)))
	return false
}

// checkPlaces looks at addresses and the like at the top of the file.
func (c *checker) checkPlaces() {
	f, root := c.file, c.root
	checkAddress(root.key("listen"), f.Listen, "127.0.0.1:8000")
	if f.Database != "" {
		at := root.key("database")
		at.secretInURL(f.Database)
		if u, err := url.Parse(f.Database); len(references(f.Database)) == 0 &&
			(err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql") {
			at.add("for example postgres://grace@db.example.com/grace; leave it out for SQLite in data_dir", "want a PostgreSQL URL")
		}
	}
	if f.DataDir == "" {
		root.key("data_dir").add("leave the key out for the default", "must not be empty")
	} else if at := root.key("data_dir"); c.options.Host {
		at.checkFolder(f.DataDir)
	}
	checkWebURL(root.key("external_url"), f.ExternalURL, "https://grace.example.com")
	checkWebURL(root.key("heartbeat").key("url"), f.Heartbeat.URL, "https://watch.example.com/ping/grace")
	f.Heartbeat.check(root.key("heartbeat"))
	c.checkTimeZone()
}

// checkAddress looks at where something listens.
func checkAddress(at spot, text, example string) {
	_, port, err := net.SplitHostPort(text)
	if err != nil || port == "" {
		_, usual, _ := net.SplitHostPort(example)
		at.add("for example "+example+", or :"+usual+" for every address of this machine", "%s is not an address with a port", quote(text))
	} else if _, err := net.LookupPort("tcp", port); err != nil {
		at.add("a port is a number from 0 to 65535", "%s is not a port", quote(port))
	}
}

func checkWebURL(at spot, text, example string) {
	if text == "" || strings.HasPrefix(text, "${") || at.failed() {
		return
	}
	at.secretInURL(text)
	if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		at.add("for example "+example, "%s is not an http or https address", quote(text))
	}
}

func (c *checker) checkTimeZone() {
	if zone := checkZone(c.root.key("time_zone"), c.file.TimeZone); zone != nil {
		c.location = zone
	}
}

// checkZone gives a time zone; nil where there is none of that name.
func checkZone(at spot, name string) *time.Location {
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		at.add("an IANA name, for example Europe/Berlin or UTC", "unknown time zone %s", quote(name))
		return nil
	}
	return zone
}

// govern gives the trust core's configuration with the change windows, which
// stand in a section of their own.
func (c *checker) govern() govern.Config {
	cfg := c.file.Trust.Config
	cfg.Windows = slices.Clone(c.file.ChangeWindows)
	for i := range cfg.Windows {
		if cfg.Windows[i].TimeZone == "" {
			cfg.Windows[i].TimeZone = c.location.String()
		}
	}
	return cfg
}

// checkTelling warns of a critical service that people hear of later than of others.
func (c *checker) checkTelling() {
	all, critical := c.root.key("escalate_after"), c.root.key("escalate_after_critical")
	at := critical
	if !at.given() {
		at = all
	}
	if c.file.EscalateAfterCritical > c.file.EscalateAfter && !all.failed() && !critical.failed() {
		at.warn("lower escalate_after_critical, or raise escalate_after", "escalate_after_critical (%s) is longer than escalate_after (%s): people hear of a critical service later than of others",
			shortDuration(c.file.EscalateAfterCritical), shortDuration(c.file.EscalateAfter))
	}
}

// checkStages asks every stage about its own section.
func (c *checker) checkStages() {
	f, root := c.file, c.root
	root.key("sense").addError(f.Sense.Validate())
	root.key("predict").addError(f.Predict.Validate())
	checkNet(root.key("predict").key("lstm"), f.Predict.LSTM)
	root.key("diagnose").addError(f.Diagnose.Validate())
	root.key("propose").addError(f.Propose.Validate())
	root.key("trust").addError(f.Trust.Validate())
	_, err := govern.NewSchedule(c.govern().Windows)
	root.key("change_windows").addError(err)
	names := map[string]string{}
	for i, w := range f.ChangeWindows {
		unique(root.key("change_windows").item(i).key("name"), "change window", w.Name, names)
	}
	for i, p := range f.Trust.Policies {
		at := root.key("trust").key("policies").item(i).key("conditions")
		if !at.given() {
			continue // a default policy, or one without conditions
		}
		eachName(at.key("service"), p.Conditions.Service, c.service)
		eachName(at.key("playbook"), p.Conditions.Playbook, func(at spot, id grace.PlaybookID) { c.playbook(at, id) })
	}
}

// eachName visits a list of names that may have been written as one.
func eachName[T ~string](at spot, names []T, visit func(spot, T)) {
	for i, name := range names {
		if at.item(i).given() {
			visit(at.item(i), name)
		} else {
			visit(at, name)
		}
	}
}
