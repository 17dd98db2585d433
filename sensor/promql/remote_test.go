package promql_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"grace"
	"grace/gracetest"
	"grace/internal/patience"
	"grace/internal/series"
	"grace/sensor/promql"
)

func compileAt(t *testing.T, text string) *series.Expr {
	t.Helper()
	e, err := series.CompileAt(text, "prom")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// look gives what an expression says: its elements, how old what they rest on is, and how old
// what bears on job a is; or why it says nothing.
func (r *rig) look(t *testing.T, e *series.Expr, at time.Time) (out []string) {
	t.Helper()
	broken := r.db.Broken(e)
	if broken != "" {
		out = append(out, broken)
	}
	got, err := r.db.Evaluate(t.Context(), e, at)
	if err != nil {
		t.Fatal(err)
	}
	age := func(of time.Time) string {
		switch {
		case of.IsZero():
			return "nothing"
		case broken != "":
			return "older"
		}
		return at.Sub(of).Round(time.Second).String()
	}
	for _, one := range got.Elements {
		out = append(out, fmt.Sprintf("%s %v %t %s", labels.FromMap(one.Labels), one.Value, one.Holds, age(one.Newest)))
	}
	if e.Remote().Seen != nil {
		out = append(out, "a "+age(got.Newest(map[string]string{"job": "a"})))
	}
	return out
}

// vector gives an answer: label sets, and the value of each.
func vector(list ...any) string {
	rows := []map[string]any{}
	for i := 0; i < len(list); i += 2 {
		rows = append(rows, map[string]any{"metric": list[i], "value": []any{0, fmt.Sprint(list[i+1])}})
	}
	b, _ := json.Marshal(rows)
	return result("vector", string(b))
}

type ls map[string]string

// step is one answer, and how old what it looks at is by its jobs, which is asked next.
type step struct {
	status int
	body   string
	ages   map[string]int
	want   []string // is said before the next question, 10 s later
}

// follow asks for an expression over some steps.
func follow(t *testing.T, e *series.Expr, cfg promql.Config, steps []step) (told []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var s *rig
		now, n, asked := 0, -1, time.Time{}
		next := func() {
			if !time.Now().Equal(asked) {
				n, asked = n+1, time.Now()
				now = min(n, len(steps)-1)
				if n > 0 && n <= len(steps) {
					if got := s.look(t, e, time.Now()); !slices.Equal(got, steps[n-1].want) {
						t.Errorf("after step %d:\n%s", n-1, cmp.Diff(steps[n-1].want, got))
					}
				}
			}
		}
		w := &wire{
			give: func(_ int, _ *http.Request, form url.Values) (int, http.Header, string) {
				next()
				if form.Get("query") != e.Remote().Query {
					t.Errorf("asked %s", form.Get("query"))
				}
				return steps[now].status, nil, steps[now].body
			},
			newness: func(string) (int, string) {
				next()
				var rows []any
				for job, age := range steps[now].ages {
					rows = append(rows, ls{"grace_selector": "0", "job": job}, float64(time.Now().UnixMilli())/1000-float64(age))
				}
				return http.StatusOK, vector(rows...)
			},
		}
		p := &problems{}
		q := promql.Ask(e)
		q.By = []string{"job"}
		cfg.Transport, cfg.Interval, cfg.Queries, cfg.Report = w, grace.Duration(10*time.Second), []promql.Query{q}, p.report
		s = newSensor(t, cfg, e)
		run(t, s, &gracetest.Recorder{}, time.Duration(len(steps)+6)*10*time.Second)
		if got := s.look(t, e, time.Now()); len(got) > 0 && got[0] != "a nothing" {
			t.Errorf("it asks no more, and there is %q", got)
		}
		told = p.list
	})
	return told
}

// What is compared with a number is asked for: what passes is seen, what vanishes ends, what
// cannot be asked stands as it is, says so, and is no newer for that.
func TestSourceOfAComparison(t *testing.T) {
	a, b := ls{"job": "a"}, ls{"job": "b", "__name__": "x"}
	fresh := map[string]int{"a": 2, "b": 3}
	follow(t, compileAt(t, `sum by (job) (rate(x[5m])) > 5`), promql.Config{SeriesLimit: 3}, []step{
		{200, vector(a, 9, b, 3), fresh, []string{`{job="a"} 9 true 12s`, `{job="b"} 3 false 13s`}},
		{200, vector(b, 3), fresh, []string{`{job="b"} 3 false 13s`}},
		{200, vector(a, 9, b, 3), map[string]int{"b": 3}, []string{`{job="a"} 9 true nothing`, `{job="b"} 3 false 13s`}}, // the target of a is gone
		{200, vector(a, 8, b, 3), map[string]int{"a": 200, "b": 220}, []string{`{job="a"} 8 true 3m30s`, `{job="b"} 3 false 3m50s`}},
		{200, strings.Replace(vector(b, 3), `{`, `{"warnings":["a store is away"],`, 1), fresh, []string{`{job="a"} 8 true 3m40s`, `{job="b"} 3 false 13s`}},
		{200, strings.Replace(vector(b, 3), `{`, `{"warnings":["PromQL warning: x is no counter"],`, 1), fresh, []string{`{job="b"} 3 false 13s`}},
		{200, vector(a, 1, b, 1, ls{"job": "c"}, 1, ls{"job": "d"}, 1), fresh, []string{"source prom: more than the limit: 4 series, at most 3: raise series_limit, or aggregate in the query", `{job="b"} 3 false older`}},
	})
}

// What can only be asked for as a whole holds where it is there; that it is not there says
// something only of what was found, and nothing when nobody answered.
func TestSourceOfAPresence(t *testing.T) {
	a, b := ls{"job": "a"}, ls{"job": "b"}
	fresh := map[string]int{"a": 2, "b": 3}
	told := follow(t, compileAt(t, `x > 1 and on (job) x > 2`), promql.Config{}, []step{
		{200, vector(), fresh, []string{"a 12s"}},
		{200, vector(a, 9, b, 3), fresh, []string{`{job="a"} 9 true 12s`, `{job="b"} 3 true 13s`, "a 12s"}},
		{200, vector(b, 3), fresh, []string{`{job="b"} 3 true 13s`, "a 12s"}},                                            // a is well
		{200, vector(a, 9), map[string]int{"a": 1}, []string{`{job="a"} 9 true 11s`, "a 11s"}},                           // and sick again
		{200, vector(), map[string]int{"b": 3}, []string{"a nothing"}},                                                   // nobody measures it
		{200, vector(a, 9), fresh, []string{`{job="a"} 9 true 12s`, "a 12s"}},                                            // it is back
		{200, strings.Replace(vector(), `{`, `{"isPartial":true,`, 1), fresh, []string{`{job="a"} 9 true 22s`, "a 22s"}}, // perhaps
		{422, `{"status":"error","errorType":"execution","error":"no such thing"}`, nil, []string{"source prom: the query failed: execution: no such thing", `{job="a"} 9 true older`, "a older"}},
	})
	if want := "warning: the answer is partial, a part of the storage did not answer"; len(told) < 2 || !strings.HasSuffix(told[0], want) {
		t.Errorf("reported %q, want %q", told, want)
	}
}

// A source that answers and measures nothing is told of.
func TestSourceStandsStill(t *testing.T) {
	e := compileAt(t, `x > 5`)
	told := follow(t, e, promql.Config{}, []step{{200, vector(ls{"job": "a"}, 9), map[string]int{"a": 240}, []string{`{job="a"} 9 true 4m10s`}}})
	if want := e.Remote().Metric + ": nothing that it looks at was measured after "; len(told) == 0 || !strings.HasPrefix(told[0], want) {
		t.Errorf("reported %q, want %q", told, want)
	}
}

// How new an answer is, is asked for before it, in one question: by the labels of the
// elements, or, where that is too much, by those that say whose they are. Without it there is
// no answer.
func TestNewness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		e := compileAt(t, `x > 5 and y > 5`)
		w := &wire{give: func(_ int, _ *http.Request, form url.Values) (int, http.Header, string) {
			asked = append(asked, form.Get("query"))
			return 200, nil, vector(ls{"pod": "1", "job": "a", "a.b": "c"}, 9)
		}, newness: func(query string) (int, string) {
			asked = append(asked, query)
			if strings.Contains(query, "pod") {
				return 422, `{"status":"error","errorType":"execution","error":"too many samples"}`
			}
			if len(asked) == 1 {
				return 200, vector()
			}
			return 503, "away"
		}}
		q := promql.Ask(e)
		q.By = []string{"job"}
		s := newSensor(t, promql.Config{Transport: w, Queries: []promql.Query{q}}, e)
		run(t, s, &gracetest.Recorder{}, 30*time.Second)
		one := `label_replace(max by (%[1]s) (timestamp(x)), "grace_selector", "0", "", "") or label_replace(max by (%[1]s) (timestamp(y)), "grace_selector", "1", "", "")` +
			` or label_replace(min by (%[1]s) (timestamp(x)), "grace_selector", "2", "", "") or label_replace(min by (%[1]s) (timestamp(y)), "grace_selector", "3", "", "")`
		if diff := cmp.Diff([]string{fmt.Sprintf(one, "job"), e.Remote().Query, fmt.Sprintf(one, `"a.b", job, pod`), fmt.Sprintf(one, "job")}, asked); diff != "" {
			t.Error(diff)
		}
		if s.took(t, e.Remote().Metric) != 0 || s.Stats().Failed == 0 {
			t.Errorf("%+v", s.Stats())
		}
	})
}

// Of what may be made of several series the oldest is asked, too: an objective that fires is
// not over while one of them is silent. On the right of unless all count.
func TestOldestOfAnObjective(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := compileAt(t, `(sum by (job) (x) unless on (job) y) > 5`)
		age, value := 40.0, 5.0
		w := &wire{give: func(int, *http.Request, url.Values) (int, http.Header, string) {
			return 200, nil, vector(ls{"job": "a"}, value)
		}, newness: func(query string) (int, string) {
			if !strings.Contains(query, `min by (job) (timestamp(x)), "grace_selector", "2"`) || !strings.Contains(query, `(min by (job) (timestamp(y)), "grace_selector", "1"`) {
				return 200, vector(ls{"grace_selector": "0"}, 0)
			}
			now := float64(time.Now().Unix())
			return 200, vector(ls{"grace_selector": "0", "job": "a"}, now-1, ls{"grace_selector": "1", "job": "a"}, now-3,
				ls{"grace_selector": "2", "job": "a"}, now-age, ls{"grace_selector": "3", "job": "a"}, now-age)
		}}
		s := newSensor(t, promql.Config{Transport: w, Interval: grace.Duration(10 * time.Second), Queries: []promql.Query{promql.Ask(e)}}, e)
		s.Look(t.Context())
		r, err := s.db.Evaluate(t.Context(), e, time.Now())
		if err != nil || len(r.Elements) != 1 || time.Since(r.Elements[0].Newest) != 3*time.Second {
			t.Errorf("%+v, %v", r, err)
		}
		of := map[string]string{"job": "a"}
		if early, late := r.Lack(of, time.Now().Add(-41*time.Second)), r.Lack(of, time.Now().Add(-time.Minute/2)); early != "" || !strings.HasPrefix(late, "a part of it was measured last at ") {
			t.Errorf("%q, %q", early, late)
		}
	})
}

// What shows whether a remedy helped is as new as the oldest that counts in it, also where that
// can be asked for all alone; of a range the newest counts. Of an answer in part it is known,
// from before that is seen until there is a whole one.
func TestNewnessOfACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, err := series.CompileCheck(`sum by (job) (x) + on (job) sum by (job) (rate(y[5m])) < 5`, "prom")
		if err != nil {
			t.Fatal(err)
		}
		var asked []string
		n, part := 0, ""
		w := &wire{give: func(int, *http.Request, url.Values) (int, http.Header, string) {
			return 200, nil, strings.Replace(vector(ls{"job": "a"}, 3), `{`, `{`+part, 1)
		}, newness: func(query string) (int, string) {
			asked = append(asked, query)
			if n++; n == 2 {
				return 422, `{"status":"error","errorType":"execution","error":"too many samples"}`
			}
			now := float64(time.Now().Unix())
			if n == 3 {
				return 200, vector(ls{"grace_selector": "0"}, now-40, ls{"grace_selector": "1"}, now-1)
			}
			return 200, vector(ls{"grace_selector": "0", "job": "a"}, now-40, ls{"grace_selector": "1", "job": "a"}, now-1)
		}}
		q := promql.Ask(e)
		if q.Past {
			t.Error("it has a history")
		}
		s := newSensor(t, promql.Config{Transport: w, Interval: grace.Duration(10 * time.Second), Queries: []promql.Query{q}}, e)
		lacking := func(want string) {
			t.Helper()
			r, err := s.db.Evaluate(t.Context(), e, time.Now())
			if err != nil || len(r.Elements) != 1 || time.Since(r.Elements[0].Whole) != 40*time.Second {
				t.Errorf("%+v, %v", r, err)
			}
			if got := s.db.Lacking(e); got != want || s.db.Broken(e) != "" {
				t.Errorf("lacking %q, want %q", got, want)
			}
		}
		s.Look(t.Context())
		lacking("")
		time.Sleep(time.Second)
		part = `"isPartial":true,`
		s.Look(t.Context())
		lacking("source prom: warning: the answer is partial, a part of the storage did not answer")
		part = ""
		time.Sleep(time.Second)
		s.Look(t.Context())
		lacking("")
		format := func(which, by string) string {
			return fmt.Sprintf(`label_replace(min by (%s) (timestamp(x)), "grace_selector", "0", "", "") or label_replace(%s by (%s) (timestamp(y)), "grace_selector", "1", "", "")`, by, which, by)
		}
		if diff := cmp.Diff([]string{format("max", ""), format("max", "job"), format("min", "")}, asked[:3]); diff != "" {
			t.Error(diff)
		}
	})
}

// A real Prometheus: a target dies and comes back, then Prometheus itself does.
func TestRealSource(t *testing.T) {
	t.Parallel()
	var well, up atomic.Bool
	up.Store(true)
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		depth := 150
		if well.Load() {
			depth = 3
		}
		_, _ = fmt.Fprintf(w, "queue_depth{pod=\"1\"} %d\nqueue_depth{pod=\"2\"} 2\n", depth)
	}))
	t.Cleanup(target.Close)
	p := realPrometheus(t, t.TempDir(), strings.TrimPrefix(target.URL, "http://"))
	compared, whole := compileAt(t, `queue_depth > 100`), compileAt(t, `sort(queue_depth > 100 and on (job) count by (job) (queue_depth) > 1)`)
	s := newSensor(t, promql.Config{
		URL: p.url, Interval: grace.Duration(100 * time.Millisecond), Timeout: grace.Duration(10 * time.Second),
		Queries: []promql.Query{promql.Ask(compared), promql.Ask(whole)},
	}, compared, whole)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, &gracetest.Recorder{}) }()
	until := func(what string, want func(c, w *series.Result) bool) {
		t.Helper()
		patience.Until(t, func() error {
			at := time.Now()
			c, err := s.db.Evaluate(t.Context(), compared, at)
			if err != nil {
				return err
			}
			w, err := s.db.Evaluate(t.Context(), whole, at)
			if err == nil && !want(&c, &w) {
				err = fmt.Errorf("%s: %+v, %+v, broken %q", what, c.Elements, w.Elements, s.db.Broken(compared))
			}
			return err
		})
	}
	fresh := func(at time.Time) bool { return time.Since(at) < 5*time.Second }
	sick := func(c, w *series.Result) bool {
		return s.db.Broken(compared) == "" && len(c.Elements) == 2 && c.Elements[0].Holds && !c.Elements[1].Holds && c.Elements[0].Labels["job"] == "target" &&
			len(w.Elements) == 1 && w.Elements[0].Value == 150 && fresh(w.Elements[0].Newest) && fresh(c.Elements[0].Newest)
	}
	until("sick", sick)
	well.Store(true)
	until("well", func(c, w *series.Result) bool {
		return len(c.Elements) == 2 && !c.Elements[0].Holds && len(w.Elements) == 0 && fresh(w.Newest(map[string]string{"job": "target"}))
	})
	up.Store(false)
	until("nobody measures it", func(c, w *series.Result) bool {
		return len(c.Elements) == 0 && len(w.Elements) == 0 && w.Newest(nil).IsZero()
	})
	well.Store(false)
	up.Store(true)
	until("sick again", sick)
	p.kill()
	until("Prometheus is away", func(c, w *series.Result) bool {
		return strings.HasPrefix(s.db.Broken(compared), "source prom: ask: ") && len(c.Elements) == 2 && len(w.Elements) == 1
	})
	p.start(t)
	until("Prometheus is back", sick)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
