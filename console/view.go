package console

import "time"

// Tone decides the shape and the colour of a state.
type Tone string

// Tones, worst first. The empty one is drawn like ToneNoData: nothing known is
// never drawn as healthy.
const (
	ToneFailing   Tone = "failing"
	ToneDegraded  Tone = "degraded"
	TonePredicted Tone = "predicted"
	ToneHealing   Tone = "healing"
	ToneHealthy   Tone = "healthy"
	ToneNoData    Tone = "nodata"
	// ToneSilenced is what people keep GRACE's hands and voice off.
	ToneSilenced Tone = "silenced"
	// ToneWaiting is a thing that waits for a person: ink, no hue.
	ToneWaiting Tone = "waiting"
)

// State is a tone with its word.
type State struct {
	Tone  Tone
	Label string
}

// Link leads to another page; Path is relative to Frame.Root. Without a Path
// only the text is drawn.
type Link struct {
	Text string
	Path string
}

// Frame is what surrounds every page.
type Frame struct {
	Title string
	// Root leads from the page to the base path: "./", "../" or "../../".
	Root    string
	Current string // the navigation entry of this page: now, services, incidents or silences
	Now     time.Time
	Refresh int // seconds until the page loads itself again; 0 never
	User    string
	Role    string
	CSRF    string // put into every form
	Mode    *Mode  // nil on pages that do not know it
	Request string // id of the request, to be found in the log

	Incidents string // how many are open, for the navigation; empty when none
	Silences  string // how many are in force, likewise
}

// Mode is the mode in force.
type Mode struct {
	Name    string // as the API calls it: autonomous, ask_always, ...
	Label   string
	Actor   string
	Reason  string
	Since   time.Time
	Expires time.Time // zero: stays until changed
	Then    string    // label of the mode after Expires
}

// Banner tells whether the mode must be said loudly.
func (m Mode) Banner() bool { return m.Name != "autonomous" }

// Home is the status page.
type Home struct {
	Frame

	Headline   string
	Tone       Tone
	Needs      []Need
	Conditions []Condition
	Runs       []RunRow
	Activity   []Entry
	KPIs       []KPI
	MoreRuns   bool // there are more runs than shown

	MoreConditions int // sick services beyond those shown

	Untold     string // why nobody is told of anything; empty when people are
	UntoldHint string

	Ailing []string // receivers that have dead letters or have been failing for minutes

	Silenced string // what is silenced now; empty when nothing is

	Astray Astray
}

// CountConditions counts what is wrong, shown or not.
func (h Home) CountConditions() int { return len(h.Conditions) + h.MoreConditions }

// Need is one thing that waits for a person.
type Need struct {
	What    Link
	Service Link
	Detail  string
	Expires time.Time // zero: does not
	Since   time.Time
}

// Condition is one thing that is wrong, or about to be.
type Condition struct {
	State   State
	Service Link
	What    string // the code, in words
	Detail  string
	Since   time.Time
	Doing   Link // what GRACE does about it, or why nothing

	Silenced []string // by whom or what, until when and why
}

// RunRow is a run in a list.
type RunRow struct {
	State    State
	Run      Link
	Service  Link
	Playbook string
	Cause    string
	At       time.Time
	Took     string
}

// Entry is one line of activity.
type Entry struct {
	At     time.Time
	Actor  string
	Action string
	Object Link
	Reason string
}

// KPI is one figure with its target.
type KPI struct {
	Name   string
	Value  string // "-" where there is too little to judge
	Target string
	Note   string
	Missed bool // the value is known and misses the target
}

// Services is the list of services, worst first.
type Services struct {
	Frame

	Rows    []ServiceRow
	Filter  string
	Healthy int // rows that are healthy and hidden
	Quiet   int // those of them that are silenced
	More    int // rows that are not shown because there are so many
	All     bool
	Astray  Astray
}

// ServiceRow is one service.
type ServiceRow struct {
	ID          string
	State       State
	Criticality string
	Owner       string
	Confidence  string
	Direct      int
	Transitive  int
	Symptoms    []string
	Doing       Link
	Why         string // why nothing is being done; empty when silences say it
	Silenced    []string
}

// Gate is one row of a gates table.
type Gate struct {
	Name     string
	OK       bool
	Code     string
	Actual   string
	Required string
	Hint     string
}

// Gates is a decision's table.
type Gates struct {
	Rows    []Gate
	Failed  int
	Verdict string
	Policy  string
}

// Step is one step of a run.
type Step struct {
	Name     string
	Action   string
	State    State
	Attempts int
	Started  time.Time
	Took     string
	Note     string // "irreversible", "read only", "resumed"
	Output   string
	Error    string
}

// Check is verification's word on one check.
type Check struct {
	Name   string
	State  State
	Wanted string
	Actual string
	Probes string // "5 of 6"
}

// Run is the page of one run.
type Run struct {
	Frame

	ID       string
	State    State
	Service  Link
	Playbook string
	Code     string
	Kind     string
	Created  time.Time
	Ended    time.Time
	Recover  string // time to recover, of a success
	Error    string
	Abort    string // who asked for the abort, and why
	Incident string
	Approval Link
	Why      []Paragraph
	Gates    Gates
	Steps    []Step
	Undo     []Step
	Checks   []Check
	CanAbort bool
	Form     Form
}

// Paragraph is one stage of the explanation.
type Paragraph struct {
	Title string
	Lines []string
}

// Form is what came back from a refused one.
type Form struct {
	Error  string
	Reason string
}

// Approval is the page of one question to a person.
type Approval struct {
	Frame

	ID        string
	State     State
	Service   Link
	Run       Link
	Title     string // what would be done, in one line
	What      []string
	Why       []Paragraph
	Undo      []string
	Chance    string
	Risk      string
	Impact    string
	Blast     string
	Expires   time.Time
	Asked     time.Time
	Revision  int
	Gates     Gates
	Pending   bool
	CanDecide bool
	Settled   string // who decided, when and why
	Form      Form
}

// Login asks for a token.
type Login struct {
	Frame

	Next  string // path to go on to, relative to Root
	Error string
}

// Notice is a page with nothing but a message: an error, or a hop.
type Notice struct {
	Frame

	Heading string
	Detail  string
	Back    Link
	Hop     bool // loads itself again at once
}

func (Home) template() string     { return "home.html" }
func (Services) template() string { return "services.html" }
func (Run) template() string      { return "run.html" }
func (Approval) template() string { return "approval.html" }
func (Login) template() string    { return "login.html" }
func (Notice) template() string   { return "notice.html" }
