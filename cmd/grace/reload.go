package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"grace/internal/api"
	"grace/internal/cli"
)

func newReload(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Let the daemon read its configuration again",
		Long: `Let the daemon read its configuration again, as SIGHUP does. All of it takes
effect, or, when anything in it is wrong, nothing does: every problem is shown
with its place, and the exit code is 7. What needs a restart stays as it was.`,
		Args: cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			done, err := cli.Call[api.Reloaded](cmd.Context(), c.Client, http.MethodPost, "/api/config/reload", nil, nil)
			if f, refused := errors.AsType[*cli.Failure](err); refused && f.Code == cli.ExitUsage {
				f.Code = cli.ExitProblems
				return f
			}
			if err != nil {
				return err
			}
			return a.Show(done.Raw, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "The configuration read at %s is in force.\n", a.at(done.Value.ReloadedAt))
			})
		},
	}
}
