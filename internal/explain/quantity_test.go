package explain

import (
	"math"
	"testing"
)

func TestQuantity(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		unit string
		want string
	}{
		{4.225e7, "By", "42.25 MB"},
		{0, "By", "0 B"},
		{999, "By", "999 B"},
		{999.6, "By", "1 kB"},
		{-1.5e12, "bytes", "-1.5 TB"},
		{3e21, "B", "3000000 PB"},
		{2.5e6, "By/s", "2.5 MB/s"},
		{812.4, "ms", "812 ms"},
		{1300, "ms", "1.3 s"},
		{0.6, "s", "600 ms"},
		{0.9996, "s", "1 s"},
		{0.00025, "s", "250 µs"},
		{0, "s", "0 s"},
		{90, "s", "90 s"},
		{5400, "s", "90 min"},
		{86400, "s", "24 h"},
		{30 * 86400, "s", "30 d"},
		{-3, "s", "-3 s"},
		{9.876, "%", "9.88 %"},
		{2.345, "", "2.35"},
		{0.00123, "1", "0.00123"},
		{12345, "1/s", "12345 1/s"},
		{math.Inf(1), "s", "+Inf d"},
		{math.NaN(), "", "NaN"},
	} {
		if got := Quantity(tt.v, tt.unit); got != tt.want {
			t.Errorf("%v %q: %q, want %q", tt.v, tt.unit, got, tt.want)
		}
	}
}
