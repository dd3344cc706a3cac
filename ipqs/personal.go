package ipqs

import (
	"slices"
	"strings"
)

// Personal is what IPQS knows of the people behind an e-mail address or a phone number. It is personal data about whoever
// that is: nothing needs it for a verdict, and a [Client] leaves it out unless it is asked for.
type Personal struct {
	Names          List       `json:"names,omitzero"` // of people, as IPQS guesses them
	EmailAddresses List       `json:"email_addresses,omitzero"`
	PhoneNumbers   List       `json:"phone_numbers,omitzero"`
	Identities     []Identity `json:"identities,omitzero"`
}

// Identity is one person in a marketing list or the like.
type Identity struct {
	Names          List `json:"names,omitzero"`
	Addresses      List `json:"addresses,omitzero"` // each on one line
	EmailAddresses List `json:"email_addresses,omitzero"`
	PhoneNumbers   List `json:"phone_numbers,omitzero"`
	Birthday       Text `json:"birthday,omitzero"` // RFC 3339, as IPQS estimates it
	Source         Text `json:"source,omitzero"`   // such as marketing_databases
}

// maxPersonal bounds each of the lists: there are addresses with hundreds of entries.
const maxPersonal = 50

// anonymous are what IPQS writes where it knows no name.
var anonymous = []string{"unknown", "corporate"}

// decodePersonal reads what an answer says of people; nil if that is nothing.
func decodePersonal(kind Kind, body []byte) *Personal {
	type associated struct {
		Names        List `json:"names"`
		Emails       List `json:"emails"`
		PhoneNumbers List `json:"phone_numbers"`
	}
	var answer struct {
		FirstName Text                  `json:"first_name"` // of e-mail addresses
		Name      Text                  `json:"name"`       // of phone numbers, several with commas between them
		Names     lenient[associated]   `json:"associated_names"`
		Phones    lenient[associated]   `json:"associated_phone_numbers"`
		Emails    lenient[associated]   `json:"associated_email_addresses"`
		Identity  lenientList[identity] `json:"identity_data"`
	}
	if kind != KindEmail && kind != KindPhone {
		return nil
	}
	readObject(body, &answer)
	p := new(Personal)
	add := func(to *List, more ...string) {
		for _, text := range more {
			if text = clean(text); text != "" && !slices.Contains(*to, text) && len(*to) < maxPersonal {
				*to = append(*to, text)
			}
		}
	}
	if !slices.Contains(anonymous, strings.ToLower(string(answer.FirstName))) {
		add(&p.Names, string(answer.FirstName))
	}
	add(&p.Names, strings.Split(string(answer.Name), ",")...)
	add(&p.Names, answer.Names.value.Names...)
	add(&p.PhoneNumbers, answer.Phones.value.PhoneNumbers...)
	add(&p.EmailAddresses, answer.Emails.value.Emails...)
	for _, one := range answer.Identity[:min(len(answer.Identity), maxPersonal)] {
		who := Identity{Birthday: one.Age.value.Birthday, Source: one.Source}
		for _, n := range one.Names {
			add(&who.Names, joined(" ", n.First, n.Middle, n.Last))
		}
		for _, a := range one.Addresses {
			add(&who.Addresses, joined(", ", a.Address, a.City, a.Region, a.PostalCode, a.Country))
		}
		for _, e := range one.Emails {
			add(&who.EmailAddresses, string(e.Email))
		}
		for _, n := range one.Phones {
			add(&who.PhoneNumbers, string(n.Formatted))
		}
		if len(who.Names)+len(who.Addresses)+len(who.EmailAddresses)+len(who.PhoneNumbers) > 0 {
			p.Identities = append(p.Identities, who)
		}
	}
	if len(p.Names)+len(p.EmailAddresses)+len(p.PhoneNumbers)+len(p.Identities) == 0 {
		return nil
	}
	return p
}

// identity is an element of identity_data as IPQS writes it.
type identity struct {
	Names lenientList[struct {
		First  Text `json:"first_name"`
		Middle Text `json:"middle_name"`
		Last   Text `json:"last_name"`
	}] `json:"names"`
	Addresses lenientList[struct {
		Address    Text `json:"address"`
		City       Text `json:"city"`
		Region     Text `json:"region"`
		PostalCode Text `json:"postal_code"`
		Country    Text `json:"country"`
	}] `json:"addresses"`
	Emails lenientList[struct {
		Email Text `json:"email"`
	}] `json:"email_addresses"`
	Phones lenientList[struct {
		Formatted Text `json:"formatted_phone_number"`
	}] `json:"phone_numbers"`
	Age lenient[struct {
		Birthday Text `json:"birthday_iso"`
	}] `json:"age"`
	Source Text `json:"source"`
}

func joined(separator string, texts ...Text) string {
	var parts []string
	for _, t := range texts {
		if t != "" {
			parts = append(parts, string(t))
		}
	}
	return strings.Join(parts, separator)
}
