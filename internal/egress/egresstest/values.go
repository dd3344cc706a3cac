// Package egresstest lists values of observables that must not be sent to IPQS, and values that must, for tests of every way
// to IPQS.
package egresstest

import (
	"strings"

	"opencti-ipqs-worker/internal/egress"
)

// Exclude are the entries of IPQS_EXCLUDE that the values are for.
func Exclude() []string {
	return []string{"excluded.example", "*.bücher.example", "203.0.113.128/25", "2001:db8:dead::/48", "198.51.100.99"}
}

// Value is an observable with what is expected of it.
type Value struct {
	Type  string // OpenCTI's name of the type
	Value string
	// Cause is why it is refused, Sent is what IPQS is asked about. One of them is set.
	Cause egress.Cause
	Sent  string
}

// Refused returns values that must not be sent.
func Refused() []Value {
	var all []Value
	add := func(cause egress.Cause, kind string, values ...string) {
		for _, value := range values {
			all = append(all, Value{Type: kind, Value: value, Cause: cause})
		}
	}
	add(egress.Private, "IPv4-Addr",
		"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254", "192.168.1.1", "127.0.0.1", "127.255.255.254",
		"169.254.169.254", "100.64.0.1", "100.127.255.254", "224.0.0.251", "239.255.255.250", "0.0.0.0", "0.1.2.3", "240.0.0.1",
		"255.255.255.255", "10.0.0.1/32", "10.0.0.0/8", "192.168.0.0/16", "172.16.5.0/24", "10.0.0.0/255.0.0.0", "10.0.0.*",
		"10.0.0.1-10.0.0.9", "0x0a000001", "10.1", "012.0.0.1", "010.0.0.1", "167772161", " 10.0.0.1", "10.0.0.1.", "１０.0.0.1",
		"10.0.0.1:8080", "http://10.0.0.1/")
	add(egress.Private, "IPv6-Addr",
		"::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456:789a::1", "FD00::1", "fec0::1", "ff02::1", "ff0e::1",
		"::ffff:10.0.0.1", "::ffff:a00:1", "0:0:0:0:0:ffff:0a00:0001", "::10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b::10.0.0.1",
		"64:ff9b::c0a8:101", "64:ff9b:1::8.8.8.8", "2002:a00:1::1", "2001:0:a00:1::1", "2001:0:4136:e378:8000:63bf:f5ff:fffe",
		"[fd00::1]", "fd00::/8", "fe80::/10", "fd00::1/128", "::ffff:10.0.0.0/104")
	add(egress.Private, "IPv6-Addr",
		"fd00::8.8.8.08", "fe80::8.8.8.010", "fd00::00001", "fe80::1%", "fd00::8.8.8", "2001:db8::5efe:10.0.0.1", "2001:db8::200:5efe:a00:1")
	add(egress.Network, "IPv4-Addr", "8.8.8.0/24", "8.0.0.0/5", "198.51.100.0/31", "198.51.100.0-198.51.100.9", "198.51.100.*",
		"198.51.100.1/255.255.255.0")
	add(egress.Network, "IPv6-Addr", "2001:db8::/32", "2001:db8::/127", "2606:4700::/33")
	add(egress.InternalName, "IPv4-Addr", "localhost", "fileserver")
	add(egress.Private, "Url",
		"http://10.0.0.1/", "https://192.168.0.1:8443/login?a=b#c", "http://127.0.0.1", "http://127.1/", "http://0/",
		"http://0x0a000001/", "http://0X0A.0x0.0.0x1/", "http://10.1/", "http://012.0.0.1/", "http://000012.0.0.1/",
		"http://167772161/", "http://4462739457/", "http://010.0.0.1/", "http://10.0.0.1./", "http://10.0.0.1../",
		"http://%31%30.0.0.1/", "http://%2531%2530.0.0.1/", "http://10%2e0%2E0.1/", "http://１０．０．０．１/", "http://10。0。0。1/",
		"http://①⓪.0.0.1/", "http://10.0.0\u00ad.1/", "http://10.0.0.1\u200b/", "http://[::1]/", "http://[::ffff:10.0.0.1]:80/",
		"http://[::FFFF:A00:1]/", "http://[fe80::1%25eth0]/", "http://[64:ff9b::10.0.0.1]/", "http://[10.0.0.1]/",
		"http://[::ffff:012.0.0.1]/", "http://fd00::1/", "http://example.com@10.0.0.1/", "http://example.com:80@10.0.0.1:81/",
		"http://example.com%40@10.0.0.1/", "http://example.com\uff2010.0.0.1/", `http:\\10.0.0.1\`, `http://10.0.0.1\@example.com/`,
		`http://example.com\@10.0.0.1/`, "http:10.0.0.1", "http:/10.0.0.1/", "http:///10.0.0.1/", "//10.0.0.1/path", "10.0.0.1/path",
		"10.0.0.1:8080", "ht\ttp://10.0.\n0.1/", " http://10.0.0.1/", "\x00http://10.0.0.1/", "http://10.0.0.1 .example.com/", "http://10.0.0.1%00.example.com/",
		"http://10.0.0.1%2f.example.com/", "ftp://user:pw@10.0.0.1/", "ssh://git@192.168.0.9/x", "hxxp://10[.]0[.]0[.]1/",
		"view-source:http://10.0.0.1/", "http%3A%2F%2F10.0.0.1%2F", "mailto:joe@[10.0.0.1]", "http://1.0.0.10.in-addr.arpa/",
		"http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://2130706433/", "http://[zz]/")
	add(egress.Private, "Url",
		"\u200bhttp://10.0.0.1/", "\ufeffhttp:/10.0.0.1/", "ｈttp://10.0.0.1/", "h\u00adttp://10.0.0.1/", "http：//10.0.0.1/",
		"http: //10.0.0.1/", "http:/ /10.0.0.1/", "URL: http://10.0.0.1/", "a.example=http://10.0.0.1/", "see a.example: http://10.0.0.1/",
		"hxxp[://]10.0.0.1/", "http[:]//10.0.0.1/", "http:[//]10.0.0.1/", "10.0.0.1 http://example.com/", "http:[::]//example.com/",
		"http://example.com http://10.0.0.1/", "http://10.0.0.1, http://example.com/", "http://example.com,https://u:p@10.0.0.1/")
	add(egress.InternalName, "Url",
		"\u200bhttps://wiki.corp/", "https://wiki.co\u3164rp/", "https://wiki.co\u17b4rp/", "wiki.corp: https://example.com/")
	add(egress.Private, "Url",
		"http://10.0.0.1,", "(http://10.0.0.1)", "http://10.0.0.1;/", `http://"10.0.0.1"/`, "http://10.0.0.1&id=1", "http://10.0.0.1%zz/",
		"http://10.0.0.1%09.example.com/", "http://10.0.0.*/", "jar:http://10.0.0.1!/x", "http://10.0.0.1:80:90/", "http://:10.0.0.1/",
		"http://example.com[fd00::1]/", "mongodb://a.example:27017,10.0.0.1:27017/", "http://0.0.0.0,/")
	add(egress.Private, "IPv4-Addr", "+10.0.0.1", "8.8.8.8,10.0.0.1", "8.8.8.8 10.0.0.1", "(10.0.0.1)", "10.0.0.1:80:90")
	add(egress.InternalName, "Url",
		"http://intranet/", "http://LOCALHOST./", "https://wiki/page", "http://host.local/", "http://host.LOCAL./x", "http://a.b.corp:8080/",
		"http://user:pw@files.internal/", "http://xn--local-/", "http://a.xn--local-/", "http://host.ｌｏｃａｌ/", "http://host%2elocal/",
		"http://host。lan/", "localhost:3000", "localhost:3000/x", "http://x.onion/", "file:///etc/passwd", `\\server\share`, "https://printer.home/",
		"https://x.home.arpa/", "http://80801688080/", "http://db.private/", "http://münchen/", "http://host[dot]corp.intranet/")
	add(egress.InternalName, "Url", "https://wiki.corp,", "https://wiki.corp).", "https://wiki.corp&id=1", "https://wiki.corp:80:90/")
	add(egress.InternalName, "Domain-Name", "wiki.corp;", "example.com,wiki.corp", "<wiki.corp>")
	add(egress.InternalName, "Domain-Name",
		"localhost", "intranet", "corp", "com", "dc01.corp", "dc01.CORP.", "nas.local", "x.localdomain", "a.localhost", "router.lan",
		"router.home.arpa", "home.arpa", "ec2.internal", "wiki.intranet", "pc.home", "db.private", "expyuzz4wqqyqhjn.onion", "dc01.corp:389",
		"*.corp", "_ldap._tcp.dc01.corp", "dc01.corp/path", "xn--lcal-", "dc01.ｃｏｒｐ", "dc01[.]corp")
	add(egress.Private, "Domain-Name", "10.0.0.1", "0x7f.1", "10.0.0.0/8", "1.0.0.10.in-addr.arpa", "168.192.in-addr.arpa",
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa")
	add(egress.Private, "Domain-Name", "lb._dns-sd._udp.168.192.in-addr.arpa", "0-127.1.0.10.in-addr.arpa", "_x.0.d.f.ip6.arpa",
		"fe80--1s4.ipv6-literal.net")
	add(egress.InternalName, "Hostname", "fileserver", "fileserver.lan", "localhost")
	add(egress.Private, "Email-Addr",
		"user@10.0.0.1", "user@[10.0.0.1]", "user@[IPv6:fd00::1]", "user@[ipv6:::ffff:10.0.0.1]", "user@[192.168.0.1].",
		"user@(comment)10.0.0.1", "user@0x0a000001", "user@[not an address]")
	add(egress.InternalName, "Email-Addr",
		"user@localhost", "user@mailhost", "user@example.local", "user@Example.LOCAL.", `"a@b"@host.corp`, "Joe <joe@host.lan>",
		"a@example.com,b@host.lan", "joe\uff20host.internal", "joe@host。intranet", "joe@host.private>")
	add(egress.Private, "Email-Addr", "user@10.0.0.1(a(b)c)", `user@(a.b\)c)10.0.0.1`, "user@(a.b@b.c)10.0.0.1", "user@10.0.0.1(a")
	add(egress.InternalName, "Email-Addr",
		"user@wiki.example .corp", "user@host.corp(a(b)c)", `user@"host.corp"`, "user@example.com,host.corp", "user(@host.corp")
	add(egress.Excluded, "Domain-Name", "excluded.example", "www.EXCLUDED.example", "a.b.excluded.example.", "ｅxcluded.example",
		"bücher.example", "www.xn--bcher-kva.example")
	add(egress.Excluded, "Url", "https://www.excluded.example/x", "https://user:pw@excluded.example:8443/", "http://203.0.113.200/",
		"http://3405803976/", "http://[2001:db8:dead::1]/", "http://[::ffff:203.0.113.200]/")
	add(egress.Excluded, "Email-Addr", "joe@excluded.example", "joe@mail.excluded.example", "joe@[203.0.113.129]")
	add(egress.Excluded, "IPv4-Addr", "203.0.113.128", "203.0.113.255", "198.51.100.99", "203.0.113.192/26")
	add(egress.Excluded, "IPv6-Addr", "2001:db8:dead::1", "64:ff9b::203.0.113.200")
	return all
}

// Allowed returns values that must be sent, and in which form.
func Allowed() []Value {
	var all []Value
	add := func(kind string, values ...string) {
		for _, value := range values {
			all = append(all, Value{Type: kind, Value: value, Sent: value})
		}
	}
	changed := func(kind, value, sent string) { all = append(all, Value{Type: kind, Value: value, Sent: sent}) }
	add("IPv4-Addr",
		"192.0.2.1", "198.51.100.7", "203.0.113.1", "203.0.113.127", "8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.1", "172.15.255.255",
		"172.32.0.1", "192.167.255.255", "192.169.0.1", "100.63.255.255", "100.128.0.1", "126.255.255.255", "128.0.0.1", "169.253.1.1",
		"169.255.1.1", "223.255.255.255", "198.18.0.1", "192.88.99.1", "999.1.1.1", "0x08080404")
	add("IPv6-Addr",
		"2001:db8::1", "2001:DB8::2", "2001:0db8:0000:0000:0000:0000:0000:0003", "2606:4700:4700::1111", "2a00:1450:4001::200e",
		"::ffff:198.51.100.8", "::ffff:c633:6409", "64:ff9b::198.51.100.10", "2002:c633:640b::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
		"2001:db8:beef::1", "3fff::1")
	changed("IPv4-Addr", "198.51.100.21/32", "198.51.100.21")
	changed("IPv6-Addr", "2001:db8::21/128", "2001:db8::21")
	add("Domain-Name", "lb._dns-sd._udp.8.8.in-addr.arpa", "0-127.8.8.8.in-addr.arpa", "x.8.b.d.0.1.0.0.2.ip6.arpa",
		"2001-db8--1.ipv6-literal.net")
	add("Domain-Name",
		"example.com", "EXAMPLE.net", "example.org.", "www.example.com", "_dmarc.example.com", "a._domainkey.example.com", "*.example.com",
		"xn--mnchen-3ya.example", "münchen.example", "例え.example", "пример.example", "local.example.com", "localhost.example.com",
		"corp.example.com", "intranet.example.com", "internal.example", "mylocal.example", "notcorp.com", "x-corp.example",
		"home.example.com", "onion.example", "lan.example", "10.0.0.1.example.com", "evil'.example", "excluded.example.com",
		"notexcluded.example", "8.8.8.8.in-addr.arpa", "a-very-long-label-that-is-still-below-the-limit-of-sixty-three-ch.example",
		"co.uk", "1.1.1.1.1.example", "0x0a.example.com", "private.example.com", "home'n'garden.example")
	add("Url",
		"https://example.com/", "http://example.com:8080/path?query=1#fragment", "HTTPS://EXAMPLE.COM/Upper", "https://example.com/%zz",
		"https://example.com/o'brien\\x\"y/ünï😀", "https://example.com/a b", "https://münchen.example/straße", "https://xn--mnchen-3ya.example/",
		"https://例え.example/", "http://198.51.100.7/", "http://198.51.100.7:8080/", "http://[2001:db8::1]:443/x", "http://[2001:db8::2]/",
		"http://3325256711/", "http://0xC6.0x33.0x64.0x07/", "http://[::ffff:198.51.100.7]/", "https://example.com/@10.0.0.1/",
		"https://example.com/http://10.0.0.1/", "https://example.com/?url=http://10.0.0.1/", "https://example.com?u=http://a@10.0.0.1/",
		"https://example.com#@10.0.0.1", "https://example.com/login@host.local", "https://10.0.0.1.example.com/", "https://localhost.example.com/",
		"ftp://example.com/file", "example.com/path", "example.com:8080/path", "//example.com/path", "http://example.com./",
		"https://www.example.com/reset?token=abc", "https://example.com/"+strings.Repeat("x", 3000), "https://a.b.c.d.e.f.example.com/", "hxxp://evil[.]example/x",
		"https://example.com\\path", "https://example.com:443", "wss://example.com/socket", "http://_sip._tcp.example.com/", "https://example.com//double",
		"view-source:https://example.com/", "mailto:joe@example.com")
	add("Url", "1. https://example.com/21", "https://example.com,", "https://example.com&id=5", "https://example.com][1]", "https://10,000.example/", "http://8(.)8(.)8(.)8/24",
		"mongodb://a.example:27017,b.example:27017/")
	changed("Url", "https://user:pass@example.com/1", "https://example.com/1")
	changed("Url", "https://user@example.com/2", "https://example.com/2")
	changed("Url", "https://us%40er:p%3Ass@example.com/3?q=a@b", "https://example.com/3?q=a@b")
	changed("Url", "https://a@b@example.com/4", "https://example.com/4")
	changed("Url", "https://user:p/w@example.com/5", "https://example.com/5")
	changed("Url", "ftp://anonymous:secret@example.com/6", "ftp://example.com/6")
	changed("Url", "https://10.0.0.1:x@example.com/7", "https://example.com/7")
	changed("Url", "user:secret@example.com/8", "example.com/8")
	changed("Url", "https://:secret@example.com/9", "https://example.com/9")
	changed("Url", "https://user:secret@[2001:db8::3]:8443/10", "https://[2001:db8::3]:8443/10")
	changed("Url", "ht\ntps://user:secret@example.com/11", "https://example.com/11")
	changed("Url", "https://user:secret%40example.com/12", "https://example.com/12")
	changed("Url", "\u200bhttps://user:secret@example.com/13", "https://example.com/13")
	changed("Url", "URL: https://user:secret@example.com/14", "URL: https://example.com/14")
	changed("Url", "a.example=https://user:secret@example.com/15", "a.example=https://example.com/15")
	changed("Url", "https: //user:secret@example.com/16", "https: //example.com/16")
	changed("Url", "hxxps[://]user:secret@example[.]com/17", "hxxps[://]example[.]com/17")
	changed("Url", "https://user:secret%2540example.com/18", "https://example.com/18")
	changed("Url", "https%253A%252F%252Fuser%253Asecret%2540example.com%252F19", "example.com%252F19")
	changed("Url", "sip:user:secret@example.com", "sip:example.com")
	changed("Url", "https://a:b@a.example https://user:secret@example.com/24", "https://a.example https://example.com/24")
	add("Url", "sip:user@example.com", "<https://example.com/20>", "https://example.com://22", "git::https://example.com/23")
	add("Email-Addr",
		"user@example.com", "User.Name+tag@Example.COM", "o'brien@example.com", `"a b"@example.com`, `"a@b"@example.com`, "user@sub.example.co.uk",
		"用户@例え.example", "jdoe@xn--mnchen-3ya.example", "user@localhost.example.com", "user@corp.example.com", "10.0.0.1@example.com",
		"localhost@example.com", "user@[198.51.100.7]", "user@[IPv6:2001:db8::1]", "user@10.example", "a@notexcluded.example")
	add("Email-Addr", "user(a(b)c)@example.com", "user@(a.b@b.example)example.com", `"a(b@c"@example.com`, "user@example.com (Joe S.)")
	add("Phone-Number", "+18005550100", "(0800) 555 0100", "+49 30 901820", "1921681001", "10.0.0.1234")
	add("User-Account", "jdoe", "localhost", "10.0.0.1", "root@localhost", "jdoe@host.local", "admin@excluded.example", "CORP\\jdoe", "o'brien")
	return all
}
