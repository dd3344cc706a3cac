package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// compose loads a file as `docker compose` does, which checks it against the schema of the Compose specification, and sees
// that what it mounts from here exists.
func compose(ctx context.Context, path string) error {
	options, err := cli.NewProjectOptions([]string{path},
		cli.WithInterpolation(true), cli.WithNormalization(true), cli.WithConsistency(true), cli.WithResolvedPaths(true),
		cli.WithProfiles([]string{"*"}), cli.WithName("check"), cli.WithEnv([]string{
			// What the files ask their user for.
			"OPENCTI_URL=http://opencti:8080", "OPENCTI_TOKEN=token", "CONNECTOR_ID=id", "IPQS_PRIVATE_KEY=key",
		}))
	if err != nil {
		return fmt.Errorf("checking %s: %w", path, err)
	}
	project, err := options.LoadProject(ctx)
	if err != nil {
		return fmt.Errorf("checking %s: %w", path, err)
	}
	for name, service := range project.Services {
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(volume.Source); err != nil {
				return fmt.Errorf("checking %s: what service %s mounts: %w", path, name, err)
			}
		}
		if build := service.Build; build != nil {
			if _, err := os.Stat(filepath.Join(build.Context, build.Dockerfile)); err != nil {
				return fmt.Errorf("checking %s: what service %s is built from: %w", path, name, err)
			}
		}
	}
	for name, config := range project.Configs {
		if config.File == "" {
			continue
		}
		if _, err := os.Stat(config.File); err != nil {
			return fmt.Errorf("checking %s: the file of config %s: %w", path, name, err)
		}
	}
	return nil
}
