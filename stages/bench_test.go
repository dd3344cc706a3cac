package stages

import (
	"testing"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stix"
)

// benchJob is the job of an address as it is when all its sections but the bundle are filled.
func benchJob(tb testing.TB) Job {
	tb.Helper()
	subject := entity("IPv4-Addr", "198.51.100.7")
	subject.Markings = []opencti.Marking{{
		ID: "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", Type: "TLP", Definition: "TLP:GREEN", Order: 2,
	}}
	return Job{
		ID:      "work_1",
		Request: &opencti.Request{WorkID: "work_1", EntityID: subject.StandardID, EntityType: subject.Type},
		Entity:  &subject,
		Risk: &Risk{At: at, Report: report(ipqs.KindIP, `{"fraud_score":87,"proxy":true,"vpn":true,"tor":false,
			"recent_abuse":true,"ASN":64500,"ISP":"Example Telecom","organization":"Example Hosting","country_code":"CH",
			"city":"Bern","host":"host-7.example.net","connection_type":"Data Center","abuse_events":["Open Proxies"]}`)},
	}
}

func benchmark(b *testing.B, stage Stage, job Job) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := stage.Run(b.Context(), job); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	message := []byte(`{"internal":{"work_id":"work_1","applicant_id":null,"draft_id":null,"mode":"auto","trigger":"create"},` +
		`"event":{"event_type":"INTERNAL_ENRICHMENT","entity_id":"ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db","entity_type":` +
		`"IPv4-Addr","stix_entity":"{\"id\":\"ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db\",\"spec_version\":\"2.1\",\"type\":` +
		`\"ipv4-addr\",\"extensions\":{\"extension-definition--f93e2c80-4231-4f9a-af8b-95c9bd566a82\":{\"extension_type\":` +
		`\"property-extension\",\"score\":50}},\"value\":\"198.51.100.7\"}","stix_objects":null}}`)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(message); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScore(b *testing.B) { benchmark(b, Score(Scoring{}), benchJob(b)) }

func BenchmarkBundle(b *testing.B) {
	job, err := Score(Scoring{}).Run(b.Context(), benchJob(b))
	if err != nil {
		b.Fatal(err)
	}
	benchmark(b, Bundle(Enrichment{IPRelationships: true}), job)
}

// BenchmarkPublish is splitting the bundle and wrapping what came of it, with nobody to give it to.
func BenchmarkPublish(b *testing.B) {
	job, err := Score(Scoring{}).Run(b.Context(), benchJob(b))
	if err != nil {
		b.Fatal(err)
	}
	if job, err = Bundle(Enrichment{IPRelationships: true}).Run(b.Context(), job); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(job.Bundle)))
	b.ReportAllocs()
	for b.Loop() {
		split, err := stix.Split(job.Bundle, stix.SplitOptions{})
		if err != nil {
			b.Fatal(err)
		}
		_, err = wrap(job, split.Parts, true, func(o opencti.PushOptions, part []byte) ([]byte, error) {
			o.ApplicantID = "88ec0c6a-13ce-5e39-b486-354fe4a7084f"
			return opencti.PushMessage(o, part)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
