package detect

const (
	runFactor = 2    // a run is odd from so many times the longest before
	runEarly  = 800  // ticks, as early is for the envelope
	runLeast  = 20   // runs that must have ended before one can be odd
	runTicks  = 2000 // memory of the centre

)

// run measures how long the series stays on one side of its centre.
type run struct {
	centre  float64
	length  float32    // ticks, of the present run
	longest [2]float32 // ticks, of the runs below and above that have ended
	ended   [2]uint32
	above   bool
	said    bool // of the present run
}

func (r *run) step(v float64, t Tick) (excess float64, up bool) {
	above := v > r.centre
	r.centre += max(t.Weight/runTicks, t.Share) * (v - r.centre)
	if above != r.above {
		i := side(r.above)
		r.longest[i] = max(r.longest[i], r.length)
		r.ended[i]++
		r.above, r.length, r.said = above, 0, false
	}
	r.length += float32(t.Weight)
	i := side(above)
	if r.length <= r.longest[i] || r.said || r.ended[i] < runLeast || t.Ticks < 2*warmUp {
		return 0, above
	}
	excess = float64(r.length) / (runFactor * (1 + runEarly/t.Ticks) * float64(r.longest[i]))
	r.said = excess >= 1
	return excess, above
}

func side(above bool) int {
	if above {
		return 1
	}
	return 0
}
