package pipeline

import (
	"encoding/json"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/stages"
)

// benchJob is a job on its way from one hop to the next, with as much as any hop carries.
func benchJob(tb testing.TB) stages.Job {
	tb.Helper()
	report := &ipqs.Report{Kind: ipqs.KindIP}
	if err := json.Unmarshal([]byte(`{"kind":"ip","request_id":"abc","message":"Success","ip":{"fraud_score":87,"proxy":true,"vpn":true,
		"tor":false,"recent_abuse":true,"ASN":64500,"ISP":"Example Telecom","organization":"Example Hosting","country_code":"CH",
		"city":"Bern","host":"host-7.example.net","connection_type":"Data Center","abuse_events":["Open Proxies"]}}`), report); err != nil {
		tb.Fatal(err)
	}
	return stages.Job{
		ID: "work_1",
		Request: &opencti.Request{
			WorkID: "work_1", Mode: "auto", EventType: "INTERNAL_ENRICHMENT", EntityType: "IPv4-Addr",
			EntityID: "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db",
		},
		Entity: &opencti.Entity{
			ID: "6f0c2a1e-5a0b-4c5d-9e8f-001122334455", StandardID: "ipv4-addr--12592121-be4c-5a93-a813-5a5af16e50db",
			Type: "IPv4-Addr", Value: "198.51.100.7", CreatedAt: "2026-01-02T03:04:05.678Z",
			Markings: []opencti.Marking{{
				ID: "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", Type: "TLP", Definition: "TLP:GREEN", Order: 2,
			}},
		},
		Risk: &stages.Risk{At: time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC), Report: report},
	}
}

// BenchmarkHopCarry is a hop that reads and fills one section: to decode and to encode what the others are carried with.
func BenchmarkHopCarry(b *testing.B) {
	job := benchJob(b)
	msg, err := encode(job, carried{}, nil, "01K", job.Risk.At)
	if err != nil {
		b.Fatal(err)
	}
	stage := stages.Stage{Name: "score", Needs: []stages.Section{stages.SectionRisk}}
	b.SetBytes(int64(len(msg.Payload)))
	b.ReportAllocs()
	for b.Loop() {
		came, err := decode(msg, stage)
		if err != nil {
			b.Fatal(err)
		}
		job := came.job
		job.Verdict = &stages.Verdict{Level: "HIGH"}
		if _, err := encode(job, came, nil, "01K", job.Risk.At); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHopEncode and BenchmarkHopDecode are what it costs to send a job to the next hop and to take it up there.
func BenchmarkHopEncode(b *testing.B) {
	job := benchJob(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encode(job, carried{}, nil, "01K", job.Risk.At); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHopDecode(b *testing.B) {
	msg, err := encode(benchJob(b), carried{}, nil, "01K", time.Unix(0, 0))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(msg.Payload)))
	stage := stages.Stage{Name: "score", Needs: []stages.Section{stages.SectionRisk}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(msg, stage); err != nil {
			b.Fatal(err)
		}
	}
}
