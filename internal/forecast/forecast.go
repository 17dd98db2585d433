package forecast

import "time"

const (
	// maxPoints: older values are left out.
	maxPoints = 4096
	// maxHorizon bounds the memory of a refit.
	maxHorizon = 1024
)

// History is a series on an even grid, oldest first.
type History struct {
	Start  time.Time // of the first value
	Step   time.Duration
	Values []float64 // NaN where missing
}

// Model forecasts a Problem from each of its origins.
type Model interface {
	// Name tells the model in tables and evidence, in snake_case.
	Name() string
	// Paths writes the forecast from p.Origins[i] into paths[i], which has
	// p.Horizon steps. It is false when the model has nothing to say about such
	// a series.
	Paths(w *Workspace, p *Problem, paths [][]float64) bool
}

// Forecast is what lies ahead, in the units of the history. Every slice has one
// element a step, and each band lies within the wider one.
type Forecast struct {
	Start         time.Time // of the first step ahead
	Step          time.Duration
	Points        []float64
	Low80, High80 []float64
	Low95, High95 []float64
}

// Fitted is a model on a series. It lives in its Workspace and is valid until
// the next Fit there.
type Fitted struct {
	problem *Problem
	paths   [][]float64 // scaled; the last one is the forecast
	start   time.Time
	step    time.Duration
	along   []int // which step of the forecast each one ahead is; nil: itself

	errors []float64 // usual absolute error of each step, scaled
	ranks  []float64 // absolute errors of all past steps as shares of errors, ascending
}

// Fit forecasts a history by a model. It is false when it cannot tell.
func Fit(w *Workspace, m Model, h History, horizon int) (*Fitted, bool) {
	if horizon < 1 || horizon > maxHorizon {
		return nil, false
	}
	if cut := len(h.Values) - maxPoints; cut > 0 {
		h.Start, h.Values = h.Start.Add(time.Duration(cut)*h.Step), h.Values[cut:]
	}
	w.reset()
	p, ok := w.prepare(h, horizon)
	if !ok || len(p.Origins) < 2 {
		return nil, false
	}
	paths := w.Paths(p)
	if !m.Paths(w, p, paths) || !allUsable(paths) {
		return nil, false
	}
	f := &w.fitted
	*f = Fitted{
		problem: p, paths: paths, step: h.Step,
		start: h.Start.Add(time.Duration(len(h.Values)) * h.Step),
	}
	return f, f.conform(w)
}

// Along has the time ahead go along these steps of the forecast, all within its horizon.
// A step may be left out, or come twice: so an hour does when the clocks change, by which
// the history was laid out.
func (f *Fitted) Along(steps []int) { f.along = steps }

// ahead is how many steps are ahead.
func (f *Fitted) ahead() int {
	if f.along != nil {
		return len(f.along)
	}
	return f.problem.Horizon
}

// at is the step of the forecast that comes so many steps ahead.
func (f *Fitted) at(h int) int {
	if f.along != nil {
		return f.along[h]
	}
	return h
}

// Forecast gives points and bands.
func (f *Fitted) Forecast() Forecast {
	n := f.ahead()
	flat := make([]float64, 5*n)
	out := Forecast{Start: f.start, Step: f.step}
	for i, s := range []*[]float64{&out.Points, &out.Low80, &out.High80, &out.Low95, &out.High95} {
		*s = flat[i*n : (i+1)*n : (i+1)*n]
	}
	f.Into(&out)
	return out
}

// Into writes the forecast over another one, whose slices are used again.
func (f *Fitted) Into(out *Forecast) {
	n := f.ahead()
	for _, s := range []*[]float64{&out.Points, &out.Low80, &out.High80, &out.Low95, &out.High95} {
		*s = resize(*s, n)
	}
	out.Start, out.Step = f.start, f.step
	narrow, wide := f.quantile(0.8), f.quantile(0.95)
	p := f.problem
	for h := range n {
		v, e := f.paths[len(f.paths)-1][f.at(h)], f.errors[f.at(h)]
		out.Points[h] = p.unscale(v)
		out.Low80[h], out.High80[h] = p.unscale(v-narrow*e), p.unscale(v+narrow*e)
		out.Low95[h], out.High95[h] = p.unscale(v-wide*e), p.unscale(v+wide*e)
	}
}

// Error is the mean absolute error of the past paths, in the units of the
// history.
func (f *Fitted) Error() float64 {
	sum := 0.0
	for _, e := range f.errors {
		sum += e / float64(len(f.errors))
	}
	return sum * f.problem.scale
}
