package promql_test

import (
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"grace"
	"grace/sensor/promql"
)

// A look asks everything at once, whatever the intervals are, and says of each
// query what came of it.
func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vector := result("vector", `[{"metric":{},"value":[1,"5"]}]`)
		answers := map[string]string{
			"a": vector, "b": vector, "none": result("vector", `[]`),
			"many":  result("vector", `[{"metric":{"i":"1"},"value":[1,"5"]},{"metric":{"i":"2"},"value":[1,"6"]}]`),
			"wrong": `{"status":"error","errorType":"bad_data","error":"no such thing"}`,
		}
		w := &wire{give: func(_ int, _ *http.Request, form url.Values) (int, http.Header, string) {
			return 200, nil, answers[form.Get("query")]
		}}
		cfg := promql.Config{Interval: grace.Duration(time.Hour), Transport: w}
		for _, name := range []string{"a", "b", "none", "many", "wrong"} {
			cfg.Queries = append(cfg.Queries, query(name))
		}
		began := time.Now()
		found := newSensor(t, cfg).Look(t.Context())
		if took := time.Since(began); took != 0 || len(w.asked) != 6 { // one of them by the labels that it has
			t.Errorf("asked %d in %s, want all at once", len(w.asked), took)
		}
		for i, want := range []struct {
			kind     grace.SampleKind
			elements int
			problem  string
		}{
			{grace.SampleSeries, 1, ""},
			{grace.SampleSeries, 1, ""},
			{grace.SampleSeries, 0, ""},
			{grace.SampleSeries, 2, ""},
			{grace.SampleSensorError, 0, "the query failed: bad_data: no such thing"},
		} {
			a := found[i]
			if a.Query.Name != cfg.Queries[i].Name || a.Samples[0].Kind != want.kind || a.Elements != want.elements || a.Problem != want.problem {
				t.Errorf("%+v, want %+v", a, want)
			}
		}
	})
}
