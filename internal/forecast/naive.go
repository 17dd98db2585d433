package forecast

// SeasonalNaive repeats the newest day (the newest value where no day is
// known): y(t+h) = y(t+h-m). It is the yardstick of every other model.
type SeasonalNaive struct{}

// Name gives seasonal_naive.
func (SeasonalNaive) Name() string { return "seasonal_naive" }

// Paths repeats the day before each origin.
func (SeasonalNaive) Paths(_ *Workspace, p *Problem, paths [][]float64) bool {
	for i, origin := range p.Origins {
		repeat(p.Values[:origin], max(p.Day, 1), paths[i])
	}
	return true
}

func repeat(past []float64, season int, path []float64) {
	for h := range path {
		path[h] = past[len(past)-season+h%season]
	}
}
