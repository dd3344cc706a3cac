package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// noArgs is cobra.NoArgs that takes what is too much for a mistyped command where there are any.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasSubCommands():
		return usage(fmt.Errorf("%s takes no arguments, found %q", cmd.CommandPath(), args[0]))
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return usage(fmt.Errorf("unknown command %q for %q%s; there are %s",
		args[0], cmd.CommandPath(), didYouMean(args[0], "", names), strings.Join(names, ", ")))
}

// helpCommand is cobra's, but for a mistyped command, which is a mistake here and not a page about something else.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND…]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err == nil && len(rest) > 0 {
				err = noArgs(about, rest)
			}
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// refuseUnknownShells has cobra's completion command say so when a shell is none that it knows, or none is named.
func refuseUnknownShells(root *cobra.Command) {
	root.CompletionOptions.HiddenDefaultCmd = true
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		cmd.Args = noArgs
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			var shells []string
			for _, shell := range cmd.Commands() {
				shells = append(shells, shell.Name())
			}
			return usage(fmt.Errorf("completion: want one of %s", strings.Join(shells, ", ")))
		}
	}
}

// flagError says which flag was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return usage(err)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return usage(fmt.Errorf("%w for %s%s; %s --help lists them",
		err, cmd.CommandPath(), didYouMean(unknown.GetSpecifiedName(), "--", names), cmd.CommandPath()))
}

// didYouMean names what is nearest to what was found, with a prefix, if anything is near: less than half of it is wrong.
func didYouMean(found, prefix string, known []string) string {
	best, least := "", (len(found)+1)/2
	for _, name := range known {
		d := levenshtein.ComputeDistance(strings.ToLower(found), name)
		if found != "" && strings.HasPrefix(name, found) {
			d = 0
		}
		if d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + prefix + best + "?"
}
