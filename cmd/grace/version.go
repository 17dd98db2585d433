package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"grace/daemon"
	"grace/internal/cli"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "What this binary was built from",
		Args:  cli.ExactArgs(),
		RunE: func(*cobra.Command, []string) error {
			b := cli.ReadBuild(daemon.Version)
			if a.JSON {
				return a.ShowJSON(b)
			}
			return a.Show(nil, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "grace %s (%s, %s)\n", b.Version, b.Go, b.Platform)
				if b.Revision != "" {
					_, _ = fmt.Fprintf(w, "  revision %s %s, modified: %s\n", b.Revision, b.Time, cli.YesNo(b.Modified))
				}
			})
		},
	}
}
