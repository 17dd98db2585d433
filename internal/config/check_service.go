package config

import (
	"maps"
	"slices"

	"grace"
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
	base.DependsOn = slices.Concat(base.DependsOn, s.DependsOn)
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
		seen := map[grace.ServiceID]bool{}
		eachName(at.key("depends_on"), s.DependsOn, func(at spot, id grace.ServiceID) {
			switch {
			case id == s.Name:
				at.add("remove it", "a service does not depend on itself")
			case seen[id]:
				at.warn("remove one of the two", "%s is listed twice", id)
			}
			seen[id] = true
			c.service(at, id)
		})
		for _, id := range slices.Sorted(maps.Keys(s.Bindings)) {
			c.checkBinding(at.key("bindings").key(string(id)), s, id)
		}
		if merged := c.services[s.Name]; len(s.Bindings) > 0 && merged.Criticality == grace.CriticalityUnknown && !at.key("criticality").given() {
			at.key("criticality").warn("say low, medium or high to let playbooks run without a person",
				"not given: the service is treated like a critical one, so that every playbook asks first")
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
