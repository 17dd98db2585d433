package promql

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"grace"
	"grace/internal/series"
)

// roleLabel is the label of a series that holds the role of its query.
const roleLabel = "role"

// poll is a query with what came of it.
type poll struct {
	Query

	s        *Sensor
	db       *series.DB
	set      *series.Set              // its elements; nil without a DB
	seen     *series.Set              // what its selectors find, see [series.Remote]
	services map[grace.ServiceID]bool // of the newest answer
	names    []string                 // labels that its elements have, and of [Query.By]
	given    map[int]bool             // the selectors of which it is known that there is what they name
}

func (s *Sensor) newPoll(q Query, db *series.DB) *poll {
	p := &poll{Query: q, s: s, services: map[grace.ServiceID]bool{}, given: map[int]bool{}}
	p.names = p.by()
	if db == nil {
		return p
	}
	own := maps.Clone(q.Labels)
	if q.whose() {
		own = map[string]string{series.JobLabel: s.cfg.Name, roleLabel: string(q.Role)}
	}
	maps.DeleteFunc(own, func(_, value string) bool { return value == "" })
	from := series.From{Sensor: s.cfg.Name, Source: s.cfg.Name, History: true}
	p.db = db
	p.set, p.seen = db.NewSet(from, labels.FromMap(own)), db.NewSet(from, labels.EmptyLabels())
	return p
}

// Answer is what a query gave when it was asked once.
type Answer struct {
	Query    Query
	Elements int
	Samples  []grace.Sample // of kind sensor_error when it failed
	Problem  string         // as Report is told it
}

// Look asks every query once, none later than another, appends what they give, and gives the
// answers in the order of the queries. It ends with ctx.
func (s *Sensor) Look(ctx context.Context) []Answer {
	defer s.client.CloseIdleConnections()
	out := make([]Answer, len(s.polls))
	var asking sync.WaitGroup
	for i, p := range s.polls {
		asking.Go(func() { out[i], _ = p.once(ctx, time.Now()) })
	}
	asking.Wait()
	return out
}

// once asks the query, and appends the answer.
func (p *poll) once(ctx context.Context, at time.Time) (Answer, *failure) {
	a := Answer{Query: p.Query}
	found, looked, n, fail := p.ask(ctx, at)
	if fail != nil {
		a.Problem = n.text(fail)
		a.Samples = p.blind(a.Problem)
		return a, fail
	}
	for _, elements := range n.skipped {
		p.s.skipped.Add(uint64(elements))
	}
	a.Elements = p.append(found, looked, at, &n)
	a.Problem = n.text(nil)
	for _, service := range slices.Sorted(maps.Keys(p.services)) {
		a.Samples = append(a.Samples, p.sample(service, grace.SampleSeries, at))
	}
	if a.Samples == nil { // it was answered
		a.Samples = append(a.Samples, p.sample("", grace.SampleSeries, at))
	}
	return a, nil
}

// ask asks how new the series are that the query looks at, and then the query: of a sample
// that comes in between nobody shall think that it was looked at. Where the elements have
// labels that the ones before had not, it asks again, by these.
func (p *poll) ask(ctx context.Context, at time.Time) (found []row, seen []looked, n notes, fail *failure) {
	for again := true; again; {
		by := p.names
		if seen, fail = p.look(ctx, by, at); fail != nil {
			return nil, nil, n, fail
		}
		if found, n, fail = p.s.instant(ctx, p.Query.Query, at); fail != nil {
			return nil, nil, n, fail
		}
		p.names = p.by()
		for _, f := range found {
			for name := range f.labels {
				if name != series.MetricLabel && !slices.Contains(p.names, name) {
					p.names = append(p.names, name)
				}
			}
		}
		slices.Sort(p.names)
		again = len(p.looks) > 0 && slices.ContainsFunc(p.names, func(name string) bool { return !slices.Contains(by, name) })
	}
	if p.Remote != nil && len(found) == 0 {
		p.name(ctx, seen, at)
	}
	var newest time.Time
	for _, l := range seen {
		if l.at.After(newest) {
			newest = l.at
		}
	}
	if len(seen) > 0 && at.Sub(newest) > old {
		n.warnings = append(n.warnings, "nothing that it looks at was measured after "+newest.Format("15:04:05 MST"))
	}
	return found, seen, n, nil
}

// by gives the labels that say whose an element is that is not there.
func (p *poll) by() []string {
	if p.Remote == nil || p.Remote.Seen == nil {
		return nil
	}
	return slices.Clone(p.By)
}

func (p *poll) sample(service grace.ServiceID, kind grace.SampleKind, at time.Time) grace.Sample {
	return grace.Sample{Service: service, Sensor: p.s.cfg.Name, Metric: p.Name, Kind: kind, At: at}
}

// blind says for every service that the query is about that it could not be asked. A query
// whose services nobody knows yet says so for none, and one that is about none for all that
// look at it.
func (p *poll) blind(why string) (out []grace.Sample) {
	if !p.whose() {
		p.set.Fail(p.Name, p.says(why))
	}
	services := slices.Sorted(maps.Keys(p.services))
	if p.Service != "" && !p.services[p.Service] || len(services) == 0 {
		services = append(services, p.Service)
	}
	for _, service := range services {
		s := p.sample(service, grace.SampleSensorError, time.Now())
		s.Message = why
		out = append(out, s)
	}
	return out
}

// lack says that of an answer something may be missing.
func (p *poll) lack(n *notes) {
	if !p.whose() {
		p.set.Lack(p.Name, p.says(n.text(nil)))
	}
}

// says is how it is told what is wrong with a source.
func (p *poll) says(why string) string { return fmt.Sprintf("source %s: %s", p.s.cfg.Name, why) }

// looked is when the newest sample was measured of series that a selector of the query finds,
// by the labels that they have in common; or the oldest that stands for now.
type looked struct {
	selector int
	oldest   bool // of one of which the newest is known, too
	labels   labels.Labels
	at       time.Time
}

const (
	// selectorLabel tells the selectors of a query apart in one answer.
	selectorLabel = "grace_selector"
	// noTime is how far ahead what is no time must be not to be taken for one.
	noTime = time.Hour
	// longAgo is no time either; one that is less old is: what it is of is as old.
	longAgo = 10 * 365 * 24 * time.Hour
	// old is how old all that a query looks at must be for that to be said: its source
	// answers, and measures nothing.
	old = 3 * time.Minute
)

// look asks how new the series are that the query looks at, by some labels; where that is too
// much, by those that say whose an element is, and of a check how old the oldest is.
func (p *poll) look(ctx context.Context, names []string, at time.Time) ([]looked, *failure) {
	if len(p.looks) == 0 {
		return nil, nil
	}
	asked := p.Remote
	if asked == nil {
		asked = &series.Remote{}
	}
	rows, _, fail := p.s.instant(ctx, newness(p.looks, names, asked.Oldest, asked.Parts), at)
	if least := p.by(); fail != nil && fail.tooMuch && len(names) > len(least) {
		oldest := asked.Oldest
		if asked.Check {
			oldest = slices.Repeat([]bool{true}, len(oldest))
		}
		rows, _, fail = p.s.instant(ctx, newness(p.looks, least, oldest, asked.Parts), at)
	}
	switch {
	case fail != nil && !fail.answered:
		return nil, fail
	case fail != nil:
		fail.err = fmt.Errorf("asked how new its samples are: %w", fail.err)
		return nil, fail
	}
	out := make([]looked, 0, len(rows))
	for _, found := range rows {
		l := looked{at: time.UnixMilli(int64(found.points[0].value * 1000)).UTC()}
		l.selector, _ = strconv.Atoi(found.labels[selectorLabel])
		if l.selector >= len(p.looks) {
			l.selector, l.oldest = l.selector-len(p.looks), true
		}
		delete(found.labels, selectorLabel)
		l.labels = labels.FromMap(found.labels)
		if l.at.Sub(at) > noTime || at.Sub(l.at) > longAgo || l.selector >= len(p.looks) || l.selector < 0 { // nobody can tell
			l.at, l.selector, l.oldest = at, 0, false
		}
		out = append(out, l)
	}
	return out, nil
}

// name asks whether there is what selectors name that have found nothing so far, as an error
// that has not happened yet. It is asked of each until there is; a failure is no answer.
func (p *poll) name(ctx context.Context, seen []looked, at time.Time) {
	var asked []string
	for i, loose := range p.Remote.Loose {
		if loose != "" && !p.given[i] && !slices.ContainsFunc(seen, func(l looked) bool { return l.selector == i }) {
			asked = append(asked, fmt.Sprintf(`label_replace(max(timestamp(%s)), "%s", "%d", "", "")`, loose, selectorLabel, i))
		}
	}
	if len(asked) == 0 {
		return
	}
	rows, _, _ := p.s.instant(ctx, strings.Join(asked, " or "), at)
	for _, row := range rows {
		if i, err := strconv.Atoi(row.labels[selectorLabel]); err == nil && i >= 0 && i < len(p.Remote.Loose) {
			p.given[i] = true
		}
	}
}

// newness is the query for the times of the newest samples that selectors find, by labels, or
// of the oldest that stand for now; with parts for these besides, which are numbered on.
func newness(selectors, names []string, oldest []bool, parts bool) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		if quoted[i] = name; !model.LegacyValidation.IsValidLabelName(name) {
			quoted[i] = strconv.Quote(name)
		}
	}
	var asked []string
	ask := func(which, selector string) {
		asked = append(asked, fmt.Sprintf(`label_replace(%s by (%s) (timestamp(%s)), "%s", "%d", "", "")`, which, strings.Join(quoted, ", "), selector, selectorLabel, len(asked)))
	}
	for i, selector := range selectors {
		if len(oldest) > 0 && oldest[i] {
			ask("min", selector)
		} else {
			ask("max", selector)
		}
	}
	for _, selector := range selectors {
		if parts {
			ask("min", selector)
		}
	}
	return strings.Join(asked, " or ")
}

// append appends an answer, and gives the number of its elements that were. Where nothing is
// known of how new they are they are of its time.
func (p *poll) append(found []row, seen []looked, at time.Time, n *notes) (taken int) {
	type place struct {
		selector int
		labels   uint64
	}
	basis, oldest := series.Basis{Asked: p.Remote}, map[place]int64{}
	for _, l := range seen {
		if l.oldest {
			basis.AddOldest(l.selector, l.labels, l.at)
			oldest[place{l.selector, l.labels.Hash()}] = l.at.UnixMilli()
		} else {
			basis.Add(l.selector, l.labels, l.at)
		}
	}
	services := map[grace.ServiceID]bool{}
	if n.partial {
		p.lack(n)
	}
	p.set.Begin(at)
	for _, f := range found {
		ls, service, err := p.labels(f.labels)
		if err != nil {
			n.skip(err.Error(), 1)
			p.s.skipped.Add(1)
			continue
		}
		meta := series.Meta{Unit: p.Unit}
		if seen != nil {
			meta.Measured, meta.Oldest = basis.Measured(labels.FromMap(f.labels))
		}
		p.set.Append(p.Name, ls, meta, series.Sample{At: at.UnixMilli(), Value: f.points[0].value * p.Scale})
		taken++
		if service != "" {
			services[service] = true
		}
	}
	report := p.set.End(n.partial)
	if err := report.Err(); err != nil {
		n.warnings, n.partial = append(n.warnings, err.Error()), true
		p.lack(n)
	}
	for i := range p.given {
		p.set.Given(p.Remote.Finds(i))
	}
	if p.Remote != nil && p.Remote.Seen != nil && !n.partial {
		p.seen.Begin(at)
		for _, l := range seen {
			if l.oldest {
				continue
			}
			meta := series.Meta{Measured: l.at.UnixMilli(), Oldest: oldest[place{l.selector, l.labels.Hash()}]}
			p.seen.Append(p.Remote.Seen[l.selector], l.labels, meta, series.Sample{At: at.UnixMilli(), Value: 1})
		}
		p.seen.End(false)
	}
	if !n.partial {
		clear(p.services)
	}
	maps.Copy(p.services, services)
	p.s.samples.Add(uint64(taken))
	return taken
}

// maxService bounds the bytes of a service's name that comes from a label.
const maxService = 256

// labels gives those of the series that an element is, besides what all of the query have,
// and whose it is.
func (p *poll) labels(of map[string]string) (labels.Labels, grace.ServiceID, error) {
	if !p.whose() {
		return labels.FromMap(of), "", nil
	}
	service := p.Service
	if named := grace.CleanOutput(of[p.ServiceLabel]); named != "" {
		service = grace.ServiceID(named)
	}
	switch {
	case len(service) > maxService:
		return labels.Labels{}, "", fmt.Errorf("an element whose label %s is longer than %d bytes", p.ServiceLabel, maxService)
	case service == "":
		return labels.Labels{}, "", fmt.Errorf("an element without the label %s, and no service is configured", p.ServiceLabel)
	}
	b := labels.NewBuilder(labels.FromMap(of))
	if was := of[series.ServiceLabel]; was != "" && was != string(service) {
		b.Set("exported_"+series.ServiceLabel, was)
	}
	return b.Set(series.ServiceLabel, string(service)).Labels(), service, nil
}
