package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
	"syscall"

	"opencti-ipqs-worker/internal/opencti"
)

// oldest is the first release that the worker is made for.
const oldest = "5.4.0"

func number(n int) string { return strconv.Itoa(n) }

// openCTI checks the platform up to the registration and returns where the queues are. known reports whether OpenCTI said so.
func (e *examination) openCTI(ctx context.Context) (to opencti.Registration, known bool) {
	version, err := e.about(ctx)
	switch {
	case errors.Is(err, opencti.ErrAuth):
		e.ok(checkOpenCTI, "it answers at "+e.config.OpenCTI.URL)
		e.fail(checkToken, "OpenCTI does not know the token ("+err.Error()+")",
			"set OPENCTI_TOKEN to the API token of the connector's user, from their profile in OpenCTI")
		e.skip(checkRegistration, "the token is not accepted")
		return to, false
	case err != nil:
		found, remedy := platformTrouble(err)
		e.fail(checkOpenCTI, found, remedy)
		e.skip(checkToken, "OpenCTI could not be asked")
		e.skip(checkRegistration, "OpenCTI could not be asked")
		return to, false
	}
	if !e.release(version) {
		e.skip(checkToken, "OpenCTI is too old")
		e.skip(checkRegistration, "OpenCTI is too old")
		return to, false
	}
	user, usable := e.token(ctx)
	if !usable {
		e.skip(checkRegistration, "the token's user may not register a connector")
		return to, false
	}
	return e.registration(ctx, user)
}

func (e *examination) about(ctx context.Context) (opencti.Version, error) {
	ctx, cancel := e.within(ctx)
	defer cancel()
	return e.ways.OpenCTI.About(ctx)
}

// release says what the platform's release is no good for, and reports whether it is good for anything.
func (e *examination) release(version opencti.Version) bool {
	const upgrade = "upgrade OpenCTI"
	has := version.Capabilities()
	first, err := opencti.ParseVersion(oldest)
	unsupported := e.ways.Unsupported(has)
	switch {
	case err == nil && version.Compare(first) < 0:
		e.fail(checkOpenCTI, "its release is "+version.String()+", and the worker needs "+oldest+" or newer", upgrade)
		return false
	case unsupported != nil:
		e.fail(checkOpenCTI, "its release is "+version.String()+", too old for how the worker is to be reached: "+unsupported.Error(), upgrade+", or go by its RabbitMQ")
	case !has.Tracked:
		e.warn(checkOpenCTI, "its release is "+version.String()+", which loses objects of works that are counted: the worker sends them uncounted, so works show no progress",
			upgrade+" to 7.260510 or newer")
	default:
		e.ok(checkOpenCTI, "release "+version.String()+" answers at "+e.config.OpenCTI.URL)
	}
	return true
}

// platformTrouble says what is wrong with OpenCTI and what to do about it.
func platformTrouble(err error) (found, remedy string) {
	switch {
	case errors.Is(err, opencti.ErrAuth):
		return "OpenCTI does not know the token (" + err.Error() + ")", "set OPENCTI_TOKEN to the API token of the connector's user"
	case errors.Is(err, opencti.ErrForbidden):
		return "the token's user is not allowed it (" + err.Error() + ")", "give them a role for connectors in OpenCTI"
	}
	remedy = wayRemedy(err, "OPENCTI_URL")
	if answered, ok := errors.AsType[*opencti.Error](err); ok && remedy == "" {
		switch {
		case answered.Status >= 500:
			remedy = "it is there, and cannot answer: look at OpenCTI's own log, or that of the proxy before it"
		case answered.Status != 0 && answered.Code == "":
			remedy = "set OPENCTI_URL to OpenCTI's address, with its base path if it has one and without /graphql"
		default:
			remedy = "look at OpenCTI's own log"
		}
	}
	return err.Error(), remedy
}

// wayRemedy is what to do about a connection that did not come about, where its error says that; option names the address.
func wayRemedy(err error, option string) string {
	_, unknown := errors.AsType[*net.DNSError](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case untrusted, plain, strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "the connection is not trusted as it is: set what the text names, or http:// for https:// in " + option
	case unknown:
		return "nobody is known by that name from here: correct " + option + ", or this machine's name resolution"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: is it running, is the port in " + option + " right, is there a firewall?"
	case errors.Is(err, context.DeadlineExceeded), ok && timeout.Timeout():
		return "no answer came in time: is there a firewall, or a proxy to be named in HTTPS_PROXY?"
	}
	return ""
}
