package series

import (
	"fmt"
	"hash/maphash"
	"math"
	"strings"
	"testing"
	"time"

	"grace"
)

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Limits)
		texts  []string
	}{
		{"of a source", func(l *Limits) { l.SeriesPerSource = 10 }, []string{"5 of 15 samples refused (series_per_source)", `source "peer" has 10 series`, "the limit is 10", "limits.series_per_source"}},
		{"of a service", func(l *Limits) { l.SeriesPerService = 10 }, []string{"5 of 15 samples refused (series_per_service)", "the limit is 10", "limits.series_per_service"}},
		{"altogether", func(l *Limits) { l.Series = 10 }, []string{"5 of 15 samples refused (series)", "all of them in use", "limits.series"}},
		{"of a request", func(l *Limits) { l.SamplesPerRequest = 10 }, []string{"5 of 15 samples refused (samples_per_request)", "the limit is 10", "limits.samples_per_request"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newRig(t, func(c *Config, _ *Options) { tt.change(&c.Limits) })
			for round := 0.0; round < 2; round++ {
				batch := b.Begin(From{Source: "peer"})
				for i := range 15 {
					batch.Append(key(fmt.Sprintf("jobs_pending{id=%02d,job=cart}", i)), Meta{}, at(round, 1))
				}
				r := batch.End()
				if r.Count(Taken) != 10 || r.Refused() != 5 {
					t.Errorf("round %v: %s", round, reasonsOf(&r))
				}
				for _, text := range tt.texts {
					if err := r.Err(); err == nil || !strings.Contains(err.Error(), text) {
						t.Errorf("round %v: %v does not say %q", round, err, text)
					}
				}
			}
			if len(b.values) != 10 {
				t.Errorf("%d series", len(b.values))
			}
		})
	}
}

// When all places are taken, a silent series goes before one that only does not
// change, and one that an expression looks at never does.
func TestEviction(t *testing.T) {
	var told []Eviction
	b := newRig(t, func(c *Config, o *Options) {
		c.Limits.Series = 4
		o.Evicted = func(e Eviction) { told = append(told, e) }
	})
	b.watch(`wanted > 5`)
	b.send("wanted{job=cart}", Meta{}, at(0, 1))
	b.send("silent_pending{job=cart}", Meta{}, at(0, 1))
	for hour := 0.0; hour < 5; hour++ {
		b.now = start.Add(time.Duration(hour) * time.Hour)
		b.send("constant_pending{job=cart}", Meta{}, at(hour*3600, 7))
		b.send("living_pending{job=cart}", Meta{}, at(hour*3600, hour))
	}
	if r := b.send("first_pending{job=cart}", Meta{}, at(4*3600, 1)); r.Err() != nil {
		t.Error(r.Err())
	}
	b.now = b.now.Add(time.Second)
	if r := b.send("second_pending{job=cart}", Meta{}, at(4*3600, 1)); r.Err() != nil {
		t.Error(r.Err())
	}
	if r := b.send("third_pending{job=cart}", Meta{}, at(4*3600, 1)); r.Count(Full) != 1 {
		t.Errorf("a living series was thrown out: %s, %v", reasonsOf(&r), told)
	}
	want := `[{silent_pending{job="cart"} it was silent 0} {constant_pending{job="cart"} it did not change 0}]`
	if got := fmt.Sprint(told); got != want {
		t.Errorf("evicted %s, want %s", got, want)
	}
	if got := fmt.Sprint(b.closed); got != `[cart/silent_pending{job="cart"} cart/constant_pending{job="cart"}]` {
		t.Errorf("closed %s", got)
	}
	if s := b.Stats(); s.Evicted != 2 || s.Series != 4 {
		t.Errorf("%+v", s)
	}
}

func TestForget(t *testing.T) {
	b := newRig(t, nil)
	b.watch(`http_request_duration_seconds_bucket > 5`)
	for _, le := range []string{"0.1", "1", "+Inf"} {
		b.send("http_request_duration_seconds_bucket{job=cart,le="+le+"}", Meta{}, at(0, 1))
	}
	b.send("jobs_pending{job=cart}", Meta{}, at(0, 1))
	b.Sweep()
	if s := b.Stats(); s.Series != 4 || s.Kept != 3 || s.Forgotten != 0 {
		t.Errorf("before: %+v", s)
	}
	b.now = start.Add(25 * time.Hour)
	b.Sweep()
	b.Sweep()
	b.Sweep()
	if s := b.Stats(); s.Series != 0 || s.Kept != 0 || s.Sources != 0 || s.Forgotten != 4 || len(b.closed) != 1 {
		t.Errorf("after: %+v, closed %d of %d", s, len(b.closed), len(b.series))
	}
}

// A series without a good sample yet, such as the quantile of nothing, does not
// come and go.
func TestForgetNothingYet(t *testing.T) {
	b := newRig(t, nil)
	for i := range 3 {
		b.send("jobs_pending{job=cart}", Meta{}, at(float64(i), math.NaN()))
		b.Sweep()
	}
	if s := b.Stats(); s.Opened != 1 || s.Forgotten != 0 || s.Series != 1 {
		t.Errorf("%+v, want one series, opened once", s)
	}
	b.now = start.Add(25 * time.Hour)
	b.Sweep()
	if s := b.Stats(); s.Series != 0 || s.Forgotten != 1 {
		t.Errorf("after a day: %+v, want it forgotten", s)
	}
}

func TestReconfigure(t *testing.T) {
	b := newRig(t, nil)
	e := b.watch(`odd > 5`, `work_queue_depth > 5`)
	send := func(second float64) {
		for _, m := range []string{"odd", "jobs_pending", "work_queue_depth", "other"} {
			b.send(m+"{job=cart}", Meta{}, at(second, 9))
		}
	}
	send(0)
	cfg := DefaultConfig()
	cfg.Rules = []Rule{{Metric: "work_queue_depth", As: "depth", Role: grace.RoleSaturation}, {Metric: "other", Role: grace.RoleTraffic}}
	if err := b.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	send(1)
	var names []string
	for _, s := range b.series {
		names = append(names, s.Metric)
	}
	if got := fmt.Sprint(names); got != "[jobs_pending work_queue_depth depth other]" {
		t.Errorf("opened %s", got)
	}
	if got := fmt.Sprint(b.closed); got != `[cart/work_queue_depth{job="cart"}]` {
		t.Errorf("closed %s", got)
	}
	if s := b.Stats(); s.Kept != 2 || s.Series != 4 {
		t.Errorf("%+v, want two kept of four", s)
	}
	for _, e := range e {
		if r := evaluate(t, b.DB, e, after(1)); len(r.Elements) != 1 {
			t.Errorf("%s: %v", e, r.Elements)
		}
	}
	cfg.Rules = []Rule{{Metric: "x", Role: "hot"}}
	if err := b.Reconfigure(cfg); err == nil || !strings.Contains(err.Error(), "rules[0].role") {
		t.Errorf("%v", err)
	}
}

// What is forecast changes with keep_unmapped and with drop, though the names that
// come out stay.
func TestReconfigureRole(t *testing.T) {
	b := newRig(t, nil)
	b.watch(`odd > 5`)
	second := 0.0
	step := func(change func(*Config), opened, closed int) {
		t.Helper()
		cfg := DefaultConfig()
		change(&cfg)
		if err := b.Reconfigure(cfg); err != nil {
			t.Fatal(err)
		}
		second++
		b.send("odd{job=cart}", Meta{}, at(second, 1))
		if len(b.series) != opened || len(b.closed) != closed {
			t.Errorf("%d opened and %d closed, want %d and %d", len(b.series), len(b.closed), opened, closed)
		}
		if s := b.Stats(); s.Kept != 1 {
			t.Errorf("%+v, want it kept", s)
		}
	}
	step(func(*Config) {}, 0, 0)
	step(func(c *Config) { c.KeepUnmapped = true }, 1, 0)
	step(func(c *Config) { c.KeepUnmapped = true }, 1, 0)
	step(func(c *Config) { c.KeepUnmapped, c.Rules = true, []Rule{{Metric: "odd", Drop: true}} }, 1, 1)
	step(func(*Config) {}, 1, 1)
}

// A batch that is open opens series by the rules of now, else they would stay by those
// of before.
func TestReconfigureInABatch(t *testing.T) {
	r := newRig(t, nil)
	batch := r.Begin(From{Source: "peer"})
	cfg := DefaultConfig()
	cfg.Rules = []Rule{{Metric: "jobs_pending", As: "work", Role: grace.RoleTraffic}}
	if err := r.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	batch.Append(key(gauge), Meta{}, at(0, 1))
	batch.End()
	if len(r.series) != 1 || r.series[0].Metric != "work" {
		t.Errorf("opened %+v", r.series)
	}
}

// A service that is declared later is known with the next look at the configuration.
func TestReconfigureKnown(t *testing.T) {
	known := false
	b := newRig(t, func(_ *Config, o *Options) { o.Known = func(grace.ServiceID) bool { return known } })
	e := b.watch(`jobs_pending > 0`)[0]
	for second, want := range []string{"", "cart"} {
		known = want != ""
		if err := b.Reconfigure(DefaultConfig()); err != nil {
			t.Fatal(err)
		}
		b.send("jobs_pending{job=cart}", Meta{}, at(float64(second), 1))
		r := evaluate(t, b.DB, e, after(float64(second)))
		if len(r.Elements) != 1 || r.Elements[0].Labels["service"] != want {
			t.Errorf("%v, want the service %q", r.Elements, want)
		}
	}
	if len(b.series) != 1 {
		t.Errorf("forecast %v", b.series)
	}
}

// Labels in another order are the same series.
func TestOrder(t *testing.T) {
	b := newRig(t, nil)
	label := func(k []byte, n, v string) []byte { return AppendLabel(k, n, v) }
	sorted := label(label(label(nil, "__name__", "jobs_pending"), "a", "1"), "job", "cart")
	other := label(label(label(nil, "job", "cart"), "a", "1"), "__name__", "jobs_pending")
	for i := 0.0; i < 3; i++ {
		batch := b.Begin(From{})
		batch.Append(other, Meta{}, at(2*i, i))
		batch.Append(sorted, Meta{}, at(2*i+1, i))
		if r := batch.End(); r.Count(Taken) != 2 {
			t.Error(reasonsOf(&r))
		}
	}
	if len(b.series) != 1 || b.Stats().Series != 1 {
		t.Errorf("%d series, %+v", len(b.series), b.Stats())
	}
	if got := text(b.values[name(b.series[0])]); got != "0:0 1:0 2:1 3:1 4:2 5:2" {
		t.Errorf("came out %s", got)
	}
}

// A pair of senders that differ by their replica label: their series are one,
// one of them is listened to, and the other takes over when it falls silent.
func TestReplicas(t *testing.T) {
	b := newRig(t, nil)
	key := func(replica string) []byte {
		k := AppendLabel([]byte(nil), "__name__", "jobs_pending")
		return AppendLabel(AppendLabel(k, "job", "cart"), "prometheus_replica", replica)
	}
	send := func(replica string, second, v float64, want Reason) {
		t.Helper()
		b.now = start.Add(time.Duration(second * float64(time.Second)))
		batch := b.Begin(From{Source: replica})
		batch.Append(key(replica), Meta{}, at(second, v))
		if r := batch.End(); r.Count(want) != 1 || r.Err() != nil {
			t.Errorf("%s at %v: %s", replica, second, reasonsOf(&r))
		}
	}
	send("a", 0, 1, Taken)
	send("b", 5, 100, Duplicate)
	send("a", 15, 2, Taken)
	send("b", 20, 100, Duplicate)
	send("b", 50, 3, Taken) // a has been silent for 35 s
	send("a", 55, 100, Duplicate)
	send("b", 65, 4, Taken)
	send("", 70, 5, Taken) // one that is none of a pair is listened to
	if len(b.series) != 1 || strings.Contains(name(b.series[0]), "replica") {
		t.Fatalf("series %+v", b.series)
	}
	if got := text(b.values[name(b.series[0])]); got != "0:1 15:2 50:3 65:4 70:5" {
		t.Errorf("came out %s", got)
	}
}

// What is wrong with a series itself, and what its sender is told.
func TestBadSeries(t *testing.T) {
	many := "x{"
	for i := range 64 {
		many += fmt.Sprintf("l%02d=v,", i)
	}
	label := func(k []byte, n, v string) []byte { return AppendLabel(k, n, v) }
	long := strings.Repeat("v", 2049)
	for _, tt := range []struct {
		name   string
		key    []byte
		reason Reason
		text   string
	}{
		{"no key", nil, BadLabels, "it has no label __name__"},
		{"no name", label(nil, "job", "cart"), BadLabels, "it has no label __name__"},
		{"a label without name", label(key("jobs_pending"), "", "x"), BadLabels, "a label has no name"},
		{"doubled", label(label(key("jobs_pending"), "a", "1"), "a", "2"), BadLabels, `label "a" is there twice`},
		{"no UTF-8", label(key("jobs_pending"), "a", "\xff"), BadLabels, `label "a" is not UTF-8`},
		{"NUL", label(key("jobs_pending"), "a", "x\x00"), BadLabels, `label "a" has a NUL`},
		{"cut off", key(gauge)[:20], BadLabels, "cannot be read"},
		{"too many", key(many + "job=cart}"), TooManyLabels, "it has 66 labels, the limit is 64; raise telemetry.limits.labels"},
		{"as many as may be", key(strings.TrimSuffix(many, "l63=v,") + "}"), UnknownService, ""},
		{"too long a value", label(key("jobs_pending"), "a", long), LongLabel, "a label has 2049 bytes, the limit is 2048; raise telemetry.limits.label_length"},
		{"too long a name", label(key("jobs_pending"), long, "a"), LongLabel, "the limit is 2048"},
		{"as long as may be", label(key(gauge), "long", long[1:]), Taken, ""},
	} {
		r := newRig(t, nil)
		for round := 0.0; round < 2; round++ {
			batch := r.Begin(From{Source: "peer"})
			batch.Append(tt.key, Meta{}, at(round, 1), at(round+0.5, 1))
			report := batch.End()
			err := report.Err()
			if report.Count(tt.reason) != 2 || report.Samples != 2 {
				t.Errorf("%s: %s", tt.name, reasonsOf(&report))
			}
			if (tt.text == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%s: %v does not say %q", tt.name, err, tt.text)
			}
			if len(fmt.Sprint(err)) > 700 {
				t.Errorf("%s: %d bytes", tt.name, len(err.Error()))
			}
		}
	}
}

// What a limit refused is asked for anew after a minute, what the rules pass over with
// the next configuration.
func TestAskedAgain(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Options) { c.Limits.SeriesPerSource = 1 })
	send := func(series string, want Reason) {
		t.Helper()
		if report := r.send(series, Meta{}, Sample{At: r.now.UnixMilli(), Value: 1}); report.Count(want) != 1 {
			t.Errorf("%s at %s: %s, want %s", series, r.now.Sub(start), reasonsOf(&report), want)
		}
	}
	send("first_pending{job=cart}", Taken)
	send("second_pending{job=cart}", SourceFull)
	send("odd{job=cart}", Unmapped)
	if s := r.Stats(); s.Ignored != 2 || s.Series != 1 {
		t.Errorf("%+v", s)
	}
	r.remove(&r.shards[0], r.open("first_pending{job=cart}"))
	r.now = start.Add(time.Minute - time.Millisecond)
	send("second_pending{job=cart}", SourceFull)
	r.now = start.Add(time.Minute)
	send("second_pending{job=cart}", Taken)
	send("odd{job=cart}", Unmapped)
	r.now = start.Add(2 * time.Minute)
	send("first_pending{job=cart}", SourceFull)
}

// What is remembered as passed over is bounded.
func TestPassedOver(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Options) { c.Limits.Series = 100 })
	for i := range 1000 {
		r.send(fmt.Sprintf("odd{id=%d,job=cart}", i), Meta{}, at(0, 1))
		r.send("odd{job=cart}", Meta{}, at(0, 1)) // one that keeps coming stays
	}
	if s := r.Stats(); s.Ignored < 101 || s.Ignored > 202 || s.Series != 0 {
		t.Errorf("%+v", s)
	}
	if r.shards[0].passes(maphash.Bytes(r.seed, key("odd{job=cart}")), 0) != Unmapped {
		t.Error("what keeps coming was forgotten")
	}
}

// Of refused samples it is told how many are histograms.
func TestRefusedHistograms(t *testing.T) {
	r := newRig(t, func(c *Config, _ *Options) { c.Limits.SamplesPerRequest = 3 })
	r.watch(`x > 5`)
	batch := r.Begin(From{Source: "peer"})
	batch.Append(key("x"), Meta{}, whole(0, 1), whole(0, 1), whole(-1, 1), at(2, 1), whole(3, 1))
	batch.Append(key("x"), Meta{}, whole(4, 1))
	report := batch.End()
	if got := reasonsOf(&report); got != "taken=1 duplicate=1 out_of_order=1 samples_per_request=3" || report.Refused() != 4 || report.RefusedHistograms() != 3 {
		t.Errorf("%s, %d refused, %d of them histograms", got, report.Refused(), report.RefusedHistograms())
	}
}
