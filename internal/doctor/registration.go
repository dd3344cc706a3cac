package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"opencti-ipqs-worker/internal/opencti"
)

// registration reads the connector's registration, compares it with the configuration, and returns where the queues are. It
// sends no registration, because that would overwrite the one of the workers.
func (e *examination) registration(ctx context.Context, user opencti.User) (to opencti.Registration, known bool) {
	ctx, cancel := e.within(ctx)
	defer cancel()
	registered, err := e.ways.OpenCTI.Registered(ctx, e.config.Connector.ID)
	if errors.Is(err, opencti.ErrNotFound) {
		e.warn(checkRegistration, "the connector is not registered with OpenCTI yet", "start `ipqs-worker run` once, then repeat")
		return to, false
	}
	if err != nil {
		found, remedy := platformTrouble(err)
		e.fail(checkRegistration, found, remedy)
		return to, false
	}
	has, err := e.ways.OpenCTI.Capabilities(ctx)
	if err != nil {
		found, remedy := platformTrouble(err)
		e.fail(checkRegistration, found, remedy)
		return to, false
	}
	changes := differences(registered, e.ways.Connector(), user, has)
	if len(changes) > 0 {
		e.warn(checkRegistration, "it differs from the configuration: "+strings.Join(changes, "; "),
			"the next start of the worker with this configuration overwrites the registered values with the configured ones; to keep a registered value, set the option to it")
		return registered.Registration, true
	}
	e.ok(checkRegistration, "it is what the configuration says; "+activity(registered))
	return registered.Registration, true
}

// differences lists the fields of a registration that the configured connector would change, as text.
func differences(is opencti.Registered, want opencti.Connector, user opencti.User, has opencti.Capabilities) []string {
	var found []string
	compare := func(field, option, registered, configured string) {
		if registered == configured {
			return
		}
		if option != "" {
			option = " (" + option + ")"
		}
		found = append(found, fmt.Sprintf("%s is registered as %s and configured as %s%s", field, registered, configured, option))
	}
	flag := func(field, option string, registered, configured bool) {
		compare(field, option, strconv.FormatBool(registered), strconv.FormatBool(configured))
	}
	compare("name", "CONNECTOR_NAME", strconv.Quote(is.Connector.Name), strconv.Quote(want.Name))
	compare("type", "", is.Type, opencti.ConnectorType)
	compare("scope", "CONNECTOR_SCOPE", scope(is.Connector.Scope), scope(want.Scope))
	flag("auto", "CONNECTOR_AUTO", is.Connector.Auto, want.Auto)
	flag("only_contextual", "CONNECTOR_ONLY_CONTEXTUAL", is.Connector.OnlyContextual, want.OnlyContextual)
	if has.PlaybookCompatible {
		flag("playbook_compatible", "", is.Connector.PlaybookCompatible, want.PlaybookCompatible)
	}
	if has.AutoUpdate {
		flag("auto_update", "CONNECTOR_AUTO_UPDATE", is.Connector.AutoUpdate, want.AutoUpdate)
	}
	if has.EnrichmentResolution {
		compare("enrichment_resolution", "", strconv.Quote(is.EnrichmentResolution), strconv.Quote(opencti.EnrichmentResolution))
	}
	if has.ListenCallbackURI {
		compare("listen_callback_uri", "CONNECTOR_LISTEN_PROTOCOL, CONNECTOR_LISTEN_PROTOCOL_API_URI and _PATH",
			address(is.Connector.ListenCallbackURI), address(want.ListenCallbackURI))
	}
	compare("connector_user_id", "OPENCTI_TOKEN", is.Registration.ConnectorUserID, user.ID)
	return found
}

// address quotes a URI without its password.
func address(uri string) string {
	if parsed, err := url.Parse(uri); err == nil {
		uri = parsed.Redacted()
	}
	return strconv.Quote(uri)
}

// scope is a list of entity types in a fixed order: the order has no meaning.
func scope(types []string) string {
	return "[" + strings.Join(slices.Sorted(slices.Values(types)), ",") + "]"
}

// activity says whether the connector pings.
func activity(r opencti.Registered) string {
	switch {
	case r.Active:
		return "the connector is active"
	case r.Updated.IsZero():
		return "the connector is not active"
	}
	return "the connector is not active, its last ping was at " + r.Updated.UTC().Format(time.RFC3339)
}
