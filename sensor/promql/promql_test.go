package promql_test

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"

	"grace"
	"grace/gracetest"
	"grace/internal/httpclient"
	"grace/internal/series"
	"grace/sensor/promql"
)

// wire answers requests in place of a network, so that tests have a virtual
// clock.
type wire struct {
	mu    sync.Mutex
	asked []url.Values
	at    []time.Time
	give  func(n int, r *http.Request, form url.Values) (status int, header http.Header, body string)
	// newness answers how new the samples are; nil: all are of now.
	newness func(query string) (status int, body string)
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	form := r.URL.Query()
	if r.Body != nil {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if form, err = url.ParseQuery(string(data)); err != nil {
			return nil, err
		}
	}
	if strings.HasPrefix(form.Get("query"), "label_replace(m") { // how new the samples are
		body := result("vector", fmt.Sprintf(`[{"metric":{"grace_selector":"0"},"value":[0,"%d"]}]`, time.Now().Unix()))
		status := http.StatusOK
		if w.newness != nil {
			status, body = w.newness(form.Get("query"))
		}
		return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	w.mu.Lock()
	n := len(w.asked)
	w.asked, w.at = append(w.asked, form), append(w.at, time.Now())
	w.mu.Unlock()
	status, header, body := w.give(n, r, form)
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if status < 0 {
		return nil, errors.New("connection refused")
	}
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)),
		Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

// always gives the same good answer.
func always(body string) func(int, *http.Request, url.Values) (int, http.Header, string) {
	return func(int, *http.Request, url.Values) (int, http.Header, string) { return 200, nil, body }
}

func result(kind, data string) string {
	return fmt.Sprintf(`{"status":"success","data":{"resultType":%q,"result":%s}}`, kind, data)
}

func query(name string) promql.Query {
	return promql.Query{Name: name, Query: name, Service: "shop"}
}

// problems keeps what was reported.
type problems struct {
	mu   sync.Mutex
	list []string
}

func (p *problems) report(q promql.Query, problem string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, q.Name+": "+problem)
}

// rig is a sensor with what it keeps.
type rig struct {
	*promql.Sensor
	db *series.DB
}

func newSensor(t *testing.T, cfg promql.Config, exprs ...*series.Expr) *rig {
	t.Helper()
	cfg.Name = "prom"
	if cfg.URL == "" {
		cfg.URL = "http://prometheus.test/base/"
	}
	db, err := series.New(series.DefaultConfig(), series.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := series.Compile(`count_over_time({__name__=~".+"}[1d])`)
	if err != nil {
		t.Fatal(err)
	}
	db.Watch(append(exprs, all))
	s, err := promql.New(cfg, db)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{s, db}
}

// says gives what an expression is at a time: elements, sorted.
func (r *rig) says(t *testing.T, text string, at time.Time) []string {
	t.Helper()
	found, err := r.db.Query(t.Context(), text, at)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, v := range found {
		out = append(out, fmt.Sprintf("%s %v", labels.FromMap(v.Labels), v.Value))
	}
	slices.Sort(out)
	return out
}

// took counts the samples that came of a metric.
func (r *rig) took(t *testing.T, metric string) int {
	t.Helper()
	found, err := r.db.Query(t.Context(), fmt.Sprintf("sum(count_over_time({__name__=%q}[1d]))", metric), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		return 0
	}
	return int(found[0].Value)
}

// run lets a sensor work for a while of virtual time.
func run(t *testing.T, s *rig, sink grace.Sink, long time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	if err := s.Run(ctx, sink); err != nil {
		t.Fatal(err)
	}
}

func TestResults(t *testing.T) {
	own := `__name__="m", `
	rest := `, job="prom", role="latency", service="shop"`
	for name, tt := range map[string]struct {
		query   promql.Query
		body    string
		want    []string // elements that are kept
		problem string
		skipped uint64
	}{
		"vector": {
			query: promql.Query{Service: "shop"},
			body:  result("vector", `[{"metric":{"__name__":"up","zone":"x"},"value":[1000.5,"2.5"]}]`),
			want:  []string{`{` + own + `job="prom", role="latency", service="shop", zone="x"} 2.5`},
		},
		"by label": {
			query: promql.Query{ServiceLabel: "app", Service: "rest", Scale: 1000},
			body: result("vector", `[{"metric":{"app":"a"},"value":[1000,"1"]},{"metric":{},"value":[1000,"2"]},
				{"metric":{"app":"b"},"value":[1000,"0.25"]}]`),
			want: []string{
				`{` + own + `app="a", job="prom", role="latency", service="a"} 1000`, `{` + own + `app="b", job="prom", role="latency", service="b"} 250`,
				`{` + own + `job="prom", role="latency", service="rest"} 2000`,
			},
		},
		"no label": {
			query:   promql.Query{ServiceLabel: "app"},
			body:    result("vector", `[{"metric":{"app":"a"},"value":[1000,"1"]},{"metric":{"zone":"j"},"value":[1000,"2"]}]`),
			want:    []string{`{` + own + `app="a", job="prom", role="latency", service="a"} 1`},
			problem: "left out: an element without the label app", skipped: 1,
		},
		"long label": {
			query:   promql.Query{ServiceLabel: "app"},
			body:    result("vector", `[{"metric":{"app":"`+strings.Repeat("x", 300)+`"},"value":[1000,"1"]},{"metric":{"app":"a"},"value":[1000,"1"]}]`),
			want:    []string{`{` + own + `app="a", job="prom", role="latency", service="a"} 1`},
			problem: "longer than 256 bytes", skipped: 1,
		},
		"several": {
			query: promql.Query{Service: "shop"},
			body:  result("vector", `[{"metric":{"i":"1"},"value":[1000,"1"]},{"metric":{"i":"2"},"value":[1000,"2"]}]`),
			want:  []string{`{` + own + `i="1"` + rest + `} 1`, `{` + own + `i="2"` + rest + `} 2`},
		},
		"labels that it gives, too": {
			query: promql.Query{Service: "shop"},
			body:  result("vector", `[{"metric":{"job":"j","service":"x"},"value":[1000,"1"]}]`),
			want:  []string{`{` + own + `exported_job="j", exported_service="x"` + rest + `} 1`},
		},
		"the label service": {
			query: promql.Query{ServiceLabel: "service"},
			body:  result("vector", `[{"metric":{"service":"shop"},"value":[1000,"1"]}]`),
			want:  []string{`{` + own + rest[2:] + `} 1`},
		},
		"no number": {
			query: promql.Query{ServiceLabel: "app"},
			body:  result("vector", `[{"metric":{"app":"a"},"value":[1000,"NaN"]},{"metric":{"app":"b"},"value":[1000,"+Inf"]}]`),
			want:  []string{`{` + own + `app="a", job="prom", role="latency", service="a"} NaN`, `{` + own + `app="b", job="prom", role="latency", service="b"} +Inf`},
		},
		"recording": {
			query: promql.Query{Labels: map[string]string{"slo": "s"}},
			body:  result("vector", `[{"metric":{"job":"j","slo":"x"},"value":[1000,"1"]}]`),
			want:  []string{`{` + own + `exported_slo="x", job="j", slo="s"} 1`},
		},
		"scalar":  {query: promql.Query{Service: "shop"}, body: result("scalar", `[1000,"7"]`), want: []string{`{` + own + rest[2:] + `} 7`}},
		"matrix":  {query: promql.Query{Service: "shop"}, body: result("matrix", `[{"metric":{},"values":[[1000,"1"],[1020,"3"]]}]`), problem: "a range of samples: want numbers"},
		"nothing": {query: promql.Query{Service: "shop"}, body: result("vector", `[]`)},
		"warned": {
			query:   promql.Query{Service: "shop"},
			body:    strings.Replace(result("scalar", `[1000,"7"]`), `{`, `{"warnings":["store-1 is away"],"isPartial":true,"infos":["not a counter"],`, 1),
			want:    []string{`{` + own + rest[2:] + `} 7`},
			problem: "warning: store-1 is away; warning: the answer is partial",
		},
		"native histogram": {
			query: promql.Query{ServiceLabel: "app"},
			body: result("vector", `[{"metric":{"app":"a"},"histogram":[1000,{"count":"1","sum":"1","buckets":[[0,"1","2","1"]]}]},
				{"metric":{"app":"b"},"value":[1000,"1"]}]`),
			want:    []string{`{` + own + `app="b", job="prom", role="latency", service="b"} 1`},
			problem: "left out: native histograms: ask for histogram_quantile", skipped: 1,
		},
		"text":        {query: promql.Query{Service: "shop"}, body: result("string", `[1000,"seven"]`), problem: "yields a text"},
		"no answer":   {query: promql.Query{Service: "shop"}, body: `<html>`, problem: "read the answer"},
		"no API":      {query: promql.Query{Service: "shop"}, body: `{"status":"ok"}`, problem: "this is no Prometheus API"},
		"no time":     {query: promql.Query{Service: "shop"}, body: result("scalar", `[1e300,"7"]`), problem: "is no time"},
		"no pair":     {query: promql.Query{Service: "shop"}, body: result("scalar", `[7]`), problem: "no pair"},
		"no value":    {query: promql.Query{Service: "shop"}, body: result("vector", `[{"value":[1,{}]}]`), problem: "no value"},
		"much":        {query: promql.Query{Service: "shop"}, body: result("vector", `[{},{},{},{},{},{}]`), problem: "6 series, at most 5: raise series_limit"},
		"long answer": {query: promql.Query{Service: "shop"}, body: strings.Repeat(" ", 1001), problem: "over 1000 bytes: raise body_limit"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.query.Name, tt.query.Query = "m", "up"
				if tt.query.Labels == nil {
					tt.query.Role = grace.RoleLatency
				}
				rec, told := &gracetest.Recorder{}, &problems{}
				s := newSensor(t, promql.Config{
					Queries: []promql.Query{tt.query}, Report: told.report, SeriesLimit: 5, BodyLimit: 1000, Transport: &wire{give: always(tt.body)},
				})
				run(t, s, rec, 30*time.Second)
				if diff := cmp.Diff(tt.want, s.says(t, `{__name__=~".+"}`, time.Now().Add(-time.Millisecond))); diff != "" {
					t.Error(diff)
				}
				if got := s.says(t, `{__name__=~".+"}`, time.Now()); got != nil {
					t.Errorf("it asks no more, and there is still %q", got)
				}
				for _, sample := range rec.Samples() {
					if sample.Metric != "m" || sample.Kind != grace.SampleSeries && (sample.Kind != grace.SampleSensorError || !strings.Contains(sample.Message, tt.problem)) {
						t.Errorf("%+v", sample)
					}
				}
				if text := strings.Join(told.list, "\n"); !strings.Contains(text, tt.problem) || (tt.problem == "") != (text == "") {
					t.Errorf("reported %q, want %q", text, tt.problem)
				}
				st := s.Stats()
				if st.Skipped != tt.skipped || st.Samples != uint64(len(tt.want)) || (st.Warned == 1) != strings.Contains(tt.problem, "warning") {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

func TestRequest(t *testing.T) {
	t.Setenv("PROM_TOKEN", "t0ken")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("pa:ss\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg  promql.Config
		want string
	}{
		"none":   {promql.Config{}, ""},
		"bearer": {as(httpclient.Auth{BearerToken: "${env:PROM_TOKEN}"}), "Bearer t0ken"},
		"basic":  {as(httpclient.Auth{Username: "u", Password: "${file:" + file + "}"}), "Basic " + base64.StdEncoding.EncodeToString([]byte("u:pa:ss"))},
		"header": {as(httpclient.Auth{Headers: map[string]string{"Authorization": "ApiKey ${env:PROM_TOKEN}"}}), "ApiKey t0ken"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var methods []string
				w := &wire{give: func(_ int, r *http.Request, form url.Values) (int, http.Header, string) {
					methods = append(methods, r.Method)
					if r.Method == http.MethodPost {
						return http.StatusMethodNotAllowed, nil, ""
					}
					if got := r.Header.Get("Authorization"); got != tt.want {
						t.Errorf("Authorization %q, want %q", got, tt.want)
					}
					if r.URL.Path != "/base/api/v1/query" || form.Get("query") != `sum(rate(x{a="é"}[5m]))` || form.Get("timeout") != "10s" {
						t.Errorf("%s %v", r.URL.Path, form)
					}
					if at := form.Get("time"); at != fmt.Sprintf("%.3f", float64(time.Now().UnixMilli())/1000) {
						t.Errorf("time %s", at)
					}
					return 200, nil, result("scalar", `[1000,"7"]`)
				}}
				tt.cfg.Transport = w
				tt.cfg.Queries = []promql.Query{{Name: "m", Query: `sum(rate(x{a="é"}[5m]))`, Service: "shop"}}
				rec := &gracetest.Recorder{}
				run(t, newSensor(t, tt.cfg), rec, 30*time.Second)
				if diff := cmp.Diff([]string{"POST", "GET"}, methods); diff != "" || len(rec.Samples()) != 1 {
					t.Errorf("%d samples, %s", len(rec.Samples()), diff)
				}
			})
		})
	}
}

func as(auth httpclient.Auth) promql.Config {
	return promql.Config{Client: httpclient.Config{Auth: auth}}
}

// A redirect that would ask without the question is an error that names both
// addresses.
func TestRedirectedPOST(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/new/api/v1/query" && r.Method == http.MethodPost && r.FormValue("query") == "m" || strings.HasPrefix(r.FormValue("query"), "label_replace") {
			fmt.Fprint(w, result("scalar", `[1000,"7"]`))
			return
		}
		code := http.StatusMovedPermanently
		if strings.HasPrefix(r.URL.Path, "/kept/") {
			code = http.StatusTemporaryRedirect
		}
		http.Redirect(w, r, "/new/api/v1/query", code)
	}))
	t.Cleanup(srv.Close)
	for path, want := range map[string]string{"/old": "POST " + srv.URL + "/old/api/v1/query is redirected to " + srv.URL + "/new/api/v1/query", "/kept": ""} {
		s := newSensor(t, promql.Config{URL: srv.URL + path, Queries: []promql.Query{query("m")}, Interval: grace.Duration(10 * time.Millisecond)})
		rec := &gracetest.Recorder{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx, rec) }()
		got := rec.Wait(t, 1)[0]
		cancel()
		if err := <-done; err != nil || (got.Kind == grace.SampleSeries) != (want == "") || !strings.Contains(got.Message, want) {
			t.Errorf("%s: %+v %v, want %q", path, got, err, want)
		}
	}
}

func TestSecretsStaySecret(t *testing.T) {
	t.Setenv("PROM_TOKEN", "t0ken")
	for name, cfg := range map[string]promql.Config{
		"echoed":  as(httpclient.Auth{BearerToken: "${env:PROM_TOKEN}"}),
		"missing": as(httpclient.Auth{BearerToken: "${env:PROM_NOT_SET}"}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				told := &problems{}
				cfg.Queries, cfg.Report = []promql.Query{query("m")}, told.report
				cfg.Transport = &wire{give: func(int, *http.Request, url.Values) (int, http.Header, string) {
					return 400, nil, `{"status":"error","errorType":"bad_data","error":"what is t0ken?"}`
				}}
				run(t, newSensor(t, cfg), &gracetest.Recorder{}, 30*time.Second)
				text := strings.Join(told.list, "")
				if strings.Contains(text, "t0ken") || text == "" {
					t.Errorf("reported %q", text)
				}
			})
		})
	}
}

// Queries do not wait for one another, but no more than Concurrency are under way.
func TestConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		w := &wire{give: func(_ int, r *http.Request, form url.Values) (int, http.Header, string) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			if form.Get("query") == "slow" {
				<-r.Context().Done()
			} else {
				time.Sleep(3 * time.Second)
			}
			mu.Lock()
			now--
			mu.Unlock()
			return 200, nil, result("scalar", fmt.Sprintf(`[%d,"7"]`, time.Now().Unix()))
		}}
		queries := []promql.Query{query("slow")}
		for i := range 12 {
			queries = append(queries, query(fmt.Sprintf("q%d", i)))
		}
		s := newSensor(t, promql.Config{Queries: queries, Transport: w, Concurrency: 3})
		run(t, s, &gracetest.Recorder{}, 3*time.Minute)
		for _, q := range queries[1:] {
			if n := s.took(t, q.Name); n < 4 {
				t.Errorf("%s has %d samples", q.Name, n)
			}
		}
		if most != 3 {
			t.Errorf("%d at once, want 3", most)
		}
	})
}

func TestValidate(t *testing.T) {
	good := promql.Config{Name: "p", URL: "https://mimir.test/prometheus", Queries: []promql.Query{query("m")}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	// A metric belongs to its service: another service's may have the same name.
	several, other := good, query("m")
	other.Service = "cart"
	if several.Queries = append(slices.Clone(good.Queries), other); several.Validate() != nil {
		t.Error(several.Validate())
	}
	one := func(change func(*promql.Query)) func(*promql.Config) {
		return func(c *promql.Config) {
			q := query("m")
			change(&q)
			c.Queries = []promql.Query{q}
		}
	}
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(notPEM, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*promql.Config){
		"name: is missing":               func(c *promql.Config) { c.Name = "" },
		"url: want":                      func(c *promql.Config) { c.URL = "prometheus:9090" },
		"url: credentials":               func(c *promql.Config) { c.URL = "http://u:p@prometheus:9090" },
		"negative":                       func(c *promql.Config) { c.BodyLimit = -1 },
		"dialect":                        func(c *promql.Config) { c.Dialect = "graphite" },
		"1:5: parse error":               one(func(q *promql.Query) { q.Query = "sum(" }),
		"a text: want numbers":           one(func(q *promql.Query) { q.Query = `"seven"` }),
		"bearer_token: excludes":         func(c *promql.Config) { c.Client.BearerToken, c.Client.Username = "a", "b" },
		"password: there is no username": func(c *promql.Config) { c.Client.Password = "a" },
		"headers.authorization: excludes": func(c *promql.Config) {
			c.Client.BearerToken, c.Client.Headers = "a", map[string]string{"authorization": "b"}
		},
		"go together":                       func(c *promql.Config) { c.Client.TLS.Cert = "a" },
		"ca: open":                          func(c *promql.Config) { c.Client.TLS.CA = "no-such-file" },
		"no PEM":                            func(c *promql.Config) { c.Client.TLS.CA = notPEM },
		"tls.cert: with its key: open":      func(c *promql.Config) { c.Client.TLS.Cert, c.Client.TLS.Key = "no-such", "no-such" },
		"queries: is missing":               func(c *promql.Config) { c.Queries = nil },
		"queries[1].name: m is there twice": func(c *promql.Config) { c.Queries = append(c.Queries, query("m")) },
		"m is there twice for the": func(c *promql.Config) { // the label may say shop
			c.Queries = append(c.Queries, promql.Query{Name: "m", Query: "m", ServiceLabel: "app"})
		},
		"queries[0].query: is missing":   one(func(q *promql.Query) { q.Query = " " }),
		"queries[0].service: is missing": one(func(q *promql.Query) { q.Service = "" }),
		"interval":                       one(func(q *promql.Query) { q.Interval = -1 }),
		"scale":                          one(func(q *promql.Query) { q.Scale = math.Inf(1) }),
		"role":                           one(func(q *promql.Query) { q.Role = "speed" }),
	} {
		c := good
		change(&c)
		if _, err := promql.New(c, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestTLS(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, result("scalar", fmt.Sprintf(`[%d,"7"]`, time.Now().Unix())))
	}))
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		tls  httpclient.TLS
		kind grace.SampleKind
	}{
		"stranger":   {httpclient.TLS{}, grace.SampleSensorError},
		"insecure":   {httpclient.TLS{Insecure: true}, grace.SampleSeries},
		"trusted":    {httpclient.TLS{CA: ca}, grace.SampleSeries},
		"other name": {httpclient.TLS{CA: ca, ServerName: "other.test"}, grace.SampleSensorError},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSensor(t, promql.Config{
				URL: srv.URL, Client: httpclient.Config{TLS: tt.tls}, Queries: []promql.Query{query("m")},
				Interval: grace.Duration(10 * time.Millisecond), Timeout: grace.Duration(5 * time.Second),
			})
			rec := &gracetest.Recorder{}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx, rec) }()
			got := rec.Wait(t, 1)[0]
			cancel()
			if err := <-done; err != nil || got.Kind != tt.kind {
				t.Errorf("%+v, %v; want kind %v", got, err, tt.kind)
			}
		})
	}
}

func TestConformance(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, result("scalar", fmt.Sprintf(`[%.3f,"7"]`, float64(time.Now().UnixMilli())/1000)))
	}))
	t.Cleanup(srv.Close)
	gracetest.Sensor(t, func(t *testing.T) grace.Sensor {
		return newSensor(t, promql.Config{
			URL: srv.URL, Queries: []promql.Query{query("a"), query("b")}, Interval: grace.Duration(10 * time.Millisecond),
		})
	}, gracetest.SensorCase{Service: "shop", Metrics: []string{"a", "b"}})
}
