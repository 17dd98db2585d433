package exposition_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"grace/internal/exposition"
)

// page is one of testdata: its folder says how it is served.
type page struct{ name, kind, body string }

func (p page) contentType() string {
	if p.kind == "openmetrics" {
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	return "text/plain; version=0.0.4; charset=utf-8"
}

func pages(t *testing.T) []page {
	t.Helper()
	files, err := filepath.Glob("testdata/*/*")
	if err != nil || len(files) < 50 {
		t.Fatal(len(files), err)
	}
	var out []page
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		kind := filepath.Base(filepath.Dir(f))
		out = append(out, page{kind + "-" + filepath.Base(f), kind, string(data)})
	}
	return out
}

// TestAsPrometheus: an unmodified Prometheus scrapes the same pages. The verdict
// and the samples are the same, but for names in UTF-8, which came later.
func TestAsPrometheus(t *testing.T) {
	bin, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("Prometheus is missing; install it with: apt-get install prometheus")
	}
	all := pages(t)
	served := make(chan string, 10_000)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := slices.IndexFunc(all, func(p page) bool { return "/"+p.name == r.URL.Path })
		if i < 0 {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", all[i].contentType())
		_, _ = io.WriteString(w, all[i].body)
		served <- all[i].name
	}))
	defer srv.Close()
	api := startPrometheus(t, bin, srv.Listener.Addr().String(), all)

	// After its second scrape the first one of a page is in the storage.
	times := map[string]int{}
	for done := 0; done < len(all); {
		select {
		case name := <-served:
			if times[name]++; times[name] == 2 {
				done++
			}
		case <-t.Context().Done():
			t.Fatal("not every page was scraped")
		}
	}
	for _, p := range all {
		t.Run(p.name, func(t *testing.T) {
			up := query(t, api, fmt.Sprintf(`up{page=%q}`, p.name))
			parsed, err := exposition.Parse([]byte(p.body), p.contentType(), 0)
			if strings.Contains(p.name, "utf8_quoted") {
				if err != nil || len(parsed.Points) != 2 {
					t.Errorf("names in UTF-8: %v", err)
				}
				return
			}
			if len(up) != 1 || (err == nil) != (fmt.Sprint(up) == fmt.Sprint(map[string]string{"up": "1"})) {
				t.Fatalf("Prometheus says %v, GRACE %v", up, err)
			}
			if err != nil {
				return
			}
			got := map[string]string{}
			for _, point := range parsed.Points {
				if !point.At.IsZero() {
					continue // too long ago for Prometheus to keep
				}
				got[point.Name+point.Labels.String()] = strings.Replace(strconv.FormatFloat(point.Value, 'f', -1, 64), "+Inf", "+Inf", 1)
				if math.IsNaN(point.Value) {
					got[point.Name+point.Labels.String()] = "NaN"
				}
			}
			want := query(t, api, fmt.Sprintf(`{page=%q,__name__!~"up|scrape_.*"}`, p.name))
			if diff := cmp.Diff(want, canonical(got)); diff != "" {
				t.Errorf("samples (-Prometheus +GRACE):\n%s", diff)
			}
		})
	}
}

// canonical writes a series without labels as the query does.
func canonical(in map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range in {
		out[strings.TrimSuffix(k, "{}")] = v
	}
	return out
}

func startPrometheus(t *testing.T, bin, target string, all []page) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("global: {scrape_interval: 500ms, scrape_timeout: 400ms}\nscrape_configs:\n")
	for _, p := range all {
		fmt.Fprintf(&b, "  - {job_name: %q, honor_labels: true, metrics_path: /%s, static_configs: [{targets: [%q], labels: {page: %q}}]}\n", p.name, p.name, target, p.name)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(bin, "--config.file="+config, "--storage.tsdb.path="+dir, "--web.listen-address="+addr)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return "http://" + addr
}

// query gives the values of an instant vector, by series without what the
// target adds.
func query(t *testing.T, api, expr string) map[string]string {
	t.Helper()
	resp, err := http.PostForm(api+"/api/v1/query", url.Values{"query": {expr}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, r := range answer.Data.Result {
		var pairs []string
		for k, v := range r.Metric {
			if k != "__name__" && k != "job" && k != "instance" && k != "page" {
				pairs = append(pairs, fmt.Sprintf("%s=%q", k, v))
			}
		}
		slices.Sort(pairs)
		name := r.Metric["__name__"]
		if len(pairs) > 0 {
			name += "{" + strings.Join(pairs, ", ") + "}"
		}
		out[name] = fmt.Sprint(r.Value[1])
	}
	return out
}

func TestTimes(t *testing.T) {
	page, err := exposition.Parse([]byte("m 1 1700000000123\nn 2\n"), exposition.Text, 0)
	if err != nil || !page.Points[0].At.Equal(time.UnixMilli(1700000000123)) || !page.Points[1].At.IsZero() {
		t.Errorf("%+v %v", page, err)
	}
}

// What says no Content-Type, or one that nobody knows, is read as text, as
// Debian's Prometheus does.
func TestContentTypes(t *testing.T) {
	for _, kind := range []string{"", "text/html", "application/json", "garbage;;", "text/plain; version=1.0.0; escaping=allow-utf-8"} {
		if page, err := exposition.Parse([]byte("m 1\n"), kind, 0); err != nil || len(page.Points) != 1 {
			t.Errorf("%q: %v", kind, err)
		}
	}
	if _, err := exposition.Parse([]byte("m 1\n"), "application/openmetrics-text", 0); err == nil {
		t.Error("OpenMetrics without # EOF is taken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("# TYPE m gauge\nm{a=\"1\"} 1\n"), "text/plain")
	f.Add([]byte("# TYPE a counter\na_total 3 # {id=\"x\"} 1.0\n# EOF\n"), "application/openmetrics-text")
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		page, err := exposition.Parse(body, kind, 100)
		if err != nil {
			return
		}
		for _, p := range page.Points {
			if p.Name == "" {
				t.Errorf("%+v", p)
			}
		}
	})
}
