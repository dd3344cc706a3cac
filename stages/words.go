package stages

import (
	"errors"
	"fmt"
	"strings"

	"opencti-ipqs-worker/ipqs"
)

// sentence states a fault for the work, which analysts read: what happened and, where it helps, the message of IPQS. Chains of
// wrapped errors are for the log and the dead letter.
func (f *Fault) sentence(job Job) string {
	api, asked := errors.AsType[*ipqs.APIError](f.Err)
	said := ""
	if asked && api.Message != "" {
		said = ": " + trimmed(api.Message)
	}
	what := "value"
	if job.Request != nil {
		what = noun(job.Request.EntityType)
	}
	switch f.Reason {
	case ReasonInvalidValue:
		return fmt.Sprintf("IPQS rejected the %s%s", what, said)
	case ReasonTimeout:
		return "Timed out waiting for a response"
	case ReasonUnavailable:
		if asked {
			return "IPQS was unavailable for too long" + said
		}
		return "OpenCTI was unavailable for too long"
	case ReasonRateLimited:
		return "IPQS rate limit exceeded" + said
	case ReasonQuotaExhausted:
		return "The daily request quota of the IPQS account is exhausted"
	case ReasonBudget:
		if said != "" {
			return capital(strings.TrimPrefix(said, ": ")) // our own text, written for analysts
		}
		return "The daily credit budget of the connector is exhausted"
	case ReasonCredits:
		if said != "" && errors.Is(f.Err, ipqs.ErrReserve) {
			return capital(strings.TrimPrefix(said, ": "))
		}
		return "The IPQS account has no credits left"
	case ReasonAuth:
		if asked {
			return "IPQS rejected the API key of the connector"
		}
		return "OpenCTI rejected the token of the connector"
	case ReasonCapability:
		if f.Class == Skip {
			return capital(f.Error()) // our own text, as below
		}
		return "The IPQS plan or the rights of the connector's user do not include this"
	case ReasonNotFound:
		return "The entity does not exist, or the connector's user cannot see it"
	case ReasonMalformed:
		if asked {
			return "IPQS sent an unreadable response"
		}
		return "The job cannot be read: " + f.Error()
	case ReasonDeleted, ReasonOutdated, ReasonOwnUpdate, ReasonUnsupported, ReasonScope, ReasonTLP, ReasonPrivate, ReasonInternalName, ReasonExcluded,
		ReasonNetwork, ReasonRecent, ReasonEmpty, ReasonTooLarge:
		return capital(f.Error()) // our own text, written for analysts
	case ReasonCircuitOpen:
		return "IPQS failed repeatedly and was not queried"
	case ReasonBroker:
		return "RabbitMQ did not accept the objects in time"
	case ReasonContract:
		return "OpenCTI rejected a request of the connector"
	case ReasonCrashLoop:
		return "The worker crashed repeatedly while processing this job"
	case ReasonPanic:
		return "Internal error in the worker"
	default:
		if asked {
			return "IPQS rejected the request" + said
		}
		return capital(f.Error())
	}
}

// changed states whether the job can have changed anything: only the last stage does, and not for a job that it skips.
func changed(job Job, f *Fault) string {
	if job.Has(SectionBundle) && job.Playbook() == nil && f.Class != Skip {
		return "Some objects may have been imported"
	}
	return "Nothing was changed"
}

// noun names what was looked up.
func noun(entityType string) string {
	switch entityType {
	case "IPv4-Addr", "IPv6-Addr", "Email-Addr":
		return "address"
	case "Phone-Number":
		return "number"
	case "Url":
		return "URL"
	case "Domain-Name":
		return "domain"
	case typeAccount:
		return "account"
	case typeArtifact:
		return "file"
	default:
		return "value"
	}
}

// trimmed removes the full stop at the end, because the sentence around the text ends with one.
func trimmed(text string) string {
	for len(text) > 0 && (text[len(text)-1] == '.' || text[len(text)-1] == ' ') {
		text = text[:len(text)-1]
	}
	return text
}

// capital makes a sentence of a text: a capital letter at the beginning, no full stop at the end.
func capital(text string) string {
	if text == "" || text[0] < 'a' || text[0] > 'z' {
		return trimmed(text)
	}
	return string(text[0]-'a'+'A') + trimmed(text[1:])
}
