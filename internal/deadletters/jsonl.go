package deadletters

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"opencti-ipqs-worker/pipeline"
)

// exportFormat is the version of the lines that Export writes. Import refuses what it does not know.
const exportFormat = 1

// maxLine bounds one line of an import: the largest body that a hop takes, in base64, and its metadata.
const maxLine = 128 << 20

// maxID is the most bytes that an id may have: it travels as one of AMQP's short strings.
const maxID = 255

// record is one line of an export.
type record struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
	// Hop is where it was given up, and to whose poison queue it goes back.
	Hop string `json:"hop"`
	// Metadata are the message's, those of the dead letter among them.
	Metadata map[string]string `json:"metadata"`
	// Body is the message's own, in base64.
	Body []byte `json:"body"`
}

// Export writes the letters that the filter lets through to w, one JSON object a line, as they are: nothing is masked. They
// stay where they are.
func (s Store) Export(ctx context.Context, f Filter, w io.Writer) (Tally, error) {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return s.List(ctx, f, func(letter pipeline.DeadLetter) error {
		line := record{Format: exportFormat, ID: letter.ID, Hop: letter.Hop, Metadata: map[string]string{}, Body: letter.Body}
		if line.Body == nil {
			line.Body = []byte{} // an empty body is a body
		}
		for key, value := range letter.Metadata {
			if key != pipeline.MetadataRedelivered { // of one delivery, not of the letter
				line.Metadata[key] = value
			}
		}
		if err := encoder.Encode(line); err != nil {
			return fmt.Errorf("writing %s: %w", letter.ID, err)
		}
		return nil
	})
}

// Imported is what came of an import.
type Imported struct {
	// Done counts the letters that were put into a poison queue.
	Done Census
	// Duplicates counts those that are in one already, or were in the import before; FilteredOut those that the filter did
	// not let through.
	Duplicates, FilteredOut int
}

// A LineError says what is wrong with a line of an import. Nothing of it or of a later line was imported; earlier ones
// were.
type LineError struct {
	Line int
	Err  error
}

// Error names the line.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong with it.
func (e *LineError) Unwrap() error { return e.Err }

// Import puts letters that Export wrote back into the poison queues that they came from, under their ids. One whose id is
// there already is passed over, so an import that was interrupted can be repeated. It stops at the first line that is none
// of Export's, with a [*LineError].
func (s Store) Import(ctx context.Context, f Filter, r io.Reader) (Imported, error) {
	var result Imported
	known := map[string]bool{}
	if _, err := s.List(ctx, Filter{}, func(letter pipeline.DeadLetter) error {
		known[letter.ID] = true
		return nil
	}); err != nil {
		return result, err
	}
	began := s.now()
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	n := 0
	for lines.Scan() {
		n++
		text := bytes.TrimSpace(bytes.TrimPrefix(lines.Bytes(), []byte("\ufeff")))
		if len(text) == 0 {
			continue
		}
		s.seen()
		hop, msg, err := s.decode(text)
		if err != nil {
			return result, &LineError{n, err}
		}
		letter := pipeline.ReadDeadLetter(hop.Poison(), msg)
		letter.Hop = hop.Name()
		switch {
		case !f.Match(letter, began):
			result.FilteredOut++
			continue
		case known[letter.ID]:
			result.Duplicates++
			continue
		}
		if err := ctx.Err(); err != nil {
			return result, err
		}
		if err := s.Transport.Publish(hop.Poison(), msg); err != nil {
			return result, fmt.Errorf("importing %s: %w", letter.ID, err)
		}
		known[letter.ID] = true
		result.Done.add(letter)
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = &LineError{n + 1, fmt.Errorf("it is longer than %d MiB, which no dead letter is", maxLine>>20)}
	}
	return result, err
}

// decode reads a line. The error names the field, what was found and what was expected.
func (s Store) decode(line []byte) (hop pipeline.Hop, msg *message.Message, err error) {
	var one record
	if err := json.Unmarshal(line, &one); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			return hop, nil, fmt.Errorf("field %s: found a JSON %s, want %s", wrong.Field, wrong.Value, wrong.Type)
		}
		return hop, nil, fmt.Errorf("found no JSON object as export writes them: %w", err)
	}
	at := slices.IndexFunc(s.Hops, func(hop pipeline.Hop) bool { return hop.Name() == one.Hop })
	switch {
	case one.Format != exportFormat:
		return hop, nil, fmt.Errorf("field format: found %d, want %d, which is what this release writes", one.Format, exportFormat)
	case one.ID == "" || len(one.ID) > maxID:
		return hop, nil, fmt.Errorf("field id: found %d bytes, want 1 to %d", len(one.ID), maxID)
	case at < 0:
		return hop, nil, fmt.Errorf("field hop: found %.40q, want one of %s", one.Hop, strings.Join(s.HopNames(), ", "))
	case one.Body == nil:
		return hop, nil, errors.New("field body: found nothing, want the body in base64")
	}
	msg = message.NewMessage(one.ID, one.Body)
	for key, value := range one.Metadata {
		msg.Metadata.Set(key, value)
	}
	return s.Hops[at], msg, nil
}
