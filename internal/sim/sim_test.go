package sim

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
)

// seeds is how many stories TestSeeds plays; `make sim` plays thousands.
func seeds() uint64 {
	if raceDetector || testing.Short() {
		return 8
	}
	return 100
}

// skipUnderRace skips what the race detector, which makes stories five times
// slower, cannot learn more from: one goroutine runs at a time in a story.
// `make test` runs it without the detector.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("plays many stories; runs without the race detector")
	}
}

// TestSeeds plays stories that nobody chose. A seed that fails here is printed
// with the story; `grace-demo sim --seed N --n 1` plays it again.
func TestSeeds(t *testing.T) {
	var next atomic.Uint64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for seed := next.Add(1) - 1; seed < seeds(); seed = next.Add(1) - 1 {
				r, err := Play(t.Context(), Write(seed), Mutations{})
				if err != nil {
					t.Error(err)
					return
				}
				for _, v := range r.Violations {
					t.Errorf("seed %d: %s", seed, v)
				}
			}
		})
	}
	all.Wait()
}

// TestSameSeedSameHistory holds what a printed seed is worth.
func TestSameSeedSameHistory(t *testing.T) {
	skipUnderRace(t)
	for _, seed := range []uint64{4, 12, 15, 34} {
		first, second := history(t, seed), history(t, seed)
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("seed %d went two ways (-first +second):\n%s", seed, diff)
		}
		if len(first) < 20 {
			t.Errorf("seed %d: only %d entries", seed, len(first))
		}
	}
}

func history(t *testing.T, seed uint64) []string {
	t.Helper()
	r, err := Play(t.Context(), Write(seed), Mutations{})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(r.Log.Audit))
	for i, e := range r.Log.Audit {
		out[i] = fmt.Sprintf("%d %s %s %s %s %s", e.Seq, e.At.Format(time.TimeOnly), e.Action, e.Object, e.Reason, e.Hash)
	}
	return out
}

// TestPlantedBugs plants one bug after the other, and wants each checker to
// find the one that is its own.
func TestPlantedBugs(t *testing.T) {
	skipUnderRace(t)
	bugs := []struct {
		check string
		m     Mutations
		story func(*Story) // what gives the bug its chance
	}{
		{check: "allowed_first", m: Mutations{SkipApproval: true}},
		{check: "one_run_per_cone", m: Mutations{IgnoreCones: true}, story: manyFaults},
		{check: "rate_limit", m: Mutations{NoRate: true}, story: uselessActions},
		{check: "backoff", m: Mutations{NoBackoff: true}, story: uselessActions},
		{check: "duplicates", m: Mutations{NoDuplicates: true}, story: denied},
		{check: "guardrails", m: Mutations{NoBlastLimit: true}, story: manyFaults},
		{check: "change_window", m: Mutations{NoWindows: true}, story: lateWindow},
		{check: "concurrency", m: Mutations{NoConcurrency: true}, story: apart},
		{check: "mode", m: Mutations{NoAdmission: true}, story: modeChanges},
		{check: "failure_is_undone", m: Mutations{ForgetUndo: true}, story: halfDone},
		{check: "failure_is_undone", m: Mutations{SkipRollback: true}, story: halfDone},
		{check: "nothing_breaks_off", m: Mutations{NoFence: true}, story: freezes},
		{check: "success_is_true", m: Mutations{KeepGoing: true}, story: uselessActions},
		{check: "success_is_true", m: Mutations{BlindVerify: true}, story: uselessActions},
		{check: "success_is_true", m: Mutations{NoRecovery: true}, story: stuckAlert},
		{check: "crash_loop", m: Mutations{NoBackoff: true}, story: comesBack},
		{check: "fresh_evidence", m: Mutations{StoredEvidence: true}, story: passesMeanwhile},
		{check: "fresh_evidence", m: Mutations{IgnorePassing: true}, story: flaps},
		{check: "fresh_evidence", m: Mutations{NoAdmission: true}, story: passesMeanwhile},
		{check: "fresh_evidence", m: Mutations{KeepAlerts: true}, story: senderDies},
		{check: "no_silence", m: Mutations{KeepAlerts: true}, story: senderDies},
		{check: "fresh_evidence", m: Mutations{Undated: true}, story: sourceFreezes},
		{check: "no_silence", m: Mutations{Undated: true}, story: sourceFreezes},
		{check: "no_silence", m: Mutations{NeverTell: true}, story: watchedOnly},
		{check: "no_silence", m: Mutations{ForgetVictims: true}, story: watchedOnly},
		{check: "no_silence", m: Mutations{NarrowStorm: true}},
		{check: "no_silence", m: Mutations{DoubtRereads: true}, story: rereads},
		{check: "questions_are_told", m: Mutations{NoQuestion: true}},
		{check: "decisions_replay", m: Mutations{TouchRecord: true}},
		{check: "one_decision_per_trigger", m: Mutations{DecideTwice: true}, story: uselessActions},
		{check: "a_person_first", m: Mutations{ForgetPerson: true}, story: undoRefused},
		{check: "a_person_first", m: Mutations{ForgetPerson: true}, story: aborted},
		{check: "undone_once", m: Mutations{UndoTwice: true}, story: oneLie},
		{check: "no_step_repeated", m: Mutations{RepeatSteps: true}, story: crashes},
		{check: "audit_chain", m: Mutations{ForgeLog: true}},
		{check: "quiet_when_well", m: Mutations{Jumpy: true}, story: nothingHappens},
		{check: "every_run_ends", m: Mutations{Deaf: true}},
		{check: "every_trigger_decided", m: Mutations{Undecided: true}},
		{check: "nothing_breaks_off", m: Mutations{LoseRevision: true}},
	}
	missed := map[string]bool{}
	for _, c := range checkers() {
		missed[c.name] = true
	}
	for _, b := range bugs {
		delete(missed, b.check)
		name, _ := json.Marshal(b.m)
		t.Run(b.check+"/"+planted(string(name)), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(60) {
				st := Write(seed)
				if b.story != nil {
					b.story(&st)
				}
				r, err := Play(t.Context(), st, b.m)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range r.Violations {
					if v.Check == b.check {
						t.Logf("seed %d: %s", seed, v)
						return
					}
				}
			}
			t.Error("60 seeds, and the bug was not found")
		})
	}
	for name := range missed {
		t.Errorf("no planted bug breaks checker %s", name)
	}
}

// planted names the fields that are set.
func planted(mutations string) string {
	var names []string
	for part := range strings.SplitSeq(strings.Trim(mutations, "{}"), ",") {
		if name, on := strings.CutSuffix(part, ":true"); on {
			names = append(names, strings.Trim(name, `"`))
		}
	}
	return strings.Join(names, "+")
}

func manyFaults(st *Story) {
	st.Windows, st.Mode = nil, grace.ModeAutonomous
	st.Events = nil
	for i := range min(5, len(st.Services)/2) {
		at := time.Duration(60+i) * time.Second
		st.Events = append(st.Events, Event{At: at, Kind: Crash, Target: string(st.Services[len(st.Services)-1-i].ID)})
	}
}

func uselessActions(st *Story) {
	st.Windows, st.Mode, st.Events = nil, grace.ModeAutonomous, nil
	for i := range st.Services {
		st.Services[i].Flag, st.Services[i].Criticality, st.Services[i].Auto = true, grace.CriticalityLow, true
	}
	target := string(st.Services[0].ID)
	st.Events = []Event{{At: time.Minute, Kind: BadFlag, Target: target}}
	for range 12 {
		st.Events = append(st.Events, Event{At: time.Minute, Kind: Lie, Target: target})
	}
}

// oneLie: the remedy is said to be done and is not; undoing it is honest.
func oneLie(st *Story) {
	uselessActions(st)
	st.Events = st.Events[:2]
}

// halfDone: the remedy takes effect, and nobody hears that it did.
func halfDone(st *Story) {
	oneLie(st)
	st.Events[1].Kind = HalfApply
}

// undoRefused: nobody hears of the remedy, and its undo is refused.
func undoRefused(st *Story) {
	uselessActions(st)
	st.Events = st.Events[:1:1]
	st.Events = append(st.Events, Event{At: time.Minute, Kind: Hang, Target: st.Events[0].Target})
	for range 3 {
		st.Events = append(st.Events, Event{At: time.Minute, Kind: Fail, Target: st.Events[0].Target})
	}
}

// aborted: a person stops the remedy while it is being verified.
func aborted(st *Story) {
	uselessActions(st)
	st.Events = append(st.Events[:2], Event{At: 80 * time.Second, Kind: AbortRuns})
}

// comesBack: a fault strikes again soon after it was healed.
func comesBack(st *Story) {
	uselessActions(st)
	st.Events = nil
	for i := range 4 {
		st.Events = append(st.Events, Event{At: time.Duration(1+2*i) * time.Minute, Kind: BadFlag, Target: string(st.Services[0].ID)})
	}
}

func lateWindow(st *Story) {
	apart(st)
	st.Windows = []Span{{10 * time.Minute, 12 * time.Hour}}
}

// apart: many faults of services that have nothing to do with each other.
func apart(st *Story) {
	manyFaults(st)
	for i := range st.Services {
		st.Services[i].DependsOn, st.Services[i].Auto, st.Services[i].Criticality = nil, true, grace.CriticalityLow
	}
}

func modeChanges(st *Story) {
	manyFaults(st)
	st.Events = append(st.Events, Event{At: 90 * time.Second, Kind: SetMode, Target: string(grace.ModeStopped), For: 5 * time.Minute})
	for i := range st.Services {
		st.Services[i].Criticality = grace.CriticalityCritical
	}
}

// crashes: a process ends somewhere in a run whose remedy does not help, so
// that no look can tell that the step was done.
func crashes(st *Story) {
	uselessActions(st)
	st.Events = append(st.Events, Event{At: 30 * time.Second, Kind: KillAtStep, Amount: float64(4 + st.Seed%12), For: 5 * time.Second})
}

// freezes: a replica stands still while an action is under way.
func freezes(st *Story) {
	apart(st)
	st.Replicas = 2
	st.Events = append(st.Events, Event{At: 71 * time.Second, Kind: Freeze, Target: "0", For: 20 * time.Second})
}

// eager: one service is healed without asking anybody.
func eager(st *Story) {
	st.Windows, st.Mode, st.Events, st.Replicas = nil, grace.ModeAutonomous, nil, 1
	for i := range st.Services {
		st.Services[i].Criticality, st.Services[i].Auto, st.Services[i].DependsOn = grace.CriticalityLow, true, nil
	}
}

// passesMeanwhile: a service is down, and GRACE too; when it is back the
// service has been well for a while.
func passesMeanwhile(st *Story) {
	eager(st)
	target := string(st.Services[0].ID)
	if st.Seed%2 == 0 { // and a person would be asked
		st.Services[0].Criticality = grace.CriticalityCritical
	}
	st.Events = []Event{
		{At: 58 * time.Second, Kind: Crash, Target: target},
		{At: 67 * time.Second, Kind: Restart, Target: "0", For: 64 * time.Second},
		{At: 80 * time.Second, Kind: Passes, Target: target},
	}
	if st.Seed%2 == 0 {
		st.Events = st.Events[:1:1]
		st.Events = append(st.Events, Event{At: 80 * time.Second, Kind: Passes, Target: target})
	}
}

// sourceFreezes: what measures a service says the same again and again, about one when it
// was well and about another while it is slow.
func sourceFreezes(st *Story) {
	eager(st)
	well, slow := string(st.Services[1].ID), string(st.Services[0].ID)
	st.Services[0].Criticality = grace.CriticalityCritical // a person is asked
	st.Events = []Event{
		{At: 30 * time.Second, Kind: PeopleLate, For: 11 * time.Minute, Amount: 240},
		{At: 30 * time.Second, Kind: FrozenSource, Target: well, For: 11 * time.Minute},
		{At: time.Minute, Kind: Slow, Target: slow},
		{At: 90 * time.Second, Kind: FrozenSource, Target: slow, For: 9 * time.Minute},
	}
}

// denied: a person says no, and the condition lasts.
func denied(st *Story) {
	eager(st)
	st.Services[0].Criticality = grace.CriticalityCritical
	st.Events = []Event{
		{At: 30 * time.Second, Kind: PeopleDeny, For: 11 * time.Minute},
		{At: time.Minute, Kind: Crash, Target: string(st.Services[0].ID)},
	}
}

func flaps(st *Story) {
	eager(st)
	st.Events = []Event{{At: time.Minute, Kind: Flap, Target: string(st.Services[0].ID), For: 3 * time.Minute, Amount: 2}}
}

func stuckAlert(st *Story) {
	eager(st)
	st.Events = []Event{{At: time.Minute, Kind: StuckAlert, Target: string(st.Services[0].ID), Amount: 60}}
}

// senderDies: what an alert is about waits for a person for so long that the
// alert is not repeated any more.
func senderDies(st *Story) {
	eager(st)
	st.Services[0].Criticality = grace.CriticalityCritical
	st.Events = []Event{
		{At: 30 * time.Second, Kind: PeopleLate, For: 11 * time.Minute, Amount: 240},
		{At: time.Minute, Kind: StuckAlert, Target: string(st.Services[0].ID), Amount: 60},
		{At: 61 * time.Second, Kind: SenderDies, Target: string(st.Services[0].ID), For: 10 * time.Minute},
	}
}

// watchedOnly: a service that others depend on is down, and nothing is done.
func watchedOnly(st *Story) {
	st.Mode, st.Events = grace.ModeObserveOnly, nil
	last := st.Services[len(st.Services)-1].ID
	for i := range st.Services[:2] {
		st.Services[i].DependsOn = []grace.ServiceID{last}
	}
	st.Events = []Event{{At: time.Minute, Kind: Crash, Target: string(last)}}
}

func nothingHappens(st *Story) { st.Events = nil }
