package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"grace"
)

// Story is everything that a simulation is told: the same story, the same
// history. Chance that is left (which sample is lost) is drawn from Seed by
// name, so that leaving one event out does not change the others.
type Story struct {
	Seed     uint64
	Replicas int
	Mode     grace.Mode
	Shadow   bool          // predictions act on nothing
	Length   time.Duration // then faults stop, and all must come to rest
	Windows  []Span        // change windows, as times of the story; none is always
	Services []Node
	Events   []Event
}

// Span is a part of a story.
type Span struct{ From, To time.Duration }

// Node is one service.
type Node struct {
	ID          grace.ServiceID
	Criticality grace.Criticality
	DependsOn   []grace.ServiceID
	Load        float64 // requests a second from outside
	Instances   int
	Capacity    float64 // of one instance, in requests a second
	Cache, Flag bool
	Auto        bool // restarting and closing breakers needs no person
}

// Kind of an event.
type Kind string

// Faults of services.
const (
	Crash          Kind = "crash"
	Slow           Kind = "slow"
	Leak           Kind = "leak"
	BadFlag        Kind = "bad_flag"
	ColdCache      Kind = "cold_cache"
	BreakerOpen    Kind = "breaker_open"
	DependencyLoss Kind = "dependency_loss"
	Overload       Kind = "overload" // a surge of load, after which queues stay full
)

// Faults of the plumbing.
const (
	LoseSamples  Kind = "lose_samples"  // Amount is the share
	LateSamples  Kind = "late_samples"  // Amount is in seconds
	TwiceSamples Kind = "twice_samples" // Amount is the share
	SplitSamples Kind = "split_samples" // a balancer gives each sample to one replica, in turn, or (Amount 1) all of a service to one
	Skew         Kind = "skew"          // replica Target by Amount seconds
	Hang         Kind = "hang"          // the next action on Target
	HalfApply    Kind = "half_apply"
	Lie          Kind = "lie"
	Fail         Kind = "fail"
	LoseAnswer   Kind = "lose_answer" // done, and nobody hears of it
	KillReplica  Kind = "kill"        // replica Target, now
	KillAtStep   Kind = "kill_at"     // whichever is at the Amount-th boundary of a step from now on
	Freeze       Kind = "freeze"      // replica Target stands still for For; another may take its runs
	SetMode      Kind = "mode"        // Target, for For
	AbortRuns    Kind = "abort"
	PeopleLate   Kind = "people_late" // approvals take Amount seconds
	PeopleDeny   Kind = "people_deny"
	PeopleTwice  Kind = "people_twice"
)

// What makes it hard to know what is wrong now. None makes a service sick.
const (
	Passes       Kind = "passes"        // what ails Target passes by itself
	Flap         Kind = "flap"          // the probe of Target fails and passes, Amount samples each; the service is well
	Restart      Kind = "restart"       // replica Target ends as it is told to, and starts after For
	Reload       Kind = "reload"        // the configuration of Target changes, and of nothing else
	Reread       Kind = "reread"        // the configuration is read again as it is, every Amount seconds for For; that must make no difference
	RenameSensor Kind = "rename_sensor" // of Target's probe, by a reload or (Amount 1) by a restart of all
	RemoveSensor Kind = "remove_sensor" // likewise
	ClockStep    Kind = "clock_step"    // the wall clock of all hosts is set by Amount seconds, and back after For
	SensorError  Kind = "sensor_error"  // replica Target measures nothing, by its own fault; Amount 1: its probes say so
	SilentSource Kind = "silent_source" // no data of Target
	FrozenSource Kind = "frozen_source" // what measures Target's metrics goes on to say what it said, and when that was
	SlowRelay    Kind = "slow_relay"    // replica Target hears nothing of the outbox for For, neither its own words nor others'
	StuckAlert   Kind = "stuck_alert"   // an alert about Target fires until the end, repeated every Amount seconds; 0: never
	SenderDies   Kind = "sender_dies"   // no alert about Target is repeated, nor said to be over
)

// Event is one thing that happens.
type Event struct {
	At     time.Duration
	Kind   Kind
	Target string
	For    time.Duration
	Amount float64
}

// Honest tells whether every action of the story does what it says (none
// hangs, fails, half applies, lies or loses its answer), and probes and alerts
// say what is: no run can heal a probe that flaps, or an alert that its source
// never resolves.
func (st Story) Honest() bool {
	return !slices.ContainsFunc(st.Events, func(e Event) bool {
		return slices.Contains(quirks(), e.Kind) || e.lies()
	})
}

// Clear tells whether the story is honest, and nothing of it makes it hard to
// know what is wrong now but samples that are lost, late or doubled.
func (st Story) Clear() bool {
	return st.Honest() && !slices.ContainsFunc(st.Events, func(e Event) bool { return slices.Contains(doubts(), e.Kind) })
}

// quiet tells whether no service is ever sick, nor said to be.
func (st Story) quiet() bool {
	return !slices.ContainsFunc(st.Events, func(e Event) bool { return e.Fault() || e.lies() })
}

// lies tells whether the event has a probe or an alert say what is not.
func (e Event) lies() bool { return e.Kind == Flap || e.Kind == StuckAlert }

// Whole tells whether nothing befalls the story but faults of services: no
// sample is lost or late, no process ends, nobody intervenes, and actions are
// honest.
func (st Story) Whole() bool {
	return !slices.ContainsFunc(st.Events, func(e Event) bool { return !e.Fault() && e.Kind != Reread })
}

func quirks() []Kind { return []Kind{Hang, HalfApply, Lie, Fail, LoseAnswer} }

// Fault tells whether the event makes a service sick.
func (e Event) Fault() bool { return slices.Contains(faults(), e.Kind) }

func faults() []Kind {
	return []Kind{Crash, Slow, Leak, BadFlag, ColdCache, BreakerOpen, DependencyLoss, Overload}
}

// Write makes the story of a seed.
func Write(seed uint64) Story {
	r := rand.New(rand.NewPCG(seed, 0x67726163))
	st := Story{Seed: seed, Replicas: 1, Mode: grace.ModeAutonomous, Shadow: r.IntN(3) > 0, Length: 12 * time.Minute}
	if r.IntN(2) == 0 {
		st.Replicas = 2
	}
	if r.IntN(12) == 0 {
		st.Mode = grace.ModeAskAlways
	}
	if r.IntN(8) == 0 {
		open := time.Duration(1+r.IntN(6)) * time.Minute
		st.Windows = []Span{
			{open, open + time.Duration(4+r.IntN(5))*time.Minute},
			{st.Length + 2*time.Minute, 12 * time.Hour}, // what waits for it comes to its end
		}
	}
	st.Services = writeServices(r)
	if r.IntN(8) == 0 { // quiet: nothing is wrong but, perhaps, the plumbing
		st.Events = append(st.Events, writeSensing(r, st)...)
		st.Events = append(st.Events, writeDoubt(r, st)...)
		return sorted(freezeSource(reread(st)))
	}
	st.Events = append(st.Events, writeFaults(r, st)...)
	if r.IntN(3) > 0 {
		st.Events = append(st.Events, writePlumbing(r, st)...)
		st.Events = append(st.Events, writeDoubt(r, st)...)
	}
	return sorted(freezeSource(reread(st)))
}

func (st Story) critical(id grace.ServiceID) bool {
	return slices.ContainsFunc(st.Services, func(n Node) bool { return n.ID == id && n.Criticality == grace.CriticalityCritical })
}

func sorted(st Story) Story {
	slices.SortStableFunc(st.Events, func(a, b Event) int { return int(a.At - b.At) })
	return st
}

func writeServices(r *rand.Rand) []Node {
	n := 5 + r.IntN(10)
	if r.IntN(10) == 0 {
		n = 20 + r.IntN(41)
	}
	levels := []grace.Criticality{grace.CriticalityLow, grace.CriticalityMedium, grace.CriticalityMedium, grace.CriticalityHigh, grace.CriticalityCritical}
	nodes := make([]Node, n)
	for i := range nodes {
		node := Node{
			ID: grace.ServiceID(fmt.Sprintf("s%02d", i)), Criticality: levels[r.IntN(len(levels))],
			Load: float64(5 + r.IntN(20)), Instances: 2 + r.IntN(3), Cache: r.IntN(2) == 0, Flag: r.IntN(2) == 0, Auto: r.IntN(5) > 0,
		}
		// Calls go to services with a higher number; now and then one goes
		// back, and makes a cycle.
		for range min(r.IntN(3), n-1-i) {
			to := i + 1 + r.IntN(min(n-1-i, 6))
			node.DependsOn = append(node.DependsOn, grace.ServiceID(fmt.Sprintf("s%02d", to)))
		}
		if i > 1 && r.IntN(25) == 0 {
			node.DependsOn = append(node.DependsOn, nodes[r.IntN(i)].ID)
		}
		slices.Sort(node.DependsOn)
		node.DependsOn = slices.Compact(node.DependsOn)
		nodes[i] = node
	}
	provision(nodes)
	return nodes
}

// provision gives every service twice the capacity that its load needs.
func provision(nodes []Node) {
	at := map[grace.ServiceID]int{}
	load := make([]float64, len(nodes))
	for i, n := range nodes {
		at[n.ID], load[i] = i, n.Load
	}
	for range len(nodes) + 3 { // the longest way, and a cycle's further rounds are small
		next := make([]float64, len(nodes))
		for i, n := range nodes {
			next[i] += n.Load
			for _, d := range n.DependsOn {
				next[at[d]] += load[i] * callShare
			}
		}
		load = next
	}
	for i := range nodes {
		nodes[i].Capacity = float64(int(2*load[i])/nodes[i].Instances + 1)
	}
}

func writeFaults(r *rand.Rand, st Story) []Event {
	var out []Event
	fault := func(at time.Duration) Event {
		n := st.Services[r.IntN(len(st.Services))]
		e := Event{At: at, Kind: faults()[r.IntN(len(faults()))], Target: string(n.ID)}
		switch e.Kind {
		case BadFlag:
			if !n.Flag {
				e.Kind = Crash
			}
		case ColdCache:
			if !n.Cache {
				e.Kind = Slow
			}
		case BreakerOpen, DependencyLoss:
			if len(n.DependsOn) == 0 {
				e.Kind = Crash
			}
		case Overload:
			e.For = time.Duration(30+r.IntN(90)) * time.Second
			e.Amount = 2 + 2*r.Float64()
		default:
		}
		if e.Kind == DependencyLoss {
			e.For = time.Duration(60+r.IntN(120)) * time.Second
		}
		return e
	}
	for range 1 + r.IntN(4) {
		out = append(out, fault(secondsIn(r, 60, 480)))
	}
	if r.IntN(8) == 0 { // correlated: many at once, by one cause outside
		at := secondsIn(r, 60, 300)
		kind := []Kind{Crash, Slow}[r.IntN(2)]
		for range 2 + r.IntN(len(st.Services)) {
			out = append(out, Event{At: at, Kind: kind, Target: string(st.Services[r.IntN(len(st.Services))].ID)})
		}
	}
	return out
}

func secondsIn(r *rand.Rand, from, to int) time.Duration {
	return time.Duration(from+r.IntN(to-from)) * time.Second
}

func writeSensing(r *rand.Rand, st Story) []Event {
	var out []Event
	for range r.IntN(3) {
		e := Event{At: secondsIn(r, 20, 400), For: secondsIn(r, 20, 120)}
		switch r.IntN(5) {
		case 0:
			e.Kind, e.Amount = LoseSamples, 0.1+0.5*r.Float64()
		case 1:
			e.Kind, e.Amount = LateSamples, float64(1+r.IntN(20))
		case 2:
			e.Kind, e.Amount = TwiceSamples, 0.5
		case 3:
			e.Kind, e.Amount, e.Target = Skew, float64(r.IntN(5)-2), fmt.Sprint(r.IntN(st.Replicas))
		case 4:
			e.Kind, e.For, e.Amount = SplitSamples, secondsIn(r, 60, 400), float64(r.IntN(2))
		}
		out = append(out, e)
	}
	return out
}

func writePlumbing(r *rand.Rand, st Story) []Event {
	out := writeSensing(r, st)
	service := func() string { return string(st.Services[r.IntN(len(st.Services))].ID) }
	for _, f := range st.Events {
		if r.IntN(4) == 0 && f.Fault() { // where there will be something to do
			out = append(out, Event{At: f.At, Kind: quirks()[r.IntN(5)], Target: f.Target})
		}
	}
	for range r.IntN(4) {
		e := Event{At: secondsIn(r, 30, 600)}
		switch r.IntN(10) {
		case 0:
			e.Kind, e.Target, e.For = KillReplica, fmt.Sprint(r.IntN(st.Replicas)), secondsIn(r, 3, 40)
		case 1, 2:
			e.Kind, e.Amount, e.For = KillAtStep, float64(1+r.IntN(12)), secondsIn(r, 3, 40)
		case 3:
			modes := []grace.Mode{grace.ModeStopped, grace.ModeObserveOnly, grace.ModeAskAlways}
			e.Kind, e.Target, e.For = SetMode, string(modes[r.IntN(3)]), secondsIn(r, 20, 200)
		case 4:
			e.Kind = AbortRuns
		case 5:
			e.Kind, e.Amount, e.For = PeopleLate, float64(200+r.IntN(200)), secondsIn(r, 60, 400)
		case 6:
			e.Kind, e.For = PeopleDeny, secondsIn(r, 60, 400)
		case 7:
			e.Kind, e.For = PeopleTwice, secondsIn(r, 60, 400)
		case 8:
			e.Kind, e.Target, e.For = Freeze, fmt.Sprint(r.IntN(st.Replicas)), secondsIn(r, 3, 60)
		case 9:
			e.Kind, e.Target = quirks()[r.IntN(5)], service()
		}
		out = append(out, e)
	}
	return out
}
