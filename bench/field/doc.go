// Command field is a campaign on real programs: HAProxy in front of two nginx,
// four small apps, Redis, PostgreSQL, a folder with a limit, Prometheus with an
// Alertmanager, and GRACE as its operator would configure it.
//
// It breaks them one after the other, some at once; restarts and kills GRACE,
// takes Prometheus and Alertmanager away and sets GRACE's clock meanwhile; and
// looks at everything with its own eyes:
//
//	faults --> programs <------- looks (stack.go)
//	(story.go)   ^    \              |
//	             |     Prometheus     v
//	     supervisor      \        judge (judge.go): table, and what must be 0
//	      (unit.go)   Alertmanager (alerts.go)
//	             ^       /
//	            GRACE <-- (clock.go)
//
// Contract:
//
//   - Only processes that it started itself are ended, by their id.
//   - Of two of the apps GRACE hears only by alerts: the webhook, and what
//     Alertmanager lists. Nothing is to be done while one is silenced there.
//   - No clock is set but that of GRACE: for that the last chapters go on with a
//     binary of their own (stepclock), made from the same sources.
//   - It prints a line for every fault: when it was acted on, asked about, told
//     and over, all since it was injected and by its own clock; then successes
//     without recovery, actions on services that were well or whose alert was
//     silenced, and silences. It exits 1 when one of these is not 0, or a fault did
//     not end as its story says.
//   - With -for it tells the story again on the same stack, with what GRACE has
//     learnt and remembers, until the time is over.
//   - Without a program that it needs it exits 1 and says what to install.
package main
