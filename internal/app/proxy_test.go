package app

import (
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"
)

func TestUsableProxies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		from httpproxy.Config
		want []string // the variables that are wrong
	}{
		{name: "none"},
		{name: "good", from: httpproxy.Config{HTTPProxy: "http://user:planted@proxy:3128", HTTPSProxy: "proxy:3128", NoProxy: "*"}},
		{name: "broken", from: httpproxy.Config{HTTPProxy: "http://user:planted%zz@proxy", HTTPSProxy: "http://user:pl anted@proxy"}, want: []string{"HTTP_PROXY", "HTTPS_PROXY"}},
		{name: "broken port", from: httpproxy.Config{HTTPSProxy: "http://user:planted@proxy:port"}, want: []string{"HTTPS_PROXY"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := usableProxies(tt.from)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if strings.Count(text, ": found [REDACTED], want") != len(tt.want) || strings.Contains(text, "planted") {
				t.Errorf("usableProxies() = %v, want a problem of each of %q", err, tt.want)
			}
			for _, name := range tt.want {
				if !strings.Contains(text, name+": found") {
					t.Errorf("usableProxies() = %v, want %s named", err, name)
				}
			}
		})
	}
}
