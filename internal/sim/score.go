package sim

import (
	"slices"
	"time"

	"grace"
	"grace/internal/stage/learn"
)

// incident is one fault, from when it struck until nothing of it is left.
type incident struct {
	Service   grace.ServiceID
	Kind      Kind
	At        time.Time
	Hurt      bool // users have seen it
	Detected  time.Time
	Mitigated time.Time
	open      bool
}

// strike makes a service sick. What strikes a sick one is the same incident.
func (s *Sim) strike(e Event) {
	s.world.strike(e, s.now)
	id := grace.ServiceID(e.Target)
	if s.world.service(id) == nil {
		return
	}
	for _, i := range s.incidents {
		if i.open && i.Service == id {
			return
		}
	}
	s.incidents = append(s.incidents, &incident{Service: id, Kind: e.Kind, At: s.now, open: true})
}

// watchIncidents closes what has passed.
func (s *Sim) watchIncidents() {
	for _, i := range s.incidents {
		if !i.open {
			continue
		}
		svc := s.world.service(i.Service)
		i.Hurt = i.Hurt || svc.sick
		if s.now.After(i.At.Add(sampleEvery)) && !svc.ill(s.now) && svc.up(s.now) {
			i.open, i.Mitigated = false, s.now
		}
	}
}

func (s *Sim) closeIncidents() {
	for _, i := range s.incidents {
		i.open = false
	}
}

// detect notes that the operator sees a condition of a service.
func (s *Sim) detect(id grace.ServiceID, at time.Time) {
	for _, i := range s.incidents {
		ended := !i.Mitigated.IsZero() && at.After(i.Mitigated)
		if i.Service == id && i.Detected.IsZero() && !at.Before(i.At) && !ended {
			i.Detected = at
		}
	}
}

// detected reads from the log when GRACE saw each incident: its first decision
// on the service that is the cause.
func (s *Sim) detected(r *record) {
	for _, e := range r.Audit {
		if len(e.Object) > 9 && e.Object[:9] == "decision/" {
			s.detect(e.Service, e.At)
		}
	}
}

// Score sums up how an operator did over many stories.
type Score struct {
	Operator         string         `json:"operator"`
	Stories          int            `json:"stories"`
	Incidents        int            `json:"incidents"`
	Detected         int            `json:"detected"`
	Mitigated        int            `json:"mitigated"`
	TimeToDetect     grace.Duration `json:"time_to_detect" doc:"median, of the detected"`
	TimeToMitigate   grace.Duration `json:"time_to_mitigate" doc:"median, of the mitigated"`
	MeanToMitigate   grace.Duration `json:"mean_time_to_mitigate"`
	Actions          int            `json:"actions"`
	Collateral       int            `json:"collateral" doc:"actions on services that had nothing wrong of their own"`
	QuietStories     int            `json:"quiet_stories"`
	FalseActions     int            `json:"false_actions" doc:"actions in stories without any fault"`
	Criteria         []*Criteria    `json:"criteria,omitempty" doc:"of GRACE's own runs: over all stories, and over those in which less is broken on purpose"`
	toDetect, toMend []time.Duration
}

// Criteria are the figures that healing is judged by, over a part of the
// stories: the failure of an action that was made to fail is not GRACE's.
type Criteria struct {
	Over      string      `json:"over" doc:"all, honest: actions do what they say, clear: and what is wrong is plain to see, whole: nothing is broken but services"`
	Stories   int         `json:"stories"`
	Incidents int         `json:"incidents"`
	Mitigated int         `json:"mitigated"`
	KPIs      *learn.KPIs `json:"kpis"`
	counts    func(Story) bool
	facts     []learn.Fact
	wrong     int // predictions
	told      int
}

func newCriteria() []*Criteria {
	return []*Criteria{
		{Over: "all", counts: func(Story) bool { return true }},
		{Over: "honest", counts: Story.Honest},
		{Over: "clear", counts: Story.Clear},
		{Over: "whole", counts: Story.Whole},
	}
}

func (c *Criteria) add(r *Result) {
	if !c.counts(r.Story) {
		return
	}
	c.Stories++
	c.Incidents += len(r.Incidents)
	for _, i := range r.Incidents {
		if !i.Mitigated.IsZero() {
			c.Mitigated++
		}
	}
	for _, run := range r.Log.Runs {
		c.facts = append(c.facts, learn.Fact{
			State: run.Status, Kind: run.Kind, Auto: run.Auto, CreatedAt: run.CreatedAt, EndedAt: run.EndedAt,
			Recovered: run.RecoveredIn, RolledBack: run.Undone(), LowRisk: run.Playbook.Risk == grace.RiskLow && !r.Story.critical(run.Service),
		})
	}
	c.wrong += r.FalsePredictions
	c.told += r.Predictions
}

// Add counts one story.
func (c *Score) Add(r *Result) {
	c.Stories++
	quiet := r.Story.quiet()
	if quiet {
		c.QuietStories++
	}
	for _, i := range r.Incidents {
		c.Incidents++
		if !i.Detected.IsZero() {
			c.Detected++
			c.toDetect = append(c.toDetect, i.Detected.Sub(i.At))
		}
		if !i.Mitigated.IsZero() {
			c.Mitigated++
			c.toMend = append(c.toMend, i.Mitigated.Sub(i.At))
		}
	}
	for _, a := range r.Calls {
		if a.Phase != grace.PhaseDo {
			continue
		}
		c.Actions++
		if !a.Needed {
			c.Collateral++
		}
		if quiet {
			c.FalseActions++
		}
	}
	if r.Log == nil {
		return
	}
	for _, k := range c.Criteria {
		k.add(r)
	}
}

// Merge adds what another goroutine counted.
func (c *Score) Merge(o *Score) {
	c.Stories += o.Stories
	c.Incidents += o.Incidents
	c.Detected += o.Detected
	c.Mitigated += o.Mitigated
	c.Actions += o.Actions
	c.Collateral += o.Collateral
	c.QuietStories += o.QuietStories
	c.FalseActions += o.FalseActions
	c.toDetect = append(c.toDetect, o.toDetect...)
	c.toMend = append(c.toMend, o.toMend...)
	for i, k := range o.Criteria {
		mine := c.Criteria[i]
		mine.Stories += k.Stories
		mine.Incidents += k.Incidents
		mine.Mitigated += k.Mitigated
		mine.facts = append(mine.facts, k.facts...)
		mine.wrong += k.wrong
		mine.told += k.told
	}
}

// Close computes what needs all stories.
func (c *Score) Close() {
	c.TimeToDetect, c.TimeToMitigate = median(c.toDetect), median(c.toMend)
	var sum time.Duration
	for _, d := range c.toMend {
		sum += d
	}
	if n := len(c.toMend); n > 0 {
		c.MeanToMitigate = grace.Duration((sum / time.Duration(n)).Round(time.Second))
	}
	for _, k := range c.Criteria {
		m := learn.Measure(epoch().Add(12*time.Hour), k.facts)
		m.Criteria = append(m.Criteria, learn.FalsePredictions(k.wrong, k.told))
		k.KPIs = &m
	}
}

func median(list []time.Duration) grace.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return grace.Duration(list[(len(list)-1)/2])
}
