package egress

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// notation writes private IPv4 addresses as the bytes of a recipe say; it takes zeros when the recipe ends.
type notation struct{ recipe []byte }

func (n *notation) choose(among int) int {
	if len(n.recipe) == 0 {
		return 0
	}
	chosen := int(n.recipe[0]) % among
	n.recipe = n.recipe[1:]
	return chosen
}

func (n *notation) number(value uint32) string {
	switch n.choose(6) {
	case 1:
		return "0" + strings.Repeat("0", n.choose(20)) + strconv.FormatUint(uint64(value), 8)
	case 2:
		return "0x" + strings.Repeat("0", n.choose(20)) + strconv.FormatUint(uint64(value), 16)
	case 3:
		return "0X" + strings.ToUpper(strconv.FormatUint(uint64(value), 16))
	default:
		return strconv.FormatUint(uint64(value), 10)
	}
}

func (n *notation) ipv4(address uint32) string {
	b := binary.BigEndian.AppendUint32(nil, address)
	dot := func() string {
		return []string{".", ".", ".", "\u3002", "\uff0e", "\uff61", "%2e", "[.]", "%E3%80%82"}[n.choose(9)]
	}
	switch n.choose(6) {
	case 1:
		return n.number(address)
	case 2:
		return n.number(uint32(b[0])) + dot() + n.number(address&0xffffff)
	case 3:
		return n.number(uint32(b[0])) + dot() + n.number(uint32(b[1])) + dot() + n.number(address&0xffff)
	default:
		return n.number(uint32(b[0])) + dot() + n.number(uint32(b[1])) + dot() + n.number(uint32(b[2])) + dot() + n.number(uint32(b[3]))
	}
}

func (n *notation) host(address uint32) string {
	b := binary.BigEndian.AppendUint32(nil, address)
	canonical := netip.AddrFrom4([4]byte(b)).String()
	high, low := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	switch n.choose(12) {
	case 1:
		return "[::ffff:" + canonical + "]"
	case 2:
		return fmt.Sprintf("[::FFFF:%X:%x]", high, low)
	case 3:
		return "[64:ff9b::" + canonical + "]"
	case 4:
		return fmt.Sprintf("[2002:%x:%x::1]", high, low)
	case 5:
		return "[::" + canonical + "]"
	case 6:
		return fmt.Sprintf("[0:0:0:0:0:ffff:%04x:%04x]", high, low)
	default:
		return n.disguised(n.ipv4(address)) + strings.Repeat(".", n.choose(3))
	}
}

// disguised writes single characters in another way that decoding or mapping undoes.
func (n *notation) disguised(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch way := n.choose(24); {
		case strings.Contains(text, "%"): // no escape within an escape
			b.WriteRune(r)
		case way == 1 && r < 0x80:
			fmt.Fprintf(&b, "%%%02X", r)
		case way == 2 && r < 0x80:
			fmt.Fprintf(&b, "%%25%02x", r)
		case way == 3 && r >= '0' && r <= '9':
			b.WriteRune('\uff10' + r - '0')
		case way == 4:
			b.WriteRune(r)
			b.WriteString([]string{"\u00ad", "\u200b", "\t", "\n", "\u2060", "\ufeff"}[n.choose(6)])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func (n *notation) url(address uint32) string {
	before := []string{
		"http://", "https://", "HTTP://", "", "//", `http:\\`, "http:", "http:/", `http:/\`, "http:////", "ftp://", "hxxp://", " http://", "\thttp://",
		"ht\ntp://", "ssh://", "view-source:http://", "\x01https://",
	}[n.choose(18)]
	user := []string{"", "", "", "user@", "user:pass@", "example.com@", "example.com:80@", "a@b@", "example.com%40", "u:p%2fq@", "example.com\uff20"}[n.choose(11)]
	if before == "" && user == "user:pass@" || before == "//" && user == "" {
		user = ""
	}
	after := []string{"", "/", "/path", "?q=example.com", "#example.com", ":80/", ":/", `\`, `\@example.com/`, "/@example.com", "?@example.com", " ", " .example.com"}[n.choose(13)]
	return before + user + n.host(address) + after
}

// FuzzCheck_PrivateHost writes private addresses into URLs in every notation that it can think of. None may pass.
func FuzzCheck_PrivateHost(f *testing.F) {
	for i := range byte(18) {
		f.Add(uint32(i), []byte{i, i, i, i, i, i, i, i, i})
		f.Add(uint32(0x10203)+uint32(i), []byte{0, 0, 10, i % 6, i % 6, i % 9, i % 6, i, 1, 2, 3, 4})
		f.Add(uint32(0xfffffe), []byte{i, 3, i, 0, 1, 0, 2, 0, 3})
	}
	ranges := []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	}
	f.Fuzz(func(t *testing.T, offset uint32, recipe []byte) {
		n := &notation{recipe}
		network := ranges[n.choose(len(ranges))]
		first := network.Addr().As4()
		address := binary.BigEndian.Uint32(first[:]) | offset&(1<<(32-network.Bits())-1)
		value := n.url(address)
		for _, form := range []URLForm{FullURL, WithoutQuery, HostOnly} {
			if sent, refusal := New(Exclusions{}, form).Check("Url", value); refusal == nil {
				t.Errorf("Check(%q) = %q, want it refused", value, sent)
			}
		}
		if sent, refusal := (Guard{}).Check("Domain-Name", value); refusal == nil {
			t.Errorf("Check(Domain-Name, %q) = %q, want it refused", value, sent)
		}
	})
}

// FuzzCheck_AnyURL checks for any text what holds for all: what is sent would be sent again, and has no user information for
// any parser that accepts it.
func FuzzCheck_AnyURL(f *testing.F) {
	for _, seed := range []string{
		"https://user:pass@example.com/path?q#f", "example.com", "user:p@ss@example.com", "mailto:joe@example.com", `http:\\u@example.com\x`,
		"https://[2001:db8::1]:443/", "view-source:https://u:p@example.com", "http://%zz@example.com", "a:b:c@d.example", "//u@example.com",
		"http://u:p/w@example.com", "http://\xff@example.com/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, form := range []URLForm{FullURL, WithoutQuery, HostOnly} {
			guard := New(Exclusions{}, form)
			sent, refusal := guard.Check("Url", value)
			if refusal != nil {
				continue
			}
			if again, refusal := guard.Check("Url", sent); refusal != nil || again != sent {
				t.Errorf("Check(%q) = %q in the form %s, and of that it makes %q, %v", value, sent, form, again, refusal)
			}
			if parsed, err := url.Parse(sent); err == nil && parsed.User != nil {
				t.Errorf("Check(%q) = %q, want no user information", value, sent)
			}
		}
	})
}

// FuzzParseIPv4 compares the parser with net/netip: what netip takes has the same reading, and only that.
func FuzzParseIPv4(f *testing.F) {
	for _, seed := range []string{"10.0.0.1", "255.255.255.255", "0.0.0.0", "1.2.3", "1.2.3.256", "01.2.3.4", "0x1.2.3.4", "4294967296", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := netip.ParseAddr(text)
		if err != nil || !want.Is4() {
			return
		}
		if got := parseIPv4(text); len(got) == 0 || got[0] != want {
			t.Errorf("parseIPv4(%q) = %v, want %v", text, got, want)
		}
	})
}
