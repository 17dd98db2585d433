package forecast

import "math"

// Additive is a regression on a trend with change points and on Fourier terms of
// the seasons (the kind of Taylor and Letham, 2018: Forecasting at scale), by
// ridge and Huber's loss, newer values weighing more; the newest error is carried
// on as far as errors carry:
//
//	f(t+h) = k + m h + sum d(j) max(0, h-c(j)) + sum (a(i) cos w(i)h + b(i) sin w(i)h) + r^h e(t)
//
// Its terms are those of the time before the origin, so that their matrix is the
// same for every series of a grid: it is factored once and kept in the
// Workspace. Huber's loss goes by pseudo-values (values far off are moved to the
// rim of what is usual), which leaves the matrix alone.
type Additive struct{}

const (
	additiveDay  = 8  // harmonics of the day
	additiveWeek = 20 // and of the week, those of the day left out
	// additiveRounds of Huber's loss, which is linear beyond additiveRim mean
	// absolute errors.
	additiveRounds = 2
	additiveRim    = 2.0
	additiveRidge  = 1e-3
	additiveChange = 3e-2 // ridge of the change points
	// additiveMemory: the weight of a value falls by e over so many seasons.
	additiveMemory = 3.0
)

// Name gives additive.
func (Additive) Name() string { return "additive" }

// changes are the change points in days before the origin.
func changes() [4]float64 { return [4]float64{2, 5, 10, 16} }

// Paths regresses what was known at each origin.
func (Additive) Paths(w *Workspace, p *Problem, paths [][]float64) bool {
	d := w.designOf(p)
	fitted, beta := w.Floats(len(p.Values)), w.Floats(d.terms)
	for i, origin := range p.Origins {
		factor, ok := d.factorOf(origin)
		if !ok {
			return false
		}
		past := p.Values[:origin]
		d.regress(past, factor, beta, fitted[:origin])
		newest := past[origin-1] - fitted[origin-1]
		carry := carried(past, fitted[:origin])
		for h := range paths[i] {
			newest *= carry
			paths[i][h] = dot(d.row(h), beta) + newest
		}
	}
	return true
}

// carried is the autocorrelation of the errors at one step, at least 0.
func carried(past, fitted []float64) float64 {
	both, one, before := 0.0, 1e-12, 0.0
	for t, v := range past {
		e := v - fitted[t]
		both += e * before
		one += e * e
		before = e
	}
	return min(max(both/one, 0), 0.99)
}

func dot(a, b []float64) float64 {
	sum := 0.0
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// design holds the terms of a grid, and their factored matrices.
type design struct {
	day, week, horizon int
	terms              int
	before             int       // steps before the origin that have a row
	rows               []float64 // steps -before to horizon-1 from the origin
	weights            []float64 // of the same steps before the origin
	ridges             []float64
	factors            map[int][]float64 // by the number of values
}

func (w *Workspace) designOf(p *Problem) *design {
	for _, d := range w.designs {
		if d.day == p.Day && d.week == p.Week && d.horizon == p.Horizon && d.before >= len(p.Values) {
			return d
		}
	}
	const kept = 4
	if len(w.designs) == kept {
		w.designs = w.designs[:0]
	}
	d := newDesign(p)
	w.designs = append(w.designs, d)
	return d
}

func newDesign(p *Problem) *design {
	d := &design{day: p.Day, week: p.Week, horizon: p.Horizon, before: len(p.Values), factors: map[int][]float64{}}
	var waves []float64
	for k := 1; k <= additiveDay && 2*k < p.Day; k++ {
		waves = append(waves, 2*math.Pi*float64(k)/float64(p.Day))
	}
	for k := 1; k <= additiveWeek && 2*k < p.Week; k++ {
		if p.Day == 0 || k*p.Day%p.Week != 0 {
			waves = append(waves, 2*math.Pi*float64(k)/float64(p.Week))
		}
	}
	unit := float64(max(p.Day, minPoints)) // a day, or what stands for one
	points := changes()
	d.ridges = []float64{0, 1e-6}
	for range points {
		d.ridges = append(d.ridges, additiveChange)
	}
	for range waves {
		d.ridges = append(d.ridges, additiveRidge, additiveRidge)
	}
	d.terms = len(d.ridges)
	for t := -d.before; t < d.horizon; t++ {
		days := float64(t) / unit
		d.rows = append(d.rows, 1, days/7)
		for _, c := range points {
			d.rows = append(d.rows, max(0, days+c)/7)
		}
		for _, wave := range waves {
			sin, cos := math.Sincos(wave * float64(t))
			d.rows = append(d.rows, cos, sin)
		}
		if t < 0 {
			d.weights = append(d.weights, math.Exp(float64(t+1)/additiveMemory/max(float64(p.Season()), unit)))
		}
	}
	return d
}

// row gives the terms of a step from the origin.
func (d *design) row(step int) []float64 {
	at := (d.before + step) * d.terms
	return d.rows[at : at+d.terms]
}

// factorOf factors the matrix for so many values before the origin.
func (d *design) factorOf(n int) ([]float64, bool) {
	if f, ok := d.factors[n]; ok {
		return f, f != nil
	}
	const kept = 64
	if len(d.factors) == kept {
		clear(d.factors)
	}
	k := d.terms
	f := make([]float64, k*k)
	total := 0.0
	for t := -n; t < 0; t++ {
		row, weight := d.row(t), d.weights[d.before+t]
		total += weight
		for i, x := range row {
			x *= weight
			for j, y := range row[:i+1] {
				f[i*k+j] += x * y
			}
		}
	}
	for i, r := range d.ridges {
		f[i*k+i] += r * total
	}
	if !cholesky(f, k) {
		f = nil
	}
	d.factors[n] = f
	return f, f != nil
}

// regress fits beta and writes the fitted values.
func (d *design) regress(past, factor, beta, fitted []float64) {
	n := len(past)
	rim := math.Inf(1)
	for round := range 1 + additiveRounds {
		clear(beta)
		for t, v := range past {
			if round > 0 {
				v = fitted[t] + min(max(v-fitted[t], -rim), rim)
			}
			v *= d.weights[d.before-n+t]
			for i, x := range d.row(t - n) {
				beta[i] += x * v
			}
		}
		substitute(factor, d.terms, beta)
		far := 0.0
		for t, v := range past {
			fitted[t] = dot(d.row(t-n), beta)
			far += math.Abs(v-fitted[t]) / float64(n)
		}
		rim = additiveRim * far
	}
}
