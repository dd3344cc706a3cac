package stages

// Level is how risky a verdict calls something.
type Level string

// The four levels.
const (
	Low      Level = "LOW"
	Medium   Level = "MEDIUM"
	High     Level = "HIGH"
	Critical Level = "CRITICAL"
)

// Band is a range of scores and what we make of it.
type Band struct {
	UpTo  int // the highest score that belongs to it
	Level Level
	Label Label
	Means string
}

// Bands lists the four levels from the mildest on: a score belongs to the first band that it does not exceed. The ranges
// are those of IPQS' OpenCTI connector (0–25, 26–50, 51–75, 76–100).
func Bands() []Band {
	return []Band{
		{25, Low, Label{`IPQS:RISK="LOW"`, "#2E7D32"}, "likely legitimate"},
		{50, Medium, Label{`IPQS:RISK="MEDIUM"`, "#FFCF00"}, "moderate risk"},
		{75, High, Label{`IPQS:RISK="HIGH"`, "#F57C00"}, "suspicious activity"},
		{100, Critical, Label{`IPQS:RISK="CRITICAL"`, "#D10028"}, "high fraud risk"},
	}
}

// BandOf returns the band of a score from 0 to 100.
func BandOf(score int) Band {
	bands := Bands()
	for _, band := range bands {
		if score <= band.UpTo {
			return band
		}
	}
	return bands[len(bands)-1]
}
