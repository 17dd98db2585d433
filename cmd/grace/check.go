package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"grace"
	"grace/daemon"
	"grace/internal/cli"
	"grace/internal/config"
)

func newCheck(a *app) *cobra.Command {
	var (
		path         string
		live, notify bool
		verbose      bool
	)
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Find every problem in a configuration, without starting anything",
		Long: `Find every problem in a configuration, with file, line, key and what to do about
it. Nothing is started and nothing is contacted. The exit code is 7 when there is
an error; warnings alone leave it 0. What this machine lacks (secrets, programs)
is a warning, since GRACE may run on another one. Of files of rules it says how many
they hold, what of that is predicted and whose it is; with -v by the name of every rule.

With --live it looks at the surroundings too, once: every sensor is asked,
programs and secrets are looked for, and metrics that objectives and limits judge
are awaited. With --notify every receiver gets a test message. Nothing is stored
or changed. The exit code is 7 when something failed; that a service is sick is
no failure of the configuration.`,
		Example: "  grace check grace.yaml\n  grace check grace.yaml --live",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				path = args[0]
			}
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				return missingFile(path, err)
			}
			cfg, problems := daemon.Load(path)
			show := func(w io.Writer) {
				summary(w, path, cfg)
				rulesSummary(w, cfg, verbose)
			}
			if (live || notify) && problems.Err() == nil {
				return a.checkLive(cmd.Context(), path, cfg, problems, notify, show)
			}
			return a.showProblems(path, problems, cfg, show)
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&live, "live", false, "also ask every sensor once, and look for programs, secrets and metrics")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "name every rule of rule_files and slos")
	cmd.Flags().BoolVar(&notify, "notify", false, "like --live, and send a test message to every receiver")
	return cmd
}

// summary says what a configuration holds, GRACE's own parts apart.
func summary(w io.Writer, path string, cfg *config.Config) {
	own := 0
	for _, s := range cfg.Services {
		if s.Domain != "" || strings.HasPrefix(string(s.ID), string(grace.CoreService)+".") {
			own++
		}
	}
	_, _ = fmt.Fprintf(w, "%s: ok: %s (and %d of GRACE itself), %s, %s, %s\n", path, count(len(cfg.Services)-own, "service"), own,
		count(len(cfg.Sensors), "sensor"), count(len(cfg.Objectives), "objective"), count(len(cfg.Playbooks), "playbook"))
}

// checkLive shows what one look at the surroundings found.
func (a *app) checkLive(ctx context.Context, path string, cfg *config.Config, problems config.Problems, notify bool, show func(io.Writer)) error {
	found, err := daemon.Look(ctx, cfg, notify)
	if err != nil {
		return err
	}
	bad := 0
	for _, f := range found {
		if f.State == daemon.FoundFailed {
			bad++
		}
	}
	if a.JSON {
		err = a.ShowJSON(map[string]any{"ok": bad == 0, "file": path, "problems": append(config.Problems{}, problems...), "rules": cfg.RuleFiles, "found": append([]daemon.Finding{}, found...)})
	} else {
		err = a.Show(nil, func(w io.Writer) {
			_, _ = io.WriteString(w, problems.String())
			show(w)
			t := cli.Table{Head: []string{"WHAT", "NAME", "STATE", "DETAIL"}, Tones: map[int]bool{2: true}}
			for _, f := range found {
				t.Add(f.Kind, f.Name, f.State, cli.OneLine(cli.OrDash(f.Detail), 140))
			}
			t.Write(w, a.Colour)
		})
	}
	if err == nil && bad > 0 {
		err = &cli.Failure{Code: cli.ExitProblems, Message: fmt.Sprintf("%d of %d things looked at failed", bad, len(found)), Hint: "GRACE would not see or do these; nothing was changed", Silent: a.JSON}
	}
	return err
}

func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "config", "grace.yaml", "the configuration file")
}

func missingFile(path string, err error) *cli.Failure {
	return &cli.Failure{Code: cli.ExitNotFound, Message: "there is no file " + path, Hint: "give the path of the configuration", Cause: err}
}

// showProblems prints what was found; fine is what to say when nothing is in
// the way. cfg is nil when something is, or where there is none.
func (a *app) showProblems(path string, problems config.Problems, cfg *config.Config, fine func(io.Writer)) error {
	bad := problems.Err() != nil
	if a.JSON {
		if problems == nil {
			problems = config.Problems{}
		}
		out := map[string]any{"ok": !bad, "file": path, "problems": problems}
		if cfg != nil && len(cfg.RuleFiles) > 0 {
			out["rules"] = cfg.RuleFiles
		}
		if err := a.ShowJSON(out); err != nil {
			return err
		}
	} else if err := a.Show(nil, func(w io.Writer) {
		_, _ = io.WriteString(w, problems.String())
		if !bad {
			fine(w)
		}
	}); err != nil {
		return err
	}
	if bad {
		n := len(problems.Errors())
		return &cli.Failure{Code: cli.ExitProblems, Message: fmt.Sprintf("%s in %s", count(n, "problem"), path), Hint: "the keys are explained by: grace config schema", Silent: a.JSON}
	}
	return nil
}

// loadConfig reads a configuration for a command that cannot go on without.
func (a *app) loadConfig(path string) (*config.Config, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, missingFile(path, err)
	}
	cfg, problems := daemon.Load(path)
	if problems.Err() != nil {
		if !a.JSON {
			_, _ = io.WriteString(a.Err, problems.String())
		}
		return nil, &cli.Failure{Code: cli.ExitProblems, Message: fmt.Sprintf("%s in %s", count(len(problems.Errors()), "problem"), path), Hint: "see them all with: grace check " + path}
	}
	return cfg, nil
}

func newPlaybooksLint(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "lint FILE",
		Short: "Find every problem in a playbook file",
		Long: `Find every problem in a file that holds one playbook or a list of them, as in a
playbooks folder. The exit code is 7 when there is an error.`,
		Args: cli.ExactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return missingFile(args[0], err)
			case err != nil:
				return fmt.Errorf("read playbook: %w", err)
			}
			return a.showProblems(args[0], config.Lint(args[0], data, daemon.ConfigOptions()), nil, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "%s: ok\n", args[0])
			})
		},
	}
}

func newConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "What a configuration may hold",
		RunE:  onlyGroup,
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for an editor or a validator",
		Args:  cli.ExactArgs(),
		RunE: func(*cobra.Command, []string) error {
			if _, err := a.Out.Write(config.Schema()); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
			return nil
		},
	})
	return cmd
}
