package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes the manual pages, for packages. It is hidden: who has the program has --help.
func (p *program) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // documentation is for everybody
				return &statusError{exitFailure, fmt.Errorf("writing the manual: %w", err)}
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			// The pages' date is SOURCE_DATE_EPOCH, where a build that can be repeated sets it.
			err := doc.GenManTree(root, &doc.GenManHeader{
				Title: "IPQS-WORKER", Section: "1", Source: "ipqs-worker " + versionText(), Manual: "ipqs-worker",
			}, args[0])
			if err != nil {
				return &statusError{exitFailure, fmt.Errorf("writing the manual: %w", err)}
			}
			return nil
		},
	}
}
