package ipqs_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"opencti-ipqs-worker/ipqs"
	"opencti-ipqs-worker/ipqs/ipqstest"
)

func ExampleNewClient() {
	fake := ipqstest.New(ipqstest.Options{Key: "the-key"}) // stands in for IPQS
	client, err := ipqs.NewClient(ipqs.Options{
		Key:        "the-key",
		BaseURL:    ipqstest.BaseURL, // without it: the real one
		HTTPClient: fake.Client(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	report, err := client.Lookup(context.Background(), ipqs.Query{Kind: ipqs.KindURL, Value: "phishing.example.com"})
	if err != nil {
		fmt.Println(err)
		return
	}
	score, known := report.Score()
	fmt.Println(score, known, report.URL.Phishing, report.URL.Malware)

	_, err = client.Lookup(context.Background(), ipqs.Query{Kind: ipqs.KindIP, Value: "192.0.2.300"})
	fmt.Println(errors.Is(err, ipqs.ErrItem))
	fmt.Println(err)
	// Output:
	// 100 true true false
	// true
	// looking up ip: Invalid IPv4 address, IPv6 address or hostname. Please check the IP/Hostname and try again. (HTTP 200)
}

func ExampleNewBreaker() {
	fake := ipqstest.New(ipqstest.Options{})
	fake.SetMode(ipqstest.Down)
	client, err := ipqs.NewClient(ipqs.Options{Key: "the-key", BaseURL: ipqstest.BaseURL, HTTPClient: fake.Client()})
	if err != nil {
		fmt.Println(err)
		return
	}
	breaker := ipqs.NewBreaker(client, ipqs.BreakerOptions{
		Failures: 2,
		OpenFor:  time.Minute,
		OnChange: func(from, to ipqs.State) { fmt.Println(from, "to", to) },
	})

	for range 3 {
		_, err := breaker.Lookup(context.Background(), ipqs.Query{Kind: ipqs.KindIP, Value: "192.0.2.7"})
		if e, ok := errors.AsType[*ipqs.APIError](err); ok {
			fmt.Println(e.Class, e.RetryAfter.Round(time.Second))
		}
	}
	fmt.Println("asked", fake.Requests()[ipqs.KindIP], "times")
	// Output:
	// unavailable 0s
	// closed to open
	// unavailable 0s
	// circuit_open 1m0s
	// asked 2 times
}
