package predict

import "math"

const (
	hourlyPoints = 672 // four weeks
	hourLength   = int64(3600 * 1000)
)

// hours holds the mean of each of the newest four weeks' hours in two bytes:
// a number of steps above a low mark, both chosen by the series' own range.
// The error is at most a half of 1/65534 of that range.
type hours struct {
	values [hourlyPoints]uint16 // 0: no sample in that hour
	low    float32
	step   float32
	known  uint16 // hours that have a value
	count  uint32 // samples of the hour under way
	hour   int64  // the hour under way, since 1970
	sum    float64
}

// append takes the next sample.
func (h *hours) append(at int64, v float64) {
	hour := at / hourLength
	if hour != h.hour {
		h.close()
		h.forget(hour)
		h.hour = hour
	}
	h.sum += v
	h.count++
}

// close puts the hour under way to the others.
func (h *hours) close() {
	if h.count == 0 {
		return
	}
	mean := h.sum / float64(h.count)
	h.sum, h.count = 0, 0
	if math.IsInf(mean, 0) || math.Abs(mean) > math.MaxFloat32/4 {
		return
	}
	mean = h.clip(mean)
	h.fit(mean)
	h.values[h.hour%hourlyPoints] = h.encode(mean)
	h.known++
}

const (
	// clipAfter hours an absurd one is known from the others.
	clipAfter = 24
	// clipWidths: an hour counts at most so many widths of all hours beyond them. One spike
	// would otherwise leave the others no room between two steps, for weeks.
	clipWidths = 8
	// roomy: a range this many times as wide as it must be is made anew.
	roomy = 4
)

// clip holds an hour to the neighbourhood of the others. A new level that stays is
// followed at a geometric pace.
func (h *hours) clip(mean float64) float64 {
	if h.known < clipAfter {
		return mean
	}
	least, most := h.extremes()
	width := max(most-least, leastWidth(most))
	return min(max(mean, least-clipWidths*width), most+clipWidths*width)
}

// extremes of the hours that are known.
func (h *hours) extremes() (least, most float64) {
	low, high := uint16(math.MaxUint16), uint16(0)
	for _, q := range h.values {
		if q != 0 {
			low, high = min(low, q), max(high, q)
		}
	}
	return h.decode(low), h.decode(high)
}

// forget empties the places of the hours up to a new one, which hold what was
// four weeks before.
func (h *hours) forget(hour int64) {
	if h.hour == 0 || hour < h.hour || hour-h.hour >= hourlyPoints {
		h.values = [hourlyPoints]uint16{}
		h.known = 0
		return
	}
	for i := h.hour + 1; i <= hour; i++ {
		if p := &h.values[i%hourlyPoints]; *p != 0 {
			*p = 0
			h.known--
		}
	}
}

const steps = math.MaxUint16 - 1

// fit widens the range to a value, by more than it must, since all values are
// written anew; and once a day makes it narrower again, when what widened it is over.
func (h *hours) fit(v float64) {
	low, high := float64(h.low), float64(h.low)+steps*float64(h.step)
	switch inside := h.step > 0 && v >= low && v <= high; {
	case h.step == 0 || h.known == 0:
		width := leastWidth(v)
		low, high = v-width/2, v+width/2
	case inside && h.hour%24 == 0 && h.known >= clipAfter:
		least, most := h.extremes()
		least, most = min(least, v), max(most, v)
		margin := max(most-least, leastWidth(most)) / 2
		if high-low <= roomy*2*margin {
			return
		}
		low, high = least-margin, most+margin
	case inside:
		return
	default:
		low, high = min(low, v), max(high, v)
		margin := (high - low) / 2
		if v == low {
			low -= margin
		} else {
			high += margin
		}
	}
	old := *h
	h.low = float32(low)
	h.step = float32((high - float64(h.low)) / (steps - 2))
	for i, q := range old.values {
		if q != 0 {
			h.values[i] = h.encode(old.decode(q))
		}
	}
}

// leastWidth is that of a range of values that hardly differ.
func leastWidth(v float64) float64 { return max(math.Abs(v)/1000, 1e-9) }

func (h *hours) encode(v float64) uint16 {
	q := math.Round((v - float64(h.low)) / float64(h.step))
	return uint16(min(max(q, 0), steps)) + 1
}

func (h *hours) decode(q uint16) float64 {
	return float64(h.low) + float64(h.step)*float64(q-1)
}

// seen counts the hours from one on that have a value, n at most.
func (h *hours) seen(from int64, n int) (known int) {
	for hour := from; hour < from+int64(n); hour++ {
		if hour > h.hour-hourlyPoints && hour < h.hour && h.values[hour%hourlyPoints] != 0 {
			known++
		}
	}
	return known
}

// history gives the closed hours, oldest first and ending with the hour before
// the one under way; NaN where there was no sample. It begins with the oldest
// hour that has one. into has room for hourlyPoints.
func (h *hours) history(into []float64) (values []float64, first int64) {
	values = into[:0]
	for hour := h.hour - hourlyPoints + 1; hour < h.hour; hour++ {
		q := uint16(0)
		if hour >= 0 {
			q = h.values[hour%hourlyPoints]
		}
		if q == 0 {
			if len(values) > 0 {
				values = append(values, math.NaN())
			}
			continue
		}
		if len(values) == 0 {
			first = hour
		}
		values = append(values, h.decode(q))
	}
	return values, first * hourLength
}
