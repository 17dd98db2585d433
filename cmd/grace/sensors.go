package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"grace/internal/api"
)

func newSensors(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "sensors",
		Short: "Where samples come from, and what GRACE cannot see",
		Long: `Where samples come from, and what GRACE cannot see.

  ok             samples come
  no_sample_yet  none came since the sensor was started
  error          GRACE could not look, for reasons of its own: nothing is known of the service
  stale          none came for three intervals`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Sensors(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(list.Raw, func(w io.Writer) {
				t := table{head: []string{"SENSOR", "TYPE", "SERVICE", "STATE", "LAST SAMPLE", "LAST ERROR"}, tones: map[int]bool{3: true}}
				for _, s := range list.Value.Items {
					t.add(s.Name, s.Type, orDash(string(s.Service)), string(s.State), a.at(s.LastSample), lastError(a, s))
				}
				t.write(w, a.colour)
			})
		},
	}
}

func lastError(a *app, s sensorView) string {
	if s.LastError == "" {
		return "-"
	}
	text := a.at(s.ErrorAt) + ": " + s.LastError
	if s.Panics > 0 {
		text += fmt.Sprintf(" (started again %s)", count(int(s.Panics), "time"))
	}
	return oneLine(text, 120)
}

// blind lists the sensors that GRACE does not see by.
func (a *app) blind(w io.Writer, sensors []sensorView) {
	t := table{head: []string{"  SENSOR", "SERVICE", "STATE", "WHY"}, tones: map[int]bool{2: true}}
	for _, s := range sensors {
		if s.Blind {
			why := "-"
			if s.State == api.SensorError {
				why = lastError(a, s)
			}
			t.add("  "+s.Name, orDash(string(s.Service)), string(s.State), why)
		}
	}
	if len(t.rows) > 0 {
		_, _ = fmt.Fprintln(w, "\nNot seen: nothing is known of these services by these sensors")
		t.write(w, a.colour)
	}
}

// astray lists what came in and leads to no action.
func (a *app) astray(w io.Writer, v alertsView) {
	if len(v.Undeclared) > 0 {
		_, _ = fmt.Fprintln(w, "\nUndeclared services: shown, never acted on")
		t := table{head: []string{"  SERVICE", "SIGNALS", "SINCE", "WHAT"}}
		for _, u := range v.Undeclared {
			t.add("  "+string(u.Service), fmt.Sprint(u.Signals), a.at(u.Worst.Since), symptoms([]string{u.Worst.Message}, u.Silenced, 80))
		}
		t.write(w, a.colour)
		_, _ = fmt.Fprintln(w, "  declare them under services, or lead their alerts elsewhere: alertmanager.map")
	}
	if len(v.Skipped) > 0 {
		_, _ = fmt.Fprintln(w, "\nAlerts that were not taken")
		t := table{head: []string{"  ALERT", "TIMES", "LAST", "WHY"}}
		for _, s := range v.Skipped {
			t.add("  "+oneLine(s.Alert, 40), fmt.Sprint(s.Times), a.at(s.Last), oneLine(s.Reason, 90))
		}
		t.write(w, a.colour)
	}
}
