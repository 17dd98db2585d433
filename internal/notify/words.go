package notify

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"grace"
	"grace/internal/explain"
)

// messageWriter makes messages: pure, its time and place are fields.
type messageWriter struct {
	now      time.Time
	zone     *time.Location
	external string // base of links, "" for none
	services map[grace.ServiceID]grace.Service
}

// Bounds of what is shown, in characters.
const (
	maxTitle = 150
	maxText  = 700
)

func (w messageWriter) run(m *Message, e grace.Event, f facts) {
	var p runPayload
	if json.Unmarshal(e.Payload, &p) != nil { // what is missing is read from the run
		_ = json.Unmarshal(e.Payload, &p.Reason)
	}
	_, id, _ := strings.Cut(e.Resource, "/")
	m.Run, m.Incident = grace.RunID(id), p.Incident
	if f.run != nil {
		p.Service, p.Playbook, p.Code = f.run.Service, f.run.Playbook.ID, f.run.Code
		if p.Reason == "" {
			p.Reason = f.run.Error
		}
		if p.Code != grace.CodeManual { // nothing was wrong
			m.Since = w.stamp(f.run.SickSince)
		}
	}
	if p.Service == "" {
		return
	}
	m.Services, m.Link = []grace.ServiceID{p.Service}, w.link("runs", id)
	m.What = plain(string(p.Code))
	if f.decision != nil && len(f.decision.Diagnosis.Evidence) > 0 {
		m.What += ": " + f.decision.Diagnosis.Evidence[0].Text // the strongest
	}
	if f.run != nil && f.run.Asked != nil {
		m.What = "asked for" + by(f.run.Asked.Actor) + ": " + f.run.Asked.Text
	}
	on := fmt.Sprintf("%s on %s", p.Playbook, p.Service)
	switch m.Kind {
	case Asked:
		w.ask(m, p, f)
		return
	case Acted:
		if f.run != nil && f.run.Status.Terminal() {
			w.ran(m, on, f.run)
			return
		}
		m.Title = "GRACE runs " + on
		m.Doing = "It does the playbook's steps, verifies them, and undoes what does not help"
		m.Do = "Nothing, or stop and undo it: grace runs abort " + id + " --reason WHY"
	case Resolved: // nothing was done, though a person had approved it, or it had begun
		m.Ended, m.Title, m.Doing = true, "Not done: "+on, "No step of it succeeded"
		if f.wasApproved() {
			m.Severity, m.Began = w.asked(p.Service), f.approval.At
			m.Title, m.Doing = on+" was approved"+by(f.approval.Actor)+", but is not done any more", "It does nothing"
		}
		m.Doing = sentences(m.Doing, w.sentence(p.Reason))
	case Helped:
		w.helped(m, p, f)
	case Ineffective:
		m.Title, m.Severity = fmt.Sprintf("%s did not help %s", p.Playbook, p.Service), grace.SeverityWarning
		m.Doing = sentences(w.sentence(p.Reason), "It tries another remedy, or opens an incident")
		m.Do = "See what was tried: grace why " + id
	case Undone:
		m.Title, m.Severity = on+" was undone", grace.SeverityWarning
		if strings.HasSuffix(e.Type, ".aborted") {
			m.Title = on + " was aborted"
		}
		m.Doing = w.sentence(p.Reason)
		m.Do = "Look at " + string(p.Service) + "; what was done: grace why " + id
	default:
		m.Title, m.Severity = on+" failed: GRACE needs a person", grace.SeverityCritical
		m.Doing = sentences(w.sentence(p.Reason), "It does nothing more by itself here")
		m.Do = "Look at " + string(p.Service) + "; what was done: grace why " + id
	}
	if m.Kind == Ineffective || m.Kind == Undone || m.Kind == Escalated {
		if f.run != nil && m.Incident == "" {
			m.Incident = f.run.Incident
		}
		m.twin = m.Incident != ""
	}
}

// helped words that a run succeeded.
func (w messageWriter) helped(m *Message, p runPayload, f facts) {
	m.Doing, m.Ended = "It is done: the checks have held", true
	switch m.Title = fmt.Sprintf("%s helped %s", p.Playbook, p.Service); {
	case p.Code == grace.CodeManual: // nothing was wrong
		m.Title = fmt.Sprintf("%s on %s is done", p.Playbook, p.Service)
	case f.run == nil:
	case f.run.Unsure():
		m.Title, m.Doing = fmt.Sprintf("%s is well again", p.Service), sentences(m.Doing, w.sentence(explain.Unsure))
	case f.run.RecoveredIn > 0:
		m.Title += ": well again after " + span(f.run.RecoveredIn.D())
	}
}

// ran words that a run began which has ended by now.
func (w messageWriter) ran(m *Message, on string, run *grace.Run) {
	m.ran = run
	m.Doing, m.Do = w.sentence(run.Error), "See what was done: grace why "+string(run.ID)
	how := ""
	switch run.Status { //nolint:exhaustive // the others changed nothing
	case grace.RunSucceeded:
		how, m.Doing = "it helped", "The checks have held"
		switch {
		case run.Code == grace.CodeManual: // nothing was wrong
			how = "it is done"
		case run.Unsure():
			how, m.Doing = "it is well again", sentences(m.Doing, w.sentence(explain.Unsure))
		}
	case grace.RunIneffective:
		how = "it did not help"
	case grace.RunRolledBack:
		how = "it was undone"
	case grace.RunAborted:
		how = "it was aborted"
	case grace.RunEscalated:
		how = "it failed"
	}
	m.Title = "GRACE ran " + on + ": " + how
	if how == "" {
		m.Title, m.Doing = "Not done: "+on, sentences("It began, and no step of it succeeded", m.Doing)
	}
	if run.EndedAt != nil {
		m.Doing = sentences("It ended at "+w.stamp(*run.EndedAt), m.Doing)
	}
}

// asked is the severity of a question about a service, and of its answer.
func (w messageWriter) asked(id grace.ServiceID) grace.Severity {
	if c := w.services[id].Criticality; c == grace.CriticalityCritical || c == grace.CriticalityHigh {
		return grace.SeverityCritical
	}
	return grace.SeverityWarning
}

// ask words a question.
func (w messageWriter) ask(m *Message, p runPayload, f facts) {
	m.Title = fmt.Sprintf("May GRACE run %s on %s?", p.Playbook, p.Service)
	m.Severity = w.asked(p.Service)
	m.Link = w.link("approvals", string(m.Run))
	if f.run != nil {
		var steps []string
		for _, s := range f.run.Playbook.Steps {
			steps = append(steps, s.Name)
		}
		if len(steps) > 0 {
			m.What += "; the steps would be: " + strings.Join(steps, ", ")
		}
	}
	if f.decision != nil {
		if why := because(f.decision.Failed()); why != "" {
			m.What += ". It asks because of " + why
		}
	}
	if a := f.approval; a != nil {
		m.Began = a.At
		if a.State != grace.ApprovalPending {
			m.Doing, m.stale = "The question is no longer open: "+answered(*a), true
			return
		}
		m.Question = &Question{Approval: a.ID, Revision: a.Revision, Expires: a.Expires}
		m.Doing = "It waits for an answer until " + w.stamp(a.Expires) + "; without one it does nothing"
	}
	m.Do = fmt.Sprintf("grace approve %s --reason WHY, or grace deny %s --reason WHY", m.Run, m.Run)
}

// because names the gates that said no.
func because(failed []grace.Reason) string {
	var out []string
	for _, r := range failed {
		text := plain(r.Gate)
		switch {
		case r.Gate == "playbook_auto":
			text = "the playbook, which is not to run without a person"
		case r.Actual != nil:
			text += " (" + explain.Actual(r) + ", without a person " + explain.Required(r) + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func answered(a grace.Approval) string {
	text := string(a.State)
	if a.Actor != "" && a.Actor != grace.Self {
		text += " by " + a.Actor
	}
	if a.Reason != "" {
		text += " (" + a.Reason + ")"
	}
	return text
}

// answer words the end of a question.
func (w messageWriter) answer(m *Message, e grace.Event, f facts) {
	var a grace.Approval
	if json.Unmarshal(e.Payload, &a) != nil || a.ID == "" {
		if f.approval == nil {
			return
		}
		a = *f.approval
	}
	m.Ended, m.Began = true, a.At
	m.Run, m.Services = a.Run, []grace.ServiceID{a.Service}
	m.Thread, m.Subject = "run/"+string(a.Run), "run/"+string(a.Run)
	m.Title = fmt.Sprintf("%s on %s: %s", a.Playbook, a.Service, answered(a))
	m.Link = w.link("runs", string(a.Run))
	m.Severity = w.asked(a.Service)
	switch a.State {
	case grace.ApprovalApproved:
		m.Doing = "It checks once more that it is needed and allowed, and acts"
		outside := func(r grace.Reason) bool { return !r.OK && r.Code == grace.ReasonOutsideWindow }
		switch {
		case f.run != nil && explain.Waits(*f.run) != "":
			m.Doing = "It waits for " + explain.Waits(*f.run) + ". Then it checks once more that it is needed and allowed, and acts"
		case f.decision != nil && slices.ContainsFunc(f.decision.Reasons, outside): // it may not have been asked yet
			m.Doing = "It checks once more that it is needed and allowed, waits for a change window unless one is open, and acts"
		}
	case grace.ApprovalExpired:
		m.Doing = "Nobody answered in time. It does nothing, and asks again while the condition lasts"
	case grace.ApprovalPending, grace.ApprovalDenied, grace.ApprovalCancelled:
		m.Doing = "It does nothing"
	}
}

func (w messageWriter) incident(m *Message, e grace.Event, inc *grace.Incident) {
	m.Incident, m.Run, m.Severity = inc.ID, inc.Run, inc.Severity
	m.Services, m.recovered = slices.Clone(inc.Services), inc.Recovered
	if inc.Service != "" && !slices.Contains(m.Services, inc.Service) {
		m.Services = append([]grace.ServiceID{inc.Service}, m.Services...)
	}
	m.Subject, m.Began = "incident/"+string(inc.ID), inc.OpenedAt
	m.Thread = m.Subject
	m.Link = w.link("incidents", string(inc.ID))
	if inc.Run != "" {
		m.Thread, m.Link = "run/"+string(inc.Run), w.link("runs", string(inc.Run))
	}
	m.Since = w.stamp(inc.OpenedAt)
	if !inc.Since.IsZero() {
		m.Since = w.stamp(inc.Since)
	}
	m.What, m.Title, m.stale = w.sentence(inc.Detail), inc.Title, inc.State == grace.IncidentResolved
	switch m.Kind {
	case Unhealed:
		if strings.HasSuffix(e.Type, ".updated") {
			m.Title = sentences(w.news(inc.News), inc.Title)
		}
		switch m.Doing = "It tries again by itself when the reason for which it does not act has passed"; {
		case inc.Manual:
			m.Doing = fmt.Sprintf("Something may have been left half done: GRACE does nothing to %s until a person has looked: grace incidents resolve %s --reason WHY", inc.Service, inc.ID)
		case inc.NeedsPerson():
			m.Doing = "Only a person can tell that this is over"
		case len(inc.Stopped) > 0:
			m.Doing = fmt.Sprintf("A person stopped it: GRACE does nothing more to %s by itself until this is over. To let it act again: grace incidents resolve %s --reason WHY; to act yourself: grace run PLAYBOOK %s --reason WHY", inc.Service, inc.ID, inc.Service)
		}
	case Escalated:
		m.also = []Kind{Unhealed}
		m.Title = "Still unhealed: " + inc.Title
	case Acknowledged:
		m.Title = "Acknowledged" + by(e.Actor) + ": " + inc.Title
		m.Doing = "It calls nobody else"
		if inc.Acknowledged != nil {
			m.What = w.sentence(inc.Acknowledged.Text)
		}
		return
	case Resolved:
		m.Title, m.Ended = "Resolved"+by(e.Actor)+": "+inc.Title, true
		if inc.Resolution != "" {
			m.What = w.sentence(inc.Resolution)
		}
		return
	case CircuitBreaker:
		m.also = []Kind{Unhealed}
		m.Doing = "It does nothing by itself until fewer services are sick"
		if strings.HasSuffix(e.Type, ".closed") {
			m.Title, m.Doing, m.Ended = "The circuit breaker is closed", "It acts again", true
			return
		}
	default:
	}
	m.Do = fmt.Sprintf("Say that you look after it: grace incidents acknowledge %s --reason WHY; when it is over: grace incidents resolve %s --reason WHY", inc.ID, inc.ID)
	if inc.Kind == grace.IncidentStorm {
		m.Do = "Say that you look after it: grace incidents acknowledge " + string(inc.ID) + " --reason WHY"
	}
}

func by(actor string) string {
	if actor == "" || actor == grace.Self {
		return ""
	}
	return " by " + actor
}

func (w messageWriter) mode(m *Message, e grace.Event) {
	var set grace.ModeSetting
	if json.Unmarshal(e.Payload, &set) != nil || set.Mode == "" || set.Revision == 1 {
		return // the first start changes nothing
	}
	m.Title = "Mode: " + plain(string(set.Mode)) + by(set.Actor)
	m.What, m.Link = w.sentence(set.Reason), w.link("", "")
	if set.Mode == grace.ModeStopped || set.Mode == grace.ModeObserveOnly {
		m.Severity = grace.SeverityWarning
	}
	if set.Expires != nil {
		m.Doing = "Until " + w.stamp(*set.Expires) + ", then " + plain(string(set.Fallback))
	}
}

// finish bounds and cleans what came from outside, and adds whose it is.
func (w messageWriter) finish(m *Message) {
	for _, id := range m.Services {
		if owner := w.services[id].Owner; owner != "" && !slices.Contains(m.Teams, owner) {
			m.Teams = append(m.Teams, owner)
		}
	}
	if m.Severity == "" {
		m.Severity = grace.SeverityWarning
	}
	names := make([]string, 0, len(m.Services))
	for _, id := range m.Services {
		names = append(names, string(id))
	}
	m.Where = strings.Join(names, ", ")
	if len(m.Teams) > 0 {
		m.Where += " (" + strings.Join(m.Teams, ", ") + ")"
	}
	m.Title = clean(m.Title, maxTitle)
	for _, text := range []*string{&m.What, &m.Where, &m.Since, &m.Doing, &m.Do} {
		*text = clean(*text, maxText)
	}
}

// clean makes text safe to show: one line without control characters and
// without marks that turn the direction of writing, shortened.
func clean(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	text = strings.TrimSpace(text)
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most-1]) + "…"
	}
	return text
}

// plain puts blanks where a code has underscores.
func plain(code string) string { return strings.ReplaceAll(code, "_", " ") }

// sentence makes text begin with a capital letter and end without a full stop. An id
// at its beginning is written as it is: a service's, or what only an id looks like.
func (w messageWriter) sentence(text string) string {
	text = strings.TrimRight(strings.TrimSpace(text), ".")
	head, _, _ := strings.Cut(text, " ")
	head = strings.TrimRight(head, ":,;")
	if _, known := w.services[grace.ServiceID(head)]; known || strings.ContainsAny(head, "_-./0123456789") {
		return text
	}
	if first, size := utf8.DecodeRuneInString(text); size > 0 && unicode.IsLower(first) {
		text = string(unicode.ToUpper(first)) + text[size:]
	}
	return text
}

// news words what an update of an incident added. When that is the end of a run, it
// begins with the playbook's id.
func (w messageWriter) news(text string) string {
	if strings.Contains(text, " (run ") {
		return text
	}
	return w.sentence(text)
}

// sentences joins those that say something.
func sentences(list ...string) string {
	list = slices.DeleteFunc(list, func(s string) bool { return s == "" })
	return strings.Join(list, ". ")
}

func (w messageWriter) link(kind, id string) string {
	if w.external == "" {
		return ""
	}
	base := strings.TrimRight(w.external, "/") + "/lite"
	if id == "" {
		return base
	}
	return base + "/" + kind + "/" + url.PathEscape(id)
}

// stamp gives a time as local and relative.
func (w messageWriter) stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	zone := w.zone
	if zone == nil {
		zone = time.UTC
	}
	local, today := t.In(zone), w.now.In(zone)
	form := "15:04 MST"
	if local.YearDay() != today.YearDay() || local.Year() != today.Year() {
		form = "2 Jan 15:04 MST"
	}
	d := w.now.Sub(t)
	if d < 0 {
		return local.Format(form) + ", in " + span(-d)
	}
	return local.Format(form) + ", " + span(d) + " ago"
}

// span gives a duration in its largest unit or two.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(math.Round(d.Minutes())))
	case d < 48*time.Hour:
		h, m := int(d.Hours()), int(d.Minutes())%60
		if m == 0 {
			return fmt.Sprintf("%d h", h)
		}
		return fmt.Sprintf("%d h %d min", h, m)
	}
	return fmt.Sprintf("%d d", int(math.Round(d.Hours()/24)))
}
