package rabbitmq_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"

	"opencti-ipqs-worker/pipeline"
	"opencti-ipqs-worker/pipeline/rabbitmq"
)

// strange has a header of every type that AMQP knows.
var strange = amqp.Table{
	"text":    "plain",
	"bytes":   []byte("raw"),
	"int":     int32(-7),
	"long":    int64(math.MaxInt64),
	"byte":    byte(200),
	"float":   1.5,
	"nan":     []any{math.NaN()}, // RabbitMQ takes none, other brokers may.
	"bool":    true,
	"null":    nil,
	"time":    time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC),
	"decimal": amqp.Decimal{Scale: 2, Value: 314},
	"list":    []any{int32(1), "two", amqp.Table{"three": int32(3)}},
	"table":   amqp.Table{"key": "value"},
	"x-death": []any{amqp.Table{
		"count": int64(3), "queue": "q", "reason": "expired", "time": time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC),
		"routing-keys": []any{"q"},
	}},
	"x-delivery-count":        int64(4),
	"x-first-death-reason":    "expired",
	"CC":                      []any{"other"},
	"redelivered":             "a stranger's word",
	"_watermill_message_uuid": "uuid-1",
}

var strangeMetadata = message.Metadata{
	"text":                      "plain",
	"bytes":                     "raw",
	"int":                       "-7",
	"long":                      "9223372036854775807",
	"byte":                      "200",
	"float":                     "1.5",
	"nan":                       "[NaN]",
	"bool":                      "true",
	"null":                      "",
	"time":                      "2024-02-29T12:00:00Z",
	"decimal":                   "{2 314}",
	"list":                      `[1,"two",{"three":3}]`,
	"table":                     `{"key":"value"}`,
	"amqp.x-death":              `[{"count":3,"queue":"q","reason":"expired","routing-keys":["q"],"time":"2024-02-29T12:00:00Z"}]`,
	"amqp.x-delivery-count":     "4",
	"amqp.x-first-death-reason": "expired",
	"amqp.CC":                   `["other"]`,
}

func TestUnmarshalStrangeHeaders(t *testing.T) {
	t.Parallel()
	msg, err := rabbitmq.Marshaler{}.Unmarshal(amqp.Delivery{Headers: strange, Body: []byte{0, 1, 0xff}})
	if err != nil {
		t.Fatalf("Unmarshal() = %v", err)
	}
	if msg.UUID != "uuid-1" || string(msg.Payload) != "\x00\x01\xff" {
		t.Errorf("Unmarshal() = %q %q, want the UUID and body as sent", msg.UUID, msg.Payload)
	}
	if diff := cmp.Diff(strangeMetadata, msg.Metadata); diff != "" {
		t.Errorf("metadata differ (-want +got):\n%s", diff)
	}
}

func TestUnmarshalUUID(t *testing.T) {
	t.Parallel()
	const header = "_watermill_message_uuid"
	tests := []struct {
		name     string
		delivery amqp.Delivery
		want     string // empty: any, but not empty
	}{
		{"Watermill's header", amqp.Delivery{Headers: amqp.Table{header: "a"}, MessageId: "b"}, "a"},
		{"no header", amqp.Delivery{MessageId: "b"}, "b"},
		{"a header that is no string", amqp.Delivery{Headers: amqp.Table{header: int32(1)}, MessageId: "b"}, "b"},
		{"neither", amqp.Delivery{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			msg, err := rabbitmq.Marshaler{}.Unmarshal(tt.delivery)
			if err != nil {
				t.Fatalf("Unmarshal() = %v", err)
			}
			if msg.UUID == "" || (tt.want != "" && msg.UUID != tt.want) {
				t.Errorf("UUID = %q, want %q", msg.UUID, tt.want)
			}
			if len(msg.Metadata) != 0 {
				t.Errorf("metadata = %v, want none", msg.Metadata)
			}
		})
	}
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	msg := message.NewMessage("uuid-1", []byte(`{"a":1}`))
	msg.Metadata = message.Metadata{
		"traceparent":                "00-1-1-01",
		pipeline.MetadataRedelivered: "true",
		"amqp.x-death":               "[]",
		"x-death":                    "[]",
		"x-last-death-queue":         "q",
		"CC":                         "other",
	}
	got, err := rabbitmq.Marshaler{}.Marshal(msg)
	if err != nil {
		t.Fatalf("Marshal() = %v", err)
	}
	if age := time.Since(got.Timestamp); age < 0 || age > time.Minute {
		t.Errorf("Timestamp is %v old, want now", age)
	}
	got.Timestamp = time.Time{}
	want := amqp.Publishing{
		Headers:      amqp.Table{"traceparent": "00-1-1-01", "_watermill_message_uuid": "uuid-1"},
		ContentType:  "application/json",
		DeliveryMode: amqp.Persistent,
		MessageId:    "uuid-1",
		Body:         []byte(`{"a":1}`),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("publication differs (-want +got):\n%s", diff)
	}
}

func TestMarshalUUID(t *testing.T) {
	t.Parallel()
	got, err := rabbitmq.Marshaler{}.Marshal(message.NewMessage("", nil))
	if err != nil || got.MessageId == "" || got.Headers["_watermill_message_uuid"] != got.MessageId {
		t.Errorf("Marshal(no UUID) = message-id %q, headers %v, %v, want a new UUID in both", got.MessageId, got.Headers, err)
	}
	long := strings.Repeat("u", 300)
	got, err = rabbitmq.Marshaler{}.Marshal(message.NewMessage(long, nil))
	if err != nil || got.MessageId != "" || got.Headers["_watermill_message_uuid"] != long {
		t.Errorf("Marshal(long UUID) = message-id %q, %v, want it in the headers only", got.MessageId, err)
	}
}

func TestMarshalRefusesWhatAMQPCannotCarry(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		metadata message.Metadata
		want     string
	}{
		{"a long key", message.Metadata{strings.Repeat("k", 256): "v"}, "256 bytes, at most 255"},
		{"much of it", message.Metadata{"error": strings.Repeat("v", 120_000)}, "at most 120000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			msg := message.NewMessage("uuid-1", nil)
			msg.Metadata = tt.metadata
			_, err := rabbitmq.Marshaler{}.Marshal(msg)
			if !errors.Is(err, rabbitmq.ErrTooLarge) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Marshal() = %.200v, want %v with %q", err, rabbitmq.ErrTooLarge, tt.want)
			}
			if len(err.Error()) > 300 {
				t.Errorf("the error has %d bytes, want a short one", len(err.Error()))
			}
		})
	}
}

func FuzzMarshaler(f *testing.F) {
	f.Add("key", "value", "uuid", []byte("body"))
	f.Add("x-death", "", "", []byte(nil))
	f.Add("amqp.x-death", "\xff", "\x00", []byte{0xff})
	f.Add("_watermill_message_uuid", "other", "uuid", []byte("{}"))
	f.Add("redelivered", "true", "uuid", []byte("{}"))
	f.Fuzz(func(t *testing.T, key, value, uuid string, body []byte) {
		msg := message.NewMessage(uuid, body)
		msg.Metadata.Set(key, value)
		publishing, err := rabbitmq.Marshaler{}.Marshal(msg)
		if err != nil {
			if !errors.Is(err, rabbitmq.ErrTooLarge) {
				t.Fatalf("Marshal() = %v, want %v", err, rabbitmq.ErrTooLarge)
			}
			return
		}
		if err := publishing.Headers.Validate(); err != nil {
			t.Fatalf("Marshal() made headers that AMQP does not know: %v", err)
		}
		got, err := rabbitmq.Marshaler{}.Unmarshal(amqp.Delivery{
			Headers: publishing.Headers, MessageId: publishing.MessageId, Body: publishing.Body,
		})
		if err != nil {
			t.Fatalf("Unmarshal() = %v", err)
		}
		if uuid != "" && got.UUID != uuid || got.UUID == "" {
			t.Errorf("UUID %q came back as %q", uuid, got.UUID)
		}
		if string(got.Payload) != string(body) {
			t.Errorf("body %q came back as %q", body, got.Payload)
		}
		if got, ok := got.Metadata[key]; ok && got != value {
			t.Errorf("metadata %q: %q came back as %q", key, value, got)
		}
	})
}
