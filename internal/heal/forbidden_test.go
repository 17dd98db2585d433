package heal

import (
	"errors"
	"testing"
	"time"
)

// TestForbidden: what was tried before it was forbidden is not said to have not begun.
func TestForbidden(t *testing.T) {
	at := time.Now()
	cleared := &ClearedError{Text: NotBegun + "it passes"}
	for _, tt := range []struct {
		err   error
		tries int
		want  string
	}{
		{cleared, 0, "not begun: it passes"},
		{cleared, 2, "stopped after try 2, which failed: it passes"},
		{errors.New("stopped: the mode is stopped"), 2, "stopped: the mode is stopped"},
	} {
		if got := forbidden(tt.err, tt.tries, at, at).Error; got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
