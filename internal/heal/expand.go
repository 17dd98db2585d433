package heal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"grace"
)

// variable is one ${name} that a playbook may use.
type variable struct {
	name  string
	value any
	later bool // not known yet: the ${name} stays
}

// vars gives the run's parameters and ids, and more.
func (x *execution) vars(more ...variable) []variable {
	vars := []variable{{name: "service", value: string(x.run.Service)}, {name: "run", value: string(x.run.ID)}}
	for k, v := range x.run.Parameters {
		vars = append(vars, variable{name: k, value: v})
	}
	return append(vars, more...)
}

const snapshotPrefix = "snapshot."

// snapshotVars gives what was read before a step, as ${snapshot.key}.
func snapshotVars(data map[string]string) []variable {
	var vars []variable
	for k, v := range data {
		vars = append(vars, variable{name: snapshotPrefix + k, value: v})
	}
	return vars
}

// Preview gives a playbook with everything resolved that is known before a run:
// the service and the parameters. ${run} and ${snapshot.*} stay.
func Preview(p grace.Playbook, service grace.ServiceID, parameters map[string]any) grace.Playbook {
	vars := []variable{{name: "service", value: string(service)}, {name: "run", later: true}}
	for k, v := range parameters {
		vars = append(vars, variable{name: k, value: v})
	}
	known := func(c *grace.Call) *grace.Call {
		if c == nil {
			return nil
		}
		out := *c
		if with, err := expandMap(c.With, vars); err == nil {
			out.With = with
		}
		return &out
	}
	p.Steps = slices.Clone(p.Steps)
	for i, s := range p.Steps {
		p.Steps[i].With = known(&grace.Call{With: s.With}).With
		p.Steps[i].Undo, p.Steps[i].Snapshot = known(s.Undo), known(s.Snapshot)
	}
	p.Verify = slices.Clone(p.Verify)
	for i, c := range p.Verify {
		p.Verify[i] = expandCheck(c, vars)
	}
	return p
}

// expandMap resolves every ${name} in every string of with. A string that is
// nothing but one ${name} takes the value's own type. Secret references
// (${env:..}, ${file:..}) of the playbook itself stay for the action; what is put
// in for a ${name} is data and never becomes one. An unknown name is an error:
// acting on a literal "${servcie}" is never what was meant.
func expandMap(with map[string]any, vars []variable) (map[string]any, error) {
	out := make(map[string]any, len(with))
	for k, v := range with {
		x, err := expandAny(v, placeOf(k, v), vars)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		out[k] = x
	}
	return out, nil
}

func expandAny(v any, at place, vars []variable) (any, error) {
	switch v := v.(type) {
	case string:
		return expandString(v, at, vars)
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			x, err := expandAny(e, at, vars)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			out[k] = x
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			here := at
			if at == inArgv {
				here = argument(v[:i])
			}
			x, err := expandAny(e, here, vars)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			out[i] = x
		}
		return out, nil
	default:
		return v, nil
	}
}

func expandString(s string, at place, vars []variable) (any, error) {
	var out strings.Builder
	for rest := s; ; {
		i := strings.Index(rest, "${")
		if i < 0 {
			out.WriteString(rest)
			return out.String(), nil
		}
		j := strings.IndexByte(rest[i:], '}')
		if j < 0 {
			out.WriteString(rest)
			return out.String(), nil
		}
		name := rest[i+2 : i+j]
		whole := rest[i : i+j+1]
		out.WriteString(rest[:i])
		rest = rest[i+j+1:]
		if strings.HasPrefix(name, "env:") || strings.HasPrefix(name, "file:") {
			out.WriteString(whole)
			continue
		}
		k := slices.IndexFunc(vars, func(v variable) bool { return v.name == name })
		if k < 0 {
			return nil, fmt.Errorf("unknown ${%s}", name)
		}
		v := vars[k]
		if v.later {
			out.WriteString(whole)
			continue
		}
		value := text(v.value)
		if name == "service" && !grace.ServiceID(value).Valid() {
			return nil, fmt.Errorf("${service} is %.80q, which has not the form of a service's name", value)
		}
		if makesReference(out.String(), value) {
			return nil, fmt.Errorf("${%s} holds a reference like ${...}: what is put in is data and is never resolved; write the reference in the step itself", name)
		}
		value, err := at.fit(out.String(), value, v.value, rest == "")
		if err != nil {
			return nil, fmt.Errorf("${%s} is %.80q: %w", name, text(v.value), err)
		}
		if whole == s {
			if _, isText := v.value.(string); isText {
				return value, nil
			}
			return v.value, nil
		}
		out.WriteString(value)
	}
}

// makesReference tells whether a value would, behind what is there already,
// begin a reference. The action would resolve it, and so hand any secret of this
// host to whoever wrote the value.
func makesReference(before, value string) bool {
	return strings.Contains(value, "${") || strings.HasSuffix(value, "$") ||
		strings.HasSuffix(before, "$") && strings.HasPrefix(value, "{")
}

// text writes a value as it stands within a longer text. A run's parameters
// have been through JSON, so that a whole number is a float64 here: it must not
// become 1e+06.
func text(v any) string {
	if f, ok := v.(float64); ok {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// expandCheck resolves a check's texts. An unknown name is left as it is: the
// probe then fails, which is the safe side.
func expandCheck(c grace.Check, vars []variable) grace.Check {
	resolved := func(s string, at place) string {
		v, err := expandString(s, at, vars)
		if err != nil {
			return s
		}
		return text(v)
	}
	c.URL, c.Expr = resolved(c.URL, inURL), resolved(c.Expr, inExpr)
	argv := slices.Clone(c.Argv)
	for i := range argv {
		argv[i] = resolved(c.Argv[i], argumentOf(c.Argv[:i]))
	}
	c.Argv = argv
	return c
}
