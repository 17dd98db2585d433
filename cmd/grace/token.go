package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"grace"
	"grace/internal/cli"
)

// tokens is where tokens are kept: behind the API, or in the store itself.
type tokens interface {
	CreateToken(ctx context.Context, name, role string, expires *time.Time) (cli.CreatedToken, error)
	listTokens(ctx context.Context) ([]tokenView, error)
	revokeToken(ctx context.Context, name string) error
}

var _ tokens = (*client)(nil)

func (c *client) listTokens(ctx context.Context) ([]tokenView, error) {
	got, err := cli.CallAll[tokenView](ctx, c.Client, "/api/tokens")
	return got.Value.Items, err
}

func (c *client) revokeToken(ctx context.Context, name string) error {
	_, err := c.Do(ctx, http.MethodDelete, "/api/tokens/"+cli.Segment(name), nil, nil)
	return err
}

func roles() []string { return []string{"viewer", "operator", "approver", "admin"} }

func newToken(a *app) *cobra.Command {
	var config string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Who may talk to GRACE, and what they may do",
		Long: `Who may talk to GRACE, and what they may do. Each role may do all that the ones
before it may:

  viewer    sees everything
  operator  sends signals and events, tries playbooks, looks after incidents,
            silences services
  approver  approves and denies, runs playbooks by hand, aborts runs
  admin     changes the mode, reloads the configuration, makes tokens

With --config the store is used directly, so the first token can be made
before a daemon runs, and a lost one replaced. Only a hash is stored.`,
		RunE: onlyGroup,
	}
	cmd.PersistentFlags().StringVar(&config, "config", "", "use the store of this configuration directly")
	cmd.AddCommand(newTokenCreate(a, &config), newTokenList(a, &config), newTokenRevoke(a, &config))
	return cmd
}

// withTokens opens where tokens are kept, and closes it afterwards.
func (a *app) withTokens(ctx context.Context, config string, use func(tokens) error) error {
	if config != "" {
		return a.withStore(ctx, config, func(d *direct) error { return use(d) })
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	return use(c)
}

func newTokenCreate(a *app, config *string) *cobra.Command {
	var (
		role    string
		expires grace.Duration
	)
	cmd := &cobra.Command{
		Use:     "create NAME --role ROLE",
		Short:   "Make a token; its secret is shown once",
		Example: "  export GRACE_TOKEN=$(grace token create alice --role approver)",
		Args:    cli.ExactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(roles(), role) {
				return cli.UsageError(fmt.Sprintf("--role %q is not a role", role), "the roles are "+strings.Join(roles(), ", "))
			}
			if expires < 0 {
				return cli.UsageError("--expires is in the past", "give how long the token is to last, for example 30d")
			}
			var until *time.Time
			if expires > 0 {
				t := a.now().Add(expires.D())
				until = &t
			}
			return a.withTokens(cmd.Context(), *config, func(t tokens) error {
				made, err := t.CreateToken(cmd.Context(), args[0], role, until)
				if err != nil {
					return err
				}
				if a.JSON {
					return a.ShowJSON(made)
				}
				// The secret alone on stdout, so that a script can take it.
				_, _ = fmt.Fprintf(a.Err, "Token %s (%s). It is shown this once:\n", args[0], role)
				_, err = fmt.Fprintln(a.Out, made.Secret)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&role, "role", "viewer", "what it may do: "+strings.Join(roles(), ", "))
	cmd.Flags().TextVar(&expires, "expires", grace.Duration(0), "valid for this `duration`, for example 30d (default: until revoked)")
	return cmd
}

func newTokenList(a *app, config *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List tokens",
		Args:  cli.ExactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withTokens(cmd.Context(), *config, func(t tokens) error {
				list, err := t.listTokens(cmd.Context())
				if err != nil {
					return err
				}
				if a.JSON {
					return a.ShowJSON(map[string]any{"items": list})
				}
				return a.Show(nil, func(w io.Writer) {
					t := cli.Table{Head: []string{"NAME", "ROLE", "CREATED", "EXPIRES", "REVOKED"}}
					for _, x := range list {
						t.Add(x.Name, x.Role, a.at(x.CreatedAt), a.atMaybe(x.ExpiresAt), a.atMaybe(x.RevokedAt))
					}
					t.Write(w, a.Colour)
				})
			})
		},
	}
}

func newTokenRevoke(a *app, config *string) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "Make a token worthless at once",
		Args:  cli.ExactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withTokens(cmd.Context(), *config, func(t tokens) error {
				if err := t.revokeToken(cmd.Context(), args[0]); err != nil {
					return err
				}
				if a.JSON {
					return a.ShowJSON(map[string]any{"name": args[0], "revoked": true})
				}
				_, err := fmt.Fprintf(a.Out, "Token %s is revoked.\n", args[0])
				return err
			})
		},
	}
}
