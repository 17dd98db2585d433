package daemon_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"grace/daemon"
	"grace/internal/config"
)

// A look has no loop, so nothing is known of alerts that were held before.
func TestLookAtAlertmanager(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		want   daemon.Finding
	}{
		"it answers": {http.StatusOK, daemon.Finding{Kind: "sensor", Name: "alertmanager", State: daemon.FoundOK}},
		"it fails":   {http.StatusInternalServerError, daemon.Finding{Kind: "sensor", Name: "alertmanager", State: daemon.FoundFailed}},
	} {
		t.Run(name, func(t *testing.T) {
			am := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(`[{"labels":{"alertname":"Down","service":"web"},"fingerprint":"f1","startsAt":"2026-03-01T09:00:00Z",` +
					`"endsAt":"2026-03-01T09:05:00Z","updatedAt":"2026-03-01T09:00:00Z","receivers":[],"annotations":{},"status":{"state":"active","silencedBy":[],"inhibitedBy":[]}}]`))
			}))
			defer am.Close()
			cfg, problems := config.Parse("grace.yaml", []byte("services: [{name: web, criticality: low}]\nalertmanager: {url: "+am.URL+"}\n"), "", config.Options{})
			if cfg == nil {
				t.Fatal(problems)
			}
			found, err := daemon.Look(t.Context(), cfg, false)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(found, func(f daemon.Finding) bool {
				return f.Kind == tt.want.Kind && f.Name == tt.want.Name && f.State == tt.want.State
			}) {
				t.Errorf("found %+v, want %+v", found, tt.want)
			}
		})
	}
}

// looked gives what a look at one sensor found, by kind and name.
func looked(t *testing.T, yaml string) map[string]daemon.Finding {
	t.Helper()
	cfg, problems := config.Parse("grace.yaml", []byte("services: [{name: web, criticality: low}]\n"+yaml), "", config.Options{})
	if cfg == nil {
		t.Fatal(problems)
	}
	found, err := daemon.Look(t.Context(), cfg, false)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]daemon.Finding{}
	for _, f := range found {
		out[f.Kind+" "+f.Name] = f
	}
	return out
}

// saw compares findings: a state, and what the detail says.
func saw(t *testing.T, found map[string]daemon.Finding, want map[string][2]string) {
	t.Helper()
	for name, w := range want {
		if f, ok := found[name]; w[0] == "" && ok || f.State != w[0] || !strings.Contains(f.Detail, w[1]) {
			t.Errorf("%s: %+v, want %v", name, f, w)
		}
	}
}

// Every query is asked, and one without an answer is named, judged or not.
func TestLookAtQueries(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch q := r.FormValue("query"); q {
		case "wrong":
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"status":"error","errorType":"bad_data","error":"no such thing"}`))
		case "typo", "gone":
			_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[]}}`))
		default:
			_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"5"]}]}}`))
		}
	}))
	defer api.Close()
	sensor := func(queries ...string) string {
		var list []string
		for _, q := range queries {
			list = append(list, fmt.Sprintf("{name: %s, query: %s}", q, q))
		}
		return "sensors: [{name: prom, type: promql, service: web, url: " + api.URL + ", queries: [" + strings.Join(list, ", ") + "]}]\n"
	}
	judged := "objectives: ["
	for _, m := range []string{"a", "b", "c", "d", "typo", "other"} {
		judged += fmt.Sprintf(`{name: %s, service: web, expr: %s > 1, code: service_down}, `, m, m)
	}
	saw(t, looked(t, sensor("a", "b", "c", "d", "e", "typo", "gone")+judged+"]\n"), map[string][2]string{
		"sensor prom": {daemon.FoundOK, "a, b, c, d, e"}, "metric web/a": {daemon.FoundOK, ""}, "metric web/b": {daemon.FoundOK, ""},
		"metric web/c": {daemon.FoundOK, ""}, "metric web/d": {daemon.FoundOK, ""}, "metric web/e": {"", ""},
		"metric web/typo": {daemon.FoundWarning, "empty answer"}, "metric web/gone": {daemon.FoundWarning, "empty answer"},
		"metric web/other": {daemon.FoundWarning, "no sensor gave it"},
	})
	saw(t, looked(t, sensor("a", "wrong")), map[string][2]string{
		"sensor prom": {daemon.FoundFailed, "no such thing"}, "metric web/wrong": {daemon.FoundWarning, "no such thing"},
	})
	saw(t, looked(t, sensor("gone")), map[string][2]string{"sensor prom": {daemon.FoundWarning, "no query has a value"}})
	saw(t, looked(t, sensor("wrong")), map[string][2]string{"sensor prom": {daemon.FoundFailed, "no such thing"}, "metric web/wrong": {"", ""}})
}

// A page is looked at until what needs two looks has come, and what it lacks is
// named, judged or not.
func TestLookAtPage(t *testing.T) {
	var asked atomic.Int64
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "# TYPE requests_total counter\nrequests_total %d\n# TYPE users gauge\nusers 7\n", asked.Add(1))
	}))
	defer page.Close()
	saw(t, looked(t, "sensors: [{name: page, type: prometheus, service: web, url: "+page.URL+", metrics: [{name: users, source: users}, "+
		"{name: rps, source: requests_total, as: per_second}, {name: typo, source: userz}]}]\n"+
		`objectives: [{name: n, service: web, expr: 'rps{service="web"} > 1', code: service_down}]`+"\n"), map[string][2]string{
		"sensor page": {daemon.FoundOK, "rps"}, "metric web/rps": {daemon.FoundOK, ""}, "metric web/users": {"", ""},
		"metric web/typo": {daemon.FoundWarning, "no such series: userz (compare source"},
	})
}
