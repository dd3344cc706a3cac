package stix_test

import (
	"fmt"
	"time"

	"opencti-ipqs-worker/stix"
)

func ExamplePattern() {
	pattern, err := stix.Pattern("Url", `https://a.example/it's\here`)
	fmt.Println(pattern, err)

	_, err = stix.Pattern("Mac-Addr", "00:00:5e:00:53:01")
	fmt.Println(err)
	// Output:
	// [url:value = 'https://a.example/it\'s\\here'] <nil>
	// writing pattern: no pattern for type "Mac-Addr", expected one of IPv4-Addr, IPv6-Addr, Email-Addr, Url, Domain-Name, Phone-Number, User-Account, Artifact, Autonomous-System
}

// The same finding has the same id on every run, and beside every other connector.
func ExampleIndicatorID() {
	fmt.Println(stix.IndicatorID("[domain-name:value = 'shop.example']"))
	fmt.Println(stix.IdentityID("IPQS", "organization"))
	fmt.Println(stix.TLP("TLP:WHITE"))
	// Output:
	// indicator--7428c636-95a6-5332-92da-2d09be7e0886
	// identity--05bb0721-41bd-5e90-9a19-74ed94a05cb3
	// marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9 true
}

func ExampleSplit() {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	domain, err := stix.NewObservable("Domain-Name", "", "shop.example")
	if err != nil {
		fmt.Println(err)
		return
	}
	domain.Score = new(12)
	address, err := stix.NewObservable("IPv4-Addr", "", "198.51.100.7")
	if err != nil {
		fmt.Println(err)
		return
	}
	bundle, err := stix.Bundle{
		ID: stix.BundleID("work_1"),
		Objects: []stix.Object{
			stix.NewRelationship(stix.ResolvesTo, domain.ID, address.ID, at), domain, address,
		},
	}.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}

	split, err := stix.Split(bundle, stix.SplitOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(split.Parts), "parts, the relationship last; the first is")
	fmt.Printf("%s\n", split.Parts[0])
	// Output:
	// 3 parts, the relationship last; the first is
	// {"type":"bundle","id":"bundle--0c225da4-cd96-5b55-a40a-f8f7cb18edc3","spec_version":"2.1","x_opencti_seq":1,"objects":[{"type":"domain-name","spec_version":"2.1","id":"domain-name--647d7dd3-2e18-5600-84ec-5f71a27b0eef","value":"shop.example","x_opencti_score":12,"nb_deps":1}]}
}
