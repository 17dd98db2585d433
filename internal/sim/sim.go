package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"grace"
	"grace/internal/decide"
	"grace/internal/loop"
	"grace/internal/store"
)

const (
	second = time.Second
	// rest is how long after the last fault everything must have come to rest:
	// an approval's time, a run's with its undoing, and a takeover.
	rest = 20 * time.Minute
	// calm is how long it is watched at least.
	calm = 90 * time.Second
)

// Sim is one simulation under way.
type Sim struct {
	scheduler
	ctx       context.Context //nolint:containedctx // of the whole simulation, which is one call
	story     Story
	mutations Mutations
	config    loop.Config
	epoch     time.Time
	log       *slog.Logger

	world     *world
	operator  operator // nil: GRACE
	limits    map[grace.ServiceID][]limit
	tasks     []*task // of a reference operator
	store     *store.Store
	engine    *engine
	replicas  []*process
	skew      []time.Duration
	boots     int
	crashes   int
	crashed   []time.Time
	killIn    int
	killFor   time.Duration
	quirks    map[grace.ServiceID][]Kind
	plumbing  []Event // of sensing and people, under way
	applied   map[string]bool
	calls     []call
	untrue    []string
	broken    []string // what production code reported that must not happen
	incidents []*incident
	replayed  decide.Replayed
	lastStep  time.Duration              // of wall
	setUnseen time.Duration              // by how much wall was set since a process last was there
	wall      time.Duration              // by how much the wall clocks are wrong
	sensors   map[grace.ServiceID]string // probes that are not named as at first; empty: removed
	alerts    map[grace.ServiceID]bool   // that fire at their source
	seen      map[series]*seen
	measured  map[grace.ServiceID][]grace.Sample // newest metrics of what measures a service
	hush      map[grace.ServiceID]time.Time      // since when a service is sick, for too long, and nobody says so
	calms     map[grace.ServiceID]*wellSpell
	over      map[grace.IncidentID]map[grace.ServiceID]string // what an incident said last when a service of it had long been well
	flapping  map[grace.ServiceID]time.Time
	unproven  []string // first steps without fresh evidence
	silent    []string
	storms    map[grace.IncidentID][]grace.ServiceID // as their incidents were seen first, for a planted bug
	ended     bool
	err       error
}

func epoch() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) }

func newSim(ctx context.Context, st Story, m Mutations) *Sim {
	s := &Sim{
		scheduler: scheduler{now: epoch()}, ctx: ctx, story: st, mutations: m, epoch: epoch(),
		log:   slog.New(slog.DiscardHandler),
		world: newWorld(st), quirks: map[grace.ServiceID][]Kind{}, applied: map[string]bool{},
		replicas: make([]*process, st.Replicas), skew: make([]time.Duration, st.Replicas),
		sensors: map[grace.ServiceID]string{}, alerts: map[grace.ServiceID]bool{}, seen: map[series]*seen{}, measured: map[grace.ServiceID][]grace.Sample{}, storms: map[grace.IncidentID][]grace.ServiceID{},
		hush: map[grace.ServiceID]time.Time{}, calms: map[grace.ServiceID]*wellSpell{}, over: map[grace.IncidentID]map[grace.ServiceID]string{}, flapping: map[grace.ServiceID]time.Time{},
	}
	s.config = loopConfig(st, s.epoch)
	s.limits = map[grace.ServiceID][]limit{}
	for _, n := range st.Services {
		s.limits[n.ID] = limits(n)
	}
	s.engine = &engine{sim: s, runs: map[grace.RunID]*entry{}}
	return s
}

func (s *Sim) fail(err error) {
	if err != nil && s.err == nil {
		s.err = err
	}
}

// play runs the story to its end.
func (s *Sim) play() error {
	for _, e := range s.story.Events {
		s.at(s.epoch.Add(e.At), func() { s.happen(e) })
	}
	s.second()
	s.at(s.epoch.Add(s.story.Length), s.endFaults)
	last := s.epoch.Add(s.story.Length + rest)
	for !s.ended && s.err == nil && s.step(last) {
	}
	for _, id := range s.engine.ids {
		if n := s.engine.runs[id]; n.task != nil {
			n.task.kill()
		}
	}
	for _, p := range s.replicas {
		if p != nil {
			s.tasks = append(s.tasks, p.tasks...)
		}
	}
	for _, t := range s.tasks {
		t.kill()
	}
	return s.err
}

// second is what happens every second: the world moves, sensors look, and
// GRACE, or who stands in for her, thinks.
func (s *Sim) second() {
	if s.err != nil || s.ended {
		return
	}
	s.world.tick(s.now)
	s.watchIncidents()
	elapsed := s.now.Sub(s.epoch)
	if elapsed%sampleEvery == 0 {
		s.look()
	}
	s.think(elapsed)
	if elapsed%sampleEvery == second {
		s.listen()
	}
	if elapsed >= s.story.Length+calm && elapsed%(10*second) == 0 && s.resting() {
		s.ended = true
		return
	}
	s.after(second, s.second)
}

func (s *Sim) think(elapsed time.Duration) {
	if s.operator != nil {
		s.operator.think(s)
		return
	}
	if s.mutations.Undecided && elapsed > 2*time.Minute {
		return
	}
	if s.mutations.DecideTwice && elapsed%(10*time.Second) == 0 {
		s.fail(s.decideAgain())
	}
	if s.mutations.ForgetPerson {
		s.fail(s.forgetPerson())
	}
	// A loop that has nothing in hand sees nothing new between two samples.
	if phase := elapsed % sampleEvery; phase > second && !s.busy() {
		return
	}
	order := make([]int, len(s.replicas))
	for i := range order {
		order[i] = i
	}
	if len(order) == 2 && draw(s.story.Seed, "order", strconv.Itoa(int(elapsed/second))) < 0.5 {
		order[0], order[1] = 1, 0
	}
	for _, i := range order {
		p := s.replicas[i]
		if !s.awake(p) {
			continue
		}
		if !s.befalls(SlowRelay, strconv.Itoa(i)) {
			p.loop.Relay(s.ctx)
		}
		if err := p.loop.Step(s.ctx); err != nil {
			s.broken = append(s.broken, fmt.Sprintf("replica %s at %s: %v", p.owner(), elapsed, err))
		}
	}
}

// busy tells whether a run is open.
func (s *Sim) busy() bool {
	return slices.ContainsFunc(s.engine.ids, func(id grace.RunID) bool { return !s.engine.runs[id].ended })
}

// resting tells whether nothing is open or pending.
func (s *Sim) resting() bool {
	if s.operator != nil {
		return true
	}
	if s.busy() {
		return false
	}
	pending, err := s.store.PendingTriggers(s.ctx, s.store.Q(), 1)
	s.fail(err)
	return len(pending) == 0
}

// happen makes an event of the story true.
func (s *Sim) happen(e Event) {
	until := s.now.Add(e.For)
	switch {
	case e.Fault():
		s.strike(e)
		return
	case s.operator != nil && !slices.Contains(append(quirks(), LoseSamples, LateSamples, TwiceSamples), e.Kind):
		return
	}
	switch e.Kind {
	case Hang, HalfApply, Lie, Fail, LoseAnswer:
		id := grace.ServiceID(e.Target)
		s.quirks[id] = append(s.quirks[id], e.Kind)
	case Passes:
		s.world.pass(grace.ServiceID(e.Target))
	case Flap:
		s.flap(e, until)
	case Restart:
		if i, err := strconv.Atoi(e.Target); err == nil && i < len(s.replicas) {
			s.end(s.replicas[i], 0, e.For)
		}
	case Reload, RenameSensor, RemoveSensor:
		s.change(e)
	case Reread:
		s.reread(e, until)
	case ClockStep:
		step := time.Duration(e.Amount * float64(second))
		s.setClock(step)
		s.at(until, func() { s.setClock(-step) })
	case StuckAlert:
		s.alert(e)
	case Skew:
		if i, err := strconv.Atoi(e.Target); err == nil && i < len(s.skew) {
			s.skew[i] = time.Duration(e.Amount * float64(second))
			s.at(until, func() { s.skew[i] = 0 })
		}
	case KillReplica:
		if i, err := strconv.Atoi(e.Target); err == nil && i < len(s.replicas) {
			s.crash(s.replicas[i], e.For)
		}
	case Freeze:
		if i, err := strconv.Atoi(e.Target); err == nil && i < len(s.replicas) {
			s.freeze(s.replicas[i], e.For)
		}
	case KillAtStep:
		s.killIn, s.killFor = int(e.Amount), e.For
	case SetMode:
		s.setMode(grace.Mode(e.Target))
		s.at(until, func() { s.setMode(s.story.Mode) })
	case AbortRuns:
		s.abortRuns()
	default: // sensing and people
		s.plumbing = append(s.plumbing, e)
		s.at(until, func() {
			s.plumbing = slices.DeleteFunc(s.plumbing, func(o Event) bool { return o == e })
		})
	}
}

func (s *Sim) endFaults() {
	s.closeIncidents()
	s.world.mend()
	s.quirks = map[grace.ServiceID][]Kind{}
	s.plumbing, s.killIn = nil, 0
	s.resolveAlerts()
	clear(s.flapping)
	if s.operator == nil {
		s.setMode(s.story.Mode)
	}
}

func (s *Sim) setMode(mode grace.Mode) {
	p := s.alive("mode", s.now.String())
	if p == nil {
		s.after(second, func() { s.setMode(mode) })
		return
	}
	_, err := p.loop.SetMode(s.ctx, grace.ModeSetting{Mode: mode, Reason: "story"}, "sim")
	s.fail(err)
}

func (s *Sim) abortRuns() {
	for _, id := range s.engine.ids {
		p := s.alive("abort", string(id))
		if p == nil || s.engine.runs[id].ended {
			continue
		}
		err := p.loop.Abort(s.ctx, id, "sim", "story")
		if _, over := errors.AsType[*loop.EndedError](err); err != nil && !over && !errors.Is(err, store.ErrNotFound) {
			s.fail(err)
		}
	}
}

// under gives the plumbing fault of a kind that is under way.
func (s *Sim) under(k Kind) (Event, bool) {
	for _, e := range s.plumbing {
		if e.Kind == k {
			return e, true
		}
	}
	return Event{}, false
}

// quirk takes what is wrong with the next action on a service.
func (s *Sim) quirk(id grace.ServiceID) Kind {
	list := s.quirks[id]
	if len(list) == 0 {
		return ""
	}
	s.quirks[id] = list[1:]
	return list[0]
}

// called notes a call of an action that changes something.
func (s *Sim) called(p *process, req grace.ActionRequest, name string) int {
	c := call{
		At: s.now, Run: req.Run, Service: req.Service, Phase: req.Phase, Step: req.Step, Action: name, Key: req.IdempotencyKey,
	}
	if svc := s.world.service(req.Service); svc != nil {
		// What a probe or an alert that lies led to is nobody's fault here.
		c.Needed = svc.ill(s.now) || s.alerts[req.Service] || !s.flapping[req.Service].IsZero()
	}
	if s.store != nil {
		seq, _, err := s.store.AuditHead(s.ctx, s.store.Q())
		s.fail(err)
		c.Seq = seq
		s.proof(p, c)
	}
	s.calls = append(s.calls, c)
	return len(s.calls) - 1
}

// ask has a person look at an approval after a while.
func (s *Sim) ask(id grace.RunID) {
	wait := time.Duration(15+30*draw(s.story.Seed, "person", string(id))) * second
	if e, late := s.under(PeopleLate); late {
		wait = time.Duration(e.Amount) * second
	}
	_, deny := s.under(PeopleDeny)
	s.after(wait, func() { s.answer(id, !deny) })
	if _, twice := s.under(PeopleTwice); twice {
		s.after(wait, func() { s.answer(id, deny) })
	}
}

func (s *Sim) answer(id grace.RunID, approve bool) {
	p := s.alive("answer", string(id))
	if p == nil {
		s.after(second, func() { s.answer(id, approve) })
		return
	}
	_, err := p.loop.DecideApproval(s.ctx, grace.ApprovalID(id), approve, "story", "sim", 0)
	_, decided := errors.AsType[*loop.DecidedError](err)
	_, expired := errors.AsType[*loop.ExpiredError](err)
	if err != nil && !decided && !expired {
		s.fail(err)
	}
}

// verified notes that a run was found to have helped although what it is
// checked by has been wrong for longer than late samples could explain.
func (s *Sim) verified(n *entry) {
	const tooLong = 60
	run, err := s.store.Run(s.ctx, s.store.Q(), n.id)
	s.fail(err)
	svc := s.world.service(run.Service)
	if svc == nil {
		return
	}
	for _, key := range run.Condition {
		if service, sensor, _ := splitKey(key); sensor == alertSensor && s.alerts[service] {
			s.untrue = append(s.untrue, fmt.Sprintf("run %s of %s on %s succeeded though the alert that began it fires", n.id, run.Playbook.ID, run.Service))
		}
	}
	for _, c := range run.Playbook.Verify {
		if bad := svc.beyond[c.Name]; bad > tooLong {
			s.untrue = append(s.untrue, fmt.Sprintf("run %s of %s on %s succeeded though %s had been bad for %d s", n.id, run.Playbook.ID, run.Service, c.Name, bad))
		}
	}
}
