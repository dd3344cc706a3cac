package graphtest

import (
	"crypto/sha256"
	"fmt"

	"opencti-ipqs-worker/internal/opencti/openctitest"
	"opencti-ipqs-worker/ipqs"
)

// kind is a type of observable, and what IPQS answers about one.
type kind struct {
	name    string // OpenCTI's name of the type
	value   string
	product ipqs.Kind
	answers []answer
}

// answer is an answer of IPQS.
type answer struct {
	name   string
	fields string
}

func (a answer) report(k kind) *ipqs.Report { return report(k.product, a.fields) }

// file is the content of the artifact, and fileID its name in OpenCTI's storage.
const (
	file   = "the file of these tests"
	fileID = "import/Artifact/1/file.bin"
)

var fileHash = fmt.Sprintf("%x", sha256.Sum256([]byte(file)))

// kinds are the eight types, each with answers below and above the threshold of indicators.
func kinds() []kind {
	ip := []answer{
		{"0", `{"success":true,"fraud_score":0,"ASN":64500,"ISP":"Example Net","country_code":"RU"}`},
		{"10", `{"success":true,"fraud_score":10,"ASN":64500,"ISP":"Example Net","country_code":"RU"}`},
		{"25", `{"success":true,"fraud_score":25,"ASN":64500,"ISP":"Another Name","country_code":"RU"}`},
		{"40 vpn", `{"success":true,"fraud_score":40,"vpn":true,"proxy":true,"ASN":64500,"ISP":"Example Net","country_code":"RU"}`},
		{"77", `{"success":true,"fraud_score":77,"recent_abuse":true,"ASN":64500,"ISP":"Example Net","country_code":"RU"}`},
		{"88 tor", `{"success":true,"fraud_score":88,"tor":true,"proxy":true,"ASN":64500,"ISP":"Example Net","country_code":"RU"}`},
		{"100", `{"success":true,"fraud_score":100,"bot_status":true,"ASN":64501,"ISP":"Example Net","country_code":"NL"}`},
	}
	url := []answer{
		{"0", `{"success":true,"risk_score":0,"ip_address":"203.0.113.9"}`},
		{"20", `{"success":true,"risk_score":20,"ip_address":"203.0.113.9"}`},
		{"50 suspicious", `{"success":true,"risk_score":50,"suspicious":true,"ip_address":"203.0.113.9"}`},
		{"80", `{"success":true,"risk_score":80,"spamming":true,"ip_address":"203.0.113.9"}`},
		{"90 phishing", `{"success":true,"risk_score":90,"phishing":true,"ip_address":"203.0.113.10"}`},
		{"100 malware", `{"success":true,"risk_score":100,"malware":true,"ip_address":"203.0.113.9"}`},
	}
	email := []answer{
		{"0", `{"success":true,"fraud_score":0,"valid":true}`},
		{"30", `{"success":true,"fraud_score":30,"valid":true,"deliverability":"medium"}`},
		{"80", `{"success":true,"fraud_score":80,"valid":true,"recent_abuse":true}`},
		{"95 disposable", `{"success":true,"fraud_score":95,"valid":true,"disposable":true}`},
	}
	phone := []answer{
		{"0", `{"success":true,"fraud_score":0,"valid":true,"active":true}`},
		{"45 voip", `{"success":true,"fraud_score":45,"valid":true,"active":true,"VOIP":true}`},
		{"85", `{"success":true,"fraud_score":85,"valid":true,"active":true,"recent_abuse":true}`},
		{"100", `{"success":true,"fraud_score":100,"valid":true,"active":true,"risky":true}`},
	}
	return []kind{
		{"IPv4-Addr", "198.51.100.7", ipqs.KindIP, ip},
		{"IPv6-Addr", "2001:db8::7", ipqs.KindIP, ip},
		{"Domain-Name", "example.com", ipqs.KindURL, url},
		{"Url", "https://example.com/a", ipqs.KindURL, url},
		{"Email-Addr", "someone@example.com", ipqs.KindEmail, email},
		{"Phone-Number", "+442079460958", ipqs.KindPhone, phone},
		{"User-Account", "someone", ipqs.KindLeakUsername, []answer{
			{"not leaked", `{"success":true,"exposed":false}`},
			{"leaked", `{"success":true,"exposed":true,"source":["a","b"]}`},
		}},
		{"Artifact", fileHash, ipqs.KindFileLookup, []answer{
			{"clean", `{"success":true,"status":"cached","result":[{"name":"a","detected":false},{"name":"b","detected":false}]}`},
			{"malware", `{"success":true,"status":"cached","result":[{"name":"a","detected":true},{"name":"b","detected":true}]}`},
		}},
	}
}

func types() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// observable is one of the kind, with the file in the storage that an artifact has.
func (k kind) observable(w *world) openctitest.Observable {
	o := openctitest.Observable{Type: k.name, Value: k.value}
	switch k.name {
	case "User-Account":
		o.Account = &openctitest.Account{Login: k.value}
	case "Artifact":
		w.platform.StoreFile(fileID, []byte(file))
		o.Artifact = &openctitest.Artifact{SHA256: k.value, FileID: fileID, Size: len(file)}
	}
	return o
}
