package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"grace/internal/cli"
)

func newDomains(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "domains",
		Short: "Show what each domain registered: metrics, health nodes, playbooks",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Domains(cmd.Context())
			if err != nil {
				return err
			}
			return a.Show(list.Raw, func(w io.Writer) {
				for i, d := range list.Value.Items {
					if i > 0 {
						_, _ = fmt.Fprintln(w)
					}
					_, _ = fmt.Fprintf(w, "%s\n", d.Name)
					a.facts(w, [][2]string{{"health nodes", cli.Join(d.Nodes)}, {"playbooks", cli.Join(d.Playbooks)}})
					t := cli.Table{Head: []string{"  METRIC", "KIND", "UNIT", "WHAT"}}
					for _, m := range d.Telemetry {
						t.Add("  "+m.Name, cli.OrDash(string(m.Kind)), m.Unit, m.Description)
					}
					t.Write(w, a.Colour)
				}
			})
		},
	}
}
