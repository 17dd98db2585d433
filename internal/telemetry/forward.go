package telemetry

import (
	"math"
	"sync"
	"time"

	"grace"
)

func millis(at int64) string { return time.UnixMilli(at).UTC().Format("2006-01-02T15:04:05.000Z") }

type groupID struct {
	service grace.ServiceID
	metric  string
}

// group makes one series of all that are the same metric of a service, which is
// what an objective judges: the sum of rates, else the worst (the highest, or
// the lowest where down is worse).
type group struct {
	id   groupID
	sum  bool
	low  bool
	unit string

	mu      sync.Mutex // taken under a shard's lock; takes none itself
	members []*member
	at      int64  // of the newest value
	sent    int64  // of the newest sample that was forwarded
	sensor  string // that brought it
	dirty   *Batch
}

// member is one series of a group.
type member struct {
	g     *group
	pos   int
	at    int64
	value float64
}

// memberLife is how long a value of one series counts in its group, in ms: the
// look-back of Prometheus.
const memberLife = 5 * 60 * 1000

// join makes a series a member of the group of its metric.
func (in *Intake) join(s Series) *member {
	in.tallies.Lock()
	defer in.tallies.Unlock()
	id := groupID{s.Service, s.Metric}
	g := in.groups[id]
	if g == nil {
		g = &group{
			id: id, unit: s.Unit, low: s.Direction == DirectionDown,
			sum: s.Kind == KindCounter || s.Kind == KindDelta,
		}
		in.groups[id] = g
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	m := &member{g: g, pos: len(g.members)}
	g.members = append(g.members, m)
	return m
}

// leave ends a membership; nil has none.
func (m *member) leave() {
	if m == nil {
		return
	}
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	last := len(g.members) - 1
	g.members[m.pos] = g.members[last]
	g.members[m.pos].pos = m.pos
	g.members = g.members[:last]
}

// set takes a value. A single series is forwarded point by point; several are
// when the batch ends, so that those of one scrape count together.
func (m *member) set(b *Batch, at int64, v float64) {
	g := m.g
	g.mu.Lock()
	defer g.mu.Unlock()
	m.at, m.value, g.sensor = at, v, b.from.Sensor
	g.at = max(g.at, at)
	if len(g.members) == 1 {
		b.out = append(b.out, g.sample(at, v))
		g.sent = at
		return
	}
	if g.dirty != b {
		g.dirty = b
		b.dirty = append(b.dirty, g)
	}
}

func (g *group) sample(at int64, v float64) grace.Sample {
	return grace.Sample{
		Service: g.id.service, Sensor: g.sensor, Metric: g.id.metric, Kind: grace.SampleMetric,
		Value: v, Unit: g.unit, At: time.UnixMilli(at).UTC(),
	}
}

// flush adds the group's sample, if it has a newer one.
func (g *group) flush(out []grace.Sample) []grace.Sample {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dirty = nil
	if g.at <= g.sent {
		return out
	}
	v, n := 0.0, 0
	for _, m := range g.members {
		if m.at <= g.at-memberLife {
			continue
		}
		switch {
		case n == 0:
			v = m.value
		case g.sum:
			v += m.value
		case g.low:
			v = min(v, m.value)
		default:
			v = max(v, m.value)
		}
		n++
	}
	if n == 0 || math.IsInf(v, 0) {
		return out
	}
	g.sent = g.at
	return append(out, g.sample(g.at, v))
}

// pending holds samples that Forward did not take.
type pending struct {
	mu      sync.Mutex
	samples []grace.Sample
}

// maxPending samples are offered again; beyond, the oldest are lost.
const maxPending = 50_000

func (in *Intake) forward(samples []grace.Sample) {
	p := &in.pending
	p.mu.Lock()
	again := p.samples
	p.samples = nil
	p.mu.Unlock()
	if len(samples) == 0 && len(again) == 0 || in.opt.Forward == nil {
		return
	}
	all := samples
	if len(again) > 0 {
		all = append(again, samples...)
	}
	err := in.opt.Forward(all)
	if err == nil {
		in.counters.forwarded.Add(uint64(len(all)))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := make([]grace.Sample, 0, len(all)+len(p.samples))
	p.samples = append(append(kept, all...), p.samples...)
	if over := len(p.samples) - maxPending; over > 0 {
		p.samples = p.samples[over:]
		in.counters.unsent.Add(uint64(over))
	}
}

// Behind tells whether Forward fails for so long that samples are about to be
// lost: an edge answers "try again later" then, before it takes anything.
func (in *Intake) Behind() bool {
	in.pending.mu.Lock()
	defer in.pending.mu.Unlock()
	return len(in.pending.samples) > maxPending/2
}
