package seed

import "emporium/internal/order"

// europe is where the demo shop sends parcels to for less than to the rest of the world, with the standard rates of VAT.
var europe = []order.CountryTax{
	{Country: "AT", Name: "USt.", BasisPoints: 2000}, {Country: "BE", Name: "BTW", BasisPoints: 2100},
	{Country: "DE", Name: "MwSt.", BasisPoints: 1900}, {Country: "DK", Name: "Moms", BasisPoints: 2500},
	{Country: "ES", Name: "IVA", BasisPoints: 2100}, {Country: "FR", Name: "TVA", BasisPoints: 2000},
	{Country: "IT", Name: "IVA", BasisPoints: 2200}, {Country: "NL", Name: "BTW", BasisPoints: 2100},
	{Country: "PL", Name: "VAT", BasisPoints: 2300}, {Country: "SE", Name: "Moms", BasisPoints: 2500},
}

// addTerms makes shipping methods, taxes and discounts.
func (d *demo) addTerms() {
	r := source("terms")
	opened := anchor.AddDate(0, 0, -430)
	var countries []string
	for _, c := range europe {
		c.AppliesToShipping = true
		d.terms.Taxes = append(d.terms.Taxes, c)
		countries = append(countries, c.Country)
	}
	method := func(name, description string, countries []string, cents ...int64) {
		m := order.ShippingMethod{ID: key(r, opened), Name: name, Description: &description, Countries: countries, Currency: d.currency,
			Position: len(d.terms.ShippingMethods) + 1, Active: true,
			Rates: []order.ShippingRate{{Currency: d.currency, PriceMinor: minor(cents[0], d.currency)}}}
		if len(cents) > 1 { // free from so much on
			from := minor(cents[1], d.currency)
			m.Rates[0].ToMinor = &from
			m.Rates = append(m.Rates, order.ShippingRate{Currency: d.currency, FromMinor: from})
		}
		d.terms.ShippingMethods = append(d.terms.ShippingMethods, m)
	}
	method("Standard", "Two to four days. Free of charge for larger orders.", countries, 590, 10000)
	method("Express", "The next working day when ordered before noon.", []string{"DE", "AT"}, 1290)
	method("International", "Five to fifteen days, without duties.", []string{}, 2490)

	discount := func(code string, kind order.DiscountKind, basisPoints *int, minimum int64, customerLimit *int) {
		d.terms.Discounts = append(d.terms.Discounts, order.Discount{ID: key(r, opened), Code: code, Kind: kind, BasisPoints: basisPoints,
			Currency: d.currency, MinimumSubtotalMinor: minor(minimum, d.currency), CustomerLimit: customerLimit, Active: true})
	}
	discount("WELCOME10", order.DiscountPercentage, new(1000), 0, new(1))
	discount("FREESHIP", order.DiscountFreeShipping, nil, 2500, nil)
}
