package deadletters

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"opencti-ipqs-worker/pipeline"
)

// mostShown bounds how much of a body is shown, in bytes: a playbook's bundle may have megabytes.
const mostShown = 64 << 10

// Show writes everything about a letter for people: what it says, then its body, JSON in lines. What looks like a
// credential, and what names somebody's account, is masked.
func Show(w io.Writer, letter pipeline.DeadLetter, now time.Time) error {
	m := newMasker(letter.EntityType)
	body := m.body(letter.Body) // first: it tells which names are to be masked in the facts
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fact := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(table, "%s\t%s\n", name, Printable(m.text(value)))
		}
	}
	fact("id", letter.ID)
	fact("hop", letter.Hop)
	fact("reason", string(letter.Reason))
	fact("class", string(letter.Class))
	fact("error", letter.Error)
	fact("attempts", strconv.Itoa(letter.Attempts))
	fact("first attempt", moment(letter.FirstAt, now))
	fact("dead-lettered", moment(letter.LastAt, now))
	fact("entity type", letter.EntityType)
	fact("entity", letter.EntityID)
	fact("work", letter.WorkID)
	fact("job", letter.JobID)
	fact("trace", letter.TraceID)
	fact("worker version", letter.Version)
	if letter.Answered {
		fact("playbook", "went on without us: a replay publishes nothing to it")
	}
	for _, key := range slices.Sorted(maps.Keys(letter.Metadata)) {
		if !strings.HasPrefix(key, "dead_letter_") && key != pipeline.MetadataRedelivered {
			fact(Printable(key), m.hidden(key, letter.Metadata[key]))
		}
	}
	_, _ = fmt.Fprintf(table, "body\t%d bytes\n", len(letter.Body))
	if err := table.Flush(); err != nil {
		return err
	}
	if len(body) > mostShown {
		body = strings.ToValidUTF8(body[:mostShown], "") + "\n… the rest is not shown; export has all of it"
	}
	_, err := fmt.Fprintf(w, "\n%s\n", body)
	return err
}

func (m *masker) hidden(key, value string) string {
	if m.credential.MatchString(key) {
		return redacted
	}
	return value
}

func moment(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s (%s ago)", at.UTC().Format(time.RFC3339), Age(at, now))
}

// Age is how long ago something was, in two units at most: "3d4h", "12m30s". Of the time that is not known it is "-".
func Age(at, now time.Time) string {
	age := now.Sub(at)
	switch {
	case at.IsZero():
		return "-"
	case age < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(age.Seconds())))
	case age < time.Hour:
		return fmt.Sprintf("%dm%ds", int(age.Minutes()), int(age.Seconds())%60)
	case age < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(age.Hours()), int(age.Minutes())%60)
	default:
		return fmt.Sprintf("%dd%dh", int(age.Hours())/24, int(age.Hours())%24)
	}
}
