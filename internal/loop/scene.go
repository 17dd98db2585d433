package loop

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"grace"
	"grace/internal/content"
	"grace/internal/decide"
	"grace/internal/stage/learn"
	"grace/internal/stage/propose"
	"grace/internal/store"
)

// basis is what decisions rest on, and what a transaction reads of it.
type basis struct {
	*common

	in *ingest
}

// look makes a scene of what is known now.
func (co *common) look(st *stages) *decide.Scene { return co.sceneBy(st, st.rules.Look) }

// glance is a scene without what follows from it for a decision.
func (co *common) glance(st *stages) *decide.Scene { return co.sceneBy(st, decide.Glance) }

func (co *common) sceneBy(st *stages, look func(time.Time, []grace.Signal, []grace.Prediction) *decide.Scene) *decide.Scene {
	now := co.Now()
	k := co.mirror.known(now, st.rules.PredictionsFresh())
	sc := look(now, k.signals, k.predictions)
	sc.SignalMap, sc.PredictionMap = k.signalMap, k.predictionMap
	return sc
}

// evidenceSince is since when evidence counts: the start of the process, the last
// change of its configuration, or when it woke.
func (co *common) evidenceSince() time.Time { return time.UnixMilli(co.epoch.Load()).UTC() }

// present is what all decisions of a transaction look at: none of them changes
// it, since the first one that makes a run is the last.
type present struct {
	*decide.Scene

	now      time.Time
	mode     grace.Mode
	open     []grace.OpenRun
	openMap  content.Map
	silences []grace.Silence
	held     map[grace.ServiceID]held
}

func (co *common) present(ctx context.Context, q store.Querier, sc *decide.Scene) (present, error) {
	st, err := co.Store.Standing(ctx, q, co.Now())
	if err != nil {
		return present{}, fmt.Errorf("read what stands: %w", err)
	}
	return co.presentOf(sc, st), nil
}

func (co *common) presentOf(sc *decide.Scene, st store.Standing) present {
	now, open := co.Now(), opens(st.Open)
	return present{
		Scene: sc, now: now, mode: st.Mode.At(now), open: open, openMap: co.openRuns.of(open), silences: st.Silences, held: heldBy(st.Incidents),
	}
}

// held are the open incidents for which GRACE does nothing to a service.
type held struct{ manual, stopped grace.IncidentID }

func (co *common) heldServices(ctx context.Context, q store.Querier) (map[grace.ServiceID]held, error) {
	incidents, err := co.Store.OpenIncidents(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("read the open incidents: %w", err)
	}
	return heldBy(incidents), nil
}

func heldBy(incidents []grace.Incident) map[grace.ServiceID]held {
	out := map[grace.ServiceID]held{}
	for i := range incidents {
		inc := &incidents[i]
		h := out[inc.Service]
		if inc.Manual {
			h.manual = inc.ID
		}
		if len(inc.Stopped) > 0 {
			h.stopped = inc.ID
		}
		out[inc.Service] = h
	}
	return out
}

// snapshot reads what is to be known of a service.
func (b *basis) snapshot(ctx context.Context, q store.Querier, st *stages, p present, service grace.ServiceID) (grace.Snapshot, decide.Known, error) {
	s := grace.Snapshot{
		At: p.now, Seen: p.At, Service: service, Mode: p.mode, Since: b.evidenceSince(), Manual: p.held[service].manual, Stopped: p.held[service].stopped,
	}
	k := decide.Known{Scene: p.Scene, Open: p.open, OpenMap: p.openMap, Silences: p.silences}
	var err error
	if k.Own, err = b.signalsNow(ctx, q, service); err == nil {
		st.rules.Name(&s, &k)
	}
	return s, k, err
}

// remember adds what a decision about a service knows of before: its runs, and how
// well playbooks have done.
func (co *common) remember(ctx context.Context, q store.Querier, st *stages, s *grace.Snapshot, kind grace.TriggerKind, code grace.Code) error {
	past, err := co.Store.RunHeads(ctx, q, store.RunHeadFilter{Service: s.Service, Since: s.At.Add(-pastWindow)})
	if err != nil {
		return fmt.Errorf("read past runs of %s: %w", s.Service, err)
	}
	if !st.rules.Observes(s.Mode, kind) {
		past = slices.DeleteFunc(past, func(h store.RunHead) bool { return h.State == grace.RunObservedOnly })
	}
	s.Past = pasts(past, co.dated(s.At))
	for _, id := range st.rules.Suited(code) {
		score, trials := co.memory.Rank(s.Service, code, id, s.At)
		s.Posteriors = append(s.Posteriors, grace.Posterior{Code: code, Playbook: id, Score: score, Trials: trials})
	}
	return nil
}

// admission reads what the admission of a run looks at, and what was decided.
func (b *basis) admission(ctx context.Context, q store.Querier, st *stages, p present, run grace.Run) (s grace.Snapshot, k decide.Known, dec grace.Decision, err error) {
	if s, k, err = b.snapshot(ctx, q, st, p, run.Service); err != nil {
		return s, k, dec, err
	}
	s.Run, s.Decision, s.Storm = &run, run.Decision, b.stormNow.Load()
	if dec, err = b.Store.Decision(ctx, q, run.Decision); err != nil {
		return s, k, dec, fmt.Errorf("read the decision again: %w", err)
	}
	if dec.Proposal == nil {
		err = fmt.Errorf("decision %s has no proposal: %w", dec.ID, store.ErrNotFound)
	}
	return s, k, dec, err
}

// final tells whether no later look can find what was decided.
func final(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrForged)
}

func opens(heads []store.RunHead) []grace.OpenRun {
	out := make([]grace.OpenRun, len(heads))
	for i, h := range heads {
		out[i] = grace.OpenRun{Run: h.ID, Service: h.Service, Status: h.State, Cone: h.Cone, CreatedAt: h.CreatedAt}
	}
	return out
}

// dated gives the time at which the limits take something to have been. What is
// dated ahead of now is from before the clock was set back, and goes back with
// it; where that was before this process began, to that time.
func (co *common) dated(now time.Time) func(time.Time) time.Time {
	ahead := now.Add(propose.Ahead)
	setBack, began := time.Duration(co.setBack.Load()), time.UnixMilli(co.epoch.Load())
	return func(t time.Time) time.Time {
		if t.After(ahead) {
			t = t.Add(setBack)
		}
		if t.After(ahead) {
			t = earlier(began, now)
		}
		return t
	}
}

// pasts gives runs as the limits count them.
func pasts(heads []store.RunHead, dated func(time.Time) time.Time) []grace.PastRun {
	out := make([]grace.PastRun, len(heads))
	for i, h := range heads {
		h.SickSince, h.CreatedAt = dated(h.SickSince), dated(h.CreatedAt)
		if h.EndedAt != nil {
			h.EndedAt = new(dated(*h.EndedAt))
		}
		result := learn.ResultOf(h.State)
		if h.Aborted || unsure(h) {
			result = grace.ResultNeutral // it says nothing of the remedy
		}
		out[i] = grace.PastRun{
			Run: h.ID, Service: h.Service, Code: h.Code, Kind: h.Kind, Playbook: h.Playbook, Status: h.State, Since: h.SickSince, At: h.CreatedAt, EndedAt: h.EndedAt,
			Result: result, Aborted: h.Aborted,
		}
	}
	return out
}

// unsure tells whether a run succeeded, and nobody knows whether it was the remedy.
func unsure(h store.RunHead) bool {
	return h.State == grace.RunSucceeded && h.RecoveredIn == 0 && h.Code != grace.CodeManual
}

// openMap is the map of the open runs as it was made last: most stay the same.
type openMap struct {
	mu   sync.Mutex
	last content.Map
	runs map[grace.RunID]grace.OpenRun // that are in it
}

func (o *openMap) of(open []grace.OpenRun) content.Map {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := make(map[grace.RunID]grace.OpenRun, len(open))
	for _, r := range open {
		now[r.Run] = r
		if old, is := o.runs[r.Run]; !is || !reflect.DeepEqual(old, r) {
			o.last = o.last.With(string(r.Run), content.Blob(r))
		}
	}
	for id := range o.runs {
		if _, is := now[id]; !is {
			o.last = o.last.Without(string(id))
		}
	}
	o.runs = now
	return o.last
}
