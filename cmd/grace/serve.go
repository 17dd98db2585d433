package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"grace/daemon"
	"grace/internal/cli"
	"grace/internal/config"
)

func newServe(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the daemon",
		Long: `Run the daemon until SIGINT or SIGTERM. It then lets the steps that are running
end, keeps everything else for the next start, and stops.

SIGHUP reads the configuration again: all of it takes effect, or, when anything
in it is wrong, nothing does and the log says what. These variables go over the
file's values: SELF_HEAL_AUTOPROVE_LOW_RISK, SELF_HEAL_PREDICTIVE_SHADOW,
SELF_HEAL_OBSERVE_ONLY, SELF_HEAL_EXECUTE.

The first start writes a token for this command line to <data_dir>/cli.token,
readable by the daemon's user only. The log goes to stderr.`,
		Args: cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig(path)
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), path, cfg)
		},
	}
	configFlag(cmd, &path)
	return cmd
}

func (a *app) serve(ctx context.Context, path string, cfg *config.Config) error {
	log := a.logger(cfg.Log)
	if err := undumpable(); err != nil {
		log.WarnContext(ctx, "other processes of this user can read GRACE's memory and environment", "error", err)
	}
	d, err := daemon.New(cfg, daemon.WithConfigFile(path), daemon.WithLogger(log))
	if err != nil {
		return serveFailure(cfg, err)
	}
	_, problems := daemon.Load(path)
	for _, p := range problems.Warnings() {
		log.WarnContext(ctx, "configuration", "file", p.File, "line", p.Line, "key", p.Key, "problem", p.Message, "hint", p.Hint)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reloaded := make(chan struct{})
	go func() {
		defer close(reloaded)
		reloadOnHangup(ctx, d, log, cancel)
	}()
	err = d.Run(ctx)
	cancel(nil)
	<-reloaded
	if err != nil {
		return serveFailure(cfg, err)
	}
	return nil
}

func serveFailure(cfg *config.Config, err error) error {
	f := &cli.Failure{Code: cli.ExitFailed, Message: err.Error(), Cause: err}
	if errors.Is(err, syscall.EADDRINUSE) {
		f.Message = fmt.Sprintf("%s is in use: %v", cfg.Listen, err)
		f.Hint = "another GRACE may be running there; end it, or set listen: to another port in the configuration"
	}
	return f
}

// reloadOnHangup reloads at every SIGHUP until ctx is done. The SIGHUP of a
// terminal that is closed ends the daemon instead: nobody would see it go on.
func reloadOnHangup(ctx context.Context, d *daemon.Daemon, log *slog.Logger, end context.CancelCauseFunc) {
	term := ownTerminal()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			if term.closed(ctx) {
				log.WarnContext(ctx, "the terminal was closed: GRACE stops; start it with a service manager, or with nohup, to have it go on")
				end(errors.New("the terminal was closed"))
				return
			}
			if err := d.Reload(ctx); err != nil {
				log.ErrorContext(ctx, "reload refused, nothing changed", "error", err)
			}
		}
	}
}

// logger writes to stderr, as JSON unless the configuration wants text.
func (a *app) logger(c config.Log) *slog.Logger {
	level := slog.LevelInfo
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // configuration allows no other word
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(a.Err, opts))
	}
	return slog.New(slog.NewJSONHandler(a.Err, opts))
}
