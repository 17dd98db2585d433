package promql_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"grace/internal/series"
	"grace/sensor/promql"
)

// history answers like query_range of one series whose value is its time.
func history(form url.Values) (first, last, step int64, body string) {
	whole := func(key string) int64 {
		f, err := strconv.ParseFloat(form.Get(key), 64)
		if err != nil {
			return -1
		}
		return int64(f)
	}
	first, last, step = whole("start"), whole("end"), whole("step")
	var b strings.Builder
	for at := first; at <= last; at += step {
		fmt.Fprintf(&b, `,[%d,"%d"]`, at, at)
	}
	return first, last, step, result("matrix", `[{"metric":{"a":"b"},"values":[`+strings.TrimPrefix(b.String(), ",")+`]}]`)
}

func TestWarmUp(t *testing.T) {
	tooMany := `{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 points per timeseries"}`
	for name, tt := range map[string]struct {
		back  time.Duration
		give  func(n int, form url.Values) (int, string) // "" gives the history
		body  int64
		asked int
		gaps  int64 // points that are missing
		err   string
	}{
		"one part":         {back: time.Hour, asked: 1},
		"parts":            {back: 26_000 * time.Minute, asked: 3},
		"halves on demand": {back: 9_999 * time.Minute, asked: 1 + 1 + 4, give: func(_ int, f url.Values) (int, string) { return points(f, 2600, tooMany) }},
		"own limit":        {back: 9_999 * time.Minute, asked: 1 + 1 + 4, body: 80_000},
		"tried again": {back: time.Hour, asked: 3, give: func(n int, _ url.Values) (int, string) {
			return []int{503, -1, 200}[n], ""
		}},
		"a part is lost": {back: 26_000 * time.Minute, asked: 5, gaps: 11_000, err: "answered 500", give: func(n int, _ url.Values) (int, string) {
			return []int{200, 500, 500, 500, 200}[n], ""
		}},
		"wrong query": {back: time.Hour, asked: 1, gaps: 61, err: "parse error", give: func(int, url.Values) (int, string) {
			return 400, `{"status":"error","errorType":"bad_data","error":"parse error"}`
		}},
		"too much at any length": {back: 3 * time.Minute, asked: 1 + 1 + 4, gaps: 4, err: "too many", give: func(int, url.Values) (int, string) {
			return 422, `{"status":"error","errorType":"execution","error":"query processing would load too many samples"}`
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{give: func(n int, r *http.Request, form url.Values) (int, http.Header, string) {
					if !strings.HasSuffix(r.URL.Path, "/api/v1/query_range") {
						t.Errorf("asked %s", r.URL.Path)
					}
					_, _, _, body := history(form)
					if tt.give != nil {
						status, text := tt.give(n, form)
						if text == "" {
							text = body
						}
						return status, nil, text
					}
					return 200, nil, body
				}}
				s := newSensor(t, promql.Config{Queries: []promql.Query{query("m")}, Transport: w, BodyLimit: tt.body})
				since := time.Now().Add(-tt.back)
				var samples []time.Time
				n, err := s.WarmUp(t.Context(), since, time.Minute, func(_ context.Context, metric string, at time.Time) error {
					want := []string{fmt.Sprintf(`{__name__="m", a="b", job="prom", service="shop"} %v`, float64(at.Unix()))}
					if got := s.says(t, metric, at); !slices.Equal(got, want) {
						t.Fatalf("%q, want %q", got, want)
					}
					samples = append(samples, at)
					return nil
				})
				if (tt.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				want := int64(tt.back/time.Minute) + 1 - tt.gaps
				if n != len(samples) || int64(n) != want {
					t.Errorf("%d samples, %d came, want %d", n, len(samples), want)
				}
				for i, at := range samples {
					if at.Before(since) || i > 0 && !at.After(samples[i-1]) {
						t.Fatalf("%s comes after %s", at, samples[max(i-1, 0)])
					}
				}
				if len(w.asked) != tt.asked {
					t.Errorf("asked %d times, want %d", len(w.asked), tt.asked)
				}
			})
		})
	}
}

// points refuses what has more than most points.
func points(form url.Values, most int64, refusal string) (int, string) {
	if first, last, step, _ := history(form); (last-first)/step+1 > most {
		return 400, refusal
	}
	return 200, ""
}

func TestWarmUpEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{give: func(int, *http.Request, url.Values) (int, http.Header, string) { return 503, nil, "" }}
		s := newSensor(t, promql.Config{Queries: []promql.Query{query("a"), query("b")}, Transport: w})
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := s.WarmUp(ctx, time.Now().Add(-time.Hour), time.Minute, nobody); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if len(w.asked) != 1 {
			t.Errorf("asked %d times", len(w.asked))
		}
		if _, err := s.WarmUp(t.Context(), time.Now(), 0, nobody); err == nil || !strings.Contains(err.Error(), "step") {
			t.Errorf("error %v", err)
		}
	})
}

// A server that is not there is waited for, since it may have been started
// together with us, but not for every part anew.
func TestWarmUpAway(t *testing.T) {
	for name, tt := range map[string]struct {
		comes time.Duration
		err   string
		took  time.Duration
	}{
		"comes":             {comes: 15 * time.Second, took: 20 * time.Second},
		"stays away":        {comes: time.Hour, took: 25 * time.Second, err: "nobody was there for 20s"},
		"was not even away": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				w := &wire{give: func(_ int, _ *http.Request, form url.Values) (int, http.Header, string) {
					if time.Since(began) < tt.comes {
						return 503, nil, "Service Unavailable"
					}
					_, _, _, body := history(form)
					return 200, nil, body
				}}
				s := newSensor(t, promql.Config{Queries: []promql.Query{query("a"), query("b")}, Transport: w, Part: 10})
				n, err := s.WarmUp(t.Context(), began.Add(-time.Hour), time.Minute, nobody)
				if (tt.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				if tt.err == "" && n < 2*60 || tt.err != "" && (n != 0 || strings.Count(err.Error(), "\n") > 0) {
					t.Errorf("%d samples, error %v", n, err)
				}
				if took := time.Since(began); took > tt.took {
					t.Errorf("it took %s, want at most %s", took, tt.took)
				}
			})
		})
	}
}

func nobody(context.Context, string, time.Time) error { return nil }

// Who does not take a time is told, and the rest of the history is still read. What is not
// forecast has none, and what ended then has ended.
func TestWarmUpRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gaps := result("matrix", fmt.Sprintf(`[{"metric":{"i":"1"},"values":[[%[1]d,"1"],[%[2]d,"2"]]},{"metric":{"i":"2"},"values":[[%[1]d,"1"]]}]`, time.Now().Unix()-60, time.Now().Unix()))
		w := &wire{give: always(gaps)}
		presence, err := series.CompileAt("up == 0 and on () x", "prom")
		if err != nil {
			t.Fatal(err)
		}
		s := newSensor(t, promql.Config{Queries: []promql.Query{query("a"), query("b"), promql.Ask(presence)}, Transport: w})
		n, err := s.WarmUp(t.Context(), time.Now().Add(-time.Minute), time.Minute, func(_ context.Context, metric string, _ time.Time) error {
			if metric == "a" {
				return errors.New("not now")
			}
			return nil
		})
		if n != 5 || err == nil || !strings.Contains(err.Error(), "warm up a: ") || !strings.Contains(err.Error(), "not now") || len(w.asked) != 2 {
			t.Errorf("%d, %v, asked %d times", n, err, len(w.asked))
		}
		if got := s.says(t, "count(b)", time.Now()); !slices.Equal(got, []string{"{} 1"}) {
			t.Errorf("now there are %q", got)
		}
	})
}

// TestWarmUpGoesOn: after a reload what was asked before goes on where it was, and what is new
// has all of its past.
func TestWarmUpGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{give: func(_ int, _ *http.Request, form url.Values) (int, http.Header, string) {
			_, _, _, body := history(form)
			return 200, nil, body
		}}
		known, err := series.CompileAt("known > 1", "prom")
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := series.CompileAt("fresh > 1", "prom")
		if err != nil {
			t.Fatal(err)
		}
		s := newSensor(t, promql.Config{Queries: []promql.Query{promql.Ask(known)}, Transport: w})
		s.db.Watch([]*series.Expr{known, fresh})
		if n, err := s.WarmUp(t.Context(), time.Now().Add(-time.Hour), time.Minute, nobody); n != 61 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		time.Sleep(10 * time.Minute)
		again, err := promql.New(promql.Config{Name: "prom", URL: "http://127.0.0.1", Queries: []promql.Query{promql.Ask(known), promql.Ask(fresh)}, Transport: w}, s.db)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := again.WarmUp(t.Context(), time.Now().Add(-time.Hour), time.Minute, nobody); n != 10+61 || err != nil {
			t.Errorf("%d, %v: want 10 of what is known, and 61 of what is new", n, err)
		}
	})
}

// Who asks for a stretch of the past gets it, and does not wait for a server that is away.
func TestBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := http.StatusOK
		w := &wire{give: func(_ int, _ *http.Request, form url.Values) (int, http.Header, string) {
			_, _, _, body := history(form)
			return status, nil, body
		}}
		s := newSensor(t, promql.Config{Queries: []promql.Query{query("a")}, Transport: w})
		until := time.Now().Add(-24 * time.Hour).Truncate(time.Hour)
		newest := int64(0)
		n, err := s.Between(t.Context(), until.Add(-time.Hour), until, time.Minute, func(_ map[string]string, points []promql.Point) {
			newest = points[len(points)-1].At
		})
		if n != 61 || err != nil || newest != until.UnixMilli() {
			t.Errorf("%d points until %d, %v", n, newest, err)
		}
		status = http.StatusServiceUnavailable
		began := time.Now()
		if n, err = s.Between(t.Context(), until, until, time.Minute, func(map[string]string, []promql.Point) {}); n != 0 || !errors.Is(err, promql.ErrAway) {
			t.Errorf("%d points, %v", n, err)
		}
		if time.Since(began) > 0 {
			t.Errorf("it waited %s", time.Since(began))
		}
	})
}
