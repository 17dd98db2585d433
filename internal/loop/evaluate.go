package loop

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"grace"
	"grace/internal/event"
	"grace/internal/series"
	"grace/internal/stage/diagnose"
	"grace/internal/stage/predict"
	"grace/internal/stage/sense"
)

// evaluateEvery is how often an expression is evaluated at most whose samples come in
// between others: it is Prometheus' default.
const evaluateEvery = 15 * time.Second

// watch is an expression that is evaluated when something was measured that it looks at.
type watch struct {
	name      string // of the objective or limit
	objective string // its id; empty for a limit
	service   grace.ServiceID
	label     string // that names the service, where service does not
	expr      *series.Expr
	target    *predict.Target // nil where nothing can be foretold
	constant  bool            // the threshold is the target's
	resolver  *resolver       // of a rule: whose its elements are

	since   time.Time     // when it was configured
	patient time.Duration // how long after that it is waited for what it looks at

	appended uint64    // samples when it was evaluated last
	at       time.Time // when that was
	broken   string    // why it could not be then
	newest   map[grace.ServiceID]measurement
}

// measurement is when what bears on a service was measured last, and how long after
// the one before.
type measurement struct {
	at    time.Time
	every time.Duration
}

// watches gives what is to be evaluated, in the order of the configuration.
func watches(cfg *Config) []*watch {
	var out []*watch
	services, impacts := servicesOf(cfg), impactsOf(cfg.Services)
	add := func(o *sense.Objective, impact grace.Impact) *watch {
		expr, err := series.CompileAt(o.Expr, o.Source)
		if err != nil {
			return &watch{} // Validate refuses it
		}
		w := &watch{
			name: o.Name, objective: o.ID(), service: o.Service, label: cmp.Or(o.ServiceLabel, series.ServiceLabel), expr: expr,
			resolver: resolverOf(o, expr, services), patient: max(cfg.Sense.StaleAfter.D(), 2*o.Interval), newest: map[grace.ServiceID]measurement{},
		}
		if expr.Unpredictable() == "" {
			t := predict.Target{Service: o.Service, Metric: o.Name, Op: expr.Op(), Code: o.Code, Unit: o.Unit, Impact: impact}
			if impact == grace.ImpactUnknown {
				t.Impact, t.Impacts = diagnose.ForeseenImpact(o.Severity, grace.CriticalityUnknown), impacts[o.Severity]
			}
			t.Text, t.Metrics = cmp.Or(expr.Measured(), o.Name), expr.Metrics()
			t.Threshold, w.constant = expr.Threshold()
			w.target = &t
		}
		out = append(out, w)
		return w
	}
	for i := range cfg.Objectives {
		add(&cfg.Objectives[i], grace.ImpactUnknown)
	}
	for _, l := range cfg.Limits {
		w := add(&sense.Objective{Name: l.Name, Service: l.Service, ServiceLabel: l.ServiceLabel, Expr: l.Expr, Source: l.Source, Code: l.Code, Unit: l.Unit}, l.Impact)
		w.objective = ""
	}
	return out
}

// targetsOf gives the thresholds of what can be foretold.
func targetsOf(list []*watch) []predict.Target {
	var out []predict.Target
	for _, w := range list {
		if w.target != nil {
			out = append(out, *w.target)
		}
	}
	return out
}

// watch has the series kept that the configuration looks at. Of what it looked at
// before it is known when that was evaluated. The caller holds in.mu.
func (in *ingest) watch(cfg *Config) {
	before, now := in.watches, in.Now()
	in.watches = watches(cfg)
	exprs := make([]*series.Expr, 0, len(in.watches))
	for _, w := range in.watches {
		exprs, w.since = append(exprs, w.expr), now
		same := func(b *watch) bool {
			return b.objective == w.objective && b.name == w.name && b.service == w.service && b.expr.String() == w.expr.String() && b.expr.Source() == w.expr.Source()
		}
		if i := slices.IndexFunc(before, same); i >= 0 {
			w.newest, w.broken, w.since = before[i].newest, before[i].broken, before[i].since
		}
	}
	in.recordings = cfg.Recordings
	in.kept = append(exprs, checks(cfg)...)
	in.watchAll()
}

// evaluate gives the signals that change by what was measured. Of each expression the
// time at which it is evaluated only goes on. The caller holds in.mu.
func (in *ingest) evaluate(ctx context.Context, at time.Time) (changed []grace.Signal) {
	for _, w := range in.watches {
		appended, every := in.Series.Appended(w.expr)
		at := at
		if w.at.After(at) {
			at = w.at
		}
		if why := in.Series.Broken(w.expr); why != "" {
			if w.objective != "" && (why != w.broken || at.Sub(w.at) >= evaluateEvery) {
				w.at, w.broken = at, why
				changed = append(changed, in.sense.Failed(w.objective, at, why)...)
			}
			continue
		}
		// That nothing comes may be what it says, and what a source says that is back; or there
		// is nothing, which people are told of a service.
		since, missing := at.Sub(w.at), w.expr.Op() == "" || appended == 0 && w.service != "" && w.awaited(at)
		if w.broken != "" {
			since, missing = evaluateEvery, true
		}
		if appended == w.appended && (!missing || since < evaluateEvery) || appended != w.appended && since < min(every/2, evaluateEvery) {
			continue
		}
		w.appended, w.at, w.broken = appended, at, ""
		r, err := in.Series.Evaluate(ctx, w.expr, at)
		if !w.awaited(at) { // what it looks at may come yet
			r.Await()
		}
		w.resolver.resolve(&r)
		in.logUnmapped(w)
		switch {
		case err == nil && w.objective != "":
			changed = append(changed, in.sense.Judge(w.objective, r)...)
		case err != nil && ctx.Err() != nil:
			w.appended-- // it is evaluated again
			return changed
		case err != nil && w.objective != "":
			changed = append(changed, in.sense.Failed(w.objective, at, err.Error())...)
		}
		in.forecaster.observe(w, &r)
		w.measured(&r)
	}
	return changed
}

// awaited tells whether what an expression looks at had time to come.
func (w *watch) awaited(now time.Time) bool { return now.Sub(w.since) > w.patient }

// NeverMeasured is an objective or limit that finds nothing.
type NeverMeasured struct {
	Name     string          `json:"name"`
	Service  grace.ServiceID `json:"service,omitempty"`
	Limit    bool            `json:"limit" doc:"it is a limit, and no objective"`
	Selector string          `json:"selector" doc:"what nothing gives that it looks at"`
}

// NeverMeasured gives the objectives and limits of which nothing was ever measured, as
// configured: nothing gives a metric, or a label of it, without which they find nothing.
func (in *ingest) NeverMeasured() []NeverMeasured {
	in.mu.Lock()
	defer in.mu.Unlock()
	out, now := []NeverMeasured{}, in.Now()
	for _, w := range in.watches {
		if !w.awaited(now) || in.Series.Broken(w.expr) != "" {
			continue
		}
		if u := in.Series.Unmeasured(w.expr); u.Selector != "" && !u.Named {
			out = append(out, NeverMeasured{w.name, w.service, w.objective == "", u.Selector})
		}
	}
	return out
}

// Backfill shows the forecasts what a metric was at a time before this process began, which
// has been appended: the oldest first. It is no symptom of anything now.
func (in *ingest) Backfill(ctx context.Context, metric string, at time.Time) error {
	in.backfill(ctx, metric, at)
	return in.room(ctx)
}

func (in *ingest) backfill(ctx context.Context, metric string, at time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, w := range in.watches {
		if w.target == nil || !slices.Contains(w.expr.Metrics(), metric) {
			continue
		}
		if r, err := in.Series.Evaluate(ctx, w.expr, at); err == nil {
			w.resolver.resolve(&r)
			in.enqueue(nil, in.forecaster.rehearse(w, &r)...)
		}
	}
}

// Rehearsal is an expression whose past a forecast may begin with.
type Rehearsal struct {
	Expr    string
	Observe func(ctx context.Context, labels map[string]string, at time.Time, value float64) error
}

// Rehearsals gives what can be foretold from what another system has kept: what is held
// against a number. It is rehearsed aside, while the watch goes on; done takes it over.
func (in *ingest) Rehearsals() (out []Rehearsal, done func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	f := in.forecaster
	f.agents.Lock()
	defer f.agents.Unlock()
	aside := f.predict.Aside()
	fit := f.newRefitter().fit
	for _, w := range in.watches {
		if w.target == nil || !w.constant || w.expr.Source() != "" {
			continue
		}
		out = append(out, Rehearsal{w.expr.Value(), func(ctx context.Context, labels map[string]string, at time.Time, value float64) error {
			in.mu.Lock()
			r := w.then(labels, at, value)
			in.mu.Unlock()
			said := w.rehearse(aside, &r, fit)
			in.mu.Lock()
			in.enqueue(nil, said...)
			in.mu.Unlock()
			return in.room(ctx)
		}})
	}
	return out, func() {
		f.agents.Lock()
		defer f.agents.Unlock()
		f.predict.Adopt(aside)
	}
}

// then is what the expression gave at a time of the past, and whose that is.
func (w *watch) then(labels map[string]string, at time.Time, value float64) series.Result {
	r := series.Result{At: at, Elements: []series.Element{{Labels: labels, Value: value, Newest: at}}}
	w.resolver.resolve(&r)
	return r
}

// whose tells whose an element is; none when it does not say.
func (w *watch) whose(e *series.Element) grace.ServiceID {
	return cmp.Or(e.Service, w.service, grace.ServiceID(e.Labels[w.label]))
}

// measured notes when what bears on each service was measured.
func (w *watch) measured(r *series.Result) {
	for i := range r.Elements {
		e := &r.Elements[i]
		id := w.whose(e)
		if m := w.newest[id]; e.Newest.After(m.at) {
			if !m.at.IsZero() {
				m.every = e.Newest.Sub(m.at)
			}
			m.at = e.Newest
			w.newest[id] = m
		}
	}
}

// observe takes what an expression gives for forecasts. What a part is missing of does not show
// what becomes of what is foreseen, and what is low for want of it is no trend.
func (f *forecaster) observe(w *watch, r *series.Result) {
	w.observed(r, func(s predict.Series, e *series.Element, v float64) {
		f.agents.Lock()
		defer f.agents.Unlock()
		if e.Wanting || (e.Lacks || r.Lacking != "") && f.predict.Claimed(s) {
			return
		}
		f.predict.Observe(s, e.Newest, v)
	})
}

// rehearse takes what an expression gave in the past.
func (f *forecaster) rehearse(w *watch, r *series.Result) []pendingWrite {
	f.agents.Lock()
	defer f.agents.Unlock()
	return w.rehearse(f.predict, r, f.fitPast)
}

// rehearse shows an agent what the expression gave in the past. What the rules would have
// said of it goes to the ledger.
func (w *watch) rehearse(a *predict.Agent, r *series.Result, fit func(*predict.Refit)) (out []pendingWrite) {
	w.observed(r, func(s predict.Series, e *series.Element, v float64) {
		found := a.Rehearse(s, e.Newest, v, fit)
		for i := range found.Resolved {
			if found.Resolved[i].Outcome == grace.PredictionFalseNegative {
				continue // nobody was there to foresee it
			}
			out = append(out, pendingWrite{prediction: &predictionWrite{Prediction: found.Resolved[i], state: event.InShadow}})
		}
		for i := range found.Suspended {
			out = append(out, pendingWrite{suspension: &found.Suspended[i]})
		}
	})
	return out
}

// observed gives the values of an expression that can be foretold, each with its series.
func (w *watch) observed(r *series.Result, take func(s predict.Series, e *series.Element, v float64)) {
	if w.target == nil {
		return
	}
	for i := range r.Elements {
		e := &r.Elements[i]
		service := w.whose(e)
		if service == "" || e.Newest.IsZero() {
			continue
		}
		v := e.Value
		if !w.constant {
			v -= e.Threshold
		}
		take(predict.Series{Service: service, Metric: w.name, Labels: w.seriesLabels(e.Labels), Unit: w.target.Unit}, e, v)
	}
}

// seriesLabels writes the labels that tell an element from the others of its service.
func (w *watch) seriesLabels(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if name != w.label && name != series.ServiceLabel && (name != series.JobLabel || w.expr.Source() != "") {
			parts = append(parts, name+"="+strconv.Quote(labels[name]))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// measured tells when what an objective or limit looks at was measured last of a
// service, and whether there is one of that name. Of its joint series that is the one of its
// metrics which was measured the longest ago.
func (in *ingest) measured(service grace.ServiceID, name string) (m measurement, wanted bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, w := range in.watches {
		if w.target == nil || w.service != "" && w.service != service {
			continue
		}
		if w.name == name {
			return w.newest[service], true
		}
		if of, known := w.newest[service]; name == predict.Joint && known && (!wanted || of.at.Before(m.at)) {
			m, wanted = of, true
		}
	}
	return m, wanted
}
