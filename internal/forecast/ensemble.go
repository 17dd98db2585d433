package forecast

import "math"

// Ensemble is the mean of several models, weighed by their rolling-origin
// errors on the series itself (Bates and Granger, 1969): w ~ 1/e^2, e the mean
// absolute error over all past paths. A model that has nothing to say about a
// series is left out.
type Ensemble struct {
	Members []Model
}

// sharpness is the power of the weights: 0 the plain mean, large the best alone.
const sharpness = 2

// Default is the ensemble that GRACE forecasts with: the models that earned
// their place in it, and what else is given, such as a trained LSTM. Additive stays
// out: on M4 Hourly it does not make it better throughout.
func Default(more ...Model) Ensemble {
	return Ensemble{Members: append([]Model{
		SeasonalNaive{},
		Autoregression{Variant: Plain},
		Autoregression{Variant: Wide},
		Autoregression{Variant: OverDay},
		Autoregression{Variant: OverWeek},
		HoltWinters{},
	}, more...)}
}

// Name gives ensemble.
func (Ensemble) Name() string { return "ensemble" }

// Paths weighs the members' paths.
func (m Ensemble) Paths(w *Workspace, p *Problem, paths [][]float64) bool {
	total := 0.0
	for _, member := range m.Members {
		mark, listed := w.used, w.listed
		set := w.Paths(p)
		if !member.Paths(w, p, set) || !allUsable(set) {
			w.used, w.listed = mark, listed
			continue
		}
		weight := math.Pow(pathError(p, set)+1e-6, -sharpness)
		total += weight
		for i, path := range set {
			for h, v := range path {
				paths[i][h] += weight * v
			}
		}
		if w.overflow == 0 {
			w.used, w.listed = mark, listed
		}
	}
	if total == 0 {
		return false
	}
	for _, path := range paths {
		for h := range path {
			path[h] /= total
		}
	}
	return true
}

func allUsable(paths [][]float64) bool {
	for _, path := range paths {
		for _, v := range path {
			if !usable(v) {
				return false
			}
		}
	}
	return true
}

// pathError is the mean absolute error of the past paths.
func pathError(p *Problem, paths [][]float64) float64 {
	sum, n := 0.0, 0.0
	for i, origin := range p.Origins[:len(p.Origins)-1] {
		for h, v := range paths[i] {
			if p.Seen[origin+h] {
				sum += math.Abs(v - p.Values[origin+h])
				n++
			}
		}
	}
	if n == 0 {
		return 1
	}
	return sum / n
}

// Models lists every single model that needs no training.
func Models() []Model {
	return []Model{
		SeasonalNaive{},
		HoltWinters{},
		Additive{},
		Autoregression{Variant: Plain},
		Autoregression{Variant: Wide},
		Autoregression{Variant: OverDay},
		Autoregression{Variant: OverWeek},
	}
}
