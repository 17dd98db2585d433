package child

import "syscall"

// Kind is what a guard reports. Of two reports at most, the first is Started or
// NotStarted.
type Kind uint8

// What a guard reports, and what Value then is.
const (
	Nothing    Kind = iota // the guard is gone
	Started                // the process id
	NotStarted             // the errno
	Ended                  // the wait status
	OverLimit              // ended by the guard at its limit: the wait status
)

// Report is one message of a guard.
type Report struct {
	Kind  Kind
	Value uint32
}

// ReportSize is the length of a report in bytes.
const ReportSize = 5

// send is one write, which a pipe never splits. That nobody reads it any more
// is no error.
func (r Report) send() {
	v := r.Value
	_, _ = syscall.Write(reportFile, []byte{byte(r.Kind), byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// ParseReport reads what send wrote.
func ParseReport(b [ReportSize]byte) Report {
	return Report{Kind(b[0]), uint32(b[1])<<24 | uint32(b[2])<<16 | uint32(b[3])<<8 | uint32(b[4])}
}
