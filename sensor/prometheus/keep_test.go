package prometheus

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace/internal/exposition"
	"grace/internal/series"
)

const page1 = `# TYPE requests_total counter
requests_total{code="200",path="/a"} 100
requests_total{code="200",path="/b"} 50
requests_total{code="500",path="/a"} 100
# TYPE temperature gauge
temperature{room="a"} 20
temperature{room="b",job="furnace",service=""} 22.5
untyped_thing 7
# TYPE latency_seconds histogram
latency_seconds_bucket{path="/a",le="0.1"} 100
latency_seconds_bucket{path="/a",le="0.5"} 100
latency_seconds_bucket{path="/a",le="1"} 100
latency_seconds_bucket{path="/a",le="+Inf"} 100
latency_seconds_sum{path="/a"} 5
latency_seconds_count{path="/a"} 100
# TYPE size_bytes summary
size_bytes{quantile="0.5"} 3
size_bytes_sum 30
size_bytes_count 10
`

const page2 = `# TYPE requests_total counter
requests_total{code="200",path="/a"} 130
requests_total{code="200",path="/b"} 20
requests_total{code="500",path="/a"} 115
# TYPE latency_seconds histogram
latency_seconds_bucket{path="/a",le="0.1"} 150
latency_seconds_bucket{path="/a",le="0.5"} 190
latency_seconds_bucket{path="/a",le="1"} 200
latency_seconds_bucket{path="/a",le="+Inf"} 200
latency_seconds_sum{path="/a"} 12
latency_seconds_count{path="/a"} 200
`

// scraped is a target whose pages are kept.
type scraped struct {
	*keeper
	db      *series.DB
	watched map[string]*series.Expr
}

var start = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

func after(sec int) time.Time { return start.Add(time.Duration(sec) * time.Second) }

func newScraped(t testing.TB, exprs ...string) *scraped {
	t.Helper()
	cfg := series.DefaultConfig()
	db, err := series.New(cfg, series.Options{Now: func() time.Time { return after(60) }})
	if err != nil {
		t.Fatal(err)
	}
	s := &scraped{newKeeper(db, &Config{Name: "shop-metrics", Service: "shop", URL: "http://127.0.0.1:9100/metrics"}), db, map[string]*series.Expr{}}
	for _, text := range exprs {
		if s.watched[text], err = series.Compile(text); err != nil {
			t.Fatal(err)
		}
	}
	db.Watch(slices.Collect(maps.Values(s.watched)))
	return s
}

func (s *scraped) scrape(t testing.TB, sec int, text string) {
	t.Helper()
	page, err := exposition.Parse([]byte(text), exposition.Text, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.page(page, after(sec)); err != nil {
		t.Error(err)
	}
}

// says gives what every expression gives at a time: its elements, without what all have.
func (s *scraped) says(t testing.TB, sec int) map[string]map[string]float64 {
	t.Helper()
	out := map[string]map[string]float64{}
	for text, e := range s.watched {
		r, err := s.db.Evaluate(t.Context(), e, after(sec))
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range r.Elements {
			maps.DeleteFunc(one.Labels, func(name, value string) bool {
				own := map[string]string{"service": "shop", "job": "shop-metrics", "instance": "127.0.0.1:9100"}
				return own[name] == value
			})
			if out[text] == nil {
				out[text] = map[string]float64{}
			}
			out[text][fmt.Sprint(one.Labels)] = math.Round(one.Value*1e6) / 1e6
			if want := after(sec).Truncate(10 * time.Second); !one.Newest.Equal(want) {
				t.Errorf("%s at %d s rests on what was measured at %s, want %s", text, sec, one.Newest, want)
			}
		}
	}
	return out
}

// TestPages: expressions look at the series of pages as at those that Prometheus scrapes.
func TestPages(t *testing.T) {
	const (
		share    = `sum(rate(requests_total{code="500"}[20s])) / sum(rate(requests_total[20s]))`
		median   = `histogram_quantile(0.5, sum by (le) (rate(latency_seconds_bucket[20s])))`
		resets   = `resets(requests_total{path="/b"}[20s])`
		heat     = `temperature`
		thing    = `untyped_thing > 5`
		size     = `size_bytes_sum / size_bytes_count`
		quantile = `size_bytes{quantile="0.5"}`
		up       = `up == 1`
	)
	s := newScraped(t, share, median, resets, heat, thing, size, quantile, up)
	s.scrape(t, 0, page1)
	if diff := cmp.Diff(map[string]map[string]float64{
		heat:     {"map[room:a]": 20, "map[exported_job:furnace room:b]": 22.5},
		thing:    {"map[]": 7},
		size:     {"map[]": 3},
		quantile: {"map[quantile:0.5]": 3},
		up:       {"map[]": 1},
		resets:   {"map[code:200 path:/b]": 0},
	}, s.says(t, 5)); diff != "" {
		t.Errorf("after one page (-want +got):\n%s", diff)
	}
	s.scrape(t, 10, page2)
	// Requests grew by 30, by 20 (they began anew, from 50) and by 15; 100 were observed:
	// 50 up to 0.1, 40 more up to 0.5. What the second page does not have has ended.
	if diff := cmp.Diff(map[string]map[string]float64{
		share:  {"map[]": math.Round(15.0/65*1e6) / 1e6},
		median: {"map[]": .1},
		resets: {"map[code:200 path:/b]": 1},
		up:     {"map[]": 1},
	}, s.says(t, 15)); diff != "" {
		t.Errorf("after two pages (-want +got):\n%s", diff)
	}
}

// TestNoPage: what cannot be scraped has ended, and begins again.
func TestNoPage(t *testing.T) {
	const up, heat, dated = `up`, `temperature{room="a"}`, `dated`
	s := newScraped(t, up, heat, dated)
	page := "temperature{room=\"a\"} 20\n" + fmt.Sprintf("dated 1 %d\n", after(10).UnixMilli())
	both := func(up float64, more ...string) map[string]map[string]float64 {
		out := map[string]map[string]float64{"up": {"map[]": up}, dated: {"map[]": 1}}
		for _, text := range more {
			out[text] = map[string]float64{"map[room:a]": 20}
		}
		return out
	}
	s.scrape(t, 10, page)
	if diff := cmp.Diff(both(1, heat), s.says(t, 10)); diff != "" {
		t.Errorf("there (-want +got):\n%s", diff)
	}
	s.failed(after(11))
	delete(s.watched, dated)                             // it ends by itself, after the look-back
	got := func(sec int) map[string]map[string]float64 { // without looking at when it was measured
		out := map[string]map[string]float64{}
		for text, e := range s.watched {
			r, err := s.db.Evaluate(t.Context(), e, after(sec))
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range r.Elements {
				out[text] = map[string]float64{"": one.Value}
			}
		}
		return out
	}
	lack := func(sec int) (heats, ups string) {
		h, err1 := s.db.Evaluate(t.Context(), s.watched[heat], after(sec))
		u, err2 := s.db.Evaluate(t.Context(), s.watched[up], after(sec))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return h.Lack(nil, after(sec-1)), u.Lack(nil, after(sec-1))
	}
	if diff := cmp.Diff(map[string]map[string]float64{up: {"": 0}}, got(12)); diff != "" {
		t.Errorf("away (-want +got):\n%s", diff)
	}
	if h, u := lack(11); !strings.HasSuffix(h, "was measured last at 09:30:10") || u != "" {
		t.Errorf("away: lacking %q, %q", h, u)
	}
	s.scrape(t, 20, page)
	if diff := cmp.Diff(map[string]map[string]float64{up: {"": 1}, heat: {"": 20}}, got(21)); diff != "" {
		t.Errorf("again (-want +got):\n%s", diff)
	}
	s.series.Close(after(22))
	s.up.Close(after(22))
	if diff := cmp.Diff(map[string]map[string]float64{}, got(23)); diff != "" {
		t.Errorf("scraped no more (-want +got):\n%s", diff)
	}
	if h, u := lack(23); h+u != "" {
		t.Errorf("scraped no more: lacking %q, %q", h, u)
	}
}

// Of a target that has not answered since the start nobody knows what it would say: for as long
// as a sample stands for now anything of it may be missing, but not whether it is up.
func TestNeverAnswered(t *testing.T) {
	const heat, up, other = `sum(temperature)`, `sum(up)`, `temperature{service="other"}`
	s := newScraped(t, heat, up, other)
	remote, err := series.CompileAt(heat, "prom")
	if err != nil {
		t.Fatal(err)
	}
	s.watched["remote"] = remote
	lacking := func(want string) {
		t.Helper()
		for text, e := range s.watched {
			why := s.db.Lacking(e)
			if text != heat && why != "" || text == heat && why != want {
				t.Errorf("%s: %q", text, why)
			}
		}
	}
	lacking("")
	const why = "127.0.0.1:9100 has not answered since the start"
	s.failed(after(0))
	lacking(why)
	s.failed(after(290))
	lacking(why)
	s.failed(after(300))
	lacking("")
	s.series.Close(after(310))
	s = newScraped(t, heat, up, other)
	s.failed(after(0))
	s.scrape(t, 10, page1)
	lacking("")
	s.failed(after(20)) // what is lost of it is known
	lacking("")
}

// What there is no room for is told, and takes nothing from up and from what has ended;
// what the page dates ahead was measured when it was scraped.
func TestNoRoom(t *testing.T) {
	cfg := series.DefaultConfig()
	cfg.Limits.SeriesPerSource = 3
	db, err := series.New(cfg, series.Options{Now: func() time.Time { return after(60) }})
	if err != nil {
		t.Fatal(err)
	}
	everything, err := series.Compile(`{__name__=~".+"}`)
	if err != nil {
		t.Fatal(err)
	}
	db.Watch([]*series.Expr{everything})
	k := newKeeper(db, &Config{Name: "m", Service: "shop", URL: "http://127.0.0.1/metrics"})
	if err := k.page(&exposition.Page{Points: []exposition.Point{{Name: "a", Value: 1, At: after(50)}}}, after(0)); err != nil {
		t.Fatal(err)
	}
	r, err := db.Evaluate(t.Context(), everything, after(1))
	if err != nil || len(r.Elements) != 2 || !r.Elements[0].Newest.Equal(after(0)) {
		t.Errorf("%v, %+v", err, r.Elements)
	}
	page, err := exposition.Parse([]byte(page1), exposition.Text, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.page(page, after(10)); err == nil || !strings.Contains(err.Error(), "series of the page were not taken") {
		t.Errorf("%v", err)
	}
	up, err := db.Query(t.Context(), `up`, after(11))
	if err != nil || len(up) != 1 || up[0].Value != 1 {
		t.Errorf("%v, %v", up, err)
	}
}

// FuzzPage: whatever a target answers, twice, what is kept are numbers of its service.
func FuzzPage(f *testing.F) {
	const (
		plain     = "# TYPE m counter\nm{a=\"b\"} 3\nm{a=\"c\"} 4\n"
		histogram = "# TYPE h histogram\nh_bucket{le=\"0.1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 0.3\nh_count 2\n"
		summary   = "# TYPE s summary\ns{quantile=\"0.9\"} 7\ns_sum 9\ns_count 3\n"
	)
	f.Add(plain+histogram, plain+histogram)
	f.Add(histogram, "# TYPE h histogram\nh_bucket{le=\"NaN\"} 1\nh_count 1e308\n")
	f.Add("m 1e309\nm NaN\n", "m -Inf\n")
	f.Add(summary, "s{quantile=\"0.9\"} NaN\n# TYPE s gauge\n")
	f.Add("m{a=\"\xff\",job=\"x\"} 1 9223372036854775807\n", "\x00")
	f.Fuzz(func(t *testing.T, first, second string) {
		s := newScraped(t, `{service="shop"}`, `up{exported_service=""}`)
		read := false
		for i, text := range []string{first, second} {
			page, err := exposition.Parse([]byte(text), exposition.Text, 0)
			if read = err == nil; read {
				if err := s.page(page, after(10*i)); err != nil {
					t.Error(err)
				}
			} else {
				s.failed(after(10 * i))
			}
		}
		for text, e := range s.watched {
			r, err := s.db.Evaluate(t.Context(), e, after(12))
			if err != nil {
				t.Fatal(err)
			}
			if up := text[0] == 'u'; len(r.Elements) == 0 || up && read && r.Elements[0].Value != 1 {
				t.Errorf("%s: %+v", text, r.Elements)
			}
			for _, one := range r.Elements {
				if one.Labels["job"] != "shop-metrics" || one.Labels["instance"] != "127.0.0.1:9100" || one.Labels["service"] != "shop" {
					t.Errorf("%+v", one)
				}
			}
		}
	})
}
