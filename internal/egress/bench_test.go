package egress_test

import (
	"testing"

	"opencti-ipqs-worker/internal/egress"
)

func BenchmarkCheck(b *testing.B) {
	for kind, value := range map[string]string{
		"IPv4-Addr": "198.51.100.7", "Url": "https://www.example.com/path?query=1", "Domain-Name": "www.example.com", "Email-Addr": "user@example.com",
	} {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				if _, refusal := (egress.Guard{}).Check(kind, value); refusal != nil {
					b.Fatal(refusal)
				}
			}
		})
	}
}
