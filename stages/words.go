package stages

import (
	"errors"
	"fmt"
	"strings"

	"opencti-ipqs-worker/ipqs"
)

// sentence is what an analyst reads of a fault in the work: what happened and, where it helps, what IPQS said. Chains of
// wrapped errors are for the log and the dead letter.
func (f *Fault) sentence(job Job) string {
	api, asked := errors.AsType[*ipqs.APIError](f.Err)
	said := ""
	if asked && api.Message != "" {
		said = ": " + trimmed(api.Message)
	}
	what := "such value"
	if job.Request != nil {
		what = noun(job.Request.EntityType)
	}
	switch f.Reason {
	case ReasonInvalidValue:
		return fmt.Sprintf("IPQS knows no %s%s", what, said)
	case ReasonTimeout:
		return "There was no answer in time"
	case ReasonUnavailable:
		if asked {
			return "IPQS did not answer for too long" + said
		}
		return "OpenCTI did not answer for too long"
	case ReasonRateLimited:
		return "IPQS had too many requests" + said
	case ReasonQuotaExhausted:
		return "The requests of the IPQS account are used up for today"
	case ReasonBudget:
		if said != "" {
			return capital(strings.TrimPrefix(said, ": ")) // ours, and written to be read
		}
		return "The credits that the connector may spend in a day are spent"
	case ReasonCredits:
		if said != "" && errors.Is(f.Err, ipqs.ErrReserve) {
			return capital(strings.TrimPrefix(said, ": "))
		}
		return "The IPQS account has no credits left"
	case ReasonAuth:
		if asked {
			return "IPQS does not accept the connector's key"
		}
		return "OpenCTI does not accept the connector's token"
	case ReasonCapability:
		if f.Class == Skip {
			return capital(f.Error()) // ours, as those below
		}
		return "The IPQS plan, or the rights of the connector's user, do not include this"
	case ReasonNotFound:
		return "OpenCTI does not show this entity to the connector's user"
	case ReasonMalformed:
		if asked {
			return "IPQS gave an answer that cannot be read"
		}
		return "The job cannot be read: " + f.Error()
	case ReasonUnsupported, ReasonScope, ReasonTLP, ReasonPrivate, ReasonRecent, ReasonEmpty, ReasonTooLarge:
		return capital(f.Error()) // ours, and written to be read
	case ReasonCircuitOpen:
		return "IPQS failed too often just before and was not asked"
	case ReasonBroker:
		return "RabbitMQ did not take the objects for too long"
	case ReasonContract:
		return "OpenCTI refused what the connector sent"
	case ReasonCrashLoop:
		return "The worker ended several times while it had this job"
	case ReasonPanic:
		return "The worker has a defect that this job meets"
	default:
		if asked {
			return "IPQS refused" + said
		}
		return capital(f.Error())
	}
}

// changed says whether a job that ended this way can have changed anything: only the last stage does.
func changed(job Job) string {
	if job.Has(SectionBundle) && job.Playbook() == nil {
		return "Some objects may have been imported"
	}
	return "Nothing was changed"
}

func noun(entityType string) string {
	switch entityType {
	case "IPv4-Addr", "IPv6-Addr", "Email-Addr":
		return "such address"
	case "Phone-Number":
		return "such number"
	case "Url":
		return "such URL"
	case "Domain-Name":
		return "such domain"
	case typeAccount:
		return "such account"
	case typeArtifact:
		return "such file"
	default:
		return "such value"
	}
}

// trimmed is a text without the full stop that a sentence around it brings.
func trimmed(text string) string {
	for len(text) > 0 && (text[len(text)-1] == '.' || text[len(text)-1] == ' ') {
		text = text[:len(text)-1]
	}
	return text
}

func capital(text string) string {
	if text == "" || text[0] < 'a' || text[0] > 'z' {
		return trimmed(text)
	}
	return string(text[0]-'a'+'A') + trimmed(text[1:])
}
