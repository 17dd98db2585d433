package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"grace"
)

// minimiseTries bounds how many stories are played to make one smaller.
const minimiseTries = 150

// Minimise drops events, services, windows and replicas from a story as long
// as the same check still fails. The story it gives has failed when played.
func Minimise(ctx context.Context, st Story, m Mutations, check string) Story {
	tries := 0
	fails := func(st Story) bool {
		if tries++; tries > minimiseTries || ctx.Err() != nil {
			return false
		}
		r, err := Play(ctx, st, m)
		return err == nil && slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Check == check })
	}
	try := func(change func(*Story)) bool {
		next := st
		next.Events, next.Services = slices.Clone(st.Events), slices.Clone(st.Services)
		change(&next)
		if !fails(next) {
			return false
		}
		st = next
		return true
	}
	// Halves first, then one by one, the last first.
	for size := len(st.Events) / 2; size >= 1; size /= 2 {
		for i := len(st.Events) - size; i >= 0; i -= size {
			try(func(s *Story) { s.Events = slices.Delete(s.Events, i, i+size) })
		}
	}
	for i := len(st.Services) - 1; i >= 0 && len(st.Services) > 1; i-- {
		if i < len(st.Services) {
			try(func(s *Story) { dropService(s, s.Services[i].ID) })
		}
	}
	try(func(s *Story) { s.Windows = nil })
	try(func(s *Story) { s.Replicas = 1 })
	return st
}

func dropService(s *Story, id grace.ServiceID) {
	s.Services = slices.DeleteFunc(s.Services, func(n Node) bool { return n.ID == id })
	for i := range s.Services {
		s.Services[i].DependsOn = slices.DeleteFunc(slices.Clone(s.Services[i].DependsOn), func(d grace.ServiceID) bool { return d == id })
	}
	s.Events = slices.DeleteFunc(s.Events, func(e Event) bool { return e.Target == string(id) })
}

// Explain gives a failing story as a file: minimised, with what was found and the log.
func Explain(ctx context.Context, st Story, m Mutations, check string) ([]byte, error) {
	small := Minimise(ctx, st, m, check)
	r, err := Play(ctx, small, m)
	if err != nil {
		return nil, err
	}
	return Format(small, r.Violations, r.Lines()), nil
}

// Lines gives what is in the logs for people, without what each signal says first
// when all is well.
func (r *Result) Lines() []string {
	all := slices.Concat(r.Log.Signals, r.Log.Audit)
	slices.SortStableFunc(all, func(a, b grace.AuditEntry) int { return a.At.Compare(b.At) })
	log := make([]string, 0, len(all))
	for _, e := range all {
		if e.Action == "signal.ok" && e.At.Sub(epoch()) < sampleEvery {
			continue
		}
		log = append(log, fmt.Sprintf("%d %s %s %s %s %s", e.Seq, e.At.Sub(epoch()).Truncate(time.Millisecond), e.Actor, e.Action, e.Object, e.Reason))
	}
	return log
}
