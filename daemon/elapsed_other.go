//go:build !linux

package daemon

import "time"

// elapsed gives the time since this process began, as no step of the wall clock
// moves it.
func elapsed() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}
