package forecast

import "math"

const (
	// softness: the past paths are few, so each is blurred by so many usual
	// errors. It also stands for what was chosen in hindsight.
	softness = 1.0
	// doubt counts as so many past paths that tell of no breach.
	doubt = 0.5
)

// Breach gives the likelihood that the series passes a limit (above it, or
// below) at least once in each block of so many steps, appended to dst. The
// last block may be shorter. Nothing is given for a limit that is no number.
//
// The errors of every past path, which belong together, are laid upon the
// forecast; the likelihood is the share of those that pass the limit, each
// smoothed by a normal kernel.
func (f *Fitted) Breach(limit float64, above bool, block int, dst []float64) []float64 {
	p := f.problem
	level := (limit - p.centre) / p.scale
	if block < 1 || math.IsNaN(level) {
		return dst
	}
	sign := 1.0
	if !above {
		sign = -1
	}
	points := f.paths[len(f.paths)-1]
	for from := 0; from < p.Horizon; from += block {
		to := min(from+block, p.Horizon)
		width := 1e-9
		for _, e := range f.errors[from:to] {
			width += softness * e / float64(to-from)
		}
		sum, paths := 0.0, 0.0
		for r, origin := range p.Origins[:len(p.Origins)-1] {
			far := math.Inf(-1)
			for h := from; h < to; h++ {
				if p.Seen[origin+h] {
					far = max(far, sign*(points[h]+p.Values[origin+h]-f.paths[r][h]-level))
				}
			}
			if !math.IsInf(far, -1) {
				sum += math.Erfc(-far/width/math.Sqrt2) / 2
				paths++
			}
		}
		dst = append(dst, sum/(paths+doubt))
	}
	return dst
}
