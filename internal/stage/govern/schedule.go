package govern

import (
	"errors"
	"fmt"
	"time"

	"grace"
)

// Schedule is a set of windows as others than the trust core ask it: working
// hours, for example. Without a window it is always open.
type Schedule struct{ windows []window }

// NewSchedule reads windows. Its errors are [grace.FieldError], of [1].start for
// example.
func NewSchedule(list []Window) (Schedule, error) {
	var s Schedule
	var all []error
	for i, w := range list {
		read, err := compileWindow(w)
		s.windows, all = append(s.windows, read), append(all, grace.Under(fmt.Sprintf("[%d]", i), err))
	}
	return s, errors.Join(all...)
}

// Open tells whether a window is open at a time.
func (s Schedule) Open(at time.Time) bool {
	for _, w := range s.windows {
		if open, _ := w.at(at); open {
			return true
		}
	}
	return len(s.windows) == 0
}
