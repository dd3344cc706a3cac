package stixtest

import "testing"

func TestPattern(t *testing.T) {
	t.Parallel()
	for _, good := range []string{
		`[ipv4-addr:value = '198.51.100.7']`, `[ipv6-addr:value = '2001:db8::7']`, `[url:value = 'a]b[c']`,
		`[file:hashes.'SHA-256' = 'aa']`, `[file:hashes.MD5='aa']`, `[autonomous-system:number = 64500]`,
		`[url:value = 'o\'brien \\ "x"']`, "[url:value = 'two\nlines, ünï 😀']", `[email-addr:value = '']`,
		`[network-traffic:extensions.'http-request-ext'.request_header[0] = 'x']`,
	} {
		if err := Pattern(good); err != nil {
			t.Errorf("Pattern() = %v, want nil", err)
		}
	}
	for _, bad := range []string{
		``, `[]`, `ipv4-addr:value = '1'`, `[ipv4-addr:value = '1'`, `[ipv4-addr:value '1']`, `[ipv4-addr:value = 1.2.3.4]`,
		`[file:hashes.SHA-256 = 'aa']`, `[url:value = 'o'brien']`, `[url:value = 'a\b']`, `[url:value = 'a\']`,
		`[url:value = "a"]`, `[url:value = 'a'] x`, `[url:value = 'a' OR url:value = 'b']`, `[value = 'a']`,
		`[autonomous-system:number = 007]`,
	} {
		if err := Pattern(bad); err == nil {
			t.Errorf("Pattern(%s) = nil, want an error", bad)
		}
	}
}
