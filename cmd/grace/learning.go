package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"grace"
)

func newLearning(a *app) *cobra.Command {
	var (
		service, playbook string
		bucket            grace.Duration
	)
	cmd := &cobra.Command{
		Use:   "learning",
		Short: "What GRACE learned: how often each playbook helped",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			q := listQuery{}.values("service", service, "playbook", playbook)
			if bucket > 0 {
				q.Set("time_bucket", bucket.String())
			}
			l, err := c.Learning(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.show(l.Raw, func(w io.Writer) {
				if len(l.Value.Rates) == 0 {
					_, _ = fmt.Fprintln(w, "Nothing learned yet: no run has ended.")
					return
				}
				t := table{head: []string{"SERVICE", "DIAGNOSIS", "PLAYBOOK", "FROM", "TRIALS", "HELPED", "RATE", "95 % BAND", "MEAN RECOVERY"}}
				for _, r := range l.Value.Rates {
					t.add(string(r.Service), string(r.Diagnosis), string(r.Playbook), a.at(r.Bucket), strconv.Itoa(r.Trials), strconv.Itoa(r.Successes),
						percent(r.Rate), percent(r.Low)+" to "+percent(r.High), short(r.MeanTimeToRecover.D()))
				}
				t.write(w, a.colour)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&service, "service", "", "only of this service")
	f.StringVar(&playbook, "playbook", "", "only of this playbook")
	f.TextVar(&bucket, "bucket", grace.Duration(0), "a row for each `duration`, for example 1d")
	return cmd
}
