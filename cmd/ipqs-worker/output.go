package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// addOutput adds the flag that names the form of what a command writes to standard output.
func addOutput(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "table", "table or json")
}

// knownOutput says what is wrong with what that flag names.
func knownOutput(output string) error {
	if output != "table" && output != "json" {
		return usage(fmt.Errorf("--output is %q: want table or json", output))
	}
	return nil
}

// writeJSON writes what --output json promises of every command: an object a line, for each thing that there is.
func writeJSON[T any](w io.Writer, things ...T) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	for _, thing := range things {
		if err := encoder.Encode(thing); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	return nil
}
