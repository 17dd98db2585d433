package diagnose

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"grace"
)

// world is a random graph, cycles included, with random symptoms.
type world struct {
	graph edges
	ids   []grace.ServiceID
	in    Input
}

func drawWorld(t *rapid.T) world {
	w := world{graph: edges{}, in: Input{Now: now}}
	n := rapid.IntRange(1, 6).Draw(t, "services")
	for i := range n {
		w.ids = append(w.ids, grace.ServiceID(fmt.Sprint("s", i)))
	}
	for _, id := range w.ids {
		w.graph[id] = rapid.SliceOfN(rapid.SampledFrom(w.ids), 0, 2).Draw(t, "needs")
	}
	for i := range rapid.IntRange(0, 12).Draw(t, "signals") {
		w.in.Signals = append(w.in.Signals, drawSignal(t, fmt.Sprint(i), rapid.SampledFrom(w.ids).Draw(t, "service")))
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "predictions") {
		w.in.Predictions = append(w.in.Predictions, grace.Prediction{
			Key: grace.SignalKey(fmt.Sprint("p", i)), Service: rapid.SampledFrom(w.ids).Draw(t, "service"),
			Code: drawCode(t), Likelihood: rapid.Float64Range(0, 1).Draw(t, "likelihood"), At: now,
		})
	}
	return w
}

func drawCode(t *rapid.T) grace.Code {
	codes := []grace.Code{"", "disk_full"}
	for _, r := range rules() {
		codes = append(codes, r.code)
	}
	return rapid.SampledFrom(codes).Draw(t, "code")
}

func drawSignal(t *rapid.T, key string, service grace.ServiceID) grace.Signal {
	since := now.Add(-time.Duration(rapid.IntRange(0, 700).Draw(t, "age")) * time.Second)
	return grace.Signal{
		Key: grace.SignalKey(key), Service: service, Code: drawCode(t), Since: since, Fired: since,
		Metric:   rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "metric"),
		State:    rapid.SampledFrom([]grace.SignalState{grace.SignalFiring, grace.SignalFiring, grace.SignalStale, grace.SignalOK}).Draw(t, "state"),
		Severity: rapid.SampledFrom([]grace.Severity{grace.SeverityCritical, grace.SeverityWarning, grace.SeverityInfo}).Draw(t, "severity"),
	}
}

func serious(id grace.ServiceID, signals []grace.Signal) bool {
	return slices.ContainsFunc(signals, func(s grace.Signal) bool {
		return s.Service == id && s.State == grace.SignalFiring && s.Severity != grace.SeverityInfo
	})
}

func find(ds []grace.Diagnosis, cause grace.ServiceID) (grace.Diagnosis, bool) {
	i := slices.IndexFunc(ds, func(d grace.Diagnosis) bool { return d.Cause == cause })
	if i < 0 {
		return grace.Diagnosis{}, false
	}
	return ds[i], true
}

func TestAgreeingEvidenceNeverLowers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		a := New(DefaultConfig(), w.graph)
		for _, d := range a.Diagnose(w.in) {
			if !serious(d.Cause, w.in.Signals) {
				continue
			}
			more := drawSignal(t, "more", d.Cause)
			more.Code = d.Code
			in := w.in
			in.Signals = append(slices.Clone(in.Signals), more)
			after, found := find(a.Diagnose(in), d.Cause)
			if !found || after.Likelihood < d.Likelihood-1e-9 {
				t.Fatalf("before %+v\nafter %+v", d, after)
			}
		}
	})
}

func TestSickDependencyNeverFreesAVictim(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		a := New(DefaultConfig(), w.graph)
		for _, d := range a.Diagnose(w.in) {
			for _, v := range d.Victims {
				sick := drawSignal(t, "more", rapid.SampledFrom(w.ids).Draw(t, "dependency"))
				if sick.Service == v || !w.graph.DependsOn(v, sick.Service) {
					continue
				}
				sick.State = grace.SignalFiring
				in := w.in
				in.Signals = append(slices.Clone(in.Signals), sick)
				if after, found := find(a.Diagnose(in), v); found {
					t.Fatalf("victim of %+v\nnow has %+v", d, after)
				}
			}
		}
	})
}

// Every sick service is a cause or a victim of one that it depends on, unless
// what it depends on has only just recovered.
func TestNobodyIsForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		ds := New(DefaultConfig(), w.graph).Diagnose(w.in)
		recovered := func(s grace.Signal) bool {
			return s.State == grace.SignalOK && now.Sub(s.Fired) <= DefaultConfig().Aftermath.D()
		}
		excused := slices.ContainsFunc(w.in.Signals, recovered)
		for _, id := range w.ids {
			_, cause := find(ds, id)
			victim := false
			for _, d := range ds {
				if slices.Contains(d.Victims, id) {
					victim = true
					if !w.graph.DependsOn(id, d.Cause) {
						t.Fatalf("%s does not depend on %s", id, d.Cause)
					}
				}
			}
			if cause && victim {
				t.Fatalf("%s is both", id)
			}
			if serious(id, w.in.Signals) && !cause && !victim && !excused {
				t.Fatalf("%s is sick and not in %+v", id, ds)
			}
		}
	})
}

func TestOrderOfInputDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		a := New(DefaultConfig(), w.graph)
		want := a.Diagnose(w.in)
		w.in.Signals = rapid.Permutation(w.in.Signals).Draw(t, "signals")
		w.in.Predictions = rapid.Permutation(w.in.Predictions).Draw(t, "predictions")
		if diff := cmp.Diff(want, a.Diagnose(w.in)); diff != "" {
			t.Fatal(diff)
		}
	})
}
