package stix

import (
	"testing"
)

func BenchmarkEncode(b *testing.B) {
	bundle := enrichment(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bundle.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}

// enrichment returns what a domain's enrichment makes: eight objects.
func enrichment(tb testing.TB) Bundle {
	tb.Helper()
	all := everything(tb)
	return Bundle{ID: all.ID, Objects: all.Objects[:8]}
}

func BenchmarkIDs(b *testing.B) {
	b.Run("indicator", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			IndicatorID("[ipv4-addr:value = '198.51.100.7']")
		}
	})
	b.Run("identity", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			IdentityID("IPQS", "organization")
		}
	})
	b.Run("relationship", func(b *testing.B) {
		source, target := IndicatorID("[ipv4-addr:value = '198.51.100.7']"), ObservableID("ipv4-addr", "198.51.100.7")
		b.ReportAllocs()
		for b.Loop() {
			RelationshipID(BasedOn, source, target)
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	encoded := encode(b, enrichment(b))
	b.SetBytes(int64(len(encoded)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Split(encoded, SplitOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
