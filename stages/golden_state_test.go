package stages

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"opencti-ipqs-worker/internal/opencti"
	"opencti-ipqs-worker/ipqs"
)

// TestBundleGolden_state: whole bundles about an address that OpenCTI knows more of. TestCompose_writesWhatChanged has all cases in
// short.
func TestBundleGolden_state(t *testing.T) {
	t.Parallel()
	tenRows := afterVerdict(80, ownIndicator(80, nil))
	for i := range 9 {
		row := noteRow(20+i, "")
		row.From, row.To = row.From.AddDate(0, 0, -1-i), row.To.AddDate(0, 0, -1-i)
		tenRows.Note.History = append(tenRows.Note.History, row)
	}
	foreign := steady()
	foreign.Indicator = ownIndicator(90, func(i *KnownIndicator) { i.Own, i.Linked = false, false })
	byPerson := afterVerdict(80, ownIndicator(80, func(i *KnownIndicator) { i.Revoked, i.Score = true, new(20) }))
	country := steady()
	country.Country = &opencti.Country{StandardID: "location--11111111-1111-4111-8111-111111111111", Name: "Russian Federation", Aliases: []string{"RU"}}
	tests := []struct {
		name   string
		entity opencti.Entity
		state  State
		answer string
	}{
		{"state_steady", ipv4(), steady(), `{"fraud_score":87,"proxy":true,"ASN":64500,"ISP":"Example Telecom","organization":"Example *Hosting*"}`},
		{"state_unchanged", labelled(80, critical), afterVerdict(80, ownIndicator(80, nil)), `{"fraud_score":80}`},
		{"state_eleventh_verdict", labelled(80, critical), tenRows, `{"fraud_score":90,"vpn":true}`},
		{"state_withdrawn", labelled(80, critical), afterVerdict(80, ownIndicator(80, nil)), `{"fraud_score":10}`},
		{"state_foreign_indicator", ipv4(), foreign, `{"fraud_score":80}`},
		{"state_revoked_by_a_person", labelled(80, critical), byPerson, `{"fraud_score":90}`},
		{"state_country", ipv4(), country, `{"fraud_score":10,"country_code":"RU"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answer := report(ipqs.KindIP, tt.answer)
			answer.RequestID = "4Xn1mTqEJP"
			job := Job{
				ID: "work_1", Entity: &tt.entity, State: &tt.state,
				Risk: &Risk{At: at, UsedAt: at.Add(3 * time.Hour), Cached: true, Report: answer}, Verdict: flagged.verdict(answer),
			}
			got, err := compose(with(func(e *Enrichment) { e.Countries = true }), job)
			if err != nil {
				t.Fatal(err)
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, got.Bundle, "", "  "); err != nil {
				t.Fatal(err)
			}
			pretty.WriteByte('\n')
			golden(t, tt.name, pretty.Bytes())
		})
	}
}
