package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"grace/internal/forecast"
)

const (
	m4Season  = 24
	m4Horizon = 48
	// m4History is what the daemon keeps of a series: four weeks of hours.
	m4History = 4 * 7 * 24
	// m4Block is the grain of a capacity claim.
	m4Block = 6
	// m4Limit is the quantile of the history that stands for a capacity.
	m4Limit = 0.98
	// m4Speaks: a claim of at least this likelihood is published.
	m4Speaks = 0.8
	// m4Range is the range of predict_linear in hours: the one of two hours to
	// seven days with the best precision here.
	m4Range = 48
)

// m4Series is one series of M4 Hourly, with what every method is measured
// against.
type m4Series struct {
	train, test []float64
	limit       float64
	scale       float64 // of MASE and MSIS: mean change over a day in train
	naive2      m4Score
}

// history is what a method may see.
func (s m4Series) history() []float64 { return s.train[max(0, len(s.train)-m4History):] }

// m4Score is one method on one series.
type m4Score struct {
	smape, mase, msis, in95, in80 float64
	claims                        []float64 // likelihood of a breach, a block
}

// m4Method forecasts and claims. Bands are nil where a method has none.
type m4Method struct {
	name string
	ours bool
	run  func(s m4Series) (forecast.Forecast, []float64, error)
}

// m4 makes the tables of forecasts and of capacity breaches.
func m4(ctx context.Context, e *evaluation) ([]Table, error) {
	var series []m4Series
	for _, r := range e.runs {
		if r.source == "m4hourly" {
			series = m4SeriesOf(r.all)
		}
	}
	var forecasts, breaches []Row
	for _, method := range m4Methods() {
		scores := make([]m4Score, len(series))
		for i, s := range series {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			var err error
			if scores[i], err = s.score(method); err != nil {
				return nil, fmt.Errorf("%s, series %d: %w", method.name, i+1, err)
			}
		}
		forecasts = append(forecasts, m4ForecastRow(method, series, scores))
		breaches = append(breaches, m4BreachRow(method, series, scores))
	}
	breaches = append(breaches, blockRows(e.runs)...)
	return []Table{m4ForecastTable(e.half, len(series), forecasts), m4BreachTable(e.half, len(series), breaches)}, nil
}

func m4ForecastTable(h half, n int, rows []Row) Table {
	return Table{
		Title: h.title("Forecast, M4 Hourly"),
		What: fmt.Sprintf("%d series, the 48 hours after each. A model sees the newest four weeks. OWA is the mean of sMAPE and MASE as shares of "+
			"those of Naive2, as in the M4 competition (its winner: 0.44 over all of its hourly series); MSIS is that of the 95 %% band, as there; "+
			"coverage in %%. The ensemble is the mean of the models above it, weighed by their errors.", n),
		Columns: []string{"OWA", "sMAPE", "MASE", "MSIS", "in 95 % interval", "in 80 % interval"},
		Rows:    rows,
	}
}

func m4BreachTable(h half, n int, rows []Row) Table {
	return Table{
		Title: h.title("Capacity breach by block of six hours"),
		What: fmt.Sprintf("%d series of M4 Hourly; limit: the 0.98 quantile of the newest four weeks (between neighbours by proportion); the next 48 hours in blocks of six. A breach is a "+
			"block with a value above the limit. A claim is a block whose likelihood of one is at least %.2f; for a method of points, a block "+
			"with a point above the limit. That says only what the forecasts can do. The rows of the agent are its claims of `capacity` in the tables above, each held to the one block that it named when it was first told or acted on: "+
			"right if a value in it is above the limit. It names one block and is silent until that claim is over, so it has no recall by block; see the tables above.", n, m4Speaks),
		Columns: []string{"precision", "recall", "claims", "breaches"},
		Rows:    rows,
	}
}

func m4Methods() []m4Method {
	w := &forecast.Workspace{}
	out := []m4Method{
		{name: "predict_linear", run: m4PredictLinear},
		{name: "the day before", run: m4Naive},
	}
	ensemble := forecast.Default()
	for _, model := range append(ensemble.Members, ensemble) {
		out = append(out, m4Method{name: model.Name(), ours: model.Name() == ensemble.Name(), run: func(s m4Series) (forecast.Forecast, []float64, error) {
			return m4Fit(w, model, s)
		}})
	}
	return out
}

func m4Fit(w *forecast.Workspace, model forecast.Model, s m4Series) (forecast.Forecast, []float64, error) {
	h := forecast.History{Step: time.Hour, Values: s.history()}
	fitted, ok := forecast.Fit(w, model, h, m4Horizon)
	if !ok {
		// What has nothing to say is measured as the yardstick.
		if fitted, ok = forecast.Fit(w, forecast.SeasonalNaive{}, h, m4Horizon); !ok {
			return forecast.Forecast{}, nil, fmt.Errorf("no forecast of %d values", len(h.Values))
		}
	}
	return fitted.Forecast(), fitted.Breach(s.limit, true, m4Block, 1, nil), nil
}

// m4PredictLinear is the function of Prometheus: least squares over a range,
// through its end.
func m4PredictLinear(s m4Series) (forecast.Forecast, []float64, error) {
	past := s.history()
	past = past[len(past)-m4Range:]
	n := float64(len(past))
	var x1, y1, xy, xx float64
	for i, y := range past {
		x := float64(i) - n + 1
		x1, y1, xy, xx = x1+x, y1+y, xy+x*y, xx+x*x
	}
	slope := (xy - x1*y1/n) / (xx - x1*x1/n)
	at := y1/n - slope*x1/n
	out := make([]float64, m4Horizon)
	for h := range out {
		out[h] = at + slope*float64(h+1)
	}
	return forecast.Forecast{Points: out}, s.claims(out), nil
}

// m4Naive is the day before, without bands.
func m4Naive(s m4Series) (forecast.Forecast, []float64, error) {
	out := make([]float64, m4Horizon)
	for h := range out {
		out[h] = s.train[len(s.train)-m4Season+h%m4Season]
	}
	return forecast.Forecast{Points: out}, s.claims(out), nil
}

// claims are certain where a point lies above the limit.
func (s m4Series) claims(points []float64) []float64 {
	var out []float64
	for block := range slices.Chunk(points, m4Block) {
		claim := 0.0
		if slices.Max(block) > s.limit {
			claim = 1
		}
		out = append(out, claim)
	}
	return out
}

func (s m4Series) score(m m4Method) (m4Score, error) {
	f, claims, err := m.run(s)
	if err != nil {
		return m4Score{}, err
	}
	out := s.points(f.Points)
	out.claims = claims
	out.msis, out.in95, out.in80 = math.NaN(), math.NaN(), math.NaN()
	if f.Low95 != nil {
		out.msis, out.in95 = s.interval(f.Low95, f.High95)
		_, out.in80 = s.interval(f.Low80, f.High80)
	}
	return out, nil
}

// points gives sMAPE in % and MASE.
func (s m4Series) points(points []float64) m4Score {
	var out m4Score
	n := float64(len(s.test))
	for h, y := range s.test {
		far := math.Abs(points[h] - y)
		if far > 0 {
			out.smape += 200 * far / (math.Abs(points[h]) + math.Abs(y)) / n
		}
		out.mase += far / s.scale / n
	}
	return out
}

// interval gives MSIS, as of a band that leaves out 5 %, and the share inside.
func (s m4Series) interval(low, high []float64) (msis, inside float64) {
	const beyond = 2 / 0.05
	n := float64(len(s.test))
	for h, y := range s.test {
		msis += (high[h] - low[h] + beyond*max(0, low[h]-y, y-high[h])) / s.scale / n
		if low[h] <= y && y <= high[h] {
			inside += 1 / n
		}
	}
	return msis, inside
}

func m4ForecastRow(m m4Method, series []m4Series, scores []m4Score) Row {
	mean := func(of func(i int) float64) func(drawn []int) float64 {
		return func(drawn []int) float64 {
			sum := 0.0
			for _, i := range drawn {
				sum += of(i) / float64(len(drawn))
			}
			return sum
		}
	}
	smape, mase := mean(func(i int) float64 { return scores[i].smape }), mean(func(i int) float64 { return scores[i].mase })
	smape2, mase2 := mean(func(i int) float64 { return series[i].naive2.smape }), mean(func(i int) float64 { return series[i].naive2.mase })
	n := len(series)
	return Row{Name: m.name, Ours: m.ours, Cells: []Value{
		bootstrap(n, 3, func(drawn []int) float64 { return (smape(drawn)/smape2(drawn) + mase(drawn)/mase2(drawn)) / 2 }),
		bootstrap(n, 2, smape),
		bootstrap(n, 3, mase),
		bootstrap(n, 2, mean(func(i int) float64 { return scores[i].msis })),
		bootstrap(n, 1, mean(func(i int) float64 { return 100 * scores[i].in95 })),
		bootstrap(n, 1, mean(func(i int) float64 { return 100 * scores[i].in80 })),
	}}
}

func m4BreachRow(m m4Method, series []m4Series, scores []m4Score) Row {
	count := func(drawn []int) (right, published, breaches float64) {
		for _, i := range drawn {
			for b, breach := range series[i].breaches() {
				claimed := scores[i].claims[b] >= m4Speaks
				if claimed {
					published++
				}
				if breach {
					breaches++
				}
				if claimed && breach {
					right++
				}
			}
		}
		return right, published, breaches
	}
	n := len(series)
	_, published, breaches := count(all(n))
	return Row{Name: m.name, Ours: m.ours, Cells: []Value{
		bootstrap(n, 3, func(drawn []int) float64 { right, published, _ := count(drawn); return right / published }),
		bootstrap(n, 3, func(drawn []int) float64 { right, _, breaches := count(drawn); return right / breaches }),
		figure(published, 0),
		figure(breaches, 0),
	}}
}

func (s m4Series) breaches() []bool {
	var out []bool
	for block := range slices.Chunk(s.test, m4Block) {
		out = append(out, slices.Max(block) > s.limit)
	}
	return out
}

// m4SeriesOf gives the series with the newest two days as the test.
func m4SeriesOf(all []*series) []m4Series {
	var out []m4Series
	for _, of := range all {
		n := len(of.values) - m4Horizon
		if n < m4History/2 {
			continue
		}
		s := m4Series{train: of.values[:n], test: of.values[n:]}
		s.limit = quantile(s.history(), m4Limit)
		for t := m4Season; t < len(s.train); t++ {
			s.scale += math.Abs(s.train[t]-s.train[t-m4Season]) / float64(len(s.train)-m4Season)
		}
		s.naive2 = s.points(naive2(s.train, m4Season, m4Horizon))
		out = append(out, s)
	}
	return out
}
