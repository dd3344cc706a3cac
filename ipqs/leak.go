package ipqs

// Leak is the report on an account name, an e-mail address or a password that may be known from a leak. It describes a
// victim, not an attacker.
type Leak struct {
	Exposed Bool `json:"exposed,omitzero"`
	// PlainTextPassword says that the password came with it in clear. IPQS says so of e-mail addresses only.
	PlainTextPassword Bool `json:"plain_text_password,omitzero"`
	// Sources are the leaks, up to some hundred names of breaches, of stealers' logs and of nothing in particular ("Dark
	// Web Leaks"), in the words of whoever put them on sale.
	Sources List `json:"source,omitzero"`
	// FirstSeen is set only if Exposed is True: of what it does not know, IPQS gives the time of the request.
	FirstSeen Age `json:"first_seen,omitzero"`
}

// decodeLeak reads a leak's answer. Earlier releases of the API had other names for "exposed".
func decodeLeak(body []byte) *Leak {
	leak := new(Leak)
	readObject(body, leak)
	if leak.Exposed == Unknown {
		var older struct {
			Found  Bool `json:"found"`
			Leaked Bool `json:"leaked"`
		}
		readObject(body, &older)
		if leak.Exposed = older.Found; leak.Exposed == Unknown {
			leak.Exposed = older.Leaked
		}
	}
	if leak.Exposed != True {
		leak.FirstSeen = Age{}
	}
	return leak
}
