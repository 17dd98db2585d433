package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/cli"
)

func newLearning(a *app) *cobra.Command {
	var (
		service, playbook string
		bucket            grace.Duration
	)
	cmd := &cobra.Command{
		Use:   "learning",
		Short: "What GRACE learned: how often each playbook helped",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q := cli.ListQuery{}.Values("service", service, "playbook", playbook)
			if bucket > 0 {
				q.Set("time_bucket", bucket.String())
			}
			l, err := c.Learning(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.Show(l.Raw, func(w io.Writer) {
				if len(l.Value.Rates) == 0 {
					_, _ = fmt.Fprintln(w, "Nothing learned yet: no run has ended.")
					return
				}
				t := cli.Table{Head: []string{"SERVICE", "DIAGNOSIS", "PLAYBOOK", "FROM", "TRIALS", "HELPED", "RATE", "95 % BAND", "MEAN RECOVERY"}}
				for _, r := range l.Value.Rates {
					t.Add(string(r.Service), string(r.Diagnosis), string(r.Playbook), a.at(r.Bucket), strconv.Itoa(r.Trials), strconv.Itoa(r.Successes),
						cli.Percent(r.Rate), cli.Percent(r.Low)+" to "+cli.Percent(r.High), cli.Short(r.MeanTimeToRecover.D()))
				}
				t.Write(w, a.Colour)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&service, "service", "", "only of this service")
	f.StringVar(&playbook, "playbook", "", "only of this playbook")
	f.TextVar(&bucket, "bucket", grace.Duration(0), "a row for each `duration`, for example 1d")
	return cmd
}
