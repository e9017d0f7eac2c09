package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func newVersion(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version, and the schemes of the brokers that are linked in",
		Args:  args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			version := "(devel)"
			if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
				version = info.Main.Version
			}
			v := struct {
				Version string   `json:"version"`
				Go      string   `json:"go"`
				Schemes []string `json:"schemes"`
			}{version, runtime.Version(), driver.Schemes()}
			text := fmt.Sprintf("waybill %s, %s, for %s\n", v.Version, v.Go, strings.Join(v.Schemes, ", "))
			return s.print(cmd.OutOrStdout(), v, text)
		},
	}
}
