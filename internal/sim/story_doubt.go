package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

func doubts() []Kind {
	return []Kind{Passes, Flap, Restart, Reload, RenameSensor, RemoveSensor, ClockStep, SensorError, SilentSource, SlowRelay, StuckAlert, SenderDies, FrozenSource}
}

// writeDoubt writes what makes it hard to know what is wrong now: half of them
// befall a service that a fault strikes, about the time when it does.
func writeDoubt(r *rand.Rand, st Story) []Event {
	kinds := append(doubts(), Restart)                                                                  // twice as often
	kinds = slices.DeleteFunc(kinds, func(k Kind) bool { return k == SenderDies || k == FrozenSource }) // it has its alert first; freezeSource writes it
	var out []Event
	for range r.IntN(4) {
		e := Event{At: secondsIn(r, 30, 500), Kind: kinds[r.IntN(len(kinds))], Target: string(st.Services[r.IntN(len(st.Services))].ID)}
		if f := faultOf(r, st); f.Kind != "" && r.IntN(2) == 0 {
			e.At, e.Target = f.At+secondsIn(r, 1, 60), f.Target
		}
		switch e.Kind {
		case Flap:
			e.Amount, e.For = float64(1+r.IntN(3)), secondsIn(r, 60, 500)
		case Restart:
			e.Target, e.For = fmt.Sprint(r.IntN(st.Replicas)), secondsIn(r, 2, 200)
			if r.IntN(2) == 0 { // and what ailed a service has passed meanwhile
				if f := faultOf(r, st); f.Kind != "" {
					out = append(out, Event{At: e.At + secondsIn(r, 1, 60), Kind: Passes, Target: f.Target})
				}
			}
		case RenameSensor, RemoveSensor:
			e.Amount = float64(r.IntN(2))
		case ClockStep:
			e.Amount, e.For = float64(20+r.IntN(700)), secondsIn(r, 30, 300)
			if r.IntN(2) == 0 {
				e.Amount = -e.Amount
			}
		case SensorError:
			e.Target, e.For, e.Amount = fmt.Sprint(r.IntN(st.Replicas)), secondsIn(r, 20, 400), float64(r.IntN(2))
		case SlowRelay:
			e.Target, e.For = fmt.Sprint(r.IntN(st.Replicas)), secondsIn(r, 2, 90)
		case SilentSource:
			e.For = secondsIn(r, 20, 500)
		case StuckAlert:
			e.Amount = float64(60 * r.IntN(2))
		default:
		}
		out = append(out, e)
	}
	for _, e := range out {
		if e.Kind == StuckAlert && e.Amount > 0 && r.IntN(2) == 0 {
			out = append(out, Event{At: e.At + secondsIn(r, 1, 60), Kind: SenderDies, Target: e.Target, For: secondsIn(r, 400, 700)})
		}
	}
	return out
}

// reread has the configuration read again in every fourth story, about as often as
// probes look. It draws for itself, so that the rest of a story is what it was before
// there were such events.
func reread(st Story) Story {
	r := rand.New(rand.NewPCG(st.Seed, 0x72657265))
	if r.IntN(4) > 0 {
		return st
	}
	e := Event{At: secondsIn(r, 20, 300), Kind: Reread, For: secondsIn(r, 60, 400), Amount: float64(3 + r.IntN(5))}
	if f := faultOf(r, st); f.Kind != "" && r.IntN(2) == 0 {
		e.At = f.At
	}
	st.Events = append(st.Events, e)
	return st
}

// freezeSource has a source freeze in every sixth story, half of the time when a fault strikes
// its service. It draws for itself, as reread does.
func freezeSource(st Story) Story {
	r := rand.New(rand.NewPCG(st.Seed, 0x66726f7a))
	if r.IntN(6) > 0 {
		return st
	}
	e := Event{At: secondsIn(r, 30, 500), Kind: FrozenSource, Target: string(st.Services[r.IntN(len(st.Services))].ID), For: secondsIn(r, 20, 500)}
	if f := faultOf(r, st); f.Kind != "" && r.IntN(2) == 0 {
		e.At, e.Target = f.At+secondsIn(r, 1, 60), f.Target
	}
	st.Events = append(st.Events, e)
	return st
}

// faultOf picks a fault of the story; the zero event when it has none.
func faultOf(r *rand.Rand, st Story) Event {
	var list []Event
	for _, e := range st.Events {
		if e.Fault() {
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return Event{}
	}
	return list[r.IntN(len(list))]
}

// interval of a stuck alert's repeats, or of rereads; 0: it is once.
func (e Event) interval() time.Duration { return time.Duration(e.Amount * float64(second)) }
