package remotewrite

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"grace/internal/series"
)

// TestSmallBlockLargeClaim: a block of a few bytes that says it has 30 MB takes
// no memory for them.
func TestSmallBlockLargeClaim(t *testing.T) {
	in, err := series.New(series.DefaultConfig(), series.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(DefaultConfig(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb := append(binary.AppendUvarint(nil, 30<<20), "\x00aaaaaaaaa"...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(bomb)))
		if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "not a valid snappy block") {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("%d bytes were taken for 20 blocks of %d bytes", got, len(bomb))
	}
	if n := h.open.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

// TestBudget: what all requests in flight become together is bounded.
func TestBudget(t *testing.T) {
	in, err := series.New(series.DefaultConfig(), series.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(DefaultConfig(), in, nil)
	if err != nil {
		t.Fatal(err)
	}
	h.open.Store(budgetRequests * int64(h.cfg.MaxDecoded))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(append(binary.AppendUvarint(nil, 1), 0, 'a'))))
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if n := h.open.Load(); n != budgetRequests*int64(h.cfg.MaxDecoded) {
		t.Errorf("the budget changed to %d", n)
	}
}
