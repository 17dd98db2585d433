package propose

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
)

// ResolveParameters gives the values a playbook runs with: each parameter's
// argument or else its default, checked against its bounds. An int becomes an
// int, a string a string, and a duration its text ("1m30s"), so that a value
// reads back from JSON with the same meaning; a bare number given for a
// duration is in seconds. A parameter with neither argument nor default is
// left out, unless it is required.
//
// The error joins every fault; each names the parameter, the value and the
// bound.
func ResolveParameters(p grace.Playbook) (map[string]any, error) {
	var errs []error
	values := make(map[string]any, len(p.Parameters))
	declared := make(map[string]bool, len(p.Parameters))
	for _, param := range p.Parameters {
		declared[param.Name] = true
		given, ok := p.Arguments[param.Name]
		if !ok || given == nil {
			given = param.Default
		}
		if given == nil {
			if param.Required || param.NonEmpty {
				errs = append(errs, fmt.Errorf("parameter %s: missing; it is required and has no default", param.Name))
			}
			continue
		}
		v, err := resolve(param, given)
		if err != nil {
			errs = append(errs, fmt.Errorf("parameter %s: %w", param.Name, err))
			continue
		}
		values[param.Name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(p.Arguments)) {
		if !declared[name] {
			errs = append(errs, fmt.Errorf("parameter %s: playbook %s has none of this name", name, p.ID))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return values, nil
}

func resolve(param grace.Parameter, given any) (any, error) {
	var value any
	var text string
	switch param.Type {
	case grace.ParameterInt:
		n, err := integer(given)
		if err != nil {
			return nil, err
		}
		if err := within(param, float64(n), strconv.Itoa(n), ""); err != nil {
			return nil, err
		}
		value, text = n, strconv.Itoa(n)
	case grace.ParameterDuration:
		d, err := duration(given)
		if err != nil {
			return nil, err
		}
		if err := within(param, d.Seconds(), d.String(), "s"); err != nil {
			return nil, err
		}
		value, text = d.String(), d.String()
	case grace.ParameterString:
		s, ok := given.(string)
		if !ok {
			return nil, fmt.Errorf("%v is not a string", given)
		}
		if strings.Contains(s, "${") {
			return nil, fmt.Errorf("%q holds a reference; a parameter is never resolved: write ${env:NAME} or ${file:/path} in the step itself", s)
		}
		value, text = s, s
	default:
		return nil, fmt.Errorf("type %q is not known; want string, int or duration", param.Type)
	}
	if param.NonEmpty && strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("%q is empty; it must not be", text)
	}
	if len(param.Allowed) > 0 && !slices.Contains(param.Allowed, text) {
		return nil, fmt.Errorf("%q is not allowed; want one of %s", text, strings.Join(param.Allowed, ", "))
	}
	return value, nil
}

func within(param grace.Parameter, v float64, text, unit string) error {
	bound := func(b float64) string { return strconv.FormatFloat(b, 'f', -1, 64) + unit }
	if param.Min != nil && v < *param.Min {
		return fmt.Errorf("%s is below the minimum %s", text, bound(*param.Min))
	}
	if param.Max != nil && v > *param.Max {
		return fmt.Errorf("%s is above the maximum %s", text, bound(*param.Max))
	}
	return nil
}

// integer reads what YAML, JSON and Go give for a whole number.
func integer(given any) (int, error) {
	switch v := given.(type) {
	case int:
		return v, nil
	case int64:
		return int(v), nil
	case uint64:
		if v <= math.MaxInt64 {
			return int(v), nil
		}
	case float64:
		const exact = 1 << 53 // beyond it a float64 leaves out whole numbers
		if v == math.Trunc(v) && math.Abs(v) <= exact {
			return int(v), nil
		}
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil {
			return n, nil
		}
	case string:
		if n, err := strconv.Atoi(v); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%v is not a whole number", given)
}

func duration(given any) (time.Duration, error) {
	switch v := given.(type) {
	case grace.Duration:
		return v.D(), nil
	case time.Duration:
		return v, nil
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d, nil
		}
	}
	seconds, err := integer(given)
	if err != nil || int64(seconds) > math.MaxInt64/int64(time.Second) || int64(seconds) < math.MinInt64/int64(time.Second) {
		return 0, fmt.Errorf("%v is not a duration; want for example 30s, or a number of seconds", given)
	}
	return time.Duration(seconds) * time.Second, nil
}
