package rabbitmq

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wamqp "github.com/ThreeDotsLabs/watermill-amqp/v2/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
)

// BrokerPrefix begins the metadata keys of headers that are the broker's own, such as x-death and x-delivery-count. They
// describe one delivery: metadata with this prefix are not published.
const BrokerPrefix = "amqp."

const (
	maxShortString = 255
	// maxMetadata is what headers may take: they travel in one frame, of 128 KiB by RabbitMQ's default, with the other
	// properties. A larger one would not only be refused but end the connection.
	maxMetadata = 120_000
)

// Marshaler is the watermill-amqp Marshaler of this package. Metadata are headers, with the UUID among them as
// watermill-amqp has it and as the message-id property; the payload is the body, byte for byte. Unmarshal takes whatever a
// stranger sent.
type Marshaler struct {
	// ContentType is that of the bodies; empty means "application/json".
	ContentType string
}

var _ wamqp.Marshaler = Marshaler{}

// Marshal makes a persistent publication. It fails for metadata that AMQP cannot carry; sending them would cost the
// connection.
func (m Marshaler) Marshal(msg *message.Message) (amqp.Publishing, error) {
	headers := make(amqp.Table, len(msg.Metadata)+1)
	size := 0
	for key, value := range msg.Metadata {
		if isMark(key) || strings.HasPrefix(key, BrokerPrefix) || isBrokerHeader(key) {
			continue
		}
		if len(key) > maxShortString {
			return amqp.Publishing{}, fmt.Errorf("%w: the key %.40q... has %d bytes, at most %d are possible",
				ErrTooLarge, key, len(key), maxShortString)
		}
		headers[key] = value
		size += len(key) + len(value) + 6 // A length before each, and the type.
	}
	if size > maxMetadata {
		return amqp.Publishing{}, fmt.Errorf("%w: %d bytes, at most %d are possible", ErrTooLarge, size, maxMetadata)
	}
	id := msg.UUID
	if id == "" {
		id = watermill.NewULID()
	}
	headers[wamqp.DefaultMessageUUIDHeaderKey] = id
	if len(id) > maxShortString {
		id = ""
	}
	contentType := m.ContentType
	if contentType == "" {
		contentType = "application/json"
	}
	return amqp.Publishing{
		Headers:      headers,
		ContentType:  contentType,
		DeliveryMode: amqp.Persistent,
		MessageId:    id,
		Timestamp:    time.Now(),
		Body:         msg.Payload,
	}, nil
}

// Unmarshal never fails. Headers that are no strings become text: numbers and truth values as in Go, times in RFC 3339,
// lists and tables as JSON. A message without Watermill's UUID gets its message-id as such, or else a new ULID.
func (m Marshaler) Unmarshal(d amqp.Delivery) (*message.Message, error) {
	id, _ := d.Headers[wamqp.DefaultMessageUUIDHeaderKey].(string)
	if id == "" {
		id = d.MessageId
	}
	if id == "" {
		id = watermill.NewULID()
	}
	msg := message.NewMessage(id, d.Body)
	for key, value := range d.Headers {
		switch {
		case key == wamqp.DefaultMessageUUIDHeaderKey, isMark(key):
			continue
		case isBrokerHeader(key):
			key = BrokerPrefix + key
		}
		msg.Metadata[key] = text(value)
	}
	return msg, nil
}

// isMark says whether a metadata key is about one delivery and set by us.
func isMark(key string) bool {
	return key == pipeline.MetadataRedelivered || key == pipeline.MetadataDeliveries
}

// isBrokerHeader says whether RabbitMQ or one of its plugins writes or interprets this header. Sending one back as the
// text that we have would mislead the broker, or make it close the channel (CC).
func isBrokerHeader(key string) bool {
	switch key {
	case "CC", "BCC", // https://www.rabbitmq.com/docs/sender-selected
		"x-death",                              // https://www.rabbitmq.com/docs/dlx
		"x-delivery-count", "x-acquired-count", // https://www.rabbitmq.com/docs/quorum-queues
		"x-received-from", // https://www.rabbitmq.com/docs/federation
		"x-stream-offset": // https://www.rabbitmq.com/docs/streams
		return true
	}
	for _, prefix := range []string{"x-first-death-", "x-last-death-", "x-shovelled", "x-opt-"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// text writes any value that an AMQP header can have.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case nil:
		return ""
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case amqp.Table, []any:
		encoded, err := json.Marshal(v)
		if err != nil { // Not a number, for one.
			return fmt.Sprint(v)
		}
		return string(encoded)
	}
	return fmt.Sprint(value)
}
