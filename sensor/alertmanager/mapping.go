package alertmanager

import (
	"errors"
	"fmt"

	"grace"
)

// Mapping leads an alert to a service and a diagnosis code. The first rule that
// matches counts; what it leaves open is taken from the labels.
type Mapping struct {
	ServiceLabel  string // default "service"
	CodeLabel     string // default "code"
	SeverityLabel string // default "severity"
	Map           []Rule
}

// Rule gives alerts with these labels a service, a code or a severity.
type Rule struct {
	Match    map[string]string // every one must be equal
	Service  grace.ServiceID
	Code     grace.Code
	Severity grace.Severity
}

// Validate names everything that is wrong with the mapping.
func (m Mapping) Validate() error {
	var errs []error
	for i, r := range m.Map {
		if len(r.Match) == 0 {
			errs = append(errs, fmt.Errorf("map[%d]: match is missing: it would take every alert", i))
		}
		if r.Service == "" && r.Code == "" && r.Severity == "" {
			errs = append(errs, fmt.Errorf("map[%d]: it gives neither a service nor a code nor a severity", i))
		}
		if !r.Severity.Valid() {
			errs = append(errs, fmt.Errorf("map[%d]: severity %q: want info, warning or critical", i, r.Severity))
		}
	}
	return errors.Join(errs...)
}

func (m Mapping) withDefaults() Mapping {
	if m.ServiceLabel == "" {
		m.ServiceLabel = "service"
	}
	if m.CodeLabel == "" {
		m.CodeLabel = "code"
	}
	if m.SeverityLabel == "" {
		m.SeverityLabel = "severity"
	}
	return m
}

func (m Mapping) lead(s grace.Sample) (grace.Sample, error) {
	s.Service = grace.ServiceID(s.Labels[m.ServiceLabel])
	s.Code = grace.Code(s.Labels[m.CodeLabel])
	s.Severity = severity(s.Labels[m.SeverityLabel])
	for _, r := range m.Map {
		if !r.matches(s.Labels) {
			continue
		}
		if r.Service != "" {
			s.Service = r.Service
		}
		if r.Code != "" {
			s.Code = r.Code
		}
		if r.Severity != "" {
			s.Severity = r.Severity
		}
		break
	}
	switch {
	case s.Service == "":
		return s, fmt.Errorf("no service: it has no label %s, and no rule of the map names one", m.ServiceLabel)
	case s.Code == "":
		return s, fmt.Errorf("no diagnosis code: it has no label %s, and no rule of the map names one", m.CodeLabel)
	}
	return s, nil
}

func (r Rule) matches(labels map[string]string) bool {
	for k, v := range r.Match {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return len(r.Match) > 0
}

// severity reads the words in use; an alert that says none, or another, is a
// warning: somebody wanted to know of it.
func severity(text string) grace.Severity {
	switch text {
	case "info", "information", "none":
		return grace.SeverityInfo
	case "critical", "page", "error", "emergency":
		return grace.SeverityCritical
	default:
		return grace.SeverityWarning
	}
}
