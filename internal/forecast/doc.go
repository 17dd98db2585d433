// Package forecast looks ahead on one series of an even grid, with bands that
// say how far it may be trusted. It knows nothing of services.
//
//	History -> clean, scale -> Model: paths from rolling origins -> Fitted
//	                                                   |             |
//	                          errors of the past paths +--> bands, likelihood of a breach
//
// # Models
//
// A Model forecasts one horizon from several origins of the same series: the
// newest, which is the forecast, and up to fourteen in the past, one day apart,
// whose errors are known. Everything said about uncertainty comes from those
// errors and from nothing else. Models work with the seasons that the history is
// long enough to show (two of each); with less they step down: a week, a day,
// none.
//
//   - SeasonalNaive repeats the newest day; the yardstick.
//   - HoltWinters: level, damped trend, a day's and a week's season and the
//     newest error carried on; parameters by search on the rolling origins.
//   - Additive: trend with change points and Fourier seasons, by ridge and Huber.
//   - Autoregression: least squares on the newest values and those a day and a
//     week before; of the values or of their change over a day or a week.
//   - LSTM: one small recurrent net for all series of hours, trained beforehand.
//   - Ensemble: the mean of models, weighed by their errors on this series.
//
// Default is the ensemble of those that earn their place.
//
// # Bands
//
// Split conformal (Lei and others, 2018): the errors of the past origins, scaled
// by the usual error of their step, are pooled, and a quantile of them, with the
// correction for their number, scales the band of each step. Fitted.Breach lays
// the past paths of errors upon the forecast and counts those that pass a limit.
//
// Fill says when a resource that is used up steadily reaches its limit: another
// question, with a line and a band of its own.
//
// # Contract
//
// Pure: the same history gives the same forecast; no clock, no randomness but
// from a seed. A Workspace carries scratch memory from refit to refit and serves
// one at a time; what it gives is valid until its next Fit. Values are taken in
// any unit and on any level: for a > 0 a forecast of a*y+b is a times the forecast
// of y, plus b. NaN and infinite values are missing ones. What cannot be forecast (too
// few points, half of them missing, shorter than two horizons) gives false; what
// is given holds finite numbers only.
package forecast
