package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"opencti-ipqs-worker/internal/deadletters"
)

func (d *deadLetters) exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export FILE|-",
		Short: "Write dead letters to a file, for import",
		Long: `export writes a JSON object a line for each letter that the filters let through, as it is, its body in base64: to a file
that is not there yet and that only its owner can read, or with - to standard output. Nothing is masked, and the letters
stay where they are.`,
		Args: one("a file to write, or - for standard output"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := args[0]
			if _, err := os.Lstat(path); path != "-" && !errors.Is(err, os.ErrNotExist) {
				return usage(fmt.Errorf("%s is there already: want a new file", path))
			}
			return d.with(cmd, nil, func(ctx context.Context, store deadletters.Store, f deadletters.Filter) error {
				shown, err := d.progressOf(cmd, &store, f, 0)
				if err != nil {
					return err
				}
				var tally deadletters.Tally
				err = d.write(path, func(w io.Writer) (err error) {
					tally, err = store.Export(ctx, f, w)
					return err
				})
				shown.done()
				if err != nil {
					return err
				}
				d.tell("%s", counted(tally, "exported", f))
				return nil
			})
		},
	}
	addBar(cmd)
	return cmd
}

func (d *deadLetters) importCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "import FILE|- | --file FILE",
		Short: "Put exported dead letters back",
		Long: `import puts letters that export wrote, and that the filters let through, back into the poison queues that they came from,
under their ids. A letter whose id is there already is passed over, so an import that was interrupted can be repeated.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if file != "" {
				args = append(args, file)
			}
			if err := one("a file that export wrote, or - for standard input")(cmd, args); err != nil {
				return err
			}
			from := d.in
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return usage(fmt.Errorf("reading the letters: %w", err))
				}
				defer func() { _ = file.Close() }()
				from = file
			}
			return d.with(cmd, nil, func(ctx context.Context, store deadletters.Store, f deadletters.Filter) error {
				shown := d.progress(cmd, 0)
				store.Seen = shown.step
				result, err := store.Import(ctx, f, from)
				shown.done()
				text := "imported " + result.Done.String()
				if result.Duplicates > 0 {
					text += fmt.Sprintf(", passed over %d that are there already", result.Duplicates)
				}
				if result.FilteredOut > 0 {
					text += fmt.Sprintf(", left out %d by the filters", result.FilteredOut)
				}
				d.tell("%s", text)
				if err != nil {
					return fmt.Errorf("importing from %s: %w", source(args[0]), err)
				}
				return nil
			})
		},
	}
	addFile(cmd, &file, "file that export wrote")
	addBar(cmd)
	return cmd
}

// write makes a file by a function, whole or not at all; - is standard output.
func (d *deadLetters) write(path string, fill func(io.Writer) error) (err error) {
	if path == "-" {
		return fill(d.out)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // for its owner alone
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	if err := errors.Join(fill(file), file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.Rename(file.Name(), path)
}
