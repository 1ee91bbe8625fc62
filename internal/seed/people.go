package seed

import (
	"time"

	"emporium/internal/auth"
	"emporium/internal/order"
	"emporium/internal/user"
)

// person is a customer of the demo shop. The telephone numbers are of ranges that are set aside for fiction.
type person struct {
	Name, Email, Phone string
	Since              int // days before the anchor
	Guest, Deactivated bool
	Addresses          []place
	Tax                tax
}

// place is an address; the first is where parcels go, the last is where invoices go.
type place struct {
	Name                                      string // the person's when empty
	Company, Line1, Line2, City, Region, Code string
	Country                                   string
	Phone                                     string
}

// tax is how goods for a person are taxed, in tenths of a percent.
type tax struct {
	Rate     int64
	Included bool
}

// of returns the tax in, or on top of, an amount.
func (t tax) of(amount int64) int64 {
	base := int64(1000)
	if t.Included {
		base += t.Rate
	}
	return (amount*t.Rate + base/2) / base
}

var people = []person{
	{Name: "Ada Lindqvist", Email: "ada@example.com", Phone: "+46846500441", Since: 390, Tax: tax{250, true}, Addresses: []place{
		{Line1: "Bastugatan 214", Line2: "3 tr", City: "Stockholm", Code: "118 25", Country: "SE", Phone: "+46846500441"},
		{Company: "Lindqvist & Ahl Arkitekter AB", Line1: "Skeppsbron 1120", City: "Göteborg", Code: "411 21", Country: "SE"}}},
	{Name: "Grace Okafor", Email: "grace@example.com", Phone: "+442079460123", Since: 350, Tax: tax{200, true}, Addresses: []place{
		{Line1: "Flat 4, 918 Cheshire Row", City: "London", Code: "E2 6EH", Country: "GB", Phone: "+442079460123"}}},
	{Name: "Jonas Petersen", Email: "jonas.petersen@example.org", Phone: "+494066969123", Since: 333, Tax: tax{190, true}, Addresses: []place{
		{Line1: "Am Fischerkai 312", City: "Hamburg", Code: "22767", Country: "DE", Phone: "+494066969123"},
		{Company: "Petersen Bootsbau GmbH", Line1: "Werftstraße 907", City: "Kiel", Code: "24143", Country: "DE"}}},
	{Name: "Chloé Marchand", Email: "chloe.marchand@example.net", Phone: "+33465711234", Since: 301, Tax: tax{200, true}, Addresses: []place{
		{Line1: "418 rue des Tisserands", Line2: "Bâtiment C", City: "Lyon", Code: "69004", Country: "FR", Phone: "+33465711234"}}},
	{Name: "Tomás Herrera", Email: "tomas.herrera@example.com", Since: 288, Tax: tax{210, true}, Addresses: []place{
		{Line1: "Calle del Salitre 533, 2.º izq.", City: "Valencia", Code: "46006", Country: "ES"}}},
	{Name: "Mei-Lin Chow", Email: "meilin.chow@example.org", Phone: "+14155550142", Since: 264, Tax: tax{86, false}, Addresses: []place{
		{Line1: "9020 Lantern Street", Line2: "Apt 12B", City: "San Francisco", Region: "CA", Code: "94118", Country: "US", Phone: "+14155550142"},
		{Name: "Chow Family", Line1: "77011 Alder Way", City: "Portland", Region: "OR", Code: "97211", Country: "US"}}},
	{Name: "Aoife Brennan", Email: "aoife.brennan@example.net", Since: 240, Tax: tax{230, true}, Addresses: []place{
		{Line1: "811 Claddagh Steps", City: "Galway", Region: "Co. Galway", Code: "H91 X0X0", Country: "IE"}}},
	{Name: "Luca Bianchetti", Email: "luca.bianchetti@example.com", Since: 219, Tax: tax{220, true}, Addresses: []place{
		{Line1: "Via dei Cordai 604", City: "Bologna", Region: "BO", Code: "40122", Country: "IT"}}},
	{Name: "Hanna Virtala", Email: "hanna.virtala@example.org", Since: 205, Tax: tax{255, true}, Addresses: []place{
		{Line1: "Telakkakuja 702 B", City: "Helsinki", Code: "00150", Country: "FI"}}},
	{Name: "Samuel Weissgerber", Email: "samuel.weissgerber@example.net", Since: 199, Deactivated: true, Tax: tax{200, true},
		Addresses: []place{{Line1: "Seilergasse 881/9", City: "Wien", Code: "1070", Country: "AT"}}},
	{Name: "Noor van Dijkhuizen", Email: "noor.van.dijkhuizen@example.com", Since: 61, Guest: true, Tax: tax{210, true}, Addresses: []place{
		{Line1: "Touwslagerskade 246", City: "Utrecht", Code: "3511 XB", Country: "NL"}}},
	{Name: "Yuki Takamori", Email: "yuki.takamori@example.org", Since: 4, Tax: tax{0, false}, Addresses: []place{
		{Line1: "Shimogamo Higashi 612", City: "Kyōto", Code: "606-0801", Country: "JP"}}},
}

// addPeople makes the accounts of customers, then those of staff, who have no addresses.
func (d *demo) addPeople() {
	r := source("people")
	for _, p := range people {
		created := anchor.AddDate(0, 0, -p.Since).Add(between(r, 0, 8*time.Hour))
		a := &user.Account{User: user.User{
			ID: key(r, created), Guest: p.Guest, Status: user.StatusActive, Roles: []auth.Role{auth.RoleCustomer},
			Name: &p.Name, Email: &p.Email, Phone: optional(p.Phone), CreatedAt: created,
		}}
		if p.Deactivated {
			a.Status = user.StatusDeactivated
		}
		for i, at := range p.Addresses {
			if at.Name == "" {
				at.Name = p.Name
			}
			a.AddressBook = append(a.AddressBook, user.Address{
				Owner: a.ID, ID: key(r, created.Add(time.Duration(i+1)*time.Minute)), Country: at.Country,
				Postal: user.Postal{Name: at.Name, Company: optional(at.Company), Line1: at.Line1, Line2: optional(at.Line2),
					City: at.City, Region: optional(at.Region), PostalCode: optional(at.Code), Phone: optional(at.Phone)},
			})
		}
		a.DefaultShippingAddressID = &a.AddressBook[0].ID
		a.DefaultBillingAddressID = &a.AddressBook[len(a.AddressBook)-1].ID
		d.accounts = append(d.accounts, a)
		d.buyers = append(d.buyers, newBuyer(a, p.Tax))
	}
	names := map[auth.Role]string{
		auth.RoleSupport: "Solveig Arnesen-Holt", auth.RoleManager: "Matteo Quarenghi", auth.RoleAdmin: "Adaeze Fairweather",
	}
	for _, sign := range Accounts() {
		if name, ok := names[sign.Roles[0]]; ok {
			created := anchor.AddDate(0, 0, -420).Add(between(r, 0, 8*time.Hour))
			d.accounts = append(d.accounts, &user.Account{User: user.User{ID: key(r, created), Status: user.StatusActive,
				Roles: sign.Roles, Name: &name, Email: &sign.Email, CreatedAt: created}})
		}
	}
}

// buyer is what an order takes from a customer.
type buyer struct {
	account           *user.Account
	shipping, billing *order.PostalAddress
	tax               tax
}

// newBuyer returns the customer of an account, who has at least one address.
func newBuyer(a *user.Account, t tax) buyer {
	write := func(at user.Address) *order.PostalAddress {
		return &order.PostalAddress{Owner: a.ID, Name: at.Name, Company: at.Company, Line1: at.Line1, Line2: at.Line2,
			City: at.City, Region: at.Region, PostalCode: at.PostalCode, Country: at.Country, Phone: at.Phone}
	}
	return buyer{account: a, shipping: write(a.AddressBook[0]), billing: write(a.AddressBook[len(a.AddressBook)-1]), tax: t}
}

// optional returns nil for an empty text.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
