package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"grace/internal/cli"
	"grace/internal/decide"
	"grace/internal/sim"
	"grace/internal/stage/learn"
)

// simFlags is what `grace-demo sim` was asked for.
type simFlags struct {
	seed    uint64
	n       int
	story   string
	with    []string
	save    string
	compare bool
	planted sim.Mutations
	bug     string
}

func newSim(a *app) *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Let GRACE live through made-up faults in virtual time, and check every invariant",
		Long: `Let GRACE's own loop, stages, runs and store live through stories in a made-up
world, in virtual time, and check what must always hold: nothing done without an
allow in the log, one run per dependency cone, every limit, failures undone, the
log's chain, and that everything comes to rest.

A seed is a story; the same seed always goes the same way. A story that fails is
made smaller and printed as a text archive, which --story plays again. The exit
code is 1 when an invariant broke.`,
		Args: cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.n < 1 {
				return cli.UsageError("--n must be 1 or more", "for example: grace-demo sim --seed 1 --n 1000")
			}
			if f.bug != "" {
				if err := f.planted.Plant(f.bug); err != nil {
					return cli.UsageError(err.Error(), "it is for seeing that the checkers find it")
				}
			}
			if f.story != "" {
				return a.simStory(cmd, f)
			}
			return a.simSeeds(cmd, f)
		},
	}
	cmd.Flags().Uint64Var(&f.seed, "seed", 1, "the first seed")
	cmd.Flags().IntVar(&f.n, "n", 100, "how many seeds")
	cmd.Flags().StringVar(&f.story, "story", "", "play a saved story instead of seeds")
	cmd.Flags().StringVar(&f.save, "save", "", "write the first failing story to this file, made smaller")
	cmd.Flags().BoolVar(&f.compare, "compare", false, "also play the reference operators on the same seeds")
	cmd.Flags().StringArrayVar(&f.with, "with", nil, "add what came of computing other decisions again: a report that has it as replay (may be repeated)")
	cmd.Flags().StringVar(&f.bug, "planted", "", "plant a bug, for example SkipApproval")
	return cmd
}

func (a *app) simStory(cmd *cobra.Command, f simFlags) error {
	data, err := os.ReadFile(f.story)
	if errors.Is(err, fs.ErrNotExist) {
		return &cli.Failure{Code: cli.ExitNotFound, Message: "there is no file " + f.story, Hint: "give the path of a saved story", Cause: err}
	}
	if err != nil {
		return fmt.Errorf("read the story: %w", err)
	}
	st, err := sim.Parse(data)
	if err != nil {
		return &cli.Failure{Code: cli.ExitProblems, Message: err.Error(), Cause: err}
	}
	r, err := sim.Play(cmd.Context(), st, f.planted)
	if err != nil {
		return err
	}
	if a.JSON {
		if err := a.ShowJSON(map[string]any{"seed": st.Seed, "violations": r.Violations}); err != nil {
			return err
		}
	} else if _, err := a.Out.Write(sim.Format(st, r.Violations, r.Lines())); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	if len(r.Violations) > 0 {
		return &cli.Failure{Code: cli.ExitFailed, Message: fmt.Sprintf("%d invariants broken", len(r.Violations))}
	}
	return nil
}

func (a *app) simSeeds(cmd *cobra.Command, f simFlags) error {
	rep, err := sim.Many(cmd.Context(), f.seed, f.n, f.planted, f.compare)
	if err != nil {
		return err
	}
	rep.Commit = builtFrom()
	if err := addReplays(&rep.Replay, f.with); err != nil {
		return err
	}
	if a.JSON {
		if err := a.ShowJSON(rep); err != nil {
			return err
		}
	} else if err := a.Show(nil, func(w io.Writer) { printSim(w, rep, f.compare) }); err != nil {
		return err
	}
	if len(rep.Failures) == 0 {
		if n := rep.Replay.Differ; n > 0 {
			return &cli.Failure{Code: cli.ExitFailed, Message: fmt.Sprintf("%d decisions or admissions are not what was recorded", n)}
		}
		return nil
	}
	first := rep.Failures[0]
	story, err := sim.Explain(cmd.Context(), sim.Write(first.Seed), f.planted, first.Violations[0].Check)
	if err != nil {
		return err
	}
	if f.save != "" {
		if err := os.WriteFile(f.save, story, 0o600); err != nil {
			return fmt.Errorf("save the story: %w", err)
		}
	} else if !a.JSON {
		if _, err := a.Out.Write(story); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
	}
	return &cli.Failure{
		Code: cli.ExitFailed, Message: fmt.Sprintf("%d of %d seeds broke an invariant; the first is %d", len(rep.Failures), rep.Stories, first.Seed),
		Hint: fmt.Sprintf("play it again with: grace-demo sim --seed %d --n 1 --save story.txtar (commit %s)", first.Seed, rep.Commit),
	}
}

// version of this binary: the linker sets it, as it does daemon.Version.
var version = "dev"

// builtFrom is the commit of this binary, or its version where the commit was
// not recorded.
func builtFrom() string {
	b := cli.ReadBuild(version)
	from := cmp.Or(b.Revision, b.Version)
	if b.Modified {
		from += ", modified"
	}
	return from
}

func printSim(w io.Writer, r *sim.Report, compare bool) {
	command := fmt.Sprintf("grace-demo sim --seed %d --n %d", r.Seed, r.Stories)
	if compare {
		command += " --compare"
	}
	_, _ = fmt.Fprintf(w, "`%s`, commit %s, seeds %d to %d: %d incidents, %d runs, %d actions, %d crashes, %d audit entries in %s\n",
		command, r.Commit, r.Seed, r.Seed+uint64(max(r.Stories, 1))-1, r.Incidents, r.Runs, r.Actions, r.Crashes, r.Entries, r.Took) //nolint:gosec // not negative
	for _, f := range r.Failures {
		for _, v := range f.Violations {
			_, _ = fmt.Fprintf(w, "seed %d: %s\n", f.Seed, v)
		}
	}
	_, _ = fmt.Fprint(w, "\n| operator | incidents | detected | mitigated | time to detect | time to mitigate | actions | on healthy services | on quiet stories |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range r.Scores {
		_, _ = fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s | %d | %s | %d |\n", s.Operator, s.Incidents, shareOf(s.Detected, s.Incidents),
			shareOf(s.Mitigated, s.Incidents), s.TimeToDetect.D().Round(time.Second), s.TimeToMitigate.D().Round(time.Second), s.Actions, shareOf(s.Collateral, s.Actions), s.FalseActions)
	}
	printCriteria(w, r.Scores[0].Criteria)
	for _, d := range r.Replay.Differences {
		_, _ = fmt.Fprintln(w, d)
	}
	_, _ = fmt.Fprintf(w, "\n%s\n", r.Replay)
}

// addReplays adds what other reports say of decisions that were computed again.
func addReplays(to *decide.Replayed, paths []string) error {
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return &cli.Failure{Code: cli.ExitNotFound, Message: err.Error(), Hint: "give the report of grace-demo --once --json", Cause: err}
		}
		var report struct {
			Replay *decide.Replayed `json:"replay"`
		}
		if err := json.Unmarshal(data, &report); err != nil || report.Replay == nil {
			return &cli.Failure{Code: cli.ExitProblems, Message: path + " is no report with a replay", Cause: err}
		}
		to.Join(*report.Replay)
	}
	return nil
}

func printCriteria(w io.Writer, over []*sim.Criteria) {
	row := func(name, target string, cell func(*sim.Criteria) string) {
		_, _ = fmt.Fprintf(w, "| %s | %s |", name, target)
		for _, c := range over {
			_, _ = fmt.Fprintf(w, " %s |", cell(c))
		}
		_, _ = fmt.Fprintln(w)
	}
	_, _ = fmt.Fprint(w, "\n| criterion | target | all stories | actions honest | and nothing in doubt | plumbing whole |\n|---|---|---|---|---|---|\n")
	row("stories", "", func(c *sim.Criteria) string { return fmt.Sprint(c.Stories) })
	row("incidents mitigated", "", func(c *sim.Criteria) string { return shareOf(c.Mitigated, c.Incidents) })
	for i, k := range over[0].KPIs.Criteria {
		row(k.Name, k.Target, func(c *sim.Criteria) string { return judged(c.KPIs.Criteria[i]) })
	}
}

// judged shows a criterion: its figure, its 95 % interval, of how many, and
// whether it is met.
func judged(c learn.Criterion) string {
	if c.N == 0 {
		return "no data"
	}
	text := cli.Percent
	if c.InSeconds() {
		text = func(v float64) string { return cli.Short(time.Duration(v * float64(time.Second)).Round(time.Second)) }
	}
	return fmt.Sprintf("%s (%s to %s) of %d: %s", text(c.Value), text(c.Low), text(c.High), c.N, c.Met)
}

func shareOf(part, whole int) string {
	if whole == 0 {
		return "-"
	}
	return cli.Percent(float64(part) / float64(whole))
}
