package main

import (
	"testing"
	"time"
)

// What the shop's past says of an expression is what the expression says of it.
func TestShopBefore(t *testing.T) {
	b, err := newShopBefore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	end := time.Now().Truncate(episode)
	result, err := evaluateBefore(t.Context(), "shop_heap_bytes", end.Add(-2*episode), end, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if len(result) != 1 || result[0].Metric["service"] != "checkout" || len(result[0].Values) != int(2*episode/(2*time.Second))+1 {
		t.Fatalf("%d series", len(result))
	}
	if empty, err := evaluateBefore(t.Context(), "rate(shop_errors_total[4s])", end.Add(-episode), end, 2*time.Second); err != nil || len(empty) != 0 {
		t.Errorf("%v, %v", empty, err)
	}
	if _, err := evaluateBefore(t.Context(), "rate(", end, end, time.Second); err == nil {
		t.Error("no error of what is no expression")
	}
}
