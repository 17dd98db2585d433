package console

import "time"

// Silences is the page of what is silenced.
type Silences struct {
	Frame

	Rows   []SilenceRow
	More   int // silences that are not shown because there are so many
	Error  string
	CanAct bool
	Form   SilenceForm
}

// SilenceRow is a silence in force or to come.
type SilenceRow struct {
	ID      string
	State   State
	What    string // what it matches
	Reason  string
	Actor   string
	Starts  time.Time
	Ends    time.Time
	Covers  string // which services it is about
	Nothing bool   // it is about none
	Holds   []Held // what is wrong now and left alone
	More    int    // services held that are not named
	Form    Form   // of ending it
}

// Held is a service that suffers and is left alone.
type Held struct {
	Service Link
	What    string
}

// SilenceForm is what was typed to add a silence.
type SilenceForm struct {
	Error   string
	Service string
	Labels  string
	For     string
	Reason  string
}

// Incidents is the page of what needs a person.
type Incidents struct {
	Frame

	Open     []IncidentRow
	More     int // open incidents that are not shown because there are so many
	Resolved []ResolvedRow
	Error    string
	CanAct   bool
}

// IncidentRow is an open incident.
type IncidentRow struct {
	ID           string
	State        State
	Title        string
	Kind         string
	Service      Link
	Others       []Link // other services that it covers
	MoreOthers   int
	Sensor       string
	Detail       string
	Since        time.Time
	Run          Link
	Held         string // what it waits for, and keeps GRACE from
	Acknowledged *Remark
	Notes        []Remark
	Form         Form
}

// Remark is what a person said, and when.
type Remark struct {
	Actor string
	Text  string
	At    time.Time
}

// ResolvedRow is an incident that is over.
type ResolvedRow struct {
	ID         string
	Title      string
	Service    Link
	Opened     time.Time
	Resolved   time.Time
	Took       string
	Resolution string
	Run        Link
}

func (Silences) template() string  { return "silences.html" }
func (Incidents) template() string { return "incidents.html" }
