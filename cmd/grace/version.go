package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"grace/daemon"
)

type buildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Time     string `json:"time,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// readBuild tells what this binary was built from, as the Go tool recorded it.
func readBuild() buildInfo {
	b := buildInfo{Version: daemon.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" && b.Version == "dev" {
		b.Version = v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "What this binary was built from",
		Args:  exactArgs(),
		RunE: func(*cobra.Command, []string) error {
			b := readBuild()
			if a.json {
				return a.showJSON(b)
			}
			return a.show(nil, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "grace %s (%s, %s)\n", b.Version, b.Go, b.Platform)
				if b.Revision != "" {
					_, _ = fmt.Fprintf(w, "  revision %s %s, modified: %s\n", b.Revision, b.Time, yesNo(b.Modified))
				}
			})
		},
	}
}
