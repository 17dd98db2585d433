package api

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"slices"
	"sync"
	"time"

	"grace"
	"grace/internal/store"
)

const (
	// raisedAgain is how long it is not written again that a token spoke about a
	// service; raisedBefore is how long before a condition began it counts.
	raisedAgain  = time.Minute
	raisedBefore = time.Hour
	maxRaised    = 10_000
	// maxNames is how many different series, alerts and predictions one token may
	// name within namesFor: what is known is shared with all others.
	maxNames = 10_000
	namesFor = time.Hour
)

// reports remembers what tokens said lately: about which services, and how many
// different things.
type reports struct {
	seed maphash.Seed

	mu     sync.Mutex
	raised map[[2]string]time.Time
	since  time.Time
	names  map[string]map[uint64]struct{}
}

func newReports() *reports {
	return &reports{seed: maphash.MakeSeed(), raised: map[[2]string]time.Time{}, names: map[string]map[uint64]struct{}{}}
}

// fresh tells whether it is to be written that an actor spoke about a service.
func (r *reports) fresh(actor string, service grace.ServiceID, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := [2]string{actor, string(service)}
	if at, ok := r.raised[k]; ok && now.Sub(at) < raisedAgain && !now.Before(at) {
		return false
	}
	if len(r.raised) >= maxRaised {
		clear(r.raised)
	}
	r.raised[k] = now
	return true
}

// within counts the different names of a token, and refuses what is too much.
func (r *reports) within(token string, names []string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.since) >= namesFor || now.Before(r.since) {
		clear(r.names)
		r.since = now
	}
	mine := r.names[token]
	if mine == nil {
		mine = map[uint64]struct{}{}
		r.names[token] = mine
	}
	for _, n := range names {
		h := maphash.String(r.seed, n)
		if _, known := mine[h]; known {
			continue
		}
		if len(mine) >= maxNames {
			return false
		}
		mine[h] = struct{}{}
	}
	return true
}

// report notes who says something about which services, and refuses a token that
// names ever new things.
func (s *server) report(ctx context.Context, samples []grace.Sample, predictions []grace.Prediction) error {
	who, now := callerOf(ctx), s.now()
	names := make([]string, 0, len(samples)+len(predictions))
	services := map[grace.ServiceID]bool{}
	for i := range samples {
		v := &samples[i]
		names = append(names, string(v.Service)+"\x00"+v.Sensor+"\x00"+v.Metric+"\x00"+v.Fingerprint)
		services[v.Service] = true
	}
	for i := range predictions {
		names = append(names, string(predictions[i].Key))
		services[predictions[i].Service] = true
	}
	if !s.reports.within(who.Token, names, now) {
		p := problem(http.StatusTooManyRequests, "nothing was taken: token %s has named more than %d different series, alerts and predictions within %s", who.Token, maxNames, namesFor).
			hint("name the same thing the same way every time; a fingerprint is no place for a time or a number")
		p.retryAfter = namesFor
		return p
	}
	for id := range services {
		if !s.reports.fresh(who.actor(), id, now) {
			continue
		}
		if err := s.store.Raise(ctx, who.actor(), id); err != nil {
			return stored(err)
		}
	}
	return nil
}

// notOwn refuses an approval by whoever reported the condition, or asked for the
// run, by whichever name: one person, or a stolen token, must not both cause an
// action and allow it. An admin may, who could make a second token as well.
func (s *server) notOwn(ctx context.Context, id grace.ApprovalID) error {
	who := callerOf(ctx)
	if s.cfg.OwnApproval || who.Role >= roleAdmin {
		return nil
	}
	a, err := s.store.Approval(ctx, s.store.Q(), id)
	if errors.Is(err, store.ErrNotFound) {
		return nil // which the decision itself finds too
	}
	if err != nil {
		return stored(err)
	}
	run, err := s.store.Run(ctx, s.store.Q(), a.Run)
	if err != nil {
		return stored(err)
	}
	const somebodyElse = "let somebody else decide; api.own_approval: true allows it"
	names := s.cfg.SamePerson(who.actor())
	if run.Asked != nil && slices.Contains(names, run.Asked.Actor) {
		return problem(http.StatusForbidden, "%s asked for run %s", who.itself(run.Asked.Actor), run.ID).hint(somebodyElse)
	}
	services := map[grace.ServiceID]bool{run.Service: true}
	if d, err := s.store.Decision(ctx, s.store.Q(), run.Decision); err == nil {
		for _, id := range d.Triggers {
			if t, err := s.store.Trigger(ctx, s.store.Q(), id); err == nil {
				services[t.Service] = true
			}
		}
	}
	since := run.SickSince
	if since.IsZero() {
		since = run.CreatedAt
	}
	for service := range services {
		for _, name := range names {
			own, err := s.store.Raised(ctx, s.store.Q(), name, service, since.Add(-raisedBefore))
			if err != nil {
				return stored(err)
			}
			if own {
				return problem(http.StatusForbidden, "%s reported about %s, and this run is about that", who.itself(name), service).
					hint(somebodyElse)
			}
		}
	}
	return nil
}

// itself names the caller as who did something under one of that person's names.
func (c *caller) itself(name string) string {
	if name == c.actor() {
		return c.String() + " itself"
	}
	return name + ", the same person as " + c.String() + ","
}
