// Package predict tells which series will pass their thresholds, and when, and
// holds what it tells to what happens.
//
//	Append -> ring, hours, breach state           every sample, no allocation
//	Step   -> rules -> claims -> gate -> published   some series at a time
//	                     |         ^      shadow
//	                     v         |
//	                   ledger: hit, false, prevented, unresolved; and misses
//
// An [Agent] holds many [Series]. A series is watched where a [Target] names
// it, or where a threshold could be learned for it. Rules (rules.go) look at a
// series and a threshold and claim, with a raw score, that a breach begins
// within their horizon. From the first time a rule says so until it is resolved
// that is one [Claim], so a false one counts once, however many samples long it
// was said.
//
// A breach is 3 of 4 samples beyond the threshold; one that begins within
// LedgerConfig.Merge after another is the
// same. It began with the first of its samples: what is claimed then or later is no
// prediction, and nothing is claimed while one of the newest three samples is beyond,
// while a breach lasts, and so long after it. A claim ends as
//
//	hit         a breach began after it was made (after it was first published, if it
//	            was) and before the time that was said, the horizon of the rule or the
//	            end of the interval that it gave
//	false       none did
//	prevented   none did, a run acted, and the forecast's band says that without
//	            it one had begun
//	unresolved  the samples are too few to tell, or a run acted and the band
//	            leaves it open
//
// and a breach that no published claim foresaw is a miss. Only hits and false ones
// move a rule's precision: what a remedy changed is no evidence for or against.
//
// The [Gate] knows from resolved claims how often a rule is right: on the
// series, on similar ones, over all. A claim is published only while the lower
// bound of that on its series is high enough and the claim itself is likely
// enough; all others are made in shadow: recorded and resolved, and nothing is
// done. (Of a rule whose scores know the series the bound is that of its likely
// claims.) Likelihood is calibrated: of claims with 0.8, four in five come true.
//
// The rule `trend` draws a robust line (Theil-Sen: the median of the slopes of
// all pairs of points, which a third of outliers does not bend):
//
//	value      ·  ·/ ┄┄┄┄┄ High (80 % interval)
//	 threshold ──/────────────
//	        ·/ ┄┄┄┄┄┄┄┄┄┄┄┄ Low
//	     ·/ ·
//	   now    BreachAt   horizon        score = Φ((line - threshold) / spread)
//
// The spread is that of the points about the line (MAD), and grows with the
// distance, because the slope itself is uncertain. A line is not trusted
// further ahead than Reach times the span of its points. Series stay without a
// claim that are beyond the threshold already (that is sense's to tell), that
// have too few or too old points, whose trend may be chance (Mann-Kendall),
// that fit the line badly, or whose newest third does not go on rising: a step
// up is no trend.
//
// What the forecast of the next two days says of each block of six hours is held to
// what came as well, and teaches the gate, whether it was a claim or not.
//
// The rule `drift` looks at no series but at a service ([Drifts]): agents note of each
// series whether it goes towards its threshold, however far that is, and whether it is
// breached. Where three metrics do together, the service has a joint series, which is
// breached when any of its series is, and a claim on it until that is resolved.
//
// The rule `lead` looks at other series, of the service and of those it depends on
// (Agent.Depend): an agent learns by how much a series moves, some steps after another one
// was away from its usual, and from which pairs that is no chance. See lead.go; leaders.go
// has which pairs there are.
//
// A rule that is wrong more often than chance explains is suspended for the series of
// that service and role. The past of a series is run through the rules before it is
// watched (Agent.Rehearse), so that the gate has a record at once.
//
// The package is pure. The ledger is the caller's to keep; given back to
// Agent.Restore and Gate.Learn it is all that is needed after a restart.
package predict
