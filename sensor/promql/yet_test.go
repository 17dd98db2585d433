package promql_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"grace"
	"grace/sensor/promql"
)

// Of an answer without elements it is known whether the rest is measured, and whether there is
// what a selector names that finds nothing. The source is asked that until it says so. What is
// not there any more has ended, unless it was silent for long before.
func TestNoneYetAtASource(t *testing.T) {
	const loose = `label_replace(max(timestamp(x{code!=""})), "grace_selector", "0", "", "")`
	for name, tt := range map[string]struct {
		named string // its answer
		yet   bool
		asked int // of three
	}{
		"it is named":        {vector(ls{"grace_selector": "0"}, 1), true, 1},
		"nobody names it":    {vector(), false, 3},
		"it names another":   {vector(ls{"grace_selector": "7"}, 1, ls{"grace_selector": "-1"}, 1), false, 3},
		"nobody can tell it": {`{"status":"error","errorType":"execution","error":"too many samples"}`, false, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := compileAt(t, `sum(rate(x{code=~"5.."}[5m])) / sum(rate(x[5m])) > 0.05`)
				asked, errors, since := 0, false, 1.0
				w := &wire{give: func(int, *http.Request, url.Values) (int, http.Header, string) {
					if errors {
						return 200, nil, vector(ls{}, 0.5)
					}
					return 200, nil, vector()
				}, newness: func(query string) (int, string) {
					now := float64(time.Now().Unix())
					switch {
					case query == loose:
						asked++
						return 200, tt.named
					case errors:
						return 200, vector(ls{"grace_selector": "0"}, now-since, ls{"grace_selector": "1"}, now-2)
					case strings.Contains(query, "!="):
						t.Errorf("asked %s", query)
					}
					return 200, vector(ls{"grace_selector": "1"}, now-2)
				}}
				s := newSensor(t, promql.Config{Transport: w, Interval: grace.Duration(10 * time.Second), Queries: []promql.Query{promql.Ask(e)}}, e)
				look := func(yet bool) {
					t.Helper()
					s.Look(t.Context())
					r, err := s.db.Evaluate(t.Context(), e, time.Now())
					if is, _ := r.NoneYet(nil); err != nil || is != yet || yet && time.Since(r.Newest(nil)) != 2*time.Second {
						t.Errorf("%+v, %v", r, err)
					}
					time.Sleep(10 * time.Second)
				}
				for range 3 {
					look(tt.yet)
				}
				if asked != tt.asked {
					t.Errorf("asked %d times, want %d", asked, tt.asked)
				}
				errors = true
				look(false)
				errors = false
				look(true) // they have ended
				errors = true
				for ; since < 300; since += 10 {
					look(false)
				}
				errors = false
				look(false) // they fell silent, and the source forgot them
				errors, since = true, 1
				look(false)
				errors = false
				look(true)
			})
		})
	}
}
