// Package diagnose finds the sick service behind a set of symptoms and names
// what ails it.
//
//	signals ──▶ per service: which code fits best? ──▶ per dependency: who is
//	predictions  (rules.go, a table of weights)         the cause, who a victim?
//
// Weights. Every symptom is evidence with a probability of its own: a critical
// signal alone is a clear case (above 0.7, the trust core's threshold), a
// warning alone is not quite, two that agree are. They add up as independent
// causes do ("noisy or": 1 - Π(1 - w)), so agreeing evidence never lowers a
// likelihood. Several signals of one metric are hardly independent: all but
// the strongest count half. A signal that recovered within the window counts
// less, the longer ago the less, and only next to one that still fires.
//
// Codes. A specific code (flag_issue, cache_cold, circuit_breaker_open) takes
// in full the general symptoms that it explains (elevated_errors,
// latency_spike), so it beats them; service_down takes in everything.
//
// Causes. A service is a victim when each of its firing symptoms (warnings and
// worse) can spread over a dependency and some service that it depends on,
// directly or not, is sick itself. A victim has no diagnosis; it is listed
// under its causes and raises their likelihood. What does not spread (a crash,
// a bad flag, a cold cache) stays the service's own, unless a dependency is
// down. In a cycle of dependencies the stronger, then the earlier evidence is
// the cause. A dependency without data inhibits nobody; one that recovered a
// moment ago (Aftermath) still does, because its victims need time to follow.
//
// Predictions make proactive diagnoses of services that are not yet sick, and
// are evidence where something fires already. A predicted sickness explains
// only predicted victims.
//
// Services of which only data stopped get no diagnosis, and neither weighs nor
// explains what is unstable (it changes all the time and passed when last seen)
// or silenced by its source.
//
// The package is pure, and the order of its input does not matter.
package diagnose
