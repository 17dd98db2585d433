package loop

import (
	"fmt"
	"testing"
	"time"

	"grace"
)

// TestLabelsMakeNoRows: of an alert that two of a pair send by turns, each with its
// own label, decisions share what they know, and the log of events has one entry.
func TestLabelsMakeNoRows(t *testing.T) {
	t.Parallel()
	l := steppedLoop(t, 1, nil)
	began := l.Now()
	send := func(i int, severity grace.Severity) {
		t.Helper()
		alert := grace.Sample{
			Service: benchService(0), Sensor: "alertmanager", Metric: "Slow", Kind: grace.SampleAlert, Fingerprint: "f", Severity: severity,
			Labels: map[string]string{"prometheus_replica": string(rune('a' + i%2))}, At: began.Add(time.Duration(i) * time.Millisecond),
		}
		if err := l.Observe(t.Context(), alert); err != nil {
			t.Fatal(err)
		}
	}
	look := func() string {
		t.Helper()
		rows, err := l.Store.Signals(t.Context(), l.Store.Q(), benchService(0))
		if err != nil || len(rows) != 1 {
			t.Fatalf("%d rows: %v", len(rows), err)
		}
		return fmt.Sprint(rows[0].Labels, l.mirror.known(began, time.Minute).signalMap.Digest(), l.mirror.changes())
	}
	send(0, grace.SeverityWarning)
	first := look()
	for i := range 9 {
		send(i+1, grace.SeverityWarning)
	}
	if got := look(); got != first {
		t.Errorf("labels alone were written: %s, before %s", got, first)
	}
	send(11, grace.SeverityCritical)
	if got := l.mirror.signal(l.mirror.sorted[0].Key); got == nil || got.Severity != grace.SeverityCritical || got.Labels["prometheus_replica"] != "b" {
		t.Errorf("the next change has not the newest labels: %+v", got)
	}
}
