package app

import (
	"net/http"
	"strings"
	"testing"

	"opencti-ipqs-worker/internal/config"
	"opencti-ipqs-worker/internal/telemetry"
)

func TestCallsAreToldWithoutWhatTheyAskAbout(t *testing.T) {
	t.Parallel()
	platform := func(r *http.Request) telemetry.Call { return platformCall(r) }
	risks := lookupCall(config.IPQS{BaseURL: "https://example.com/api/json"})
	tests := []struct {
		name, address, body string
		call                func(*http.Request) telemetry.Call
		want                telemetry.Call
	}{
		{"a mutation", "https://o.example.com/base/graphql", `{"query":"mutation WorkReceived($id: ID!) {","variables":{}}`, platform, telemetry.Call{Route: "/graphql", Operation: "WorkReceived", Mutation: true}},
		{"a query", "https://o.example.com/graphql", `{"query":"query About {`, platform, telemetry.Call{Route: "/graphql", Operation: "About"}},
		{"something else", "https://o.example.com/graphql", `{}`, platform, telemetry.Call{Route: "/graphql"}},
		{"another path", "https://o.example.com/keys/secret", ``, platform, telemetry.Call{Route: "/other"}},
		{"a file", "https://o.example.com/base/storage/get/import/Artifact/1/jdoe.exe", ``, platform, telemetry.Call{Route: "/storage/get/", Unshown: true}},
		{"a leak", "https://example.com/api/json/leaked/password", `{"password":"secret"}`, risks, telemetry.Call{Route: "/leaked/password"}},
		{"a lookup", "https://example.com/api/json/email?email=a%40example.com", ``, risks, telemetry.Call{Route: "/email"}},
		{"the account, whose path has the key", "https://example.com/api/json/account/planted-key", ``, risks, telemetry.Call{Route: "/account/{hidden}"}},
		{"leaks", "https://example.com/api/json/leaked/email", ``, risks, telemetry.Call{Route: "/leaked/email"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tt.address, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.call(r); got != tt.want {
				t.Errorf("call = %+v, want %+v", got, tt.want)
			}
		})
	}
}
