package ipqs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeLeak(t *testing.T) {
	t.Parallel()
	seen := Age{Timestamp: NumberOf(1_600_000_000), ISO: "2020-09-13T12:26:40Z"}
	const first = `"first_seen":{"human":"just now","timestamp":1600000000,"iso":"2020-09-13T12:26:40Z"}`
	tests := []struct {
		name, body string
		want       Leak
	}{
		{
			"exposed", `{"exposed":true,"source":["A","B"],"plain_text_password":false,` + first + `}`,
			Leak{Exposed: True, PlainTextPassword: False, Sources: List{"A", "B"}, FirstSeen: seen},
		},
		{"source is a text", `{"exposed":true,"source":"A"}`, Leak{Exposed: True, Sources: List{"A"}}},
		{"source is an empty text in a list", `{"exposed":true,"source":[""]}`, Leak{Exposed: True, Sources: List{}}},
		{
			"not exposed, so first seen is the time of the request", `{"exposed":false,"source":[],` + first + `}`,
			Leak{Exposed: False, Sources: List{}},
		},
		{"exposed unknown", `{"exposed":null,` + first + `}`, Leak{}},
		{"older name", `{"found":true,` + first + `}`, Leak{Exposed: True, FirstSeen: seen}},
		{"another older name", `{"leaked":"False"}`, Leak{Exposed: False}},
		{"text for a truth value", `{"exposed":"True","plain_text_password":"False"}`, Leak{Exposed: True, PlainTextPassword: False}},
		{"the plan does not say", `{"exposed":true,"source":["Enterprise plan required to view sources"]}`, Leak{Exposed: True}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := decode(KindLeakEmail, []byte(" \n"+`{"success":true,`+tt.body[1:]))
			if err != nil {
				t.Fatalf("decode() = %v, want no error", err)
			}
			if diff := cmp.Diff(&tt.want, r.Leak); diff != "" {
				t.Errorf("decode() (-want +got):\n%s", diff)
			}
		})
	}
}
