package main

import (
	"context"
	"fmt"
	"time"

	"grace"
	"grace/internal/cli"
)

// Times of the story.
const (
	lookEvery   = 250 * time.Millisecond
	readingTime = 4 * time.Second // the operator reads before approving
	betweenTime = 3 * time.Second // the reader reads before the next chapter

	// A chapter waits for its ending, however busy the machine is. Only a story
	// that has none is given up: its fault, its mending, the calm after it.
	endingTime = 10 * time.Minute
	mendTime   = 5 * time.Minute
	settleTime = 5 * time.Minute
)

// story plays the chapters.
type story struct {
	faults   faulter
	view     *wellness
	grace    observer
	operator operator
	watch    *watcher
	tell     *teller
	now      func() time.Time
	mine     map[grace.ServiceID]bool // the shop's services
}

// play tells all chapters, or fewer when ctx ends.
func (s *story) play(ctx context.Context, all []chapter) []faultReport {
	var reports []faultReport
	for i, c := range all {
		if i > 0 {
			s.settle(ctx)
			pause(ctx, betweenTime)
		}
		if ctx.Err() != nil {
			break
		}
		s.tell.heading("Chapter %d of %d: %s", i+1, len(all), c.title)
		r := s.chapter(ctx, c)
		if ctx.Err() != nil {
			break // interrupted: this chapter has no end to tell
		}
		reports = append(reports, r)
		if r.OK && r.Peak != "" {
			s.tell.say(voiceShop, "no customer has noticed; the highest was %s", r.Peak)
		} else if r.OK {
			s.tell.say(voiceShop, "healthy again after %s s", seconds(r.RecoveredS))
		} else {
			s.tell.say(voiceStory, "NOT as told. Expected: %s. Seen: %s. %s", r.Expected, r.Outcome, r.Detail)
		}
	}
	return reports
}

// chapter breaks one thing and waits until the story of it has ended.
func (s *story) chapter(ctx context.Context, c chapter) faultReport {
	report := faultReport{Name: c.name, Service: c.service, Expected: c.expected(), Outcome: "nothing happened", InjectedAt: s.now().UTC()}
	s.view.reset()
	s.view.track(c.limit)
	defer s.view.track(nil)
	s.watch.from = s.now()
	fault, err := s.faults.Inject(ctx, c.service, c.kind)
	if err != nil {
		report.Detail = "the fault could not be injected: " + err.Error()
		return report
	}
	s.tell.say(voiceFault, "%s", c.broke)
	limited, cancel := context.WithTimeout(ctx, endingTime)
	defer cancel()

	ok, detail := s.follow(limited, c, &report)
	if !ok {
		report.Detail = detail
	}
	// A fault that is still there would spoil the chapters that follow.
	if !ok || c.fails {
		if err := s.mend(ctx, c, fault.ID, &report); err != nil {
			report.Detail = fmt.Sprintf("%s; by hand: %v", report.Detail, err)
			return report
		}
		if ok {
			report.Detail = "the cause was removed by hand after GRACE had called a person"
		}
	}
	report.OK = ok
	return report
}

// follow waits for the run that the chapter tells of, and for the shop.
func (s *story) follow(ctx context.Context, c chapter, report *faultReport) (ok bool, detail string) {
	var askedAt time.Time
	answered := false
	wrong := "" // what stands between now and the end
	for pause(ctx, lookEvery) {
		well, unwell, err := s.view.well(ctx)
		if err != nil {
			wrong = "the shop's platform does not answer: " + err.Error()
			continue
		}
		runs, err := s.watch.look(ctx)
		if err != nil {
			wrong = "GRACE does not answer: " + err.Error() // it may be coming back
			continue
		}
		if c.limit != nil {
			report.Peak = c.limit.text(s.view.peak)
			if s.view.peak >= c.limit.at {
				return false, "it came to " + report.Peak
			}
		}
		v, run, detail := c.judge(runs)
		if run != nil {
			report.note(*run, s.watch.told[run.ID].seenAt)
		}
		switch {
		case v == notAsTold:
			return false, detail
		case run == nil:
			wrong = fmt.Sprintf("GRACE made no run (shop: %s)", cli.OrDash(unwell))
		case c.asks && !answered && run.Status == grace.RunAwaitingApproval:
			wrong = "the run waits for approval"
			if askedAt.IsZero() {
				askedAt = s.now()
			}
			if s.now().Sub(askedAt) >= readingTime {
				answered = s.approve(ctx, *run)
			}
		case v == asTold && c.fails:
			return true, ""
		case v == asTold && well:
			report.recovered(later(s.view.lastBad, *run.StartedAt))
			return true, ""
		case v == asTold:
			wrong = "the run ended as told, but the shop is not well: " + unwell
		default:
			wrong = fmt.Sprintf("the run is still %s", run.Status)
		}
	}
	return false, fmt.Sprintf("not over after %s: %s", cli.Short(endingTime), wrong)
}

func (s *story) approve(ctx context.Context, run grace.Run) bool {
	reason := fmt.Sprintf("%s on %s is what I would do too", run.Playbook.ID, run.Service)
	if err := s.operator.approve(ctx, run.ID, reason); err != nil {
		s.tell.say(voiceHuman, "could not approve %s: %v", run.ID, err)
		return false
	}
	s.tell.say(voiceHuman, "approved %s: %q", run.ID, reason)
	return true
}

// mend removes the fault by hand, closes the incident and waits for the shop.
func (s *story) mend(ctx context.Context, c chapter, fault string, report *faultReport) error {
	s.view.reset()
	if _, err := s.faults.Heal(ctx, fault); err != nil {
		return err
	}
	s.tell.say(voiceHuman, "removed the cause on %s by hand", c.service)
	ctx, cancel := context.WithTimeout(ctx, mendTime)
	defer cancel()
	began, unwell := s.now(), ""
	for pause(ctx, lookEvery) {
		well, what, err := s.view.well(ctx)
		if err != nil {
			unwell = err.Error()
			continue
		}
		if _, err := s.watch.look(ctx); err != nil {
			unwell = err.Error()
			continue
		}
		if !well || s.now().Sub(began) < calmFor {
			unwell = what
			continue
		}
		report.recovered(later(s.view.lastBad, began))
		if report.incident != "" {
			if err := s.operator.resolve(ctx, report.incident, "removed the cause by hand"); err != nil {
				return fmt.Errorf("resolve incident %s: %w", report.incident, err)
			}
			s.tell.say(voiceHuman, "resolved incident %s", report.incident)
		}
		return nil
	}
	return fmt.Errorf("the shop is not well after %s: %s", cli.Short(mendTime), unwell)
}

// settle waits until GRACE too sees the shop healthy and has no open run, so
// that the next chapter starts from calm. It gives up without complaint: the
// chapter that follows will tell.
func (s *story) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		if calm, err := s.calm(ctx); err == nil && calm {
			return
		}
		if !pause(ctx, lookEvery) {
			return
		}
	}
}

func (s *story) calm(ctx context.Context) (bool, error) {
	runs, err := s.watch.look(ctx)
	if err != nil {
		return false, err
	}
	for _, r := range runs {
		if !r.Status.Terminal() {
			return false, nil
		}
	}
	states, err := s.grace.health(ctx)
	if err != nil {
		return false, err
	}
	healthy := 0
	for _, h := range states {
		if s.mine[h.Service] && h.Status == grace.HealthHealthy {
			healthy++
		}
	}
	return healthy == len(s.mine), nil
}

// note takes over what is known of the run.
func (r *faultReport) note(run grace.Run, seen *time.Time) {
	r.Run, r.Playbook, r.incident = run.ID, run.Playbook.ID, run.Incident
	r.Outcome = fmt.Sprintf("%s on %s: %s", run.Playbook.ID, run.Service, run.Status)
	r.healed = run.Status == grace.RunSucceeded
	if seen == nil {
		seen = &run.CreatedAt
	}
	r.DetectedS = since(r.InjectedAt, *seen)
	if run.StartedAt != nil {
		r.ActedS = since(r.InjectedAt, *run.StartedAt)
	}
}

// recovered notes when the shop was last seen unwell. Few customers may have
// met the condition, so it is not earlier than what ended it.
func (r *faultReport) recovered(at time.Time) { r.RecoveredS = since(r.InjectedAt, at) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// pause waits; false means that ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
