package alertmanager

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"grace"
	"grace/internal/labelmap"
)

// Mapping leads an alert to a service and a diagnosis code. The first rule that
// matches counts; what it leaves open is taken from the labels.
type Mapping struct {
	ServiceLabel  string // default "service"
	CodeLabel     string // default "code"
	SeverityLabel string // default "severity"
	ReplicaLabel  string // by which a pair of servers differ; default "prometheus_replica"
	Map           []Rule
}

// Rule says what alerts with some labels are about.
type Rule = labelmap.Rule

// Validate names everything that is wrong with the mapping.
func (m Mapping) Validate() error {
	_, err := m.compile()
	return err
}

// mapper is a compiled Mapping.
type mapper struct {
	Mapping
	rules *labelmap.Map
}

func (m Mapping) compile() (*mapper, error) {
	m.ServiceLabel = cmp.Or(m.ServiceLabel, "service")
	m.CodeLabel = cmp.Or(m.CodeLabel, "code")
	m.SeverityLabel = cmp.Or(m.SeverityLabel, "severity")
	m.ReplicaLabel = cmp.Or(m.ReplicaLabel, "prometheus_replica")
	rules, err := labelmap.Compile(m.Map)
	return &mapper{m, rules}, err
}

func (m *mapper) resolve(s grace.Sample, labels map[string]string) (grace.Sample, *Skipped) {
	service, code := labels[m.ServiceLabel], labels[m.CodeLabel]
	found, _ := m.rules.Find(labels)
	service, code = cmp.Or(found.Service, service), cmp.Or(found.Code, code)
	s.Severity = cmp.Or(found.Severity, labelmap.Severity(labels[m.SeverityLabel]))
	service, code = grace.Printable(strings.TrimSpace(service)), grace.Printable(strings.TrimSpace(code))
	switch {
	case service == "":
		return s, &Skipped{Kind: KindNoService, Reason: fmt.Sprintf("no service: it has no label %s, and no rule of alertmanager.map names one", m.ServiceLabel)}
	case utf8.RuneCountInString(service) > MaxName || utf8.RuneCountInString(code) > MaxName:
		return s, &Skipped{Kind: KindTooLong, Reason: fmt.Sprintf("its service or code has more than %d characters", MaxName)}
	case grace.ServiceID(service).Core():
		return s, &Skipped{Kind: KindCore, Reason: fmt.Sprintf("%s is a part of GRACE, of which it alone tells: name another service by the label %s or alertmanager.map", service, m.ServiceLabel)}
	case code == "":
		// Nobody said what it means, and no remedy may guess: a person's.
		code = string(grace.CodeInvestigation)
	}
	s.Service, s.Code = grace.ServiceID(service), grace.Code(code)
	return s, nil
}
