package heal

import (
	"strings"

	"grace"
	"grace/internal/stage/propose"
	"grace/internal/stage/verify"
)

// BoundCheck is a check of the runs of a playbook on a service.
type BoundCheck struct {
	grace.Check

	Service  grace.ServiceID
	Playbook grace.PlaybookID
}

// Asked tells whether the check's source is asked for it, as it is where all of its ${names}
// are known before a run.
func (c BoundCheck) Asked() bool { return c.Source != "" && !strings.Contains(c.Expr, "${") }

// Checks gives the checks of what is bound, see [Watched], each expression of a source once.
func Checks(services []grace.Service, playbooks []grace.Playbook) (out []BoundCheck) {
	type id struct{ expr, source string }
	seen := map[id]bool{}
	for _, s := range services {
		for _, p := range playbooks {
			bound, ok := p.Bind(s)
			if !ok {
				continue
			}
			for _, c := range Watched(bound, s.ID) {
				if one := (id{c.Expr, c.Source}); !seen[one] {
					seen[one] = true
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// Watched gives the checks with an expression that runs of a bound playbook on a service may
// have: with its parameters' values, and as outlines in which a value within quotes stays a
// ${name}, as a run by hand may have another.
func Watched(p grace.Playbook, service grace.ServiceID) (out []BoundCheck) {
	parameters, _ := propose.ResolveParameters(p) // without, numbers have none
	add := func(c *grace.Check) {
		if c == nil || c.Expr == "" {
			return
		}
		for _, any := range []bool{false, true} {
			one := BoundCheck{*c, service, p.ID}
			one.Expr = verify.Outline(verify.Replace(c.Expr, func(name string, quoted bool) string {
				value, known := parameters[name]
				switch {
				case name == "service":
					return string(service)
				case known && (!any || !quoted):
					if fit, err := fitExpr(quoted, text(value)); err == nil {
						return fit
					}
				}
				return "${" + name + "}"
			}))
			out = append(out, one)
		}
	}
	for i := range p.Verify {
		add(&p.Verify[i])
	}
	for _, s := range p.Steps {
		add(s.Check)
		if s.Undo != nil {
			add(s.Undo.Check)
		}
	}
	return out
}
