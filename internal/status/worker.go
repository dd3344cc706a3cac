package status

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// maxAnswer bounds an answer: a worker's metrics are some hundred kilobytes.
const maxAnswer = 8 << 20

// Address reads where a worker is, "host:9095" or "http://host:9095".
func Address(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return "", errors.New("want the address of a worker's state, such as http://worker-1:9095")
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.Path, "/"), nil
}

// sample is what a worker said.
type sample struct {
	worker   Worker
	families map[string]*dto.MetricFamily // nil without metrics
	pauses   []Pause
}

// ask asks one worker.
func ask(ctx context.Context, client *http.Client, address string) sample {
	s := sample{worker: Worker{Address: address}}
	if err := s.askState(ctx, client); err != nil {
		s.worker.Problem = err.Error()
		return s // who does not say how it is says nothing else either
	}
	if err := s.askMetrics(ctx, client); err != nil {
		s.worker.Problem = err.Error()
	}
	for _, m := range s.families["ipqs_worker_build_info"].GetMetric() {
		s.worker.Version = label(m, "version")
	}
	return s
}

func (s *sample) askState(ctx context.Context, client *http.Client) error {
	status, body, err := get(ctx, client, s.worker.Address+"/readyz")
	if err != nil {
		return err
	}
	var state struct {
		Ready        *bool `json:"ready"`
		Dependencies map[string]struct {
			OK      bool            `json:"ok"`
			Reason  string          `json:"reason"`
			Details json.RawMessage `json:"details"`
		} `json:"dependencies"`
	}
	if json.Unmarshal(body, &state) != nil || state.Ready == nil {
		return fmt.Errorf("no worker answers there (/readyz: HTTP %d)", status)
	}
	s.worker.Ready = state.Ready
	for name, d := range state.Dependencies {
		if d.OK {
			continue
		}
		if s.worker.Reasons == nil {
			s.worker.Reasons = map[string]string{}
		}
		s.worker.Reasons[name] = d.Reason
		if name == "hops" && json.Unmarshal(d.Details, &s.pauses) == nil {
			for i := range s.pauses {
				s.pauses[i].Worker = s.worker.Address
			}
		}
	}
	return nil
}

func (s *sample) askMetrics(ctx context.Context, client *http.Client) error {
	status, body, err := get(ctx, client, s.worker.Address+"/metrics")
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound:
		return errors.New("it shows no metrics: CONNECTOR_EXPOSE_METRICS is false there")
	case status != http.StatusOK:
		return fmt.Errorf("/metrics: HTTP %d", status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return errors.New("/metrics is not in Prometheus' text format")
	}
	s.families = families
	return nil
}

func get(ctx context.Context, client *http.Client, address string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return 0, nil, fmt.Errorf("no answer: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("reading its answer: %w", err)
	}
	return response.StatusCode, body, nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// number is the value of a metric; a histogram's is how many there were.
func number(m *dto.Metric) float64 {
	switch {
	case m.GetHistogram() != nil:
		return float64(m.GetHistogram().GetSampleCount())
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	case m.GetUntyped() != nil:
		return m.GetUntyped().GetValue()
	default:
		return m.GetGauge().GetValue()
	}
}

// each calls visit for every series of a metric.
func (s *sample) each(name string, visit func(m *dto.Metric, value float64)) {
	for _, m := range s.families[name].GetMetric() {
		visit(m, number(m))
	}
}
