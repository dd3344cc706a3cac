package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/internal/deadletters"
	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/internal/secrettest"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/pipelinetest"
)

// deadLetters makes a command of the operator's, with the workers' configuration.
func (w *world) deadLetters(args ...string) *exec.Cmd {
	w.t.Helper()
	cmd := exec.CommandContext(w.ctx, w.program, append([]string{"dead-letters"}, args...)...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.t.TempDir(),
		"OPENCTI_URL=" + w.address, "OPENCTI_TOKEN=" + token,
		"CONNECTOR_ID=" + w.connector, "CONNECTOR_AUTO=true",
		"IPQS_PRIVATE_KEY=" + key, "IPQS_BASE_URL=" + w.ipqs.BaseURL,
	}
	cmd.Dir = w.t.TempDir()
	return cmd
}

// operate runs a command, which has to end with the status, and returns what it wrote.
func (w *world) operate(status int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	cmd := w.deadLetters(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != status {
		w.t.Fatalf("dead-letters %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), got, status, out.String(), errs.String())
	}
	secrets := []string{token, key, password}
	if args[0] != "export" { // which is to be imported again: it has what was asked about
		secrets = append(secrets, login)
	}
	for _, found := range secrettest.Find(map[string]string{"dead-letters " + strings.Join(args, " "): out.String() + errs.String() + "\n"}, secrets...) {
		w.t.Error(found)
	}
	return out.String(), errs.String()
}

// listed is what the tests read of a line of list.
type listed struct {
	ID         string
	Hop        string
	Reason     string
	EntityType string `json:"entity_type"`
	EntityID   string `json:"entity_id"`
	WorkID     string `json:"work_id"`
}

func (w *world) list(args ...string) []listed {
	w.t.Helper()
	out, _ := w.operate(0, append([]string{"list", "--output", "json"}, args...)...)
	var letters []listed
	for line := range strings.Lines(out) {
		var letter listed
		if err := json.Unmarshal([]byte(line), &letter); err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
		letters = append(letters, letter)
	}
	return letters
}

// Jobs that IPQS refuses become dead letters; an operator looks at them, moves them out and back, and brings every one
// home, beside a worker that does not notice.
func TestDeadLettersComeHome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, ipqstest.Options{})
	var list []openctitest.Observable
	for i := range 9 {
		address := observable("IPv4-Addr", "198.18.7.%d", i)
		w.ipqs.Script(ipqs.KindIP, address.Value, ipqstest.Refusal(ipqstest.MessageInvalidIP))
		list = append(list, address)
	}
	for i := range 3 {
		link := observable("Url", "https://example.com/%d", i)
		w.ipqs.Script(ipqs.KindURL, link.Value, ipqstest.Refusal(ipqstest.MessageInvalidURL))
		list = append(list, link)
	}
	worker := w.start()
	registration := w.platform.Registration(w.connector)
	jobs := w.enrich(list)
	if err := w.platform.WaitWorks(w.ctx, len(jobs)); err != nil {
		t.Fatalf("%d of %d works are complete: %v", w.complete(), len(jobs), err)
	}

	letters := w.list()
	var want, got []string
	for _, j := range jobs {
		want = append(want, fmt.Sprint("lookup invalid_value ", j.Type, " ", j.work))
	}
	for _, l := range letters {
		got = append(got, fmt.Sprint(l.Hop, " ", l.Reason, " ", l.EntityType, " ", l.WorkID))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("dead letters (-want +got):\n%s", diff)
	}
	// They came in any order; what follows takes an address for the first.
	slices.SortFunc(letters, func(a, b listed) int { return strings.Compare(a.EntityType+a.ID, b.EntityType+b.ID) })
	table, counts := w.operate(0, "list", "--type", "url", "--reason", "invalid_value", "--newer", "1h")
	if n := strings.Count(table, "\n"); n != 1+3 || !strings.HasPrefix(table, "ID ") || counts != "listed: 3 (lookup 3; invalid_value 3), of 12 dead letters\n" {
		t.Errorf("list of URLs wrote\n%s%s", table, counts)
	}
	if n := len(w.list("--older", "1h")); n != 0 {
		t.Errorf("%d letters are older than an hour, want none", n)
	}
	shown, _ := w.operate(0, "show", letters[0].ID)
	for _, part := range []string{letters[0].ID, letters[0].WorkID, "invalid_value", "198.18.7.", `"request": {`} {
		if !strings.Contains(shown, part) {
			t.Errorf("show lacks %q:\n%s", part, shown)
		}
	}
	if _, stderr := w.operate(1, "show", "01NOSUCHLETTER"); !strings.Contains(stderr, "looking for 01NOSUCHLETTER among 12 dead letters: no such dead letter: replayed or dropped meanwhile? `list` shows what is there") {
		t.Errorf("show of what is not there wrote %q", stderr)
	}

	w.moveOutAndBack(letters)

	// Home: one to the first hop, the others to the one that gave them up.
	if out, _ := w.operate(0, "replay", "--all", "--limit", "5", "--dry-run"); strings.Count(out, "\n") != 1+5 || len(w.list()) != 12 {
		t.Errorf("a dry run listed\n%s", out)
	}
	w.operate(0, "replay", letters[0].ID, "--from", "resolve")
	w.awaitImport(jobs[indexOf(jobs, letters[0].WorkID)])
	if _, stderr := w.operate(1, "replay", letters[0].ID, letters[1].ID); !strings.Contains(stderr, "no dead letter has the id "+letters[0].ID) ||
		!strings.Contains(stderr, "replayed: 1 (lookup 1; invalid_value 1), of 11 dead letters") {
		t.Errorf("replay of one that is gone, and of another, wrote %q", stderr)
	}
	if _, stderr := w.operate(0, "replay", "--hop", "lookup", "--limit", "4", "--rate", "50"); stderr !=
		"replayed: 4 (lookup 4; invalid_value 4), and there are more\n" {
		t.Errorf("replay of a few wrote %q", stderr)
	}
	if n := len(w.list()); n != 6 {
		t.Errorf("%d letters are left, want 6", n)
	}
	w.operate(0, "replay", "--all")
	w.awaitImport(jobs...)
	if _, stderr := w.operate(0, "list"); stderr != "no dead letters\n" {
		t.Errorf("list wrote %q when all letters are home", stderr)
	}
	if complaints := w.platform.Complaints(); len(complaints) > 0 {
		t.Errorf("OpenCTI's stand-in complains: %q", complaints)
	}
	if diff := cmp.Diff(registration, w.platform.Registration(w.connector)); diff != "" {
		t.Errorf("the operator changed the connector's registration (-before +after):\n%s", diff)
	}
	if status := worker.stop(); status != 0 {
		t.Errorf("exit status = %d after SIGTERM, want 0", status)
	}
	checkSecrets(t, w)
}

// moveOutAndBack exports the letters, drops them and imports them, and has them where they were.
func (w *world) moveOutAndBack(letters []listed) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "letters.jsonl")
	w.operate(0, "export", file)
	text, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != fs.FileMode(0o600) || bytes.Count(text, []byte("\n")) != len(letters) {
		w.t.Errorf("the export is %v, %v and has %d lines, want a file for its owner alone with %d", info.Mode(), err, bytes.Count(text, []byte("\n")), len(letters))
	}
	if streamed, _ := w.operate(0, "export", "-"); streamed != string(text) {
		w.t.Errorf("an export to standard output differs from one to a file:\n%s\n%s", streamed, text)
	}
	w.operate(0, "drop", "--type", "Url", "--yes")
	w.operate(0, "drop", letters[0].ID, "--yes")
	if n := len(w.list()); n != len(letters)-4 {
		w.t.Errorf("%d letters are left of %d, want all but 4", n, len(letters))
	}
	for _, want := range []string{"imported 4 (lookup 4; invalid_value 4), passed over 8 that are there already\n", "imported 0, passed over 12 that are there already\n"} {
		if _, stderr := w.operate(0, "import", file); stderr != want {
			w.t.Errorf("import wrote %q, want %q", stderr, want)
		}
	}
	byID := func(a, b listed) int { return strings.Compare(a.ID, b.ID) }
	if diff := cmp.Diff(slices.SortedFunc(slices.Values(letters), byID), slices.SortedFunc(slices.Values(w.list()), byID)); diff != "" {
		w.t.Errorf("letters that were exported and imported (-before +after):\n%s", diff)
	}
}

func indexOf(jobs []job, work string) int {
	return slices.IndexFunc(jobs, func(j job) bool { return j.work == work })
}

// awaitImport waits until the observables have come back from their jobs.
func (w *world) awaitImport(jobs ...job) {
	w.t.Helper()
	missing := ""
	if err := w.platform.Wait(w.ctx, func() bool {
		imported := w.platform.Imported()
		for _, j := range jobs {
			if _, ok := imported[j.id]; !ok {
				missing = j.Value
				return false
			}
		}
		return true
	}); err != nil {
		w.t.Fatalf("%s was never imported: %v", missing, err)
	}
}

// A replay that is killed at any moment loses nothing and does nothing twice: the letters in the poison queue and the
// replays in the hop's are together as many as ever.
func TestDeadLettersSurviveFiftyKills(t *testing.T) {
	t.Parallel()
	const letters, kills, seed = 200, 50, 20260304
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t, ipqstest.Options{})
	worker := w.start() // it registers the connector and declares the queues
	w.awaitLog(`"enriching"`, 1)
	worker.stop()
	q := newQueues(w)
	file := filepath.Join(t.TempDir(), "letters.jsonl")
	if err := os.WriteFile(file, lettersOfLookup(letters), 0o600); err != nil {
		t.Fatal(err)
	}
	w.operate(0, "import", file)
	began := time.Now()
	w.operate(0, "list")
	wholeRun := time.Since(began) // of a command that does next to nothing

	amid := 0
	for n := range kills {
		before := q.depth(q.hop)
		if before > letters*3/4 { // enough left to be in the middle of
			q.purge(q.hop)
			q.purge(q.poison)
			w.operate(0, "import", file)
			before = 0
		}
		args := []string{"replay", "--all"}
		if n%2 == 0 { // the others are at the broker most of the time
			args = append(args, "--rate", "400")
		}
		cmd := w.deadLetters(args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if n%5 == 0 { // anywhere in its life
			wait(w.ctx, ended, time.Duration(random.Int64N(int64(2*wholeRun))))
		} else { // within the replay
			for q.depth(q.hop) == before && wait(w.ctx, ended, time.Millisecond) {
			}
			wait(w.ctx, ended, time.Duration(random.Int64N(int64(30*time.Millisecond))))
		}
		_ = cmd.Process.Kill() // it may have ended
		select {
		case err := <-ended:
			ended <- err
		case <-w.ctx.Done():
			t.Fatal("a killed command did not end")
		}
		q.checkSum(n, letters)
		if after := q.depth(q.hop); after > before && after < letters {
			amid++
		}
	}
	t.Logf("%d of %d kills hit a replay when it had sent some letters and not all", amid, kills)
	if amid < kills/2 {
		t.Errorf("only %d of %d kills hit a replay in its middle: it shows too little", amid, kills)
	}
	q.interrupt(file, letters)
	w.operate(0, "replay", "--all")
	if left, home := len(q.ids(q.poison)), len(q.ids(q.hop)); left != 0 || home != letters {
		t.Errorf("after a whole replay: %d letters and %d replays, want 0 and %d", left, home, letters)
	}
}

// interrupt has a replay end in order, in its middle.
func (q *queues) interrupt(file string, letters int) {
	q.w.t.Helper()
	q.purge(q.hop)
	q.w.operate(0, "import", file)
	var stderr bytes.Buffer
	cmd := q.w.deadLetters("replay", "--hop", "lookup", "--rate", "20")
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		q.w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for q.depth(q.hop) < 2 && wait(q.w.ctx, ended, time.Millisecond) {
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		q.w.t.Fatal(err)
	}
	if err := <-ended; err == nil {
		q.w.t.Error("an interrupted replay ended as if it was done")
	}
	if status := cmd.ProcessState.ExitCode(); status != 1 ||
		!strings.Contains(stderr.String(), "ipqs-worker: interrupted: what is not told of here is where it was") {
		q.w.t.Errorf("an interrupted replay ended with status %d and wrote %q, want 1 and that it was interrupted", status, stderr.String())
	}
	q.checkSum(-1, letters)
	if told, gone := "replayed until it ended: "+strconv.Itoa(q.depth(q.hop))+" (", stderr.String(); !strings.Contains(gone, told) {
		q.w.t.Errorf("an interrupted replay wrote %q, want %q", gone, told)
	}
}

// wait waits, unless the command ends before; then it returns false.
func wait(ctx context.Context, ended chan error, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case err := <-ended:
		ended <- err
		return false
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// lettersOfLookup are n lines as export writes them.
func lettersOfLookup(n int) []byte {
	var file bytes.Buffer
	for i := range n {
		body := fmt.Sprintf(`{"id":"work-%d","request":{"work":"work-%d","id":"ipv4-addr--%d","type":"IPv4-Addr"},`+
			`"entity":{"standard":"ipv4-addr--%d","type":"IPv4-Addr","value":"198.18.0.%d"}}`, i, i, i, i, i)
		fmt.Fprintf(&file, `{"format":1,"id":"letter-%03d","hop":"lookup","metadata":{%q:"1",%q:"lookup",%q:"timeout"},"body":%q}`+"\n",
			i, pipeline.MetadataVersion, pipeline.DeadLetterHop, pipeline.DeadLetterReason, base64.StdEncoding.EncodeToString([]byte(body)))
	}
	return file.Bytes()
}

// queues is a look at lookup's queues from outside.
type queues struct {
	w           *world
	connection  *amqp.Connection
	channel     *amqp.Channel
	hop, poison string
}

func newQueues(w *world) *queues {
	w.t.Helper()
	connection, err := amqp.Dial(pipelinetest.AMQPURL(w.t))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = connection.Close() })
	channel, err := connection.Channel()
	if err != nil {
		w.t.Fatal(err)
	}
	hop := "ipqs-worker." + w.connector + ".lookup"
	return &queues{w: w, connection: connection, channel: channel, hop: hop, poison: hop + ".poison"}
}

func (q *queues) depth(queue string) int {
	q.w.t.Helper()
	state, err := q.channel.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		q.w.t.Fatal(err)
	}
	return state.Messages
}

func (q *queues) purge(queue string) {
	q.w.t.Helper()
	if _, err := q.channel.QueuePurge(queue, false); err != nil {
		q.w.t.Fatal(err)
	}
}

// ids lists the letters in a queue, or those whose replays are in it. They stay.
func (q *queues) ids(queue string) []string {
	q.w.t.Helper()
	channel, err := q.connection.Channel()
	if err != nil {
		q.w.t.Fatal(err)
	}
	defer func() { _ = channel.Close() }() // which gives back what is not acknowledged
	var ids []string
	for {
		delivery, ok, err := channel.Get(queue, false)
		if err != nil {
			q.w.t.Fatal(err)
		}
		if !ok {
			return ids
		}
		id := delivery.MessageId
		if queue == q.hop {
			id, _ = delivery.Headers[deadletters.MetadataReplays].(string)
		}
		ids = append(ids, id)
	}
}

// checkSum waits until the broker has noticed that a client is gone, and counts the letters and replays: each letter is
// there once, as the one or the other. More than that is wrong at any time.
func (q *queues) checkSum(n, want int) {
	q.w.t.Helper()
	ctx, cancel := context.WithTimeout(q.w.ctx, 20*time.Second)
	defer cancel()
	for {
		waiting, replayed := q.ids(q.poison), q.ids(q.hop)
		all := slices.Sorted(slices.Values(append(slices.Clone(waiting), replayed...)))
		distinct := len(slices.Compact(slices.Clone(all)))
		switch {
		case len(all) > distinct:
			q.w.t.Fatalf("after kill %d: %d letters and %d replays, of %d letters: some are there twice", n, len(waiting), len(replayed), distinct)
		case distinct == want:
			return
		}
		if !wait(ctx, nil, 10*time.Millisecond) {
			q.w.t.Fatalf("after kill %d: %d letters and %d replays, want %d together", n, len(waiting), len(replayed), want)
		}
	}
}
