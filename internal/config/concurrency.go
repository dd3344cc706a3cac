package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Hops returns the names of the hops of the pipeline, in its order.
func Hops() []string { return []string{"resolve", lookupHop, "score", "bundle", "publish"} }

const (
	lookupHop       = "lookup"
	mostConcurrency = 1024

	acceptsConcurrency = "hop=n such as lookup=64,publish=16; the hops are resolve, lookup, score, bundle, publish, n is from 1 to 1024"
)

// WithConcurrency returns the configuration with as many jobs at once as entries of the form hop=n say, for the hops that
// they name. The error says which entry is wrong, and what is wanted.
func (c Config) WithConcurrency(entries []string) (Config, error) {
	text := strings.Join(entries, ",")
	numbers, err := parseConcurrency(text)
	if err != nil {
		return c, fmt.Errorf("found %s (%w), want %s", quote(text), err, acceptsConcurrency)
	}
	c.setConcurrency(numbers)
	return c, nil
}

func setConcurrency(c *Config, value string) error {
	numbers, err := parseConcurrency(value)
	if err == nil {
		c.setConcurrency(numbers)
	}
	return err
}

func (c *Config) setConcurrency(numbers map[string]int) {
	all := maps.Clone(c.Worker.Concurrency)
	if all == nil {
		all = make(map[string]int)
	}
	maps.Copy(all, numbers)
	if n, ok := all[lookupHop]; ok {
		c.Worker.LookupConcurrency = n
		delete(all, lookupHop)
	}
	c.Worker.Concurrency = nil
	if len(all) > 0 {
		c.Worker.Concurrency = all
	}
}

func parseConcurrency(v string) (map[string]int, error) {
	entries, err := parseList(v)
	if err != nil {
		return nil, errors.New("it has no entry")
	}
	numbers := make(map[string]int)
	for i, entry := range entries {
		hop, number, ok := strings.Cut(entry, "=")
		hop = strings.ToLower(strings.TrimSpace(hop))
		n, err := parseInt(1, mostConcurrency)(strings.TrimSpace(number))
		_, twice := numbers[hop]
		switch {
		case !ok:
			return nil, fmt.Errorf("entry %d has no =", i+1)
		case !slices.Contains(Hops(), hop):
			return nil, fmt.Errorf("entry %d names an unknown hop", i+1)
		case err != nil:
			return nil, fmt.Errorf("entry %d has no whole number from 1 to %d", i+1, mostConcurrency)
		case twice:
			return nil, fmt.Errorf("entry %d repeats the hop %s", i+1, hop)
		}
		numbers[hop] = n
	}
	return numbers, nil
}
