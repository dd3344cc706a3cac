package app

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/opencti"
)

// TestConnection: what OpenCTI says of its broker holds, and each MQ_* option replaces its part of it.
func TestConnection(t *testing.T) {
	t.Parallel()
	plain := opencti.Connection{Host: "rabbit", Port: 5672, VHost: "/", User: "opencti", Pass: "p@ss/word"}
	secured := opencti.Connection{Host: "rabbit", Port: 5671, VHost: "a/b", User: "opencti", Pass: "p@ss/word", UseSSL: true}
	bracketed := secured
	bracketed.Host = "[2001:db8::1]"
	tests := []struct {
		name    string
		said    opencti.Connection
		environ []string
		change  func(*opencti.Connection) // nil for none
	}{
		{"as OpenCTI says", plain, nil, nil},
		{"as OpenCTI says, by TLS", secured, nil, nil},
		{"host", plain, []string{"MQ_HOST=other"}, func(c *opencti.Connection) { c.Host = "other" }},
		{"host of IPv6", plain, []string{"MQ_HOST=2001:db8::1"}, func(c *opencti.Connection) { c.Host = "2001:db8::1" }},
		{"host of IPv6 in brackets", plain, []string{"MQ_HOST=[2001:db8::1]"}, func(c *opencti.Connection) { c.Host = "2001:db8::1" }},
		{"as OpenCTI says, IPv6", bracketed, nil, func(c *opencti.Connection) { c.Host = "2001:db8::1" }},
		{"host by TLS", secured, []string{"MQ_HOST=other"}, func(c *opencti.Connection) { c.Host = "other" }},
		{"port", plain, []string{"MQ_PORT=1"}, func(c *opencti.Connection) { c.Port = 1 }},
		{"virtual host", plain, []string{"MQ_VHOST=other"}, func(c *opencti.Connection) { c.VHost = "other" }},
		{"user", plain, []string{"MQ_USER=other"}, func(c *opencti.Connection) { c.User = "other" }},
		{"password", plain, []string{"MQ_PASS=secret"}, func(c *opencti.Connection) { c.Pass = "secret" }},
		{"with TLS", plain, []string{"MQ_USE_SSL=true"}, func(c *opencti.Connection) { c.UseSSL = true }},
		{"without TLS", secured, []string{"MQ_USE_SSL=false"}, func(c *opencti.Connection) { c.UseSSL = false }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := tt.said
			if tt.change != nil {
				tt.change(&want)
			}
			made, err := connection(tt.said, load(t, tt.environ...).MQ)
			if err != nil {
				t.Fatalf("connection() error = %v", err)
			}
			uri, err := amqp.ParseURI(made.AmqpURI)
			if err != nil {
				t.Fatal(err)
			}
			got := opencti.Connection{
				Host: uri.Host, Port: uri.Port, VHost: uri.Vhost, User: uri.Username, Pass: opencti.Secret(uri.Password),
				UseSSL: uri.Scheme == "amqps" && made.TLSConfig != nil,
			}
			if diff := cmp.Diff(want, got); diff != "" || got.Pass.Reveal() != want.Pass.Reveal() {
				t.Errorf("connection (-want +got):\n%s", diff)
			}
			if secured := made.TLSConfig; want.UseSSL && (secured.ServerName != want.Host || secured.InsecureSkipVerify) {
				t.Errorf("TLS to %q, unverified %t, want the broker's name, verified", secured.ServerName, secured.InsecureSkipVerify)
			}
		})
	}
}
