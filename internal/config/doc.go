// Package config reads the worker's configuration: environment variables first, then config.yml, then defaults.
//
// One table describes every option: [Table]. Loading, checking, the texts of errors,
// config.yml.sample and the documentation are made from it, so an option is added in two places only: a field of [Config]
// and a row of the table.
//
// The names are those that operators of OpenCTI know. A variable SECTION_KEY is the key `key` in the section `section` of
// config.yml, as in OpenCTI's own helper: IPQS_PRIVATE_KEY and ipqs.private_key are the same option. Values mean what
// they mean there: an empty variable counts as not set, `yes`, `true` and `True` are true.
//
// [Load] reports every problem at once, each with its variable, what was found and what is expected. What is odd but
// harmless (an unknown name, a type in the scope that we do not enrich) is a [Warning]. No secret is ever part of either:
// secrets live in [Secret], which prints as [REDACTED].
package config
