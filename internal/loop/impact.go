package loop

import (
	"grace"
	"grace/internal/stage/diagnose"
)

// impactsOf gives the impact for every declared service, by severity.
func impactsOf(services []grace.Service) map[grace.Severity]map[grace.ServiceID]grace.Impact {
	out := map[grace.Severity]map[grace.ServiceID]grace.Impact{}
	for _, s := range []grace.Severity{"", grace.SeverityInfo, grace.SeverityWarning, grace.SeverityCritical} {
		out[s] = make(map[grace.ServiceID]grace.Impact, len(services))
		for i := range services {
			out[s][services[i].ID] = diagnose.ForeseenImpact(s, services[i].Criticality)
		}
	}
	return out
}

// criticalityOf tells how much a service matters; unknown where nobody declared it.
func criticalityOf(services []grace.Service, id grace.ServiceID) grace.Criticality {
	for i := range services {
		if services[i].ID == id {
			return services[i].Criticality
		}
	}
	return grace.CriticalityUnknown
}
