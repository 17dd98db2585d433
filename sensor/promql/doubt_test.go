package promql

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"grace"
)

// What a query looks at is asked for as it is now, whatever the query makes of it.
func TestSelectors(t *testing.T) {
	for query, want := range map[string][]string{
		`up{job="h"}`: {`up{job="h"}`},
		`sum(rate(errors[5m])) / sum(rate(requests[5m] offset 1h))`: {`errors`, `requests`},
		`up @ start()`:       {`up`},
		`vector(1) + time()`: nil,
		`up[1m]`:             nil, // its values say when they are of
		`not promql`:         nil,
	} {
		if got := selectors(query); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

// An answer right after the API was away, which rests on what was scraped before, is
// no data; once there is a newer sample of every series it counts, as it does when
// nobody can tell.
func TestAnswersAfterAFailure(t *testing.T) {
	var oldest atomic.Int64 // in ms; 0: there is no such series
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch query := r.FormValue("query"); {
		case !strings.HasPrefix(query, "min(timestamp("):
			t.Errorf("asked %s", query)
		case oldest.Load() == 0:
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
		default:
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"%f"]}]}}`, float64(oldest.Load())/1000)
		}
	}))
	defer server.Close()
	q := Query{Name: "up", Service: "h", Query: `up{job="h"}`, Interval: grace.Duration(time.Second)}
	s, err := New(Config{Name: "prom", URL: server.URL, Queries: []Query{q}})
	if err != nil {
		t.Fatal(err)
	}
	failed := time.Now()
	for _, tt := range []struct {
		name   string
		oldest time.Time
		after  time.Duration
		want   bool
	}{
		{"a sample from before", failed.Add(-30 * time.Second), time.Second, false},
		{"from the moment", failed.Truncate(time.Millisecond), time.Second, false},
		{"a newer one", failed.Add(time.Second), 2 * time.Second, true},
		{"no such series", time.Time{}, time.Second, true},
		{"no time at all", time.UnixMilli(1500), time.Second, true},
	} {
		d := doubt{}
		d.fail(failed)
		oldest.Store(0)
		if !tt.oldest.IsZero() {
			oldest.Store(tt.oldest.UnixMilli())
		}
		got, fail := s.settled(context.Background(), q, &d, failed.Add(tt.after))
		if fail != nil || got != tt.want || d.failed.IsZero() != tt.want {
			t.Errorf("%s: %t, %v; doubted %+v", tt.name, got, fail, d)
		}
	}
	d := doubt{}
	if got, fail := s.settled(context.Background(), q, &d, failed); !got || fail != nil {
		t.Errorf("never failed: %t, %v", got, fail)
	}
	d.fail(failed)
	oldest.Store(failed.Add(-30 * time.Second).UnixMilli())
	for _, after := range []time.Duration{time.Second, lookback} {
		if got, _ := s.settled(context.Background(), q, &d, failed.Add(after)); got {
			t.Errorf("%s after the failure its answer counts", after)
		}
	}
	if got, _ := s.settled(context.Background(), q, &d, failed.Add(time.Second+lookback+time.Millisecond)); !got {
		t.Error("nothing that is older is answered with any more")
	}
}
