package stages

import (
	"bytes"
	std "cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"opencti-ipqs-worker/internal/opencti"
)

// recording is what the connector in Python was given, and what it made of it.
type recording struct {
	Case   string
	Config map[string]string
	Input  struct {
		Message json.RawMessage
		Entity  *recordedEntity
		IPQS    map[string]recordedAnswers `json:"ipqs"`
		Files   map[string]string          // base64
	}
	Observed struct {
		Score   *string
		Labels  []string         `json:"labels_added"`
		Objects []recordedObject `json:"stix_objects"`
	}
}

type recordedEntity struct {
	ID         string
	StandardID string  `json:"standard_id"`
	Type       string  `json:"entity_type"`
	Value      string  `json:"observable_value"`
	CreatedAt  string  `json:"created_at"`
	Login      *string `json:"account_login"`
	Credential *string
	Markings   []struct {
		StandardID string `json:"standard_id"`
		Type       string `json:"definition_type"`
		Definition string
	} `json:"objectMarking"`
	Organizations []struct {
		StandardID string `json:"standard_id"`
	} `json:"objectOrganization"`
	Hashes []struct{ Algorithm, Hash string }
	Files  struct {
		Edges []struct{ Node opencti.File }
	} `json:"importFiles"`
}

type recordedObject struct {
	Type, ID, Pattern string
	Relationship      string          `json:"relationship_type"`
	Source            string          `json:"source_ref"`
	Target            string          `json:"target_ref"`
	Score             json.RawMessage `json:"x_opencti_score"`
	Labels            []string
	ObservableLabels  []string `json:"x_opencti_labels"`
}

// recordedAnswers are one answer or a list, used one after the other.
type recordedAnswers []recordedAnswer

type recordedAnswer struct {
	Status  int
	JSON    json.RawMessage
	Body    string
	Headers map[string]string
}

func (a *recordedAnswers) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		return json.Unmarshal(text, (*[]recordedAnswer)(a))
	}
	*a = make(recordedAnswers, 1)
	return json.Unmarshal(text, &(*a)[0])
}

// RoundTrip answers as the recording's IPQS did: by endpoint and value.
func (r *recording) RoundTrip(request *http.Request) (*http.Response, error) {
	endpoint := strings.TrimPrefix(request.URL.Path, "/api/json/")
	value := ""
	switch {
	case strings.HasPrefix(request.Header.Get("Content-Type"), "multipart/"):
		form, err := request.MultipartReader()
		if err != nil {
			return nil, err
		}
		part, err := form.NextPart()
		if err != nil {
			return nil, err
		}
		_, _ = io.Copy(io.Discard, part)
		value = part.FileName()
	case request.Method == http.MethodPost:
		var body map[string]string
		if err := json.NewDecoder(request.Body).Decode(&body); err != nil {
			return nil, err
		}
		for _, value = range body {
		}
	default:
		query := request.URL.Query()
		for _, name := range []string{"ip", "email", "phone", "url", "request_id"} {
			value = std.Or(value, query.Get(name))
		}
	}
	key := endpoint + "|" + value
	answers, ok := r.Input.IPQS[key]
	if !ok {
		key = endpoint + "|*"
		if answers, ok = r.Input.IPQS[key]; !ok {
			return nil, fmt.Errorf("nothing recorded of %s", key)
		}
	}
	if len(answers) > 1 {
		r.Input.IPQS[key] = answers[1:]
	}
	answer := answers[0]
	response := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: request}
	if answer.Status != 0 {
		response.StatusCode = answer.Status
	}
	for name, value := range answer.Headers {
		response.Header.Set(name, value)
	}
	body := answer.Body
	if answer.JSON != nil {
		body = string(answer.JSON)
	}
	response.Body = io.NopCloser(strings.NewReader(body))
	return response, nil
}

// State is that of a platform that nothing was written to.
func (r *recording) State(context.Context, opencti.StateQuery) (opencti.State, error) {
	entity, err := r.entity()
	return opencti.State{Entity: entity}, err
}

func (r *recording) entity() (opencti.Entity, error) {
	e := r.Input.Entity
	if e == nil {
		return opencti.Entity{}, opencti.ErrNotFound
	}
	entity := opencti.Entity{ID: e.ID, StandardID: e.StandardID, Type: e.Type, Value: e.Value, CreatedAt: e.CreatedAt}
	for _, m := range e.Markings {
		entity.Markings = append(entity.Markings, opencti.Marking{ID: m.StandardID, Type: m.Type, Definition: m.Definition})
	}
	for _, o := range e.Organizations {
		entity.Organizations = append(entity.Organizations, o.StandardID)
	}
	switch e.Type {
	case typeAccount:
		entity.Account = &opencti.Account{}
		if e.Login != nil {
			entity.Account.Login = *e.Login
		}
		entity.Value = entity.Account.Login
	case typeArtifact:
		entity.Artifact = &opencti.Artifact{Hashes: map[string]string{}}
		for _, h := range e.Hashes {
			entity.Artifact.Hashes[h.Algorithm] = h.Hash
		}
		for _, edge := range e.Files.Edges {
			edge.Node.Size = 0 // it is of another file than the one that was stored
			entity.Artifact.Files = append(entity.Artifact.Files, edge.Node)
		}
	}
	return entity, nil
}

func (r *recording) Credential(context.Context, string, string) (opencti.Credential, error) {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	return opencti.NewCredential(text(r.Input.Entity.Login), text(r.Input.Entity.Credential)), nil
}
