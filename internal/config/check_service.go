package config

import (
	"maps"
	"slices"

	"grace"
	"grace/internal/stage/sense"
)

// addServices gathers the services of the file and of the domains, so that
// names can be looked up.
func (c *checker) addServices() {
	for _, s := range c.options.ExtraServices {
		c.services[s.ID] = s
	}
	first := map[string]string{}
	for i, s := range c.file.Services {
		at := c.root.key("services").item(i)
		if s.Name == "" {
			continue // reported as missing
		}
		checkName(at.key("name"), string(s.Name))
		if unique(at.key("name"), "service", string(s.Name), first) {
			c.services[s.Name] = s.over(c.services[s.Name])
		}
	}
}

// over lays a configured service over the domain's of the same name.
func (s service) over(base grace.Service) grace.Service {
	base.ID = s.Name
	if s.Owner != "" {
		base.Owner = s.Owner
	}
	if s.Criticality != grace.CriticalityUnknown {
		base.Criticality = s.Criticality
	}
	if s.TimeZone != "" {
		base.TimeZone = s.TimeZone
	}
	base.DependsOn, base.Groups = slices.Clone(base.DependsOn), slices.Clone(base.Groups)
	for _, d := range s.DependsOn {
		switch {
		case d.Service != "":
			base.DependsOn = append(base.DependsOn, d.Service)
		case d.KOfN != nil:
			base.Groups = append(base.Groups, grace.Group{Need: d.KOfN.K, Of: d.KOfN.Of})
		case len(d.AnyOf) > 0:
			base.Groups = append(base.Groups, grace.Group{Need: 1, Of: d.AnyOf})
		}
	}
	base.Labels = mergeMaps(base.Labels, s.Labels)
	bindings := map[grace.PlaybookID]grace.Binding{}
	for id, b := range s.Bindings {
		bindings[id] = b.grace()
	}
	base.Bindings = mergeMaps(base.Bindings, bindings)
	return base
}

func mergeMaps[K comparable, V any](a, b map[K]V) map[K]V {
	if len(a)+len(b) == 0 {
		return nil
	}
	out := maps.Clone(a)
	if out == nil {
		out = map[K]V{}
	}
	maps.Copy(out, b)
	return out
}

// checkServices looks at what services point to.
func (c *checker) checkServices() {
	for i, s := range c.file.Services {
		at := c.root.key("services").item(i)
		c.checkDependencies(at.key("depends_on"), s)
		checkZone(at.key("time_zone"), s.TimeZone)
		for _, id := range slices.Sorted(maps.Keys(s.Bindings)) {
			c.checkBinding(at.key("bindings").key(string(id)), s, id)
		}
		if merged := c.services[s.Name]; len(s.Bindings) > 0 && merged.Criticality == grace.CriticalityUnknown && !at.key("criticality").given() {
			at.key("criticality").warn("say low, medium or high to let playbooks run without a person",
				"not given: the service is treated like a critical one, so that every playbook asks first")
		}
	}
}

// checkDependencies looks at what a service cannot do without.
func (c *checker) checkDependencies(at spot, s service) {
	seen := map[grace.ServiceID]bool{}
	look := func(at spot, id grace.ServiceID) {
		switch {
		case id == s.Name:
			at.add("remove it", "a service does not depend on itself")
		case seen[id]:
			at.warn("remove one of the two", "%s is listed twice", id)
		}
		seen[id] = true
		c.service(at, id)
	}
	for i, d := range s.DependsOn {
		at := at.item(i)
		given := 0
		for _, is := range []bool{d.Service != "", len(d.AnyOf) > 0, d.KOfN != nil} {
			if is {
				given++
			}
		}
		if given != 1 {
			at.add("write [database], or [{any_of: [web-1, web-2]}], or [{k_of_n: {k: 2, of: [a, b, c]}}]", "want a service, any_of or k_of_n, and only one of them")
		}
		if d.Service != "" {
			look(at, d.Service)
		}
		eachName(at.key("any_of"), d.AnyOf, look)
		if d.KOfN != nil {
			eachName(at.key("k_of_n").key("of"), d.KOfN.Of, look)
			if d.KOfN.K > len(d.KOfN.Of) {
				at.key("k_of_n").key("k").add("lower it, or name more services", "%d of %d can never be well", d.KOfN.K, len(d.KOfN.Of))
			}
		}
	}
}

// checkBinding looks at what a playbook means for a service, joined as it will
// run.
func (c *checker) checkBinding(at spot, s service, id grace.PlaybookID) {
	if !c.playbook(at, id) {
		return
	}
	b := s.Bindings[id]
	bound, ok := c.playbooks[id].Bind(grace.Service{ID: s.Name, Bindings: map[grace.PlaybookID]grace.Binding{id: b.grace()}})
	if !ok {
		at.key("steps").add("say what it does here, for example steps: [{name: restart, action: systemd, ...}]",
			"the playbook has no steps of its own, and the binding gives none")
	}
	c.checkArguments(at.key("arguments"), bound)
	c.checkRemedy(at, b.Remedy, bound)
	if ok {
		c.checkWhole(at, bound)
	}
	c.checkMeasured(at, bound, s.Name)
}

// checkWatched warns of services that nothing in the file looks at. Who sends alerts
// may name them: where alertmanager is set up, or nothing at all is looked at, all.
func (c *checker) checkWatched() {
	if len(c.file.Sensors)+len(c.file.Objectives) == 0 || len(c.rules) > 0 || c.root.key("alertmanager").given() || c.root.key("sensors").failed() || c.root.key("objectives").failed() {
		return
	}
	for i, s := range c.file.Services {
		objective := slices.ContainsFunc(c.file.Objectives, func(o sense.Objective) bool { return o.Service == s.Name || o.Service == "" && o.Source != "" })
		if objective || s.Name == "" || c.domains(s.Name) || slices.ContainsFunc(c.file.Sensors, func(x sensor) bool { return x.watches(s.Name) }) {
			continue
		}
		c.root.key("services").item(i).key("name").warn("add a sensor for it; if alerts name it, say under alertmanager how: alertmanager: {service_label: service}",
			"nothing in this file watches %s: it stays unknown until somebody sends a signal of it", s.Name)
	}
}

// watches tells whether the sensor tells something of a service.
func (s sensor) watches(id grace.ServiceID) bool {
	return s.Service == id || slices.ContainsFunc(s.Queries, func(q query) bool { return q.Service == id || q.ServiceLabel != "" })
}

func (r Remedy) grace() grace.Binding {
	return grace.Binding{
		Arguments: r.Arguments, Steps: r.Steps, Verify: r.Verify,
		Settle: r.Settle, Soak: r.Soak, Watchdog: r.Watchdog,
	}
}

func (b binding) grace() grace.Binding {
	out := b.Remedy.grace()
	out.AutoOverride, out.ImpactOverride = b.Auto, b.Impact
	return out
}
