// Promcheck sees that every metric which the dashboard and the rules ask for is in a scrape of a real worker.
//
//	promcheck -scrape FILE -rules FILE -dashboard FILE
//
// It is a module of its own, so that what Prometheus' parser needs stays out of the worker's.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

func main() {
	scrape := flag.String("scrape", "", "what a worker answered at /metrics")
	rules := flag.String("rules", "", "Prometheus' rules")
	dashboard := flag.String("dashboard", "", "Grafana's dashboard")
	flag.Parse()
	if err := run(os.Stdout, *scrape, *rules, *dashboard); err != nil {
		fmt.Fprintln(os.Stderr, "promcheck:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, scrape, rules, dashboard string) error {
	shown, err := series(scrape)
	if err != nil {
		return err
	}
	ofRules, err := ruleQueries(rules)
	if err != nil {
		return err
	}
	ofPanels, err := panelQueries(dashboard)
	if err != nil {
		return err
	}
	if len(ofRules) == 0 || len(ofPanels) == 0 || len(shown) == 0 {
		return fmt.Errorf("%d queries of rules, %d of panels, %d series: none of these should be nothing", len(ofRules), len(ofPanels), len(shown))
	}
	var problems []string
	for _, q := range append(ofRules, ofPanels...) {
		found, err := unknown(q.text, shown)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", q.where, err))
		}
		for _, name := range found {
			problems = append(problems, fmt.Sprintf("%s asks for %s, which no worker shows", q.where, name))
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems:\n  %s", len(problems), strings.Join(problems, "\n  "))
	}
	_, err = fmt.Fprintf(out, "%d queries of rules and %d of panels ask for what a worker shows\n", len(ofRules), len(ofPanels))
	return err
}

type query struct{ where, text string }

// unknown lists the selectors of a query that select no series of the scrape, whatever the values of their labels.
func unknown(text string, shown map[string][]string) ([]string, error) {
	// Grafana's own variables.
	text = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$__interval", "1m").Replace(text)
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return nil, err
	}
	var missing []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		labels, known := shown[selector.Name]
		if !known {
			missing = append(missing, selector.Name)
			return nil
		}
		for _, m := range selector.LabelMatchers {
			if m.Name != "__name__" && m.Name != "instance" && m.Name != "job" && !slices.Contains(labels, m.Name) {
				missing = append(missing, selector.Name+" with label "+m.Name)
			}
		}
		return nil
	})
	return missing, nil
}

// series reads a scrape: the names in it, each with the names of its labels.
func series(path string) (map[string][]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	shown := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		value := strings.LastIndexByte(line, ' ')
		if value < 0 {
			return nil, fmt.Errorf("%s: %q is no sample", path, line)
		}
		expr, err := parser.NewParser(parser.Options{}).ParseMetric(line[:value])
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", path, line, err)
		}
		name := expr.Get("__name__")
		labels := shown[name]
		for key := range expr.Map() {
			if !slices.Contains(labels, key) {
				labels = append(labels, key)
			}
		}
		shown[name] = labels
	}
	return shown, nil
}

func ruleQueries(path string) ([]query, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Record, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	var all []query
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			all = append(all, query{"rule " + rule.Alert + rule.Record, rule.Expr})
		}
	}
	return all, nil
}

func panelQueries(path string) ([]query, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	type panel struct {
		Title   string
		Targets []struct{ Expr string }
	}
	var file struct{ Panels []panel }
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	var all []query
	for _, p := range file.Panels {
		for _, target := range p.Targets {
			all = append(all, query{"panel " + p.Title, target.Expr})
		}
	}
	return all, nil
}
