package grace

import (
	"strconv"
	"strings"
)

// Criticality says how much a service matters to its users.
type Criticality string

// Criticalities. The empty one is judged like CriticalityCritical: a service
// nobody described is never acted on automatically.
const (
	CriticalityUnknown  Criticality = ""
	CriticalityLow      Criticality = "low"
	CriticalityMedium   Criticality = "medium"
	CriticalityHigh     Criticality = "high"
	CriticalityCritical Criticality = "critical"
)

// maxServiceID bounds a service's id in bytes.
const maxServiceID = 200

// Valid tells whether an id has the form of one: letters, digits, dot, dash and
// underscore, beginning with a letter or digit. It becomes part of addresses and
// of command lines.
func (id ServiceID) Valid() bool {
	for i, r := range id {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || r != '.' && r != '-' && r != '_') {
			return false
		}
	}
	return id != "" && len(id) <= maxServiceID
}

// Service is one node of the health graph.
type Service struct {
	ID          ServiceID         `json:"id"`
	Owner       string            `json:"owner,omitempty"`
	Domain      string            `json:"domain,omitempty" doc:"the domain that brought it; empty for a configured service"`
	Criticality Criticality       `json:"criticality"`
	DependsOn   []ServiceID       `json:"depends_on,omitempty"`
	Groups      []Group           `json:"groups,omitempty" doc:"redundant services, of which it needs some"`
	Labels      map[string]string `json:"labels,omitempty"`
	TimeZone    string            `json:"time_zone,omitempty" doc:"of its users, by IANA name: the days and weeks in which its load repeats; empty is the configured time_zone"`
	// Bindings map a playbook onto what it means for this service. A seed
	// playbook without a binding is not proposed here.
	Bindings map[PlaybookID]Binding `json:"bindings,omitempty"`
}

// Group is a set of redundant services that another one needs some of: it lives
// as long as Need of them are well.
type Group struct {
	Need int         `json:"need" minimum:"1"`
	Of   []ServiceID `json:"of"`
}

// String says what is needed: "any of a, b" or "2 of a, b, c".
func (g Group) String() string {
	members := make([]string, len(g.Of))
	for i, id := range g.Of {
		members[i] = string(id)
	}
	need := "any"
	if g.Need != 1 {
		need = strconv.Itoa(g.Need)
	}
	return need + " of " + strings.Join(members, ", ")
}

// Membership is a group that a service belongs to.
type Membership struct {
	Dependent ServiceID   // who needs the group
	Need      int         // how many of its members
	Others    []ServiceID // the members besides the service
}

// Health is the state of a service as its signals tell it.
type Health string

// Healths. No data is unknown, never healthy.
const (
	HealthUnknown  Health = "unknown"
	HealthHealthy  Health = "healthy"
	HealthDegraded Health = "degraded"
	HealthCritical Health = "critical"
)

// HealthState is the answer of GET /api/health/state for one service.
type HealthState struct {
	Service     ServiceID `json:"service"`
	Status      Health    `json:"status" enum:"healthy,degraded,critical,unknown"`
	Confidence  float64   `json:"confidence" minimum:"0" maximum:"1" doc:"share of the service's signals that have fresh data"`
	TopSymptoms []string  `json:"top_symptoms"`
}
