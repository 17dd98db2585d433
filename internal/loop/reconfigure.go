package loop

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"grace"
	"grace/internal/content"
	"grace/internal/event"
	"grace/internal/store"
)

// Reconfigure swaps the configuration, for an actor. It is in the audit log
// first; on an error nothing has changed. One that says what the old one says puts
// nothing off: what is known, and since when, stays.
func (c *commands) Reconfigure(ctx context.Context, cfg Config, actor string) error {
	st, err := buildStages(cfg)
	if err != nil {
		return err
	}
	err = c.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		return c.Store.Append(ctx, tx, event.ConfigReloaded{
			Detail: st.detail(), Actor: actor, At: c.Now(),
		})
	})
	if err != nil {
		return fmt.Errorf("record the new configuration: %w", err)
	}
	if err := c.memory.load(ctx, c.common, st.Learn); err != nil {
		c.Log.Warn("the learning log was not read again; ranking goes on with what it knows", "error", err)
	}
	if !c.in.swap(st) {
		return nil
	}
	if err := c.in.flush(ctx); err != nil {
		c.Log.Warn("signals not written; they are kept and written later", "error", err)
	}
	err = c.Store.Do(ctx, func(ctx context.Context, tx store.Tx) error {
		return c.wakeWaiting(ctx, tx, "configuration", c.Now())
	})
	if err != nil {
		c.Log.Warn("runs that wait were not told of the new configuration; they ask again in time", "error", err)
	}
	c.wakeDecider()
	return nil
}

// detail is what the audit log keeps of a configuration. What is judged, and what rules
// record, is in it by its digest: the file of a rule may be another one.
func (st *stages) detail() map[string]any {
	judged := fmt.Sprintf("%+v", []any{st.Objectives, st.Limits, st.Recordings, st.RuleMap})
	return map[string]any{
		"trust": st.Govern, "services": len(st.Services), "playbooks": len(st.Playbooks), "objectives": len(st.Objectives),
		"judged": content.Sum([]byte(judged)),
	}
}

// swap puts a configuration in force, and tells whether it says anything that the
// old one did not.
func (in *ingest) swap(st *stages) bool {
	in.noticeStill() // before it counts from now on
	in.mu.Lock()
	defer in.mu.Unlock()
	now := in.Now()
	in.noticeStep(now)
	c := change{before: in.stages.Load(), now: st, services: map[grace.ServiceID]bool{}}
	if c.none() {
		return false
	}
	in.watch(&st.Config)
	changed := in.sense.Reconfigure(st.Sense, st.Objectives)
	changed = append(changed, in.sense.Expect(st.Probes)...)
	if c.alerts() {
		in.sense.ForgetLists()
	}
	unconfirmed := in.sense.Unconfirm(c.touches, now)
	in.mirror.unconfirm(unconfirmed, now) // before anything is admitted under the new stages
	in.stages.Store(st)
	in.reloaded.Store(true)
	in.looking.Store(now.UnixMilli())
	in.countFrom(now)
	in.forecaster.reconfigure(st, targetsOf(in.watches))
	in.enqueue(changed)
	in.mirror.signals(unknown(in.sense.Signals()))
	return true
}

// change is what a new configuration says and the old one did not.
type change struct {
	before, now *stages
	services    map[grace.ServiceID]bool // whether it touches them, as far as was asked
}

// none tells whether nothing has changed.
func (c *change) none() bool {
	return c.told() && reflect.DeepEqual(c.before.Config, c.now.Config)
}

// told tells whether both configurations say what makes the sensors.
func (c *change) told() bool { return c.before.Sources != nil && c.now.Sources != nil }

// alerts tells whether alerts are read in another way.
func (c *change) alerts() bool { return !c.told() || c.before.AlertSource != c.now.AlertSource }

// touches tells whether the change takes from a signal that it is confirmed: its
// service has changed or what is watched of it, how the signal is judged, or one of
// the sensors that it rests on. An alert, which its source may repeat hours later,
// rests on how alerts are read.
func (c *change) touches(s grace.Signal, sensors []string) bool {
	switch {
	case c.service(s.Service):
		return true
	case s.Kind == grace.SignalAlert:
		return c.before.AlertSource != c.now.AlertSource
	case !c.told(), c.before.Sense != c.now.Sense:
		return true
	}
	return slices.ContainsFunc(sensors, c.sensor)
}

// service tells whether a service is declared, or watched, in another way.
func (c *change) service(id grace.ServiceID) bool {
	changed, asked := c.services[id]
	if !asked {
		was, _ := c.before.rules.Graph.Service(id)
		is, _ := c.now.rules.Graph.Service(id)
		changed = !reflect.DeepEqual(was, is) || !reflect.DeepEqual(c.before.looksAt(id), c.now.looksAt(id))
		c.services[id] = changed
	}
	return changed
}

// sensor tells whether a sensor is another one, as far as can be told.
func (c *change) sensor(name string) bool {
	was, is := c.before.source(name), c.now.source(name)
	return was == nil || !reflect.DeepEqual(was, is)
}

// source gives what makes a sensor, nil when nobody can tell.
func (st *stages) source(name string) any {
	if what, named := st.Sources[name]; named {
		return what
	}
	return st.Sources[""]
}

// looksAt gives the probes and objectives of a service, and what rules add to them.
func (st *stages) looksAt(id grace.ServiceID) (out []any) {
	for _, p := range st.Probes {
		if p.Service == id {
			out = append(out, p)
		}
	}
	for _, o := range st.Objectives {
		if o.Service == id || o.Service == "" {
			out = append(out, o)
		}
	}
	return append(out, st.RuleMap, st.Recordings)
}
