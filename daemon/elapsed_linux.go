package daemon

import (
	"time"

	"golang.org/x/sys/unix"
)

// elapsed gives the time since this process began, as no step of the wall clock
// moves it. That the machine was suspended counts, as it does not in Go's own
// monotonic clock: what was seen before is old afterwards.
func elapsed() func() time.Duration {
	sinceBoot := func() time.Duration {
		var t unix.Timespec
		if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
			return 0
		}
		return time.Duration(t.Nano())
	}
	began, at := time.Now(), sinceBoot()
	if at == 0 {
		return func() time.Duration { return time.Since(began) }
	}
	return func() time.Duration { return sinceBoot() - at }
}
