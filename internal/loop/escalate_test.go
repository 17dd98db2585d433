package loop

import (
	"context"
	"strings"
	"testing"
	"time"

	"grace"
	"grace/domain/core"
	"grace/internal/content"
	"grace/internal/event"
	"grace/internal/explain"
	"grace/internal/stage/propose"
	"grace/internal/store"
)

// TestWhatResolvesItselfPutsNothingOff: when a storm is over, or data is back,
// what is still sick is told at once; when a person resolved it, after a while.
func TestWhatResolvesItselfPutsNothingOff(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	now := l.Now()
	began := now.Add(-time.Hour)
	for actor, want := range map[string]bool{"": false, "token:ann": true} {
		inc := grace.Incident{
			ID: "i-" + grace.IncidentID(content.ID(actor)), Kind: grace.IncidentBlind, State: grace.IncidentResolved, Sensor: "probe",
			Services: []grace.ServiceID{benchService(0)}, OpenedAt: began, ResolvedAt: &now, ResolvedBy: actor,
		}
		if err := l.Store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
			return l.Store.Append(ctx, tx, incidentChange(inc, "incident.resolved", "test", "", now))
		}); err != nil {
			t.Fatal(err)
		}
		c := &condition{since: began, told: []grace.IncidentID{inc.ID}}
		l.conditions = map[grace.ServiceID]*condition{benchService(0): c}
		if err := l.noteTold(t.Context(), nil, now); err != nil {
			t.Fatal(err)
		}
		if anew := c.since.Equal(now); anew != want {
			t.Errorf("resolved by %q: the clock starts anew: %t", actor, anew)
		}
	}
}

// TestVictimsOfWhatIsSilenced: a silence of the cause does not hush its victims.
func TestVictimsOfWhatIsSilenced(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 3, nil)
	now := l.Now()
	cause, victim, quiet := benchService(0), benchService(1), benchService(2)
	for _, id := range []grace.ServiceID{cause, quiet} {
		if _, err := l.AddSilence(t.Context(), grace.Silence{Service: string(id), Ends: now.Add(time.Hour), Reason: "new disk"}, "token:ann"); err != nil {
			t.Fatal(err)
		}
	}
	now = l.Now()
	st := l.stages.Load()
	lasts := lasting{service: cause, victims: []grace.ServiceID{quiet, victim}, since: now.Add(-time.Hour), severity: grace.SeverityCritical, text: "down"}
	for range 2 {
		if err := l.openUnhealed(t.Context(), st, lasts, now); err != nil {
			t.Fatal(err)
		}
	}
	open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
	if err != nil {
		t.Fatal(err)
	}
	if len(open) != 1 || open[0].Service != victim || open[0].Covers(cause) || open[0].Covers(quiet) || !strings.Contains(open[0].Detail, "is silenced") {
		t.Errorf("%+v, want one incident of the victim that nobody silenced", open)
	}
}

// TestWhyNothingIsDone: that a remedy was proposed a moment ago, and not done,
// is told with why it was not done.
func TestWhyNothingIsDone(t *testing.T) {
	t.Parallel()
	for _, state := range []grace.RunStatus{grace.RunObservedOnly, grace.RunDenied, grace.RunExpired} {
		l := steppedLoop(t, 1, nil)
		now, id := l.Now(), benchService(0)
		run := grace.Run{
			ID: "r-1", Service: id, Code: grace.CodeServiceDown, Kind: grace.TriggerReactive, Status: state, Playbook: grace.Playbook{ID: "restart_service"},
			Reasons:  []grace.Reason{{Gate: "policy", Code: grace.ReasonPolicyDeny, Actual: "deny", Source: "policy/night-freeze"}},
			Revision: 1, SickSince: now.Add(-time.Hour), CreatedAt: now.Add(-time.Minute), EndedAt: &now,
		}
		if err := l.Store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
			return l.Store.Append(ctx, tx, event.Given{Runs: []grace.Run{run}})
		}); err != nil {
			t.Fatal(err)
		}
		l.considered["d"] = consideration{at: now, service: id, failed: []grace.Reason{{Gate: "playbook", Code: grace.ReasonDuplicate, Actual: "proposed"}}}
		lasts := lasting{service: id, since: now.Add(-time.Hour), severity: grace.SeverityCritical, text: "down"}
		if err := l.openUnhealed(t.Context(), l.stages.Load(), lasts, now); err != nil {
			t.Fatal(err)
		}
		open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
		if err != nil || len(open) != 1 {
			t.Fatalf("%+v, %v; want one incident", open, err)
		}
		if !strings.Contains(open[0].Detail, "night-freeze says deny") {
			t.Errorf("%s: %q does not say why", state, open[0].Detail)
		}
	}
}

// TestVictimsAreToldAtOnce: when a cause is told, so are the victims that are sick
// by then; those that recovered are not.
func TestVictimsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 4, nil)
	now, cause, late, well := l.Now(), benchService(0), benchService(1), benchService(2)
	l.conditions = map[grace.ServiceID]*condition{
		cause: {since: now.Add(-time.Hour), confirmed: true}, late: {since: now, confirmed: true}, well: {since: now, clear: now, confirmed: true},
	}
	diagnoses := []grace.Diagnosis{{Cause: cause, Code: grace.CodeServiceDown, Victims: []grace.ServiceID{late, well}}}
	for range 2 {
		due := l.overdue(l.stages.Load(), diagnoses, now)
		if len(due) != 1 {
			t.Fatalf("%+v, want the cause", due)
		}
		if err := l.openUnhealed(t.Context(), l.stages.Load(), due[0], now); err != nil {
			t.Fatal(err)
		}
	}
	open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
	if err != nil || len(open) != 1 || !open[0].Covers(late) || open[0].Covers(well) || open[0].News != "" {
		t.Errorf("%+v, %v; want one incident of cause and victim", open, err)
	}
}

// TestWhyNotOfWhatIsJustDiagnosed: the cause of what lasts may be found only now;
// that nothing is decided yet is no lack of a diagnosis.
func TestWhyNotOfWhatIsJustDiagnosed(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 2, nil)
	now, cause, victim := l.Now(), benchService(0), benchService(1)
	since := now.Add(-time.Hour)
	l.conditions = map[grace.ServiceID]*condition{victim: {since: since, confirmed: true}, cause: {since: since, confirmed: true}}
	diagnoses := []grace.Diagnosis{{Cause: cause, Code: grace.CodeServiceDown, Victims: []grace.ServiceID{victim}}}
	for _, want := range []bool{true, false} {
		due := l.overdue(l.stages.Load(), diagnoses, now)
		if len(due) != 1 || due[0].service != cause || due[0].undecided != want {
			t.Fatalf("%+v, want the cause, undecided: %t", due, want)
		}
		if want {
			if err := l.openUnhealed(t.Context(), l.stages.Load(), due[0], now); err != nil {
				t.Fatal(err)
			}
		}
		l.considered["d"] = consideration{at: now, service: cause}
	}
	open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
	if err != nil || len(open) != 1 || !strings.Contains(open[0].Detail, "decided in a moment") {
		t.Errorf("%+v, %v; want one that says that it is not decided yet", open, err)
	}
}

// TestWhyNotOfWhatFlaps: that it passes now and then is the reason, also while it
// fails; a rule for its code there may well be.
func TestWhyNotOfWhatFlaps(t *testing.T) {
	t.Parallel()
	l := unwired(t, time.Now)
	for state, want := range map[grace.SignalState]string{
		grace.SignalFiring: "it fails only now and then", grace.SignalUnstable: "it keeps changing",
	} {
		l.conditions["web"] = &condition{worst: grace.Signal{Code: grace.CodeServiceDown, State: state, Flapping: true}}
		if why := l.whyNot("web"); !strings.HasPrefix(why, want) || !strings.HasSuffix(why, "while it passes") {
			t.Errorf("%s: %q", state, why)
		}
	}
}

// TestSteadyIsNamed: people are told of what fails all the time rather than of a probe
// that comes and goes, and of the graver first.
func TestSteadyIsNamed(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	one := func(metric string, severity grace.Severity, flapping bool) grace.Signal {
		return grace.Signal{
			Key: grace.SignalKey(metric), Service: benchService(0), Sensor: "s", Metric: metric, Kind: grace.SignalProbe, State: grace.SignalFiring,
			Severity: severity, Flapping: flapping, Since: l.Now(), At: l.Now(), Message: metric,
		}
	}
	probe, alert, slow := one("probe", grace.SeverityCritical, true), one("alert", grace.SeverityCritical, false), one("slow", grace.SeverityWarning, false)
	for _, list := range [][]grace.Signal{{probe, alert, slow}, {slow, alert, probe}} {
		l.watchConditions(l.stages.Load(), list, l.Now())
		if got := l.conditions[benchService(0)].worst.Metric; got != "alert" {
			t.Errorf("%s is named", got)
		}
	}
	l.watchConditions(l.stages.Load(), []grace.Signal{slow, probe}, l.Now())
	if got := l.conditions[benchService(0)].worst.Metric; got != "probe" {
		t.Errorf("%s is named, want the graver one", got)
	}
}

// TestNothingLeftToShowItWell: when the last signals of a service are gone, its
// incident says so and is a person's to resolve; it hides nothing that comes later.
func TestNothingLeftToShowItWell(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 2, func(cfg *Config) { cfg.HoldDown = 30 * time.Second })
	gone, other, st := benchService(0), benchService(1), l.stages.Load()
	opened := l.Now().Add(-time.Hour)
	inc := grace.Incident{
		ID: "i-1", Kind: grace.IncidentUnhealed, State: grace.IncidentOpen, Service: gone, Services: []grace.ServiceID{other},
		Severity: grace.SeverityCritical, Since: opened, OpenedAt: opened,
	}
	if err := l.Store.Do(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return l.Store.Append(ctx, tx, incidentChange(inc, "incident.opened", "test", "", opened))
	}); err != nil {
		t.Fatal(err)
	}
	ok := func(id grace.ServiceID) grace.Signal {
		return grace.Signal{Key: grace.SignalKey(id), Service: id, State: grace.SignalOK, Severity: grace.SeverityCritical}
	}
	look := func(now time.Time, signals ...grace.Signal) grace.Incident {
		if err := l.resolveIncidents(t.Context(), st, []grace.Incident{inc}, nil, signals, now); err != nil {
			t.Fatal(err)
		}
		var err error
		if inc, err = l.Store.Incident(t.Context(), l.Store.Q(), inc.ID); err != nil {
			t.Fatal(err)
		}
		return inc
	}
	if look(l.Now(), ok(gone), ok(other)); inc.NeedsPerson() || inc.State != grace.IncidentOpen {
		t.Fatalf("%+v: want it open, for the hold-down", inc)
	}
	look(l.Now().Add(time.Second), ok(other))
	if look(l.Now().Add(time.Hour), ok(other)); !inc.NeedsPerson() || inc.State != grace.IncidentOpen || !strings.Contains(inc.News, "nothing watches "+string(gone)) {
		t.Errorf("%+v: want it kept for a person", inc)
	}
	if covered([]grace.Incident{inc}, lasting{service: gone, since: l.Now()}) {
		t.Error("it hides what begins later")
	}
	if !covered([]grace.Incident{inc}, lasting{service: gone, since: opened}) {
		t.Error("what it is about is told again")
	}

	// Watched again, it resolves by itself, and is about what comes before that.
	again := l.Now().Add(2 * time.Hour)
	if look(again, ok(gone), ok(other)); inc.NeedsPerson() || inc.State != grace.IncidentOpen || !strings.Contains(inc.News, "is watched again") || strings.Contains(inc.Detail, "nothing watches") {
		t.Errorf("%+v: want it to resolve by itself", inc)
	}
	if !covered([]grace.Incident{inc}, lasting{service: gone, since: again}) {
		t.Error("what lasts is told as another incident")
	}
	look(again.Add(time.Second), ok(gone), ok(other))
	if look(again.Add(time.Minute), ok(gone), ok(other)); inc.State != grace.IncidentResolved {
		t.Errorf("%+v: want it resolved", inc)
	}
}

// TestFlickerIsNoOtherIncident: what passes for less than the hold-down and is sick
// again is what the open incident of a run is about, unless only a person can tell
// that this one is over.
func TestFlickerIsNoOtherIncident(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	inc := grace.Incident{Kind: grace.IncidentRun, State: grace.IncidentOpen, Service: "front", OpenedAt: now}
	flickered := lasting{service: "front", since: now.Add(20 * time.Second)}
	if !flickered.isOf(inc) {
		t.Error("a second incident for one crash loop")
	}
	inc.Manual = true
	if flickered.isOf(inc) {
		t.Error("an incident that is left to a person hides what came later")
	}
}

// TestResolvedByHandIsNotToldAtOnce: who resolves the incident of what lasts
// hears of it again after a while, not a second later.
func TestResolvedByHandIsNotToldAtOnce(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	id, st := benchService(0), l.stages.Load()
	sick := []grace.Signal{{
		Key: "a", Service: id, Sensor: "probe", Metric: "up", Kind: grace.SignalProbe, State: grace.SignalFiring, Severity: grace.SeverityCritical,
		Since: l.Now().Add(-time.Hour), At: l.Now(), Message: "down",
	}}
	open := func() []grace.Incident {
		if err := l.escalate(t.Context(), st, nil, sick, l.Now()); err != nil {
			t.Fatal(err)
		}
		list, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	told := open()
	if len(told) != 1 {
		t.Fatalf("%+v, want one incident", told)
	}
	open() // one pass that sees it open
	if _, err := l.ResolveIncident(t.Context(), told[0].ID, "token:ann", "I know"); err != nil {
		t.Fatal(err)
	}
	if again := open(); len(again) != 0 {
		t.Errorf("told again at once: %+v", again)
	}
}

// TestOwnPartsAreNoServicesOfAShare: GRACE's own parts, which are well while
// everything else is down, do not keep the circuit breaker from opening.
func TestOwnPartsAreNoServicesOfAShare(t *testing.T) {
	t.Parallel()
	cfg := benchConfig(4)
	cfg.Propose = propose.DefaultConfig()
	for _, id := range []grace.ServiceID{core.Database, core.TaskExecutor, core.ReflectionService, core.TriggerMesh} {
		cfg.Services = append(cfg.Services, grace.Service{ID: id, Domain: core.Name})
	}
	st, err := buildStages(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var signals []grace.Signal
	for _, id := range []grace.ServiceID{benchService(0), benchService(1), benchService(2), benchService(3), core.TriggerMesh} {
		signals = append(signals, grace.Signal{
			Key: grace.SignalKey(id + "/probe/up"), Service: id, Code: grace.CodeServiceDown, State: grace.SignalFiring, Severity: grace.SeverityCritical,
		})
	}
	sc := st.rules.Look(time.Now(), signals, nil)
	if len(sc.Diagnoses) != 5 {
		t.Fatalf("%d are diagnosed", len(sc.Diagnoses))
	}
	r, storm := st.rules.Storm(sc.Sick)
	if want := "4 of 4 services sick"; !storm || explain.Actual(r) != want {
		t.Errorf("open: %t, %s; want it open, %s", storm, explain.Actual(r), want)
	}
}

// TestWorseIsTold: an incident that covers a condition does not hush that it has
// become critical.
func TestWorseIsTold(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	now := l.Now()
	lasts := lasting{service: benchService(0), since: now.Add(-time.Hour), severity: grace.SeverityWarning, text: "slow"}
	for _, severity := range []grace.Severity{grace.SeverityWarning, grace.SeverityCritical, grace.SeverityWarning} {
		lasts.severity, lasts.text = severity, "slow, "+string(severity)
		if err := l.openUnhealed(t.Context(), l.stages.Load(), lasts, now); err != nil {
			t.Fatal(err)
		}
	}
	open, err := l.Store.OpenIncidents(t.Context(), l.Store.Q())
	if err != nil {
		t.Fatal(err)
	}
	if len(open) != 1 || open[0].Severity != grace.SeverityCritical || !strings.Contains(open[0].News, "critical now") || !strings.Contains(open[0].Detail, "slow, critical") {
		t.Errorf("%+v, want one incident, critical by now, that says what is", open)
	}
}

// TestNewCauseOfWhatIsTold: a cause that fails only now, of a victim that people
// know of, is told when it has lasted too long itself.
func TestNewCauseOfWhatIsTold(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 2, nil)
	now, st, cause, victim := l.Now(), l.stages.Load(), benchService(0), benchService(1)
	old := now.Add(-time.Hour)
	told := []grace.Incident{{Kind: grace.IncidentRun, Service: victim, OpenedAt: now.Add(-time.Minute), Severity: grace.SeverityCritical}}
	diagnoses := []grace.Diagnosis{{Cause: cause, Code: grace.CodeServiceDown, Victims: []grace.ServiceID{victim}}}
	for since, want := range map[time.Time]bool{now: true, old: false} {
		l.conditions = map[grace.ServiceID]*condition{victim: {since: old, confirmed: true}, cause: {since: since, confirmed: true}}
		due := l.overdue(st, diagnoses, now)
		if len(due) != 1 || due[0].service != cause || covered(told, due[0]) != want {
			t.Errorf("the cause fails since %s: %+v, covered: %t, want %t", now.Sub(since), due, covered(told, due[0]), want)
		}
	}
}
