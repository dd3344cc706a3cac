// Package configdoc writes every file that tells of the configuration, from the one table that the worker itself reads:
// [config.Table]. `make generate` writes them, and a test fails when one of them is not up to date.
//
//   - docs/configuration.md, the reference
//   - docs/config.schema.json, for editors that check config.yml while it is written
//   - deploy/__metadata__/, the manifest and the schema by which OpenCTI's catalogue of connectors knows a connector
//   - the options in the Helm chart's values.yaml, and the schema that Helm checks values against
//
// config.yml.sample is written by package config itself.
package configdoc

//go:generate go test -run ^TestFiles$ -update .
