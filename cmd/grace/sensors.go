package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"grace/internal/api"
	"grace/internal/cli"
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
		Args: cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Sensors(cmd.Context())
			if err != nil {
				return err
			}
			return a.Show(list.Raw, func(w io.Writer) {
				t := cli.Table{Head: []string{"SENSOR", "TYPE", "SERVICE", "STATE", "LAST SAMPLE", "LAST ERROR"}, Tones: map[int]bool{3: true}}
				for _, s := range list.Value.Items {
					t.Add(s.Name, s.Type, cli.OrDash(string(s.Service)), string(s.State), a.at(s.LastSample), lastError(a, s))
				}
				t.Write(w, a.Colour)
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
	return cli.OneLine(text, 120)
}

// blind lists the sensors that GRACE does not see by, and what nothing is measured of.
func (a *app) blind(w io.Writer, sensors []sensorView, alerts alertsView) {
	t := cli.Table{Head: []string{"  SENSOR", "SERVICE", "STATE", "WHY"}, Tones: map[int]bool{2: true}}
	for _, s := range sensors {
		if s.Blind {
			why := "-"
			if s.State == api.SensorError {
				why = lastError(a, s)
			}
			t.Add("  "+s.Name, cli.OrDash(string(s.Service)), string(s.State), why)
		}
	}
	if len(t.Rows) > 0 {
		_, _ = fmt.Fprintln(w, "\nNot seen: nothing is known of these services by these sensors")
		t.Write(w, a.Colour)
	}
	if never := alerts.Unmeasured(); never != "" {
		_, _ = fmt.Fprintf(w, "\n%s\n  see grace check --live\n", never)
	}
}

// astray lists what came in and leads to no action.
func (a *app) astray(w io.Writer, v alertsView) {
	if len(v.Undeclared) > 0 {
		_, _ = fmt.Fprintln(w, "\nUndeclared services: shown, never acted on")
		t := cli.Table{Head: []string{"  SERVICE", "SIGNALS", "SINCE", "WHAT"}}
		for _, u := range v.Undeclared {
			t.Add("  "+string(u.Service), fmt.Sprint(u.Signals), a.at(u.Worst.Since), symptoms([]string{u.Worst.Message}, u.Silenced, 80))
		}
		t.Write(w, a.Colour)
		_, _ = fmt.Fprintln(w, "  declare them under services, or lead their alerts elsewhere: alertmanager.map")
	}
	if len(v.Skipped) > 0 {
		_, _ = fmt.Fprintln(w, "\nAlerts that were not taken")
		t := cli.Table{Head: []string{"  ALERT", "TIMES", "LAST", "WHY"}}
		for _, s := range v.Skipped {
			t.Add("  "+cli.OneLine(s.Alert, 40), fmt.Sprint(s.Times), a.at(s.Last), cli.OneLine(s.Reason, 90))
		}
		t.Write(w, a.Colour)
	}
}
