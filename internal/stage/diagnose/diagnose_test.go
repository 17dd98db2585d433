package diagnose

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace"
)

var now = time.Date(2026, 3, 1, 14, 15, 0, 0, time.UTC)

// edges is a naive graph: "a" -> what a depends on.
type edges map[grace.ServiceID][]grace.ServiceID

func (e edges) DependsOn(a, b grace.ServiceID) bool {
	seen := map[grace.ServiceID]bool{}
	var walk func(id grace.ServiceID) bool
	walk = func(id grace.ServiceID) bool {
		for _, next := range e[id] {
			if next == b {
				return true
			}
			if !seen[next] {
				seen[next] = true
				if walk(next) {
					return true
				}
			}
		}
		return false
	}
	return a != b && walk(a)
}

// Suffers: there are no groups.
func (e edges) Suffers(a, b grace.ServiceID, _ func(grace.ServiceID) bool) bool {
	return e.DependsOn(a, b)
}

func (e edges) Service(id grace.ServiceID) (grace.Service, bool) {
	_, known := e[id]
	criticality := grace.CriticalityMedium
	if id == "store" {
		criticality = grace.CriticalityCritical
	}
	return grace.Service{ID: id, Criticality: criticality}, known
}

func shop() edges {
	return edges{
		"frontend": {"catalog", "cart", "checkout"},
		"catalog":  {"cache", "store"},
		"cart":     {"store"},
		"checkout": {"cart", "store"},
		"cache":    nil,
		"store":    nil,
		"executor": {"database"},
		"database": {"executor"},
	}
}

// parse reads "store latency_spike critical 30 [state]": a signal that fires
// since 30 s, or that fired 30 s ago, when the state is ok. The state
// "predicted" makes a prediction; the severity is its likelihood then.
func parse(t testing.TB, text string) Input {
	t.Helper()
	in := Input{Now: now}
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) == 4 {
			f = append(f, "firing")
		}
		var age int
		if _, err := fmt.Sscan(f[3], &age); err != nil || len(f) != 5 {
			t.Fatalf("line %q: %v", line, err)
		}
		since := now.Add(-time.Duration(age) * time.Second)
		key := grace.SignalKey(fmt.Sprintf("%s/s/m%d", f[0], i))
		if f[4] == "predicted" {
			p := grace.Prediction{
				Key: key, Service: grace.ServiceID(f[0]), Code: grace.Code(f[1]), Title: "latency rises",
				Metric: fmt.Sprint("m", i), At: since, BreachAt: now.Add(5 * time.Minute),
			}
			if _, err := fmt.Sscan(f[2], &p.Likelihood); err != nil {
				t.Fatal(err)
			}
			in.Predictions = append(in.Predictions, p)
			continue
		}
		s := grace.Signal{
			Key: key, Service: grace.ServiceID(f[0]), Metric: fmt.Sprint("m", i), Code: grace.Code(f[1]),
			Severity: grace.Severity(f[2]), State: grace.SignalState(f[4]), Since: since, At: now, Message: "text of " + f[1],
		}
		if s.State == grace.SignalOK {
			s.Fired = since
		}
		in.Signals = append(in.Signals, s)
	}
	return in
}

func brief(ds []grace.Diagnosis) string {
	var out []string
	for _, d := range ds {
		text := fmt.Sprintf("%s %s %.2f %s", d.Cause, d.Code, d.Likelihood, d.Impact)
		if d.Kind == grace.TriggerProactive {
			text += " proactive"
		}
		if len(d.Victims) > 0 {
			text += fmt.Sprint(" ", d.Victims)
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func TestCodes(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"a probe failed", "cart service_down critical 5", "cart service_down 0.78 medium"},
		{"a critical service is down", "store service_down critical 5", "store service_down 0.78 critical"},
		{"a service nobody described is down", "ghost service_down critical 5", "ghost service_down 0.78 critical"},
		{"a critical objective", "cart elevated_errors critical 5", "cart elevated_errors 0.78 medium"},
		{"one warning", "cart latency_spike warning 5", "cart latency_spike 0.64 medium"},
		{"a hint", "cart latency_spike info 5", "cart latency_spike 0.35 low"},
		{"two of a kind agree", "cart latency_spike warning 5\ncart latency_spike warning 5", "cart latency_spike 0.87 medium"},
		{"errors and latency", "cart latency_spike warning 5\ncart elevated_errors warning 5", "cart elevated_errors 0.73 medium"},
		{"breaker", "cart elevated_errors warning 5\ncart circuit_breaker_open warning 5", "cart circuit_breaker_open 0.87 medium"},
		{"breaker on worse errors", "cart elevated_errors critical 5\ncart circuit_breaker_open info 5", "cart circuit_breaker_open 0.86 medium"},
		{"flag", "cart elevated_errors warning 5\ncart flag_issue warning 5", "cart flag_issue 0.87 medium"},
		{"flag behind a breaker", "cart elevated_errors warning 5\ncart flag_issue warning 5\ncart circuit_breaker_open warning 5", "cart flag_issue 0.95 medium"},
		{"cold cache", "cart latency_spike warning 5\ncart cache_cold warning 5", "cart cache_cold 0.87 medium"},
		{"capacity", "cart latency_spike warning 5\ncart capacity warning 5", "cart capacity 0.87 medium"},
		{"a cold cache makes no errors", "cart elevated_errors critical 5\ncart cache_cold warning 5", "cart elevated_errors 0.78 medium"},
		{"down beats all", "cart elevated_errors critical 5\ncart flag_issue critical 5\ncart disk_full critical 5\ncart service_down critical 5", "cart service_down 0.99 medium"},
		{"a code of one's own", "cart disk_full critical 5\ncart degradation warning 5", "cart disk_full 0.92 medium"},
		{"two critical warnings", "store latency_spike warning 5\nstore latency_spike warning 5", "store latency_spike 0.87 high"},
		{"no data", "cart latency_spike critical 90 stale", ""},
		{"unstable weighs nothing", "cart latency_spike critical 90 unstable", ""},
		{"unstable agrees with nothing", "cart latency_spike warning 5\ncart latency_spike critical 90 unstable", "cart latency_spike 0.64 medium"},
		{"unstable makes no victims", "frontend latency_spike critical 5\nstore service_down critical 90 unstable", "frontend latency_spike 0.78 medium"},
		{"missing data only hints", "cart latency_spike warning 5\ncart cache_cold warning 90 stale", "cart latency_spike 0.67 medium"},
		{"recovered alone", "cart latency_spike critical 30 ok", ""},
		{"recovered just now", "cart latency_spike warning 5\ncart latency_spike critical 6 ok", "cart latency_spike 0.75 medium"},
		{"recovered long ago", "cart latency_spike warning 5\ncart latency_spike critical 540 ok", "cart latency_spike 0.65 medium"},
		{"recovered before the window", "cart latency_spike warning 5\ncart latency_spike critical 601 ok", "cart latency_spike 0.64 medium"},
		{"a breaker that closed is no answer", "cart elevated_errors warning 5\ncart circuit_breaker_open critical 6 ok", "cart elevated_errors 0.64 medium"},
		{"prediction", "cart latency_spike 0.85 1 predicted", "cart latency_spike 0.85 low proactive"},
		{"prediction next to a symptom", "cart latency_spike warning 5\ncart latency_spike 0.5 1 predicted", "cart latency_spike 0.82 medium"},
		{"reactive first", "cart latency_spike 0.95 1 predicted\ncatalog latency_spike info 5", "catalog latency_spike 0.35 low; cart latency_spike 0.95 low proactive"},
		{"worst first", "cart latency_spike critical 5\nstore latency_spike info 5\ncache service_down critical 6", "cache service_down 0.78 medium; cart latency_spike 0.78 medium; store latency_spike 0.35 medium"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := brief(New(DefaultConfig(), shop()).Diagnose(parse(t, tt.in))); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestCauses(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"slow dependency", "frontend latency_spike critical 5\nstore latency_spike warning 5", "store latency_spike 0.75 medium [frontend]"},
		{"its own cause", "frontend latency_spike critical 5", "frontend latency_spike 0.78 medium"},
		{"dependents do not excuse", "frontend latency_spike critical 5\nstore latency_spike critical 5\ncache latency_spike critical 5", "store latency_spike 0.85 high [frontend]; cache latency_spike 0.85 medium [frontend]"},
		{"through a healthy service", "frontend elevated_errors warning 5\nstore service_down critical 5", "store service_down 0.84 critical [frontend]"},
		{"a chain has one cause", "frontend latency_spike warning 5\ncheckout latency_spike warning 5\ncart latency_spike warning 5", "cart latency_spike 0.80 medium [checkout frontend]"},
		{"a crash is one's own", "cart service_down critical 5\nstore latency_spike warning 5", "cart service_down 0.78 medium; store latency_spike 0.64 medium"},
		{"but not while a dependency is down", "cart service_down critical 5\nstore service_down critical 5", "store service_down 0.85 critical [cart]"},
		{"a flag is one's own", "cart elevated_errors warning 5\ncart flag_issue warning 5\nstore latency_spike warning 5", "cart flag_issue 0.87 medium; store latency_spike 0.64 medium"},
		{"a breaker opens for its dependency", "cart elevated_errors warning 5\ncart circuit_breaker_open warning 5\nstore elevated_errors warning 5", "store elevated_errors 0.73 medium [cart]"},
		{"a hint of one's own does not count", "cart elevated_errors critical 5\ncart flag_issue info 5\nstore elevated_errors warning 5", "store elevated_errors 0.75 medium [cart]"},
		{"a hint inhibits nobody", "cart latency_spike critical 5\nstore latency_spike info 5", "cart latency_spike 0.78 medium; store latency_spike 0.35 medium"},
		{"a stale dependency inhibits nobody", "cart latency_spike critical 5\nstore latency_spike critical 90 stale", "cart latency_spike 0.78 medium"},
		{"stale behind a sick one", "cart latency_spike critical 90 stale\nstore latency_spike critical 5", "store latency_spike 0.78 high"},
		{"the dependency recovered a moment ago", "cart latency_spike critical 60\nstore service_down critical 10 ok", ""},
		{"the dependency recovered a while ago", "cart latency_spike critical 60\nstore service_down critical 30 ok", "cart latency_spike 0.78 medium"},
		{"cycle: the stronger", "executor latency_spike warning 9\ndatabase latency_spike critical 5", "database latency_spike 0.84 medium [executor]"},
		{"cycle: the earlier", "executor latency_spike warning 9\ndatabase latency_spike warning 5", "executor latency_spike 0.73 medium [database]"},
		{"cycle: the sick one, not the one to be", "executor latency_spike 0.95 1 predicted\ndatabase latency_spike warning 5", "database latency_spike 0.78 medium [executor]"},
		{"predicted together", "frontend latency_spike 0.8 1 predicted\nstore latency_spike 0.8 1 predicted", "store latency_spike 0.86 medium proactive [frontend]"},
		{"predicted victim", "frontend latency_spike 0.8 1 predicted\nstore latency_spike critical 5", "store latency_spike 0.85 high [frontend]"},
		{"a prediction does not excuse", "frontend latency_spike critical 5\nstore latency_spike 0.9 1 predicted", "frontend latency_spike 0.78 medium; store latency_spike 0.90 medium proactive"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := brief(New(DefaultConfig(), shop()).Diagnose(parse(t, tt.in))); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestDiagnosisInFull(t *testing.T) {
	in := parse(t, "store latency_spike warning 40\nfrontend latency_spike critical 60\nstore latency_spike warning 30 stale")
	got := New(DefaultConfig(), shop()).Diagnose(in)
	want := []grace.Diagnosis{{
		ID: got[0].ID, Code: grace.CodeLatencySpike, Cause: "store", Kind: grace.TriggerReactive,
		Likelihood: 1 - (1-0.64)*(1-0.07)*(1-0.312), Impact: grace.ImpactMedium,
		Severity: grace.SeverityWarning, Victims: []grace.ServiceID{"frontend"}, Since: now.Add(-40 * time.Second), At: now,
		Evidence: []grace.Evidence{
			{Service: "store", Code: "latency_spike", Signal: "store/s/m0", State: "firing", Severity: "warning", Weight: 0.64, Text: "text of latency_spike"},
			{Service: "store", Code: "degradation", Signal: "store/s/m2", State: "stale", Severity: "warning", Weight: 0.07, Text: "text of latency_spike"},
			{Service: "frontend", Code: "latency_spike", Signal: "frontend/s/m1", State: "firing", Severity: "critical", Weight: 0.312, Text: "depends on store: text of latency_spike"},
		},
	}}
	near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(string(got[0].ID), "d-") || len(got[0].ID) != 18 {
		t.Errorf("id %s", got[0].ID)
	}
	in.Now = now.Add(time.Minute)
	if again := New(DefaultConfig(), shop()).Diagnose(in); again[0].ID != got[0].ID {
		t.Errorf("the id changed with time alone: %s, %s", got[0].ID, again[0].ID)
	}
	in.Signals[0].Since = now
	if again := New(DefaultConfig(), shop()).Diagnose(in); again[0].ID == got[0].ID {
		t.Error("another occurrence has the same id")
	}
}

func TestProactiveCarriesItsTime(t *testing.T) {
	got := New(DefaultConfig(), shop()).Diagnose(parse(t, "cart latency_spike 0.85 1 predicted"))
	if got[0].BreachAt == nil || !got[0].BreachAt.Equal(now.Add(5*time.Minute)) {
		t.Errorf("got %+v", got[0])
	}
	if want := "latency rises, expected at 14:20:00 UTC"; got[0].Evidence[0].Text != want {
		t.Errorf("text %q", got[0].Evidence[0].Text)
	}
}

// What is foreseen is known since it was first said, however often it is said
// anew: who waits a moment for other symptoms does not wait for ever.
func TestProactiveSince(t *testing.T) {
	in := parse(t, "cart latency_spike 0.85 1 predicted")
	published := now.Add(-20 * time.Second)
	in.Predictions[0].At, in.Predictions[0].Published = now, &published
	first := New(DefaultConfig(), shop()).Diagnose(in)
	in.Now, in.Predictions[0].At = now.Add(2*time.Second), now.Add(2*time.Second)
	if again := New(DefaultConfig(), shop()).Diagnose(in); !first[0].Since.Equal(published) || again[0].ID != first[0].ID {
		t.Errorf("known since %s, then another occurrence: %v", first[0].Since, again[0].ID != first[0].ID)
	}
}

// A dependency that was down a moment ago still explains what it broke, also
// where that is down and not only slow.
func TestAftermathOfAnOutage(t *testing.T) {
	for _, tt := range []struct{ dependency, want string }{
		{"store service_down critical 5 ok", ""},
		{"store service_down critical 60 ok", "cart service_down 0.78 medium"},
		{"store latency_spike critical 5 ok", "cart service_down 0.78 medium"},
		{"store service_down critical -3 ok", ""},                                 // the clocks of two hosts
		{"store service_down critical -3600 ok", "cart service_down 0.78 medium"}, // the clock was set back
	} {
		got := brief(New(DefaultConfig(), shop()).Diagnose(parse(t, "cart service_down critical 30\n"+tt.dependency)))
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.dependency, got, tt.want)
		}
	}
}

func TestEchoesCountHalf(t *testing.T) {
	in := parse(t, "cart latency_spike critical 5\ncart latency_spike warning 5")
	in.Signals[1].Metric = in.Signals[0].Metric
	got := New(DefaultConfig(), shop()).Diagnose(in)[0].Likelihood
	if want := 1 - (1-0.78)*(1-0.32); math.Abs(got-want) > 1e-9 {
		t.Errorf("got %v, want %v", got, want)
	}
	in.Signals[1].Key = in.Signals[0].Key // the same signal, told twice
	got = New(DefaultConfig(), shop()).Diagnose(in)[0].Likelihood
	if math.Abs(got-0.78) > 1e-9 {
		t.Errorf("got %v", got)
	}
	in.Signals[1].Since, in.Signals[1].State = now, grace.SignalStale // its newest word
	if got := brief(New(DefaultConfig(), shop()).Diagnose(in)); got != "" {
		t.Errorf("got %v", got)
	}
}

// What a code explains it must take as well as the explained code does, or a
// new symptom could make the answer less likely.
func TestRulesAreClosed(t *testing.T) {
	b := newRuleSet(rules())
	codes := []grace.Code{"disk_full", codeStale}
	for _, r := range rules() {
		codes = append(codes, r.code)
	}
	for _, h := range codes {
		for _, g := range codes {
			if h == g || h == codeStale || g == codeStale || b.factor(h, g) < explains {
				continue
			}
			if b.rank(h) > b.rank(g) {
				t.Errorf("%s explains %s, but stands behind it", h, g)
			}
			for _, s := range codes {
				if b.factor(h, s) < b.factor(g, s) {
					t.Errorf("%s explains %s, but takes %s by %v, less than %v", h, g, s, b.factor(h, s), b.factor(g, s))
				}
			}
		}
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{
		Aftermath: -1, MinLikelihood: 2, Critical: math.NaN(), Warning: -1, Info: 1.1,
		Stale: -1, Echo: -1, Recovered: -1, Victim: -1,
	}
	err := bad.Validate()
	for _, key := range []string{
		"window", "aftermath", "min_likelihood", "critical", "warning", "info",
		"stale", "echo", "recovered", "victim",
	} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
	upsideDown := DefaultConfig()
	upsideDown.Warning = 0.9
	if upsideDown.Validate() == nil {
		t.Error("a warning may weigh more than a critical signal")
	}
}

func BenchmarkDiagnose(b *testing.B) {
	in := parse(b, `
frontend latency_spike critical 5
frontend elevated_errors warning 5
catalog latency_spike warning 8
catalog cache_cold info 8
checkout elevated_errors warning 3
cart latency_spike warning 9
cart latency_spike critical 90 stale
store latency_spike critical 20
store capacity warning 20
cache latency_spike critical 60 ok
database latency_spike 0.8 1 predicted`)
	in.Signals = slices.Clip(in.Signals)
	a := New(DefaultConfig(), shop())
	b.ReportAllocs()
	for b.Loop() {
		a.Diagnose(in)
	}
}

// pair is a balancer, lb, in front of a and b.
type pair struct{ edges }

// Suffers holds while one of the two is not ill.
func (p pair) Suffers(a, b grace.ServiceID, ill func(grace.ServiceID) bool) bool {
	return p.DependsOn(a, b) && ill("a") && ill("b")
}

// One sick backend of two makes no victim of the balancer: what the balancer
// suffers is its own, until both are sick.
func TestGroups(t *testing.T) {
	graph := pair{edges{"lb": {"a", "b"}, "a": nil, "b": nil}}
	for _, tt := range []struct{ in, want string }{
		{"lb elevated_errors critical 5\na service_down critical 5", "a service_down 0.78 medium; lb elevated_errors 0.78 medium"},
		{"lb elevated_errors critical 5\na service_down critical 5\nb service_down critical 5", "a service_down 0.85 medium [lb]; b service_down 0.85 medium [lb]"},
	} {
		if got := brief(New(DefaultConfig(), graph).Diagnose(parse(t, tt.in))); got != tt.want {
			t.Errorf("%q\ngot  %s\nwant %s", tt.in, got, tt.want)
		}
	}
}
