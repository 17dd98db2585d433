package learn

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"grace"
)

var now = time.Date(2026, 3, 2, 9, 31, 0, 0, time.UTC)

const (
	code     = grace.CodeElevatedErrors
	playbook = grace.PlaybookID("rollback_flag")
	day      = 24 * time.Hour
)

func outcome(service grace.ServiceID, r grace.Result, age time.Duration) grace.LearningEntry {
	return grace.LearningEntry{Service: service, Diagnosis: code, Playbook: playbook, Result: r, At: now.Add(-age)}
}

func times(n int, e grace.LearningEntry) []grace.LearningEntry {
	return slices.Repeat([]grace.LearningEntry{e}, n)
}

func TestRank(t *testing.T) {
	success, failure := outcome("api", grace.ResultSuccess, 0), outcome("api", grace.ResultFailure, 0)
	elsewhere := outcome("web", grace.ResultSuccess, 0)
	other := success
	other.Playbook = "flush_circuit_breakers"
	otherCode := success
	otherCode.Diagnosis = grace.CodeLatencySpike
	tests := []struct {
		name          string
		entries       []grace.LearningEntry
		score, trials float64
	}{
		{"nothing known", nil, 0.5, 0},
		{"one success", times(1, success), 2. / 3, 1},
		{"one failure", times(1, failure), 1. / 3, 1},
		{"five successes", times(5, success), 6. / 7, 5},
		{"neutral tells nothing", times(9, outcome("api", grace.ResultNeutral, 0)), 0.5, 0},
		{"another playbook or diagnosis tells nothing", []grace.LearningEntry{other, otherCode}, 0.5, 0},
		{"half after the half-life", times(4, outcome("api", grace.ResultSuccess, 14*day)), 0.75, 2},
		{"a quarter after two", times(8, outcome("api", grace.ResultFailure, 28*day)), 0.25, 2},
		{"from the future", times(5, outcome("api", grace.ResultSuccess, -time.Hour)), 6. / 7, 5},
		{"other services at half weight", times(4, elsewhere), 0.75, 2},
		{"other services never for more than is missing", times(100, elsewhere), 6. / 7, 5},
		{"other services beside one's own", append(times(3, failure), times(100, elsewhere)...), 3. / 7, 5},
		{"one's own alone", append(times(5, failure), times(100, elsewhere)...), 1. / 7, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			score, trials := New(DefaultConfig(), tt.entries).Rank("api", code, playbook, now)
			if math.Abs(score-tt.score) > 1e-9 || math.Abs(trials-tt.trials) > 1e-9 {
				t.Errorf("got %v of %v, want %v of %v", score, trials, tt.score, tt.trials)
			}
		})
	}
}

func drawEntries(t *rapid.T) []grace.LearningEntry {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) grace.LearningEntry {
		return outcome(
			rapid.SampledFrom([]grace.ServiceID{"api", "web", "db"}).Draw(t, "service"),
			rapid.SampledFrom([]grace.Result{grace.ResultSuccess, grace.ResultFailure, grace.ResultNeutral}).Draw(t, "result"),
			time.Duration(rapid.Int64Range(0, int64(100*day)).Draw(t, "age")))
	}), 0, 20).Draw(t, "entries")
}

func TestRankProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := drawEntries(t)
		b := New(DefaultConfig(), entries)
		score, trials := b.Rank("api", code, playbook, now)
		if !(score > 0 && score < 1) || trials < 0 {
			t.Fatalf("score %v of %v", score, trials)
		}
		reversed := slices.Clone(entries)
		slices.Reverse(reversed)
		s, n := New(DefaultConfig(), reversed).Rank("api", code, playbook, now)
		if math.Abs(s-score) > 1e-9 || math.Abs(n-trials) > 1e-9 {
			t.Fatalf("another order gave %v of %v, not %v of %v", s, n, score, trials)
		}
		const slack = 1e-12
		b.Add(outcome("api", grace.ResultSuccess, 0))
		better, more := b.Rank("api", code, playbook, now)
		if better < score-slack || more < trials-slack {
			t.Fatalf("a success took %v of %v to %v of %v", score, trials, better, more)
		}
		b.Add(outcome("api", grace.ResultFailure, 0))
		if worse, _ := b.Rank("api", code, playbook, now); worse > better+slack {
			t.Fatalf("a failure took %v to %v", better, worse)
		}
	})
}

// TestRankIsTheSumOfAll holds the rank against every outcome weighed alone, also
// for those of the future and for half-lives of seconds.
func TestRankIsTheSumOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := drawEntries(t)
		cfg := DefaultConfig()
		cfg.HalfLife = grace.Duration(rapid.SampledFrom([]time.Duration{time.Second, time.Hour, 14 * day}).Draw(t, "half-life"))
		at := now.Add(-time.Duration(rapid.Int64Range(0, int64(100*day)).Draw(t, "ago")))
		var own, others, failed float64
		for _, e := range entries {
			w := math.Exp2(-float64(max(at.Sub(e.At), 0)) / float64(cfg.HalfLife))
			switch {
			case e.Result == grace.ResultNeutral:
			case e.Service != "api":
				others += w
			default:
				own += w
				if e.Result == grace.ResultFailure {
					failed += w
				}
			}
		}
		cfg.FallbackWeight = 0
		score, trials := New(cfg, entries).Rank("api", code, playbook, at)
		if want := (1 + own - failed) / (2 + own); math.Abs(score-want) > 1e-9 || math.Abs(trials-own) > 1e-9 {
			t.Fatalf("alone: %v of %v, want %v of %v", score, trials, want, own)
		}
		cfg.FallbackWeight = 1
		shared, _ := New(cfg, entries).Rank("api", code, playbook, at)
		if weight := math.Abs(shared - score); others == 0 && weight > 1e-9 {
			t.Fatalf("others, of which there are none, moved the score by %v", weight)
		}
	})
}

func TestRows(t *testing.T) {
	recovered := func(d time.Duration, age time.Duration) grace.LearningEntry {
		e := outcome("api", grace.ResultSuccess, age)
		e.TimeToRecover = grace.Duration(d)
		return e
	}
	b := New(DefaultConfig(), []grace.LearningEntry{
		outcome("web", grace.ResultFailure, time.Hour),
		recovered(20*time.Second, time.Hour), recovered(40*time.Second, 2*time.Hour), outcome("api", grace.ResultSuccess, 0),
		outcome("api", grace.ResultNeutral, time.Minute),
		recovered(time.Second, 10*time.Hour), // the day before
		outcome("api", grace.ResultFailure, -time.Hour),
	})
	today, yesterday := now.Truncate(day), now.Truncate(day).Add(-day)
	want := []Row{
		{Service: "api", Bucket: yesterday, Trials: 1, Successes: 1, Rate: 1, Low: 0.2065, High: 1, MeanTimeToRecover: grace.Duration(time.Second)},
		{Service: "api", Bucket: today, Trials: 3, Successes: 3, Neutral: 1, Rate: 1, Low: 0.4385, High: 1, MeanTimeToRecover: grace.Duration(30 * time.Second)},
		{Service: "web", Bucket: today, Trials: 1, Failures: 1, Low: 0, High: 0.7935},
	}
	for i := range want {
		want[i].Diagnosis, want[i].Playbook = code, playbook
	}
	near := cmp.Comparer(func(x, y float64) bool { return math.Abs(x-y) < 1e-4 })
	if diff := cmp.Diff(want, b.Rows(now, day), near); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	all := b.Rows(now, 0)
	if len(all) != 2 || all[0].Trials != 4 || !all[0].Bucket.IsZero() {
		t.Errorf("in one span: %+v", all)
	}
	if rows := New(DefaultConfig(), nil).Rows(now, day); len(rows) != 0 {
		t.Errorf("an empty log has rows %v", rows)
	}
}

func TestWilson(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		trials := rapid.IntRange(0, 10_000).Draw(t, "trials")
		successes := rapid.IntRange(0, trials).Draw(t, "successes")
		low, high := wilson(successes, trials)
		if rate := ratio(successes, trials); !(0 <= low && low <= rate+1e-12 && rate <= high+1e-12 && high <= 1) {
			t.Fatalf("%d of %d: %v to %v", successes, trials, low, high)
		}
	})
}

// TestMeasureByHand: what a person wants is no proposal of GRACE's, and not
// approved without one.
func TestMeasureByHand(t *testing.T) {
	for _, state := range []grace.RunStatus{grace.RunRunning, grace.RunDenied, grace.RunAwaitingApproval} {
		got := Measure(now, []Fact{
			{State: state, Kind: grace.TriggerManual, Auto: true, LowRisk: true, CreatedAt: now.Add(-time.Minute)},
			{State: grace.RunRunning, Kind: grace.TriggerReactive, CreatedAt: now.Add(-time.Minute)},
		})
		want := KPIs{ProposalsPerMin: 0.1, Proposals24h: 1, Decided24h: 1, Approved24h: 1}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(KPIs{}, "Criteria")); diff != "" {
			t.Errorf("%s by hand (-want +got):\n%s", state, diff)
		}
	}
}

func TestMeasure(t *testing.T) {
	run := func(s grace.RunStatus, created time.Duration, edit ...func(*Fact)) Fact {
		f := Fact{State: s, Kind: grace.TriggerReactive, CreatedAt: now.Add(-created)}
		if s.Terminal() {
			end := now.Add(-created + time.Minute)
			f.EndedAt = &end
		}
		for _, e := range edit {
			e(&f)
		}
		return f
	}
	auto := func(f *Fact) { f.Auto = true }
	undone := func(f *Fact) { f.RolledBack = true }
	onWell := func(f *Fact) { f.Moot = true }
	proactive := func(f *Fact) { f.Kind = grace.TriggerProactive }
	in := func(d time.Duration) func(*Fact) { return func(f *Fact) { f.Recovered = grace.Duration(d) } }
	endedAgo := func(d time.Duration) func(*Fact) {
		return func(f *Fact) { end := now.Add(-d); f.EndedAt = &end }
	}
	got := Measure(now, []Fact{
		run(grace.RunSucceeded, 5*time.Minute, auto, in(10*time.Second)),
		run(grace.RunSucceeded, 9*time.Minute, auto, proactive, in(20*time.Second)),
		run(grace.RunSucceeded, 2*time.Hour, in(90*time.Second)),
		run(grace.RunRolledBack, 3*time.Hour, auto, undone),
		run(grace.RunEscalated, 4*time.Hour, undone),
		run(grace.RunAborted, 5*time.Hour),
		run(grace.RunRunning, time.Minute, auto),
		run(grace.RunAwaitingApproval, 2*time.Minute),
		run(grace.RunDenied, time.Hour), run(grace.RunExpired, time.Hour),
		run(grace.RunCancelled, time.Hour), run(grace.RunObservedOnly, time.Hour, proactive),
		run(grace.RunRollbackFailed, 25*time.Hour, endedAgo(23*time.Hour)), // created before, ended within
		run(grace.RunSucceeded, 24*time.Hour, endedAgo(24*time.Hour), in(time.Hour)),
		run(grace.RunSucceeded, -time.Minute, in(time.Hour)),   // after now
		run(grace.RunRolledBack, 23*time.Hour, undone, onWell), // a person wanted it where nothing was wrong
	})
	want := KPIs{
		ProposalsPerMin: 0.4, ApprovalRate: 0.5, SuccessRate: 3. / 7,
		MeanTimeToRecover: grace.Duration(40 * time.Second), MedianTimeToRecover: grace.Duration(20 * time.Second),
		RecoverReactive: grace.Duration(50 * time.Second), RecoverProactive: grace.Duration(20 * time.Second),
		Rollbacks24h: 3, AutoApproved24h: 4,
		Proposals24h: 13, Proactive24h: 2, Decided24h: 10, Approved24h: 8, Succeeded24h: 3, Failed24h: 4,
	}
	noCriteria := cmpopts.IgnoreFields(KPIs{}, "Criteria")
	if diff := cmp.Diff(want, got, noCriteria); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(KPIs{}, Measure(now, nil), noCriteria); diff != "" {
		t.Errorf("of nothing (-want +got):\n%s", diff)
	}
	metrics := map[string]float64{
		"self_heal.proposals_per_min": 0.4, "self_heal.approval_rate": 0.5, "self_heal.success_rate": 3. / 7,
		"self_heal.mean_time_to_recover": 40, "self_heal.rollbacks_24h": 3, "self_heal.auto_approved_24h": 4,
	}
	if diff := cmp.Diff(metrics, got.Metrics()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestCriteria(t *testing.T) {
	fact := func(state grace.RunStatus, auto, low, undone bool, in time.Duration) Fact {
		end := now.Add(-time.Minute)
		return Fact{State: state, Auto: auto, LowRisk: low, RolledBack: undone, CreatedAt: now.Add(-time.Hour), EndedAt: &end, Recovered: grace.Duration(in)}
	}
	brief := func(list []Criterion) map[string]string {
		out := map[string]string{}
		for _, c := range list {
			if !(c.Low <= c.Value && c.Value <= c.High) {
				t.Errorf("%s: %v is not within %v and %v", c.Name, c.Value, c.Low, c.High)
			}
			out[c.Name] = fmt.Sprintf("%s %.2f of %d", c.Met, c.Value, c.N)
		}
		return out
	}
	k := Measure(now, []Fact{
		fact(grace.RunSucceeded, true, true, false, time.Minute), fact(grace.RunSucceeded, true, true, false, 2*time.Minute),
		fact(grace.RunSucceeded, false, true, false, 3*time.Minute), fact(grace.RunRolledBack, true, false, true, 0),
	})
	want := map[string]string{
		"mean time to recover": "pass 120.00 of 3", "auto-approved of low risk": "pass 0.67 of 3", "success": "fail 0.75 of 4", "rollbacks": "fail 0.25 of 4",
	}
	if diff := cmp.Diff(want, brief(k.Criteria)); diff != "" {
		t.Error(diff)
	}
	none := map[string]string{
		"mean time to recover": "no_data 0.00 of 0", "auto-approved of low risk": "no_data 0.00 of 0", "success": "no_data 0.00 of 0", "rollbacks": "no_data 0.00 of 0",
	}
	if diff := cmp.Diff(none, brief(Measure(now, nil).Criteria)); diff != "" {
		t.Error(diff)
	}
	if c := FalsePredictions(1, 10); c.Met != "fail" {
		t.Errorf("one of ten is not below 10 %%: %+v", c)
	}
}

func TestResultOf(t *testing.T) {
	want := map[grace.RunStatus]grace.Result{
		grace.RunSucceeded: grace.ResultSuccess, grace.RunRolledBack: grace.ResultFailure, grace.RunRollbackFailed: grace.ResultFailure,
		grace.RunIneffective: grace.ResultFailure, grace.RunEscalated: grace.ResultFailure, grace.RunAborted: grace.ResultFailure, grace.RunDenied: grace.ResultNeutral,
		grace.RunExpired: grace.ResultNeutral, grace.RunCancelled: grace.ResultNeutral, grace.RunObservedOnly: grace.ResultNeutral,
	}
	for s, r := range want {
		if got := ResultOf(s); got != r {
			t.Errorf("%s: got %s, want %s", s, got, r)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default configuration: %v", err)
	}
	for key, edit := range map[string]func(*Config){
		"half_life":       func(c *Config) { c.HalfLife = 0 },
		"prior_alpha":     func(c *Config) { c.PriorAlpha = 0 },
		"prior_beta":      func(c *Config) { c.PriorBeta = math.NaN() },
		"min_trials":      func(c *Config) { c.MinTrials = math.Inf(1) },
		"fallback_weight": func(c *Config) { c.FallbackWeight = 1.1 },
	} {
		cfg := DefaultConfig()
		edit(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}

func BenchmarkRank(b *testing.B) {
	var entries []grace.LearningEntry
	for i := range 1000 {
		entries = append(entries, outcome(grace.ServiceID(fmt.Sprint(i%10)), grace.ResultSuccess, time.Duration(i)*time.Hour))
	}
	book := New(DefaultConfig(), entries)
	b.ReportAllocs()
	for b.Loop() {
		book.Rank("3", code, playbook, now)
	}
}
