package stages

// Level is what a verdict calls the risk. Each [Model] has levels of its own.
type Level string

// The levels of all models.
const (
	Low      Level = "LOW"
	Medium   Level = "MEDIUM"
	High     Level = "HIGH"
	Critical Level = "CRITICAL"

	Clean        Level = "CLEAN"
	Suspicious   Level = "SUSPICIOUS"
	LowRisk      Level = "LOW RISK"
	ModerateRisk Level = "MODERATE RISK"
	HighRisk     Level = "HIGH RISK"
	VeryHighRisk Level = "VERY HIGH RISK"
	Invalid      Level = "INVALID"

	CleanFile     Level = "Clean"
	MaliciousFile Level = "Malicious"
)

// Grade is a level with what goes with it.
type Grade struct {
	Level Level
	Label Label
	// Means is the level in words, for a value without findings. See [meaning] for one with findings.
	Means string
	// IndicatorType is one of STIX' (section 10.10): the indicator's, at this level.
	IndicatorType string
}

// STIX' types of indicators, as far as a level says them.
const (
	typeMalicious     = "malicious-activity"
	typeAnomalous     = "anomalous-activity"
	typeAnonymization = "anonymization"
	typeCompromised   = "compromised"
	typeBenign        = "benign"
	typeUnknown       = "unknown"
)

// The colours of labels.
const (
	green  = "#2E7D32"
	amber  = "#FFCF00"
	orange = "#F57C00"
	red    = "#D10028"
	grey   = "#CDCDCD" // of IPQS' other OpenCTI connector, which has no green
	slate  = "#546E7A" // of flags
)

// ownLabels is what all labels begin with that we give, and may take away again.
const ownLabels = "IPQS:"

func riskLabel(level Level, color string) Label {
	return Label{ownLabels + `RISK="` + string(level) + `"`, color}
}

func verdictLabel(level Level, color string) Label {
	return Label{ownLabels + `VERDICT="` + string(level) + `"`, color}
}

func flagLabel(flag string) Label { return Label{ownLabels + `FLAG="` + flag + `"`, slate} }

// Grades lists the levels of a model, the mildest first.
func (m Model) Grades() []Grade {
	switch m {
	case Guidance:
		return []Grade{
			{LowRisk, verdictLabel(LowRisk, green), "below the scores that IPQS acts on", typeBenign},
			{Suspicious, verdictLabel(Suspicious, amber), "suspicious, not necessarily fraud", typeAnomalous},
			{HighRisk, verdictLabel(HighRisk, orange), "high risk, flag or block", typeMalicious},
			{VeryHighRisk, verdictLabel(VeryHighRisk, red), "very high risk, frequent or confirmed abuse", typeMalicious},
		}
	case Connector:
		return []Grade{
			{Clean, verdictLabel(Clean, grey), "clean", typeBenign},
			{LowRisk, verdictLabel(LowRisk, grey), "low risk", typeUnknown},
			{Suspicious, verdictLabel(Suspicious, amber), "suspicious", typeUnknown},
			{ModerateRisk, verdictLabel(ModerateRisk, amber), "moderate risk", typeAnomalous},
			{Invalid, verdictLabel(Invalid, red), "not a valid address", typeUnknown},
			{HighRisk, verdictLabel(HighRisk, red), "high risk", typeMalicious},
			{Critical, verdictLabel(Critical, red), "critical risk", typeMalicious},
			{CleanFile, Label{string(CleanFile), grey}, "no engine detects anything", typeBenign},
			{MaliciousFile, Label{string(MaliciousFile), red}, "an engine detects malware", typeMalicious},
		}
	default:
		return []Grade{
			{Low, riskLabel(Low, green), "likely legitimate", typeBenign},
			{Medium, riskLabel(Medium, amber), "moderate risk", typeUnknown},
			{High, riskLabel(High, orange), "suspicious activity", typeAnomalous},
			{Critical, riskLabel(Critical, red), "high fraud risk", typeMalicious},
		}
	}
}

// grade returns what goes with a level of the model, a bare one for a level that it does not have.
func (m Model) grade(level Level) Grade {
	for _, g := range m.Grades() {
		if g.Level == level {
			return g
		}
	}
	return Grade{Level: level, IndicatorType: typeUnknown}
}
