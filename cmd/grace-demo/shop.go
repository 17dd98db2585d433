package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"grace/examples/shop"
	"grace/internal/cli"
)

// newShop is how the shop's processes are started: this binary under another
// name.
func newShop() *cobra.Command {
	return &cobra.Command{
		Use:                "shop",
		Short:              "The demonstration's shop: its platform and services",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			signal.Reset(os.Interrupt, syscall.SIGTERM) // the shop's processes have ways of their own
			if code := shop.Main(args); code != 0 {
				return &cli.Failure{Code: code, Message: "shop ended", Silent: true}
			}
			return nil
		},
	}
}
