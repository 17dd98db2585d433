package explain

import (
	"math"
	"strconv"
)

// Quantity writes a measured number as an operator would say it: 42 MB,
// 812 ms, 2.35 %, 1.5 h. Units are those of UCUM that metrics have (By, s, ms, 1, %) and
// any other as it is.
func Quantity(v float64, unit string) string {
	switch unit {
	case "By", "B", "bytes":
		return prefixed(v, "B", "kB", "MB", "GB", "TB", "PB")
	case "By/s", "B/s":
		return prefixed(v, "B/s", "kB/s", "MB/s", "GB/s")
	case "ms":
		return lasting(v / 1000)
	case "s":
		return lasting(v)
	case "", "1":
		return digits(v)
	}
	return digits(v) + " " + unit
}

// prefixed divides by 1000 as often as there are units for it.
func prefixed(v float64, units ...string) string {
	i := 0
	for ; i < len(units)-1 && math.Abs(v) >= 999.5; i++ {
		v /= 1000
	}
	return digits(v) + " " + units[i]
}

// lasting writes seconds.
func lasting(s float64) string {
	switch abs := math.Abs(s); {
	case abs == 0:
		return "0 s"
	case abs < 0.000_999_5:
		return digits(s*1e6) + " µs"
	case abs < 0.999_5:
		return digits(s*1000) + " ms"
	case abs < 120:
		return digits(s) + " s"
	case abs < 2*3600:
		return digits(s/60) + " min"
	case abs < 48*3600:
		return digits(s/3600) + " h"
	default:
		return digits(s/86400) + " d"
	}
}

func digits(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 100 && abs < 1e15:
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	case abs >= 1 && abs < 100:
		return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}
