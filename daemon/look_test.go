package daemon_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"grace"
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
	return lookedAt(t, "services: [{name: web, criticality: low}]\n"+yaml)
}

func lookedAt(t *testing.T, yaml string) map[string]daemon.Finding {
	t.Helper()
	restart := grace.Playbook{ID: "restart_service", Title: "Restart", Risk: grace.RiskLow, Impact: grace.ImpactLow}
	cfg, problems := config.Parse("grace.yaml", []byte(yaml), "", config.Options{SeedPlaybooks: []grace.Playbook{restart}, Actions: map[string]func(map[string]any) error{"noop": func(map[string]any) error { return nil }}})
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
		"sensor prom": {daemon.FoundOK, "a, b, c, d, e"}, "objective web/a": {daemon.FoundOK, "1 of a"}, "objective web/d": {daemon.FoundOK, ""},
		"query prom/typo": {daemon.FoundWarning, "empty answer"}, "query prom/gone": {daemon.FoundWarning, "empty answer"},
		"objective web/typo": {daemon.FoundWarning, "no sensor gave typo in one look"}, "objective web/other": {daemon.FoundWarning, "no sensor gave other"},
	})
	saw(t, looked(t, sensor("a", "wrong")), map[string][2]string{
		"sensor prom": {daemon.FoundFailed, "no such thing"}, "query prom/wrong": {daemon.FoundWarning, "no such thing"},
	})
	saw(t, looked(t, sensor("gone")), map[string][2]string{"sensor prom": {daemon.FoundWarning, "no query has a value"}})
	saw(t, looked(t, sensor("wrong")), map[string][2]string{"sensor prom": {daemon.FoundFailed, "no such thing"}, "query prom/wrong": {"", ""}})
}

// Of a page it is said which of its series each expression looks at.
func TestLookAtPage(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "# TYPE requests_total counter\nrequests_total{code=\"200\"} 5\nrequests_total{code=\"500\"} 1\n# TYPE users gauge\nusers 7\n")
	}))
	defer page.Close()
	saw(t, looked(t, "sensors: [{name: page, type: prometheus, service: web, url: "+page.URL+"}]\n"+
		"objectives:\n"+
		"  - {name: errors, expr: 'rate(requests_total{code=\"500\"}[5m]) / sum by (service) (rate(requests_total[5m])) > 0.1', code: elevated_errors}\n"+
		"  - {name: other, service: web, expr: 'requests_total{service=\"db\"} > userz', code: service_down}\n"+
		"limits: [{name: full, service: web, expr: 'users > 1', code: capacity}]\n"), map[string][2]string{
		"sensor page": {daemon.FoundOK, "up"}, "objective errors": {daemon.FoundOK, `1 of requests_total{code="500"}, 2 of requests_total`},
		"objective web/other": {daemon.FoundWarning, `no sensor gave requests_total{service="db"}, userz in one look`},
		"limit web/full":      {daemon.FoundOK, "1 of users"},
	})
}

// Of a source it is said what each expression finds there.
func TestLookAtSource(t *testing.T) {
	eu := newFakeSource(t, map[string]float64{"a": 150, "b": 50})
	objective := "  - {name: %s, source: eu, service: web, expr: '%s', code: capacity}\n"
	text := "sensors: [{name: eu, type: promql, url: " + eu.URL + "}]\nobjectives:\n" + fmt.Sprintf(objective, "queue", "queue_depth > 100") +
		fmt.Sprintf(objective, "some", "queue_depth > 100 and on () vector(1)")
	saw(t, looked(t, text), map[string][2]string{
		"sensor eu": {daemon.FoundOK, "it answers what 2 expressions ask"}, "query eu/queue_depth": {"", ""},
		"objective web/queue": {daemon.FoundOK, `2 of queue_depth at eu: {job="a"} 150, {job="b"} 50`},
		"objective web/some":  {daemon.FoundOK, `1 of (queue_depth) and on () vector(1) at eu: {job="a"} 150`},
	})
	binding := "    bindings: {restart_service: {settle: 5m, steps: [{name: s, action: noop, irreversible: true}], verify: [" +
		"{name: drained, source: eu, type: expr, expr: 'queue_depth{job=\"${service}\"} < 9'}, {source: eu, type: expr, expr: 'queue_depth > 100 and on () vector(1)'}]}}\n"
	verified := func(service string) map[string]daemon.Finding {
		t.Helper()
		return lookedAt(t, "services:\n  - name: "+service+"\n    criticality: low\n"+binding+"sensors: [{name: eu, type: promql, url: "+eu.URL+"}]\n")
	}
	saw(t, verified("a"), map[string][2]string{
		"sensor eu": {daemon.FoundOK, "it answers what 2 expressions ask"}, "check a/restart_service/drained": {daemon.FoundOK, `1 of queue_depth{job="a"} at eu: {job="a"} 150`},
		"check a/restart_service/expr": {daemon.FoundOK, `1 of queue_depth > 100 and on () vector(1) at eu: {job="a"} 150`},
	})
	eu.set(func(f *fakeSource) { f.depths = map[string]float64{"b": 50} })
	saw(t, verified("a"), map[string][2]string{
		"check a/restart_service/drained": {daemon.FoundWarning, `eu gives nothing for queue_depth{job="a"}: see there`}, "check a/restart_service/expr": {daemon.FoundWarning, "eu gives nothing for queue_depth > 100"},
	})
	saw(t, looked(t, text), map[string][2]string{"objective web/some": {daemon.FoundOK, `eu gives nothing for (queue_depth) and on () vector(1), which is well`}})
	zones := fmt.Sprintf(objective, "zones", `sum(queue_depth) / sum(queue_depth{zone="b"}) < 0.01`) + fmt.Sprintf(objective, "divided", `sum(queue_depth) / sum(queue_depth{zone="b"}) > 100`) + fmt.Sprintf(objective, "misspelt", `sum(queue_depth) / sum(depth{zon="b"}) > 100`)
	saw(t, looked(t, text+zones), map[string][2]string{
		"objective web/zones":    {daemon.FoundOK, `eu has no queue_depth{zone="b"} so far, as where all is well`},
		"objective web/divided":  {daemon.FoundWarning, `eu has no queue_depth{zone="b"}`},
		"objective web/misspelt": {daemon.FoundWarning, `eu has no depth{zon="b"}`},
	})
	eu.set(func(f *fakeSource) {
		f.depths, f.frozen = map[string]float64{"a": 150}, time.Now().Add(-90*time.Second)
	})
	late := `1 of queue_depth at eu: {job="a"} 150; the newest sample of it is 1m30s old, too old to count: unless it comes as rarely, raise sense.stale_after`
	saw(t, looked(t, text), map[string][2]string{"objective web/queue": {daemon.FoundWarning, late}})
	saw(t, looked(t, text+"sense: {stale_after: 3m}\n"), map[string][2]string{"objective web/queue": {daemon.FoundOK, `1 of queue_depth at eu: {job="a"} 150`}})
	eu.set(func(f *fakeSource) { f.depths, f.frozen = nil, time.Time{} })
	saw(t, looked(t, text), map[string][2]string{
		"objective web/queue": {daemon.FoundWarning, "eu gives nothing for queue_depth: see there"}, "objective web/some": {daemon.FoundWarning, "eu has no queue_depth"},
	})
	eu.set(func(f *fakeSource) { f.status = http.StatusUnprocessableEntity })
	saw(t, looked(t, text), map[string][2]string{
		"sensor eu": {daemon.FoundFailed, "the store is gone"}, "objective web/queue": {daemon.FoundFailed, "source eu: asked how new its samples are: the query failed: execution: the store is gone"},
	})
}
