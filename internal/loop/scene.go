package loop

import (
	"context"
	"errors"
	"fmt"
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

// look makes a scene of what is known now.
func (l *Loop) look(st *stages) *decide.Scene { return l.sceneBy(st, st.rules.Look) }

// glance is a scene without what follows from it for a decision.
func (l *Loop) glance(st *stages) *decide.Scene { return l.sceneBy(st, decide.Glance) }

func (l *Loop) sceneBy(st *stages, look func(time.Time, []grace.Signal, []grace.Prediction) *decide.Scene) *decide.Scene {
	now := l.Now()
	k := l.mirror.known(now, st.rules.PredictionsFresh())
	sc := look(now, k.signals, k.predictions)
	sc.SignalMap, sc.PredictionMap = k.signalMap, k.predictionMap
	return sc
}

// evidenceSince is since when evidence counts: the start of the process, the last
// change of its configuration, or when it woke.
func (l *Loop) evidenceSince() time.Time { return time.UnixMilli(l.epoch.Load()).UTC() }

// present is what all decisions of a transaction look at: none of them changes
// it, since the first one that makes a run is the last.
type present struct {
	*decide.Scene

	now      time.Time
	mode     grace.Mode
	open     []grace.OpenRun
	openMap  content.Map
	silences []grace.Silence
	manual   map[grace.ServiceID]grace.IncidentID // of services with something that may have been left half done
}

func (l *Loop) present(ctx context.Context, q store.Querier, sc *decide.Scene) (present, error) {
	p := present{Scene: sc, now: l.Now()}
	mode, err := l.Store.Mode(ctx, q)
	if err != nil {
		return p, fmt.Errorf("read the mode: %w", err)
	}
	p.mode = mode.At(p.now)
	open, err := l.Store.OpenRunHeads(ctx, q)
	if err != nil {
		return p, fmt.Errorf("read open runs: %w", err)
	}
	p.open = opens(open)
	p.openMap = l.openRuns.of(p.open)
	if p.silences, err = l.Store.Silences(ctx, q, p.now); err != nil {
		return p, fmt.Errorf("read the silences: %w", err)
	}
	incidents, err := l.Store.OpenIncidents(ctx, q)
	if err != nil {
		return p, fmt.Errorf("read the open incidents: %w", err)
	}
	p.manual = map[grace.ServiceID]grace.IncidentID{}
	for i := range incidents {
		if inc := &incidents[i]; inc.Manual {
			p.manual[inc.Service] = inc.ID
		}
	}
	return p, nil
}

// snapshot reads what is to be known of a service.
func (l *Loop) snapshot(ctx context.Context, q store.Querier, st *stages, p present, service grace.ServiceID) (grace.Snapshot, decide.Known, error) {
	s := grace.Snapshot{
		At: p.now, Seen: p.At, Service: service, Mode: p.mode, Since: l.evidenceSince(), Manual: p.manual[service],
	}
	k := decide.Known{Scene: p.Scene, Open: p.open, OpenMap: p.openMap, Silences: p.silences}
	var err error
	if k.Own, err = l.signalsNow(ctx, q, service); err == nil {
		st.rules.Name(&s, &k)
	}
	return s, k, err
}

// remember adds what a decision about a service knows of before: its runs, and how
// well playbooks have done.
func (l *Loop) remember(ctx context.Context, q store.Querier, st *stages, s *grace.Snapshot, kind grace.TriggerKind, code grace.Code) error {
	past, err := l.Store.RunHeads(ctx, q, store.RunHeadFilter{Service: s.Service, Since: s.At.Add(-pastWindow)})
	if err != nil {
		return fmt.Errorf("read past runs of %s: %w", s.Service, err)
	}
	if !st.rules.Observes(s.Mode, kind) {
		past = slices.DeleteFunc(past, func(h store.RunHead) bool { return h.State == grace.RunObservedOnly })
	}
	s.Past = pasts(past, l.dated(s.At))
	for _, id := range st.rules.Suited(code) {
		score, trials := l.memory.Rank(s.Service, code, id, s.At)
		s.Posteriors = append(s.Posteriors, grace.Posterior{Code: code, Playbook: id, Score: score, Trials: trials})
	}
	return nil
}

// admission reads what the admission of a run looks at, and what was decided.
func (l *Loop) admission(ctx context.Context, q store.Querier, st *stages, p present, run grace.Run) (s grace.Snapshot, k decide.Known, dec grace.Decision, err error) {
	if s, k, err = l.snapshot(ctx, q, st, p, run.Service); err != nil {
		return s, k, dec, err
	}
	s.Run, s.Decision, s.Storm = &run, run.Decision, l.stormNow.Load()
	if dec, err = l.Store.Decision(ctx, q, run.Decision); err != nil {
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
func (l *Loop) dated(now time.Time) func(time.Time) time.Time {
	ahead := now.Add(propose.Ahead)
	setBack, began := time.Duration(l.setBack.Load()), time.UnixMilli(l.epoch.Load())
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
}

func (o *openMap) of(open []grace.OpenRun) content.Map {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = decide.MapOf(o.last, open, func(r grace.OpenRun) string { return string(r.Run) })
	return o.last
}
