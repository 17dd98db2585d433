package series

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"grace"
)

// A series that was open before an expression looks at it is kept from then on; one that
// none looks at any more is let go with its samples.
func TestWatch(t *testing.T) {
	r := newRig(t, nil)
	values := func(text string, want int) {
		t.Helper()
		e := compiled(t, text)
		got := evaluate(t, r.DB, e, after(100))
		if n := len(got.Elements); n != min(want, 1) || n == 1 && got.Elements[0].Value != float64(want) {
			t.Errorf("%s: %v, want %d", text, got.Elements, want)
		}
	}
	const count = `count_over_time(jobs_pending[10m])`
	for i := range 3 {
		r.send(gauge, Meta{}, at(float64(i), 1))
		r.send("odd{job=cart}", Meta{}, at(float64(i), 1))
	}
	values(count, 0)
	r.watch(count, `odd > 5`)
	if s := r.Stats(); s.Kept != 1 || s.Series != 1 || s.Ignored != 0 {
		t.Errorf("%+v: want the series that is open kept, and nothing passed over", s)
	}
	for i := range 4 {
		r.send(gauge, Meta{}, at(float64(10+i), 1))
		r.send("odd{job=cart}", Meta{}, at(float64(10+i), 1))
	}
	values(count, 4)
	values(`count_over_time(odd[10m])`, 4)
	r.watch(`jobs_pending > 7`, `odd > 5`) // by another selector text, but the same series
	values(count, 4)
	k := r.open(gauge).kept
	r.watch(`odd > 7`)
	values(count, 0)
	if !k.gone.Load() || r.open(gauge).kept != nil || r.Stats().Series != 2 {
		t.Errorf("samples that nothing looks at stay: %+v", r.Stats())
	}
	r.watch()
	if s := r.Stats(); s.Kept != 0 || s.Series != 1 || len(r.closed) != 0 {
		t.Errorf("%+v: want what is forecast left alone, closed %v", s, r.closed)
	}
	if report := r.send("odd{job=cart}", Meta{}, at(30, 1)); report.Count(Unmapped) != 1 {
		t.Errorf("what nothing looks at is %s", reasonsOf(&report))
	}
	r.watch(count)
	values(count, 0) // what was let go does not come back
	r.send(gauge, Meta{}, at(40, 1))
	values(count, 1)
	if got := text(r.values[name(r.series[0])]); got != "0:1 1:1 2:1 10:1 11:1 12:1 13:1 40:1" {
		t.Errorf("forecast of %s: watching changes nothing of that", got)
	}
}

// Two expressions with the same selector keep for the longer one; without that one the
// samples go with the next.
func TestWatchLonger(t *testing.T) {
	r := newRig(t, nil)
	r.now = start.Add(48 * time.Hour)
	const day = 86400
	oldest := func() float64 {
		c := r.open(gauge).kept.samples.chunks[0]
		return float64(c.first-start.UnixMilli()) / 1000
	}
	r.watch(`jobs_pending > 5`, `max_over_time(jobs_pending[1h]) > 5`, `jobs_pending < 1`)
	for second := 0.0; second <= 3*3600; second += 60 {
		r.put(gauge, at(second, 1))
	}
	if got := oldest(); got < 3600 || got > 2*3600-300 {
		t.Errorf("kept since %v s, want 65 minutes and little more", got)
	}
	r.watch(`jobs_pending > 5`)
	r.put(gauge, at(day, 1))
	r.put(gauge, at(day+301, 1))
	r.put(gauge, at(day+602, 1))
	if got := oldest(); got != day+301 {
		t.Errorf("kept since %v s, want %v", got, day+301)
	}
}

// How many samples came, and how far apart they are.
func TestAppended(t *testing.T) {
	r := newRig(t, nil)
	list := r.watch(`jobs_pending + on () odd > 5`, `odd > 5`)
	r.put(gauge, at(0, 1), at(15, 1), at(35, 1))
	r.put("odd{job=cart}", at(0, 1), at(60, 1))
	if n, gap := r.Appended(list[0]); n != 5 || gap != 20*time.Second {
		t.Errorf("%d samples, %s apart", n, gap)
	}
	if n, gap := r.Appended(list[1]); n != 2 || gap != time.Minute {
		t.Errorf("%d samples, %s apart", n, gap)
	}
	if n, _ := r.Appended(compiled(t, `other > 5`)); n != 0 {
		t.Errorf("%d samples of what nobody watches", n)
	}
}

// Of many services' selectors only those of its own are asked about a series, and what
// they may stand for is picked where a part of it is not known yet.
func TestWatchOfService(t *testing.T) {
	r := newRig(t, nil)
	list := r.watch(`jobs_pending{service="cart"} > 5`, `jobs_pending{service="shop"} > 5`)
	if n := len(r.watched.Load().byName[Named{"jobs_pending", "cart"}]); n != 1 {
		t.Errorf("%d selectors of one service", n)
	}
	r.put("jobs_pending{job=cart}", at(0, 1))
	one := compiled(t, `jobs_pending{service="cart",shard="${shard}"} > 5`)
	if !r.Watches(list[0]) || r.Watches(one) || r.Watches(compiled(t, `max_over_time(jobs_pending{service="cart"}[1h]) > 5`)) {
		t.Error("what is watched is not known")
	}
	any := one.Without("${")
	if got := any.Selectors(); !r.Watches(any) || len(got) != 1 || got[0] != list[0].Selectors()[0] || any.String() != one.String() {
		t.Errorf("%s: %v", any, got)
	}
	if none := compiled(t, `{__name__="${metric}"} > 5`).Without("${"); len(none.Selectors()) != 0 {
		t.Errorf("picks all there is: %v", none.Selectors())
	}
}

// listed counts how often each selector has each series that is kept.
func (db *DB) listed() map[*selector]map[*kept]int {
	out := map[*selector]map[*kept]int{}
	for _, s := range db.watched.Load().byText {
		out[s] = map[*kept]int{}
		for _, k := range s.list() {
			out[s][k]++
		}
	}
	return out
}

// everyOneOnce checks that what is kept is listed by those that pick it, once, and by
// no other.
func (db *DB) everyOneOnce(t fataler) {
	t.Helper()
	listed, n := db.listed(), 0
	for _, e := range db.entries() {
		if e.kept == nil {
			continue
		}
		for s, series := range listed {
			want := 0
			if s.picks(e.kept.labels) {
				want, n = 1, n+1
			}
			if series[e.kept] != want {
				t.Fatalf("%s is listed %d times, want %d", e.kept.labels, series[e.kept], want)
			}
		}
	}
	for _, series := range listed {
		n -= len(series)
	}
	if n != 0 {
		t.Fatalf("%d more are listed than there are", -n)
	}
}

// However expressions and series come and go, each series is listed once by what picks it.
func TestWatchLists(t *testing.T) {
	pool := []string{`a > 5`, `b > 5`, `{i="1"} > 5`, `{__name__=~"a|b"} > 5`, `a{i!="1"} > b`, `max_over_time(a[1h]) > 5`}
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		second := 0.0
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			var list []*Expr
			for _, text := range rapid.SliceOfDistinct(rapid.SampledFrom(pool), rapid.ID[string]).Draw(t, "watch") {
				list = append(list, compiled(t, text))
			}
			w.Watch(list)
			w.everyOneOnce(t)
			for range rapid.IntRange(0, 6).Draw(t, "sends") {
				second++
				w.add(t, map[string]string{
					MetricLabel: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "metric"),
					"i":         rapid.SampledFrom([]string{"1", "2"}).Draw(t, "i"),
				}, []Sample{at(second, 1)})
			}
			w.everyOneOnce(t)
			if s := w.Stats(); s.Series != s.Kept {
				t.Fatalf("%+v: nothing is forecast here", s)
			}
		}
	})
}

// While a series is opened the expressions do not change: else it could be in no list.
func TestOpeningHoldsWatch(t *testing.T) {
	var r *rig
	asked := 0
	r = newRig(t, func(_ *Config, o *Options) {
		o.Known = func(grace.ServiceID) bool {
			if asked++; r.opening.TryLock() {
				t.Error("selectors could change while a series is opened")
			}
			return true
		}
	})
	r.send(gauge, Meta{}, at(0, 1))
	if asked == 0 {
		t.Error("no series was opened")
	}
}

// Series that are opened while expressions change are in each list that they belong to,
// once.
func TestWatchWhileOpening(t *testing.T) {
	w := newWorld(t, compiled(t, `a > 5`))
	lists := [][]*Expr{{compiled(t, `a > 5`)}, {compiled(t, `a > 5`), compiled(t, `{i=~"1."} > 5`)}, {compiled(t, `b > 1`), compiled(t, `a{i="3"} > 5`)}, nil}
	var appending, watching sync.WaitGroup
	stop := make(chan struct{})
	for worker := range 3 {
		appending.Go(func() {
			for i := range 400 {
				b := w.Begin(From{Source: fmt.Sprint(worker), History: true})
				for _, metric := range []string{"a", "b"} {
					b.Append(key(fmt.Sprintf("%s{i=%d}", metric, i)), Meta{}, at(float64(worker), 1))
				}
				b.End()
			}
		})
	}
	watching.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				w.Watch(lists[i%len(lists)])
			}
		}
	})
	appending.Wait()
	close(stop)
	watching.Wait()
	w.everyOneOnce(t)
	w.Watch(lists[1])
	w.everyOneOnce(t)
	for i := range 400 {
		b := w.Begin(From{Source: "x", History: true})
		b.Append(key(fmt.Sprintf("a{i=%d}", i)), Meta{}, at(100, 9))
		b.End()
	}
	w.everyOneOnce(t)
	if r := evaluate(t, w.DB, lists[1][0], after(100)); len(r.Elements) != 400 {
		t.Errorf("%d elements of 400 series", len(r.Elements))
	}
}
