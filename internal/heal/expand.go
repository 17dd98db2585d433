package heal

import (
	"fmt"
	"slices"
	"strings"

	"grace"
)

// variable is one ${name} that a playbook may use.
type variable struct {
	name  string
	value any
}

// vars gives the run's parameters and ids, and more.
func (x *execution) vars(more ...variable) []variable {
	vars := []variable{{"service", string(x.run.Service)}, {"run", string(x.run.ID)}}
	for k, v := range x.run.Parameters {
		vars = append(vars, variable{k, v})
	}
	return append(vars, more...)
}

// snapshotOf gives what was recorded before a step, as ${snapshot.key}.
func snapshotOf(run grace.Run, step string) []variable {
	var vars []variable
	for k, v := range recordOf(run, step).Snapshot {
		vars = append(vars, variable{"snapshot." + k, v})
	}
	return vars
}

// Preview gives a playbook with everything resolved that is known before a run:
// the service and the parameters. ${run} and ${snapshot.*} stay.
func Preview(p grace.Playbook, service grace.ServiceID, parameters map[string]any) grace.Playbook {
	vars := []variable{{"service", string(service)}, {"run", "${run}"}}
	for k, v := range parameters {
		vars = append(vars, variable{k, v})
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
// (${env:..}, ${file:..}) stay for the action. An unknown name is an error:
// acting on a literal "${servcie}" is never what was meant.
func expandMap(with map[string]any, vars []variable) (map[string]any, error) {
	out, err := expandAny(with, vars)
	if err != nil {
		return nil, err
	}
	m, _ := out.(map[string]any)
	return m, nil
}

func expandAny(v any, vars []variable) (any, error) {
	switch v := v.(type) {
	case string:
		return expandString(v, vars)
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			x, err := expandAny(e, vars)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			out[k] = x
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			x, err := expandAny(e, vars)
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

func expandString(s string, vars []variable) (any, error) {
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
		if whole == s {
			return vars[k].value, nil
		}
		fmt.Fprint(&out, vars[k].value)
	}
}

// expandCheck resolves a check's texts. An unknown name is left as it is: the
// probe then fails, which is the safe side.
func expandCheck(c grace.Check, vars []variable) grace.Check {
	text := func(s string) string {
		v, err := expandString(s, vars)
		if err != nil {
			return s
		}
		return fmt.Sprint(v)
	}
	c.URL, c.Metric = text(c.URL), text(c.Metric)
	c.Service = grace.ServiceID(text(string(c.Service)))
	c.Argv = slices.Clone(c.Argv)
	for i := range c.Argv {
		c.Argv[i] = text(c.Argv[i])
	}
	return c
}
