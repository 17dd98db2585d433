package promql

import (
	"errors"
	"slices"
	"testing"
	"time"

	"grace"
	"grace/internal/series"
)

// FuzzAnswer: whatever a server answers, what is kept of it are series of a named service,
// and every element that the answer held is kept or counted as left out.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"app":"a"},"value":[1000.5,"2.5"]},{"metric":{},"value":[1000,"NaN"]}]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"app":"a"},"values":[[2,"1"],[1,"-Inf"],[2,"3"]]},{"metric":{"app":"a"},"values":[[2,"1"]]}]}}`,
		`{"status":"success","data":{"resultType":"scalar","result":[1435781451.781,"1e309"]},"warnings":["w","w","w","w","w","w"],"isPartial":true}`,
		`{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"app":"\u0000\ufffd"},"histogram":[1,{"count":"1"}]},null]}}`,
		`{"status":"success","data":{"resultType":"scalar","result":null}}`,
		`{"status":"error","errorType":"bad_data","error":"parse error"}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"value":[-1e18,"0x1p-2"]},{"value":[1,"1","2"]}]}}`,
		`[`, ``, `null`,
	} {
		f.Add([]byte(seed))
	}
	db, err := series.New(series.DefaultConfig(), series.Options{})
	if err != nil {
		f.Fatal(err)
	}
	all, err := series.Compile(`{__name__=~".+"}`)
	if err != nil {
		f.Fatal(err)
	}
	db.Watch([]*series.Expr{all})
	f.Fuzz(func(t *testing.T, body []byte) {
		found, n, err := parse(body, 100)
		if err != nil {
			if _, said := errors.AsType[*errQuery](err); len(found) != 0 || said && err.Error() == "" {
				t.Errorf("%d series and %v", len(found), err)
			}
			return
		}
		s, err := New(Config{Name: "n", URL: "http://127.0.0.1", Queries: []Query{{Name: "m", Query: "q", ServiceLabel: "app", Service: "rest", Scale: 2}}}, db)
		if err != nil {
			t.Fatal(err)
		}
		found = slices.DeleteFunc(found, func(r row) bool { return len(r.points) != 1 })
		at := time.Now()
		taken := s.polls[0].append(found, nil, at, &n)
		if left := int(s.Stats().Skipped); taken+left != len(found) {
			t.Errorf("%d taken and %d left out of %d", taken, left, len(found))
		}
		r, err := db.Evaluate(t.Context(), all, at)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range r.Elements {
			if one.Labels["job"] != "n" || one.Labels["service"] == "" || len(one.Labels["service"]) > maxService {
				t.Errorf("%+v", one)
			}
		}
		s.polls[0].set.Close(at.Add(time.Millisecond))
		if n.text(nil) != grace.CleanOutput(n.text(nil)) {
			t.Error("what is reported is not clean text")
		}
	})
}
