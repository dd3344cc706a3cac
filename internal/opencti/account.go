package opencti

import (
	"context"
	"strings"
)

// accountFields are what an answer has beside the common fields when it is about a User-Account.
type accountFields struct {
	Login  string `json:"account_login"`
	Type   string `json:"account_type"`
	UserID string `json:"user_id"`
}

func (f accountFields) account(entityType string) *Account {
	if !strings.EqualFold(entityType, "User-Account") {
		return nil
	}
	return &Account{Login: f.Login, Type: f.Type, UserID: f.UserID}
}

// Credential is what is secret about an account. It does not show itself where it is formatted or encoded.
type Credential struct{ login, password string }

// NewCredential returns the credential of an account; either text may be empty.
func NewCredential(login, password string) Credential { return Credential{login, password} }

// Login returns the account's login, "" where the platform has none.
func (c Credential) Login() string { return c.login }

// Password returns the account's password, "" where the platform has none.
func (c Credential) Password() string { return c.password }

// String hides the credential.
func (Credential) String() string { return "[REDACTED]" }

// GoString hides the credential.
func (Credential) GoString() string { return "[REDACTED]" }

// MarshalJSON hides the credential.
func (Credential) MarshalJSON() ([]byte, error) { return []byte(`"[REDACTED]"`), nil }

// Credential reads what is secret about a User-Account: whoever needs it asks at that moment, and it goes into no message
// and no log. The ids and errors are those of [Client.Entity].
func (c *Client) Credential(ctx context.Context, id, draftID string) (Credential, error) {
	var answer struct {
		Observable *struct {
			Login    string `json:"account_login"`
			Password string `json:"credential"`
		} `json:"stixCyberObservable"`
	}
	if err := c.do(ctx, opCredential, map[string]any{"id": id}, draftID, &answer); err != nil {
		return Credential{}, err
	}
	if answer.Observable == nil {
		return Credential{}, nothing(opCredential)
	}
	return NewCredential(answer.Observable.Login, answer.Observable.Password), nil
}
