//go:build linux

package bench

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
)

const (
	connectorID = "be0c4000-0000-4000-8000-000000000001"
	token       = "bench-token"
	key         = "bench-key"
)

// job makes OpenCTI's message number n of about 1.2 KB. The work's id ends in the time at which it is made.
func job(n int, manual bool, at time.Time) []byte {
	k := kinds[n%len(kinds)]
	var name [8]byte
	binary.BigEndian.PutUint64(name[:], uint64(n)) //nolint:gosec // it counts from zero
	id := k.typ + "--" + uuid.NewSHA1(uuid.NameSpaceOID, name[:]).String()
	mode := "auto"
	if manual {
		mode = "manual"
	}
	value := fmt.Sprintf(values[k.kind], n/256%256, n%256)
	return fmt.Appendf(nil, `{"internal":{"work_id":"work_%s_%s_%d_%d","applicant_id":null,"draft_id":null,"mode":%q,"trigger":"create"},`+
		`"event":{"event_type":"INTERNAL_ENRICHMENT","entity_id":%q,"entity_type":%q,"stix_entity":"{\"id\":\"%s\",\"spec_version\":\"2.1\",`+
		`\"type\":\"%s\",\"extensions\":{\"extension-definition--ea279b3e-5c71-4632-ac08-831c66a786ba\":{\"extension_type\":`+
		`\"property-extension\",\"id\":\"3f2c0c7e-8a41-4a9b-9a3b-1c1f6a0f7b10\",\"type\":\"%s\",\"created_at\":\"2026-01-02T03:04:05.678Z\",`+
		`\"updated_at\":\"2026-01-02T03:04:05.678Z\",\"is_inferred\":false,\"creator_ids\":[\"88ec0c6a-13ce-5e39-b486-354fe4a7084f\"]},`+
		`\"extension-definition--f93e2c80-4231-4f9a-af8b-95c9bd566a82\":{\"extension_type\":\"property-extension\",\"score\":50}},`+
		`\"object_marking_refs\":[\"marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da\"],\"value\":\"%s\"}","stix_objects":null}}`,
		connectorID, mode, n, at.UnixNano(), mode, id, k.name, id, k.typ, k.name, value)
}
