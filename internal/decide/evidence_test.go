package decide

import (
	"strings"
	"testing"

	"grace"
	"grace/internal/gate"
)

// TestSilencedAtItsSource: nothing is done to a service one of whose alerts is
// silenced by its sender, whatever else says that it is sick.
func TestSilencedAtItsSource(t *testing.T) {
	t.Parallel()
	fresh := gate.Evidence{State: gate.EvidenceFresh}
	quiet := grace.Signal{Key: "web/am/Down", Kind: grace.SignalAlert, State: grace.SignalFiring, Silenced: "silence 1 (ann: new disk)"}
	if e := unlessSilenced(fresh, []grace.Signal{{State: grace.SignalFiring}, quiet}); e.State != gate.EvidenceSilenced || !strings.Contains(e.Text, "ann") {
		t.Errorf("%+v", e)
	}
	quiet.State = grace.SignalOK // it was silenced, and is over
	if e := unlessSilenced(fresh, []grace.Signal{quiet}); e.State != gate.EvidenceFresh {
		t.Errorf("%+v", e)
	}
}
