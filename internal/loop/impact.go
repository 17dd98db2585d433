package loop

import "grace"

// foreseenImpact is how bad it would be if what is foreseen came: how severe that is against
// how much the service matters, as a diagnosis weighs what is there.
//
//	criticality       | info   | warning | critical
//	low               | low    | low     | medium
//	medium, high      | low    | medium  | medium
//	critical, unknown | medium | medium  | high
func foreseenImpact(severity grace.Severity, criticality grace.Criticality) grace.Impact {
	const low, medium, high = grace.ImpactLow, grace.ImpactMedium, grace.ImpactHigh
	row := [...]grace.Impact{medium, medium, high}
	switch criticality {
	case grace.CriticalityLow:
		row = [...]grace.Impact{low, low, medium}
	case grace.CriticalityMedium, grace.CriticalityHigh:
		row = [...]grace.Impact{low, medium, medium}
	case grace.CriticalityUnknown, grace.CriticalityCritical:
	}
	switch severity {
	case grace.SeverityInfo:
		return row[0]
	case grace.SeverityCritical:
		return row[2]
	case grace.SeverityWarning:
	}
	return row[1] // as what says nothing else
}

// impactsOf gives the impact for every declared service, by severity.
func impactsOf(services []grace.Service) map[grace.Severity]map[grace.ServiceID]grace.Impact {
	out := map[grace.Severity]map[grace.ServiceID]grace.Impact{}
	for _, s := range []grace.Severity{"", grace.SeverityInfo, grace.SeverityWarning, grace.SeverityCritical} {
		out[s] = make(map[grace.ServiceID]grace.Impact, len(services))
		for i := range services {
			out[s][services[i].ID] = foreseenImpact(s, services[i].Criticality)
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
