package notify

import (
	"errors"
	"fmt"
	"testing"

	"grace"
	"grace/internal/store"
)

// TestForgedRow: a row that somebody forged keeps no message from anybody, and a
// store that does not answer is no reason to tell half of it.
func TestForgedRow(t *testing.T) {
	for _, err := range []error{store.ErrForged, store.ErrNotFound} {
		if row, err := optional(grace.Approval{}, fmt.Errorf("approval r-1: %w", err)); row != nil || err != nil {
			t.Errorf("%v, %v; want a message without the row", row, err)
		}
	}
	if _, err := optional(grace.Approval{}, errors.New("the store is away")); err == nil {
		t.Error("the message was made although the store is away")
	}
}
