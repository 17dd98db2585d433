package decide

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"grace"
	"grace/internal/stage/admit"
)

// mostExamples is how many differences, and how many changes, are given.
const mostExamples = 100

// Replayed says what came of computing recorded decisions and admissions again.
type Replayed struct {
	Decisions   int          `json:"decisions"`
	Admissions  int          `json:"admissions"`
	Differ      int          `json:"differ"`
	Differences []Difference `json:"differences" doc:"the first 100"`
	Next        string       `json:"next,omitempty" doc:"the cursor to go on from: the time of one call was used up"`
}

func (r Replayed) String() string {
	return fmt.Sprintf("replayed %d decisions and %d admissions, %d differ", r.Decisions, r.Admissions, r.Differ)
}

// Add counts a record, and how it differs.
func (r *Replayed) Add(rec grace.Recorded, d *Difference) {
	if rec.Kind == grace.RecordAdmission {
		r.Admissions++
	} else {
		r.Decisions++
	}
	if d == nil {
		return
	}
	if r.Differ++; len(r.Differences) < mostExamples {
		r.Differences = append(r.Differences, *d)
	}
}

// Forged counts a record whose answer nobody vouches for.
func (r *Replayed) Forged(rec grace.Recorded, err error) {
	d := about(rec)
	d.Error = err.Error()
	r.Add(rec, &d)
}

// Join adds what came of the records behind those.
func (r *Replayed) Join(o Replayed) {
	r.Decisions, r.Admissions, r.Differ, r.Next = r.Decisions+o.Decisions, r.Admissions+o.Admissions, r.Differ+o.Differ, o.Next
	r.Differences = first(append(r.Differences, o.Differences...))
}

// Join adds what came of the records behind those.
func (b *Backtested) Join(o Backtested) {
	b.Decisions, b.Admissions, b.Changed, b.Failed, b.Next = b.Decisions+o.Decisions, b.Admissions+o.Admissions, b.Changed+o.Changed, b.Failed+o.Failed, o.Next
	b.Examples = first(append(b.Examples, o.Examples...))
	for _, list := range []struct{ to, from *[]ChangeCount }{{&b.Verdicts, &o.Verdicts}, {&b.Services, &o.Services}, {&b.Playbooks, &o.Playbooks}} {
		for _, c := range *list.from {
			count(list.to, c)
		}
	}
}

// All asks from cursor to cursor, until there is nothing more.
func All(ask func(cursor string) (next string, err error)) error {
	for cursor := ""; ; {
		next, err := ask(cursor)
		if err != nil || next == "" {
			return err
		}
		cursor = next
	}
}

func first[T any](list []T) []T { return list[:min(len(list), mostExamples)] }

// Backtested says what would have been decided under another configuration. Each record
// stands for itself: what a run that was not would have changed is not known.
type Backtested struct {
	Decisions  int           `json:"decisions"`
	Admissions int           `json:"admissions"`
	Changed    int           `json:"changed"`
	Verdicts   []ChangeCount `json:"verdicts" doc:"by what was said then and would be now"`
	Services   []ChangeCount `json:"services"`
	Playbooks  []ChangeCount `json:"playbooks" doc:"by what was proposed then and would be now"`
	Examples   []Changed     `json:"examples" doc:"the first 100"`
	Failed     int           `json:"failed" doc:"that cannot be computed; see replay"`
	Next       string        `json:"next,omitempty" doc:"the cursor to go on from: the time of one call was used up"`
}

// ChangeCount is how often something changed.
type ChangeCount struct {
	Service grace.ServiceID `json:"service,omitempty"`
	Then    string          `json:"then,omitempty"`
	Now     string          `json:"now,omitempty"`
	Count   int             `json:"count"`
}

// Changed is a record that would be answered otherwise.
type Changed struct {
	ID      string           `json:"id"`
	Kind    grace.RecordKind `json:"kind" enum:"decision,admission"`
	Service grace.ServiceID  `json:"service"`
	At      time.Time        `json:"at"`
	Then    Said             `json:"then"`
	Now     Said             `json:"now"`
}

// Said is the short of an answer.
type Said struct {
	Verdict  string           `json:"verdict" doc:"of a decision; of an admission go, wait or how its run ends"`
	Playbook grace.PlaybookID `json:"playbook,omitempty"`
	Reasons  []grace.Reason   `json:"reasons,omitempty" doc:"that said no"`
}

// Backtest computes a record under other rules, and counts how the answer changes.
func (rd *Reader) Backtest(out *Backtested, rec grace.Recorded, rules *Rules) {
	if rec.Kind == grace.RecordAdmission {
		out.Admissions++
	} else {
		out.Decisions++
	}
	then, err := said(rec.Kind, rec.Answer)
	var answer []byte
	if err == nil {
		_, answer, err = rd.Again(rec, rules)
	}
	if err != nil {
		out.Failed++
		return
	}
	now, _ := said(rec.Kind, answer) // it was made a moment ago
	if then.Verdict == now.Verdict && then.Playbook == now.Playbook {
		return
	}
	out.Changed++
	count(&out.Services, ChangeCount{Service: rec.Service, Count: 1})
	if then.Verdict != now.Verdict {
		count(&out.Verdicts, ChangeCount{Then: then.Verdict, Now: now.Verdict, Count: 1})
	}
	if then.Playbook != now.Playbook {
		count(&out.Playbooks, ChangeCount{Then: cmp.Or(string(then.Playbook), "none"), Now: cmp.Or(string(now.Playbook), "none"), Count: 1})
	}
	if len(out.Examples) < mostExamples {
		out.Examples = append(out.Examples, Changed{ID: rec.ID, Kind: rec.Kind, Service: rec.Service, At: rec.At, Then: then, Now: now})
	}
}

func said(kind grace.RecordKind, answer []byte) (Said, error) {
	if kind == grace.RecordAdmission {
		var a admit.Answer
		err := json.Unmarshal(answer, &a)
		out := Said{Verdict: string(a.End), Reasons: a.Reasons}
		switch {
		case a.End == "" && a.Wait.IsZero():
			out.Verdict = "go"
		case a.End == "":
			out.Verdict = "wait"
		}
		return out, err
	}
	var dec grace.Decision
	err := json.Unmarshal(answer, &dec)
	out := Said{Verdict: string(dec.Verdict), Reasons: dec.Failed()}
	if dec.Proposal != nil {
		out.Playbook = dec.Proposal.Playbook
	}
	return out, err
}

// count adds to a kind of change; the most frequent come first.
func count(list *[]ChangeCount, one ChangeCount) {
	same := func(c ChangeCount) bool { return c.Service == one.Service && c.Then == one.Then && c.Now == one.Now }
	i := slices.IndexFunc(*list, same)
	if i < 0 {
		i = len(*list)
		*list = append(*list, ChangeCount{Service: one.Service, Then: one.Then, Now: one.Now})
	}
	(*list)[i].Count += one.Count
	slices.SortStableFunc(*list, func(a, b ChangeCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Then+a.Now+string(a.Service), b.Then+b.Now+string(b.Service)))
	})
}
