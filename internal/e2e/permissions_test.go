//go:build unix

package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// TestTheDocumentedPermissionsAreEnough has a worker and an operator do all they do at a broker as a user with just the
// permissions that docs/security.md tells to give; with any of them less, the worker does not get to work.
func TestTheDocumentedPermissionsAreEnough(t *testing.T) {
	t.Parallel()
	pipelinetest.AMQPURL(t) // where there is no broker for the others, there is none for this one
	node := ownNode(t)
	connector := uuid.NewString()
	broker := openctitest.AMQPBroker(node.URL())
	broker.Prefix = "some_prefix_"
	t.Cleanup(func() { _ = broker.Close() })
	w := newWorldOn(t, broker, connector, "", ipqstest.Options{})
	const pass = "planted-least-3ac1"
	least := documentedPermissions(t, connector)
	may := func(configure, write, read string) {
		t.Helper()
		if out, err := node.Ctl(w.ctx, "set_permissions", "-p", "/", "least", configure, write, read); err != nil {
			t.Fatalf("rabbitmqctl set_permissions: %v\n%s", err, out)
		}
	}
	if out, err := node.Ctl(w.ctx, "add_user", "least", pass); err != nil {
		t.Fatalf("rabbitmqctl add_user: %v\n%s", err, out)
	}
	as := []string{"MQ_USER=least", "MQ_PASS=" + pass}
	const nothing = "^$"
	for _, tt := range []struct {
		without                string
		configure, write, read string
	}{
		{"configure", nothing, least[1], least[2]},
		{"write", least[0], nothing, least[2]},
		{"read", least[0], least[1], nothing},
	} {
		may(tt.configure, tt.write, tt.read)
		before := w.logs.Count("ACCESS_REFUSED")
		p := w.launch(as...)
		w.awaitLog("ACCESS_REFUSED", before+1)
		p.kill()
	}

	may(least[0], least[1], least[2])
	p := w.launch(as...)
	jobs := w.enrich([]openctitest.Observable{observable("IPv4-Addr", "198.51.100.7"), observable("IPv4-Addr", "no address.example")})
	if err := w.platform.Wait(w.ctx, func() bool { return w.complete() == len(jobs) }); err != nil {
		t.Fatalf("waiting for the works: %v", err)
	}
	for _, command := range []string{"list", "replay"} {
		args := []string{"dead-letters", command}
		if command == "replay" {
			args = append(args, "--all")
		}
		r := w.reader("../..")
		cmd := exec.CommandContext(w.ctx, w.program, args...)
		cmd.Dir, cmd.Env = r.dir, append(r.env, as...)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "lookup 1") {
			t.Errorf("dead-letters %s = %v, %s, want one letter of lookup", command, err, out)
		}
	}
	if status := p.stop(); status != 0 {
		t.Errorf("exit status = %d, want 0", status)
	}
}

// documentedPermissions reads configure, write and read from the command in docs/security.md.
func documentedPermissions(t *testing.T, connector string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	const pattern = `\s+(?:\\\n\s*)?'([^']+)'`
	found := regexp.MustCompile(`(?m)^rabbitmqctl set_permissions -p / USER` + pattern + pattern + pattern + `$`).FindStringSubmatch(string(text))
	if found == nil {
		t.Fatal("found no command in docs/security.md that sets three permissions, want one")
	}
	patterns := found[1:]
	for i := range patterns {
		patterns[i] = strings.ReplaceAll(patterns[i], "<id>", connector)
	}
	return patterns
}
