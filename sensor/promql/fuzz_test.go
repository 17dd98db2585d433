package promql

import (
	"errors"
	"math"
	"testing"

	"grace"
)

// FuzzAnswer: whatever a server answers, what becomes of it are samples that
// are numbers of a named service in the order of time, and every value that the
// answer held is a sample or counted as left out.
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
	s, err := New(Config{Name: "n", URL: "http://127.0.0.1", Queries: []Query{{Name: "m", Query: "q", ServiceLabel: "app", Service: "rest", Scale: 2}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		found, n, err := parse(body, 100)
		if err != nil {
			if _, said := errors.AsType[*errQuery](err); len(found) != 0 || said && err.Error() == "" {
				t.Errorf("%d series and %v", len(found), err)
			}
			return
		}
		values := 0
		for _, one := range found {
			values += len(one.points)
		}
		for _, count := range n.skipped {
			values += count // native histograms
		}
		before := s.Stats()
		samples := s.collect(s.cfg.Queries[0], found, &n, func(grace.ServiceID, int64) bool { return true })
		if left := s.Stats().Skipped - before.Skipped; len(samples)+int(left) != values {
			t.Errorf("%d samples and %d left out of %d values", len(samples), left, values)
		}
		type key struct {
			service grace.ServiceID
			at      int64
		}
		seen := map[key]bool{}
		for i, one := range samples {
			if math.IsNaN(one.Value) || math.IsInf(one.Value, 0) || one.Service == "" || len(one.Service) > maxService || one.Metric != "m" {
				t.Errorf("not a sample: %+v", one)
			}
			k := key{one.Service, one.At.UnixMilli()}
			if seen[k] || i > 0 && one.At.Before(samples[i-1].At) {
				t.Errorf("sample %d: %+v is twice or out of order", i, one)
			}
			seen[k] = true
		}
		if n.text(nil) != grace.CleanOutput(n.text(nil)) {
			t.Error("what is reported is not clean text")
		}
	})
}
