package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"grace/daemon"
	"grace/internal/cli"
	"grace/internal/store"
)

// direct works on a store without a daemon. It never starts the engine: two
// processes must not drive the same runs, and a daemon may be running.
type direct struct{ store *store.Store }

// actor is who the audit log says it was.
const directActor = "cli"

var _ tokens = (*direct)(nil)

func (d *direct) CreateToken(ctx context.Context, name, role string, expires *time.Time) (cli.CreatedToken, error) {
	secret, err := d.store.CreateToken(ctx, directActor, store.NewToken{Name: name, Role: role, Expires: expires})
	switch {
	case errors.Is(err, store.ErrConflict):
		return cli.CreatedToken{}, &cli.Failure{Code: cli.ExitConflict, Message: fmt.Sprintf("there is a token %q already", name), Hint: "take another name, or revoke it first: grace token revoke " + name, Cause: err}
	case err != nil:
		return cli.CreatedToken{}, err
	}
	return cli.CreatedToken{Name: name, Role: role, ExpiresAt: expires, Secret: secret}, nil
}

func (d *direct) listTokens(ctx context.Context) ([]tokenView, error) {
	list, err := d.store.ListTokens(ctx, d.store.Q())
	if err != nil {
		return nil, err
	}
	out := make([]tokenView, len(list))
	for i, t := range list {
		out[i] = tokenView{Name: t.Name, Role: t.Role, CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, RevokedAt: t.RevokedAt}
	}
	return out, nil
}

func (d *direct) revokeToken(ctx context.Context, name string) error {
	err := d.store.RevokeToken(ctx, directActor, name)
	if errors.Is(err, store.ErrNotFound) {
		return &cli.Failure{Code: cli.ExitNotFound, Message: fmt.Sprintf("there is no token %q", name), Hint: "see: grace token list", Cause: err}
	}
	return err
}

// withStore opens the store of a configuration for a while.
func (a *app) withStore(ctx context.Context, path string, use func(*direct) error) error {
	cfg, err := a.loadConfig(path)
	if err != nil {
		return err
	}
	st, err := daemon.OpenStore(ctx, cfg)
	if err != nil {
		return storeFailure(err)
	}
	defer st.Close()
	return use(&direct{store: st})
}

func (a *app) verifyDirect(ctx context.Context, path string, expect []store.Checkpoint) (auditReport, error) {
	cfg, err := a.loadConfig(path)
	if err != nil {
		return auditReport{}, err
	}
	st, err := daemon.InspectStore(ctx, cfg)
	if err != nil {
		return auditReport{}, storeFailure(err)
	}
	defer st.Close()
	return st.VerifyAudit(ctx, expect...)
}

func storeFailure(err error) error {
	return &cli.Failure{Code: cli.ExitFailed, Message: "open the store: " + err.Error(), Hint: "run as the daemon's user, with the same environment", Cause: err}
}
