package user_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/user"
)

// everything is all that the schema users holds, so that what was written, and what was not, can be told.
func (w *world) everything(t testing.TB) string {
	t.Helper()
	var all []string
	for _, table := range query[string](t, w, `SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'users'
		AND table_name NOT LIKE 'river%' ORDER BY 1`) { // jobs come and go by themselves
		all = append(all, table+":")
		all = append(all, query[string](t, w, `SELECT t::text FROM users.`+table+` t ORDER BY 1`)...)
	}
	return strings.Join(all, "\n")
}

// unchanged fails when f writes anything.
func (w *world) unchanged(t testing.TB, what string, f func()) {
	t.Helper()
	before := w.everything(t)
	f()
	if after := w.everything(t); after != before {
		t.Errorf("%s: something was written:\n%s\nbefore:\n%s", what, after, before)
	}
}

// audit returns the audit log, oldest first, and forgets it. "self" is an actor who is the subject.
func (w *world) audit(t testing.TB) []string {
	t.Helper()
	return query[string](t, w, `WITH gone AS (DELETE FROM users.audit RETURNING *)
		SELECT concat_ws(' ', CASE actor_id WHEN subject_id THEN 'self' ELSE coalesce(actor_id::text, 'nobody') END, action,
			nullif((details - 'session' - 'address')::text, '{}')) FROM gone ORDER BY id`)
}

func set(value string) graphql.Omittable[*string] { return graphql.OmittableOf(&value) }
func cleared() graphql.Omittable[*string]         { return graphql.OmittableOf[*string](nil) }

// viewed returns an account as its user sees it.
func (w *world) viewed(t testing.TB, a auth.Actor) *user.User {
	t.Helper()
	users, err := w.ByIDs(as(t, a), []uuid.UUID{a.ID})
	must(t, err)
	if len(users) != 1 {
		t.Fatalf("%d users", len(users))
	}
	return users[0]
}

func (w *world) book(t testing.TB, a auth.Actor) []*user.Address {
	t.Helper()
	book, err := w.AddressesOf(as(t, a), []uuid.UUID{a.ID})
	must(t, err)
	return book
}

func TestUpdateProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	w.signedUp(t, "bob@example.com")
	w.audit(t)
	w.pass(time.Second)
	update := func(in user.ProfileUpdateInput) *user.User {
		t.Helper()
		p, err := w.UpdateProfile(as(t, ada), in)
		must(t, err)
		if p.User == nil || len(p.UserErrors) > 0 {
			t.Fatalf("refused: %+v", p)
		}
		equal(t, "what is returned and what was written", p.User, w.viewed(t, ada))
		return p.User
	}
	foundBy := func(phone string) int {
		t.Helper()
		n, err := w.Count(as(t, staff(auth.RoleSupport)), user.Filter{Phone: &phone})
		must(t, err)
		return n
	}

	u := update(user.ProfileUpdateInput{Name: set("  Ada King "), Phone: set("030 901820")})
	equal(t, "profile", []string{*u.Name, *u.Phone, *u.Email}, []string{"Ada King", "+4930901820", "ada@example.com"})
	equal(t, "audit", w.audit(t), []string{`self PROFILE_UPDATED {"fields": ["name", "phone"]}`})
	equal(t, "found by it", foundBy("+49 30 901820"), 1)

	u = update(user.ProfileUpdateInput{Phone: set("+49 30 901821")})
	equal(t, "only the number", []string{*u.Name, *u.Phone}, []string{"Ada King", "+4930901821"})
	equal(t, "audit", w.audit(t), []string{`self PROFILE_UPDATED {"fields": ["phone"]}`})
	equal(t, "found by the old one and by the new one", []int{foundBy("+4930901820"), foundBy("+4930901821")}, []int{0, 1})

	w.pass(time.Second)
	w.unchanged(t, "absent", func() { update(user.ProfileUpdateInput{}) })
	w.unchanged(t, "the same", func() {
		update(user.ProfileUpdateInput{Name: set("Ada King  "), Phone: set("030/901821")})
	})

	u = update(user.ProfileUpdateInput{Phone: cleared()})
	equal(t, "number", u.Phone, nil)
	equal(t, "name stays", *u.Name, "Ada King")
	u = update(user.ProfileUpdateInput{Name: cleared()})
	equal(t, "name", u.Name, nil)
	w.unchanged(t, "null again", func() { update(user.ProfileUpdateInput{Name: cleared(), Phone: cleared()}) })
	equal(t, "audit", w.audit(t), []string{`self PROFILE_UPDATED {"fields": ["phone"]}`, `self PROFILE_UPDATED {"fields": ["name"]}`})
	equal(t, "phone index", query[int](t, w, "SELECT count(*) FROM users.phone_index"), []int{0})
	equal(t, "changed", query[uuid.UUID](t, w, "SELECT owner_id FROM users.users WHERE updated_at > created_at"), []uuid.UUID{ada.ID})

	w.unchanged(t, "wrong input", func() {
		for name, tc := range map[string]struct {
			in   user.ProfileUpdateInput
			want []fault.Problem
		}{
			"blank name": {user.ProfileUpdateInput{Name: set("  "), Phone: set("+4930901820")}, []fault.Problem{
				{Code: fault.ProblemInvalid, Field: []string{"name"}, Message: "the name must have 1 to 200 characters, none of them a control character"}}},
			"both": {user.ProfileUpdateInput{Name: set("A\x00da"), Phone: set("110")}, []fault.Problem{
				{Code: fault.ProblemInvalid, Field: []string{"name"}, Message: "the name must have 1 to 200 characters, none of them a control character"},
				{Code: fault.ProblemInvalid, Field: []string{"phone"}, Message: "this is not a valid telephone number; begin with + and the country code"}}},
			"empty number": {user.ProfileUpdateInput{Phone: set("")}, []fault.Problem{
				{Code: fault.ProblemInvalid, Field: []string{"phone"}, Message: "this is not a valid telephone number; begin with + and the country code"}}},
		} {
			p, err := w.UpdateProfile(as(t, ada), tc.in)
			must(t, err)
			equal(t, name, p, &user.ProfileUpdatePayload{UserErrors: tc.want})
		}
	})
}

// Whoever has no active account is told so, by every verb of one's own, and nothing is written.
func TestOwnVerbsWantAnActiveAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := newAddress("Gone")
	gone := &user.Account{User: user.User{ID: id.New(), Status: user.StatusDeactivated}, AddressBook: []user.Address{address}}
	w.load(t, gone)
	addressID := id.Owned(id.Address, id.Key{Owner: gone.ID, ID: address.ID})
	for name, verb := range ownVerbs(w, addressID) {
		w.unchanged(t, name, func() {
			code(t, name+", nobody", verb(t.Context()), fault.Unauthenticated)
			code(t, name+", external", verb(as(t, auth.Actor{ID: id.New(), External: true})), fault.NotFound)
			code(t, name+", deactivated meanwhile", verb(as(t, auth.Actor{ID: gone.ID})), fault.NotFound)
		})
	}
}

// ownVerbs are the verbs that change what is one's own, each so that it changes something.
func ownVerbs(w *world, address id.ID) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"profile": func(ctx context.Context) error {
			_, err := w.UpdateProfile(ctx, user.ProfileUpdateInput{Name: set("New"), Phone: set("+4930901899")})
			return err
		},
		"create": func(ctx context.Context) error {
			_, err := w.CreateAddress(ctx, user.AddressCreateInput{Name: "A", Line1: "B", City: "C", Country: "DE",
				DefaultFor: []user.AddressPurpose{user.PurposeShipping}})
			return err
		},
		"update": func(ctx context.Context) error {
			_, err := w.UpdateAddress(ctx, user.AddressUpdateInput{AddressID: address, AddressFields: user.AddressFields{City: set("Jena")}})
			return err
		},
		"set default": func(ctx context.Context) error {
			_, err := w.SetDefaultAddress(ctx, user.AddressSetDefaultInput{AddressID: address, Purpose: user.PurposeBilling})
			return err
		},
		"delete": func(ctx context.Context) error {
			_, err := w.DeleteAddress(ctx, user.AddressDeleteInput{AddressID: address})
			return err
		},
	}
}

func TestAddressBook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	w.audit(t)
	ctx := as(t, ada)
	both := []user.AddressPurpose{user.PurposeShipping, user.PurposeBilling}

	p, err := w.CreateAddress(ctx, user.AddressCreateInput{Name: " Ada ", Company: new("  "), Line1: "1 rue de la Paix", Line2: new("3e étage"),
		City: "Paris", PostalCode: new("75002"), Country: "FR", Phone: new("01 42 68 53 00"), DefaultFor: append(both, both...)})
	must(t, err)
	want := &user.Address{Owner: ada.ID, ID: p.Address.ID, Country: "FR", Postal: user.Postal{Name: "Ada", Line1: "1 rue de la Paix",
		Line2: new("3e étage"), City: "Paris", PostalCode: new("75002"), Phone: new("+33142685300")}}
	equal(t, "created", p, &user.AddressPayload{Address: want, User: w.viewed(t, ada)})
	equal(t, "book", w.book(t, ada), []*user.Address{want})
	equal(t, "defaults", []uuid.UUID{*p.User.DefaultShippingAddressID, *p.User.DefaultBillingAddressID}, []uuid.UUID{want.ID, want.ID})
	equal(t, "audit", w.audit(t), []string{`self ADDRESS_CREATED`, `self DEFAULT_ADDRESS_SET {"purposes": ["SHIPPING", "BILLING"]}`})
	p, err = w.CreateAddress(ctx, user.AddressCreateInput{Name: "Ada", Line1: "Main St 1", City: "Berlin", Country: "DE", Phone: new(" ")})
	must(t, err)
	second := p.Address
	equal(t, "no default", *p.User.DefaultShippingAddressID, want.ID)
	equal(t, "audit", w.audit(t), []string{`self ADDRESS_CREATED`})

	update := func(fields user.AddressFields) {
		t.Helper()
		p, err := w.UpdateAddress(ctx, user.AddressUpdateInput{AddressID: want.GlobalID(), AddressFields: fields})
		must(t, err)
		equal(t, "updated", p, &user.AddressPayload{Address: want, User: w.viewed(t, ada)})
		equal(t, "book", w.book(t, ada), []*user.Address{want, second})
	}
	w.unchanged(t, "absent", func() { update(user.AddressFields{}) })
	w.unchanged(t, "the same", func() {
		update(user.AddressFields{Name: set("Ada "), Company: cleared(), Country: set("FR"), Phone: set("+33 142685300")})
	})
	want.City, want.Country, want.Company, want.Phone = "Wien", "AT", new("Analytical Engines"), new("+4314277")
	update(user.AddressFields{City: set("Wien"), Country: set("AT"), Company: set("Analytical Engines"), Phone: set("01 4277")})
	want.Line2, want.PostalCode, want.Phone, want.Company = nil, nil, nil, nil
	update(user.AddressFields{Line2: cleared(), PostalCode: set(" "), Phone: cleared(), Company: cleared()})
	equal(t, "audit", w.audit(t), []string{`self ADDRESS_UPDATED {"fields": ["company", "city", "country", "phone"]}`,
		`self ADDRESS_UPDATED {"fields": ["company", "line2", "postalCode", "phone"]}`})

	setDefault := func(a *user.Address, purpose user.AddressPurpose) {
		t.Helper()
		p, err := w.SetDefaultAddress(ctx, user.AddressSetDefaultInput{AddressID: a.GlobalID(), Purpose: purpose})
		must(t, err)
		equal(t, "default", p, &user.AddressPayload{Address: a, User: w.viewed(t, ada)})
	}
	setDefault(second, user.PurposeBilling)
	w.unchanged(t, "once more", func() { setDefault(second, user.PurposeBilling) })
	u := w.viewed(t, ada)
	equal(t, "defaults", []uuid.UUID{*u.DefaultShippingAddressID, *u.DefaultBillingAddressID}, []uuid.UUID{want.ID, second.ID})
	equal(t, "audit", w.audit(t), []string{`self DEFAULT_ADDRESS_SET {"purposes": ["BILLING"]}`})

	d, err := w.DeleteAddress(ctx, user.AddressDeleteInput{AddressID: want.GlobalID()})
	must(t, err)
	u = w.viewed(t, ada)
	equal(t, "deleted", d, &user.AddressDeletePayload{DeletedAddressID: new(want.GlobalID()), User: u})
	equal(t, "the default that it was", u.DefaultShippingAddressID, nil)
	equal(t, "the other default", *u.DefaultBillingAddressID, second.ID)
	equal(t, "book", w.book(t, ada), []*user.Address{second})
	equal(t, "audit", w.audit(t), []string{`self ADDRESS_DELETED`})
	w.unchanged(t, "twice", func() {
		_, err := w.DeleteAddress(ctx, user.AddressDeleteInput{AddressID: want.GlobalID()})
		code(t, "twice", err, fault.NotFound)
	})
}

func TestAddressesThatAreWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	good := user.AddressCreateInput{Name: "Ada", Line1: "Main St 1", City: "Berlin", Country: "DE"}
	made, err := w.CreateAddress(as(t, ada), good)
	must(t, err)
	long := func(n int) *string { return new(strings.Repeat("ä", n)) }
	texts := func(least, most int) string {
		return fmt.Sprintf("this must have %d to %d characters, none of them a control character", least, most)
	}
	const phone, country = "this is not a valid telephone number; begin with + and the country code", "this must be an ISO 3166-1 country code like DE"
	invalid := func(pairs ...string) (all []fault.Problem) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, fault.Problem{Code: fault.ProblemInvalid, Field: []string{pairs[i]}, Message: pairs[i+1]})
		}
		return all
	}
	everyField := invalid("name", texts(1, 200), "company", texts(0, 200), "line1", texts(1, 200), "line2", texts(0, 200), "city", texts(1, 100),
		"region", texts(0, 100), "postalCode", texts(0, 20), "country", country, "phone", phone)
	w.unchanged(t, "wrong input", func() {
		for name, tc := range map[string]struct {
			in   user.AddressCreateInput
			want []fault.Problem
		}{
			"empty": {user.AddressCreateInput{}, invalid("name", texts(1, 200), "line1", texts(1, 200), "city", texts(1, 100), "country", country)},
			"too long": {user.AddressCreateInput{Name: *long(201), Company: long(201), Line1: *long(201), Line2: long(201), City: *long(101), Region: long(101),
				PostalCode: long(21), Country: "DEU", Phone: long(20)}, everyField},
			"control characters":     {user.AddressCreateInput{Name: "A\x00", Line1: "B\n", City: "C", Country: "DE"}, invalid("name", texts(1, 200))},
			"small letters":          {user.AddressCreateInput{Name: "A", Line1: "B", City: "C", Country: "de"}, invalid("country", country)},
			"a number from nowhere":  {user.AddressCreateInput{Name: "A", Line1: "B", City: "C", Country: "DE", Phone: new("12")}, invalid("phone", phone)},
			"another country's form": {user.AddressCreateInput{Name: "A", Line1: "B", City: "C", Country: "US", Phone: new("030 901820")}, invalid("phone", phone)},
		} {
			p, err := w.CreateAddress(as(t, ada), tc.in)
			must(t, err)
			equal(t, name, p, &user.AddressPayload{UserErrors: tc.want})
		}
		some := func(v *string) graphql.Omittable[*string] { return graphql.OmittableOf(v) }
		for name, tc := range map[string]struct {
			in   user.AddressFields
			want []fault.Problem
		}{
			"cleared": {user.AddressFields{Name: cleared(), Line1: cleared(), City: set(" "), Country: cleared(), Region: set("Berlin")},
				invalid("name", texts(1, 200), "line1", texts(1, 200), "city", texts(1, 100), "country", country)},
			"too long": {user.AddressFields{Name: some(long(201)), Company: some(long(201)), Line1: some(long(201)), Line2: some(long(201)), City: some(long(101)),
				Region: some(long(101)), PostalCode: some(long(21)), Country: set("D"), Phone: some(long(20))}, everyField},
		} {
			p, err := w.UpdateAddress(as(t, ada), user.AddressUpdateInput{AddressID: made.Address.GlobalID(), AddressFields: tc.in})
			must(t, err)
			equal(t, name, p, &user.AddressPayload{UserErrors: tc.want})
		}
	})
	good.Name, good.PostalCode = *long(200), long(20)
	p, err := w.CreateAddress(as(t, ada), good)
	must(t, err)
	equal(t, "just short enough", p.UserErrors, nil)
}

// What is Ada's is for Bob, and for staff, as if it were not there; and nothing is written.
func TestAddressesOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	_, bob := w.signedUp(t, "bob@example.com")
	admin := &user.Account{User: user.User{Roles: []auth.Role{auth.RoleAdmin}}}
	w.load(t, admin)
	made, err := w.CreateAddress(as(t, ada), user.AddressCreateInput{Name: "Ada", Line1: "Main St 1", City: "Berlin", Country: "DE"})
	must(t, err)
	adas := made.Address.Key()

	for who, actor := range map[string]auth.Actor{"bob": bob, "admin": {ID: admin.ID, Roles: auth.Roles(auth.RoleAdmin)}} {
		unknown := id.Owned(id.Address, id.Key{Owner: actor.ID, ID: id.New()})
		want := map[string]error{}
		for name, verb := range ownVerbs(w, unknown) {
			if name != "profile" && name != "create" {
				want[name] = verb(as(t, actor))
			}
		}
		equal(t, "verbs", len(want), 3)
		w.unchanged(t, who, func() {
			for what, address := range map[string]id.ID{
				"Ada's": id.Owned(id.Address, adas), "Ada's under another owner": id.Owned(id.Address, id.Key{Owner: actor.ID, ID: adas.ID}),
				"nobody's": id.Owned(id.Address, id.Key{Owner: id.New(), ID: id.New()}), "an order": id.Owned(id.Order, adas), "a user": id.Of(id.User, actor.ID),
			} {
				for name, err := range want {
					code(t, name, err, fault.NotFound)
					equal(t, fmt.Sprintf("%s: %s of %s", who, name, what), ownVerbs(w, address)[name](as(t, actor)), err)
				}
			}
		})
	}
}

func TestAddressBookIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, bob := &user.Account{}, &user.Account{}
	for i := range 95 {
		ada.AddressBook = append(ada.AddressBook, newAddress(fmt.Sprint(i)))
	}
	w.load(t, ada, bob)
	create := func(owner uuid.UUID) string {
		p, err := w.CreateAddress(as(t, auth.Actor{ID: owner}), user.AddressCreateInput{Name: "A", Line1: "B", City: "C", Country: "DE"})
		switch {
		case err != nil:
			return err.Error()
		case p.Address != nil:
			return "created"
		}
		return fmt.Sprint(p.UserErrors)
	}
	got := w.atOnce(t, 20, func(int) string { return create(ada.ID) })
	equal(t, "outcomes", got, map[string]int{"created": 5, "[{TOO_MANY [] an address book has at most 100 addresses}]": 15})
	equal(t, "addresses", query[int](t, w, "SELECT count(*) FROM users.addresses"), []int{100})
	equal(t, "audit", len(w.audit(t)), 5)
	equal(t, "Bob's", create(bob.ID), "created")
	w.unchanged(t, "full", func() { create(ada.ID) })

	_, err := w.DeleteAddress(as(t, auth.Actor{ID: ada.ID}), user.AddressDeleteInput{AddressID: id.Owned(id.Address, id.Key{Owner: ada.ID, ID: ada.AddressBook[0].ID})})
	must(t, err)
	equal(t, "there is room again", create(ada.ID), "created")
}

// Details are sealed as a whole; changes of several fields at once do not undo each other.
func TestChangesAtOnceAreAllKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := newAddress("Ada")
	ada := &user.Account{AddressBook: []user.Address{address}}
	w.load(t, ada)
	ctx, key := as(t, auth.Actor{ID: ada.ID}), id.Owned(id.Address, id.Key{Owner: ada.ID, ID: address.ID})
	changes := []user.AddressFields{{Name: set("a")}, {Company: set("b")}, {Line1: set("c")}, {Line2: cleared()}, {City: set("e")}, {Region: set("f")},
		{PostalCode: set("g")}, {Country: set("AT")}}
	profile := []user.ProfileUpdateInput{{Name: set("Ada")}, {Phone: set("+4930901822")}, {Phone: set("+4930901823")}}
	equal(t, "outcomes", together(len(changes)+len(profile), func(i int) string {
		if i < len(changes) {
			p, err := w.UpdateAddress(ctx, user.AddressUpdateInput{AddressID: key, AddressFields: changes[i]})
			return fmt.Sprint(err, p.UserErrors)
		}
		p, err := w.UpdateProfile(ctx, profile[i-len(changes)])
		return fmt.Sprint(err, p.UserErrors)
	}), map[string]int{"<nil> []": len(changes) + len(profile)})
	equal(t, "address", *w.book(t, auth.Actor{ID: ada.ID})[0], user.Address{Owner: ada.ID, ID: address.ID, Country: "AT", Postal: user.Postal{Name: "a",
		Company: new("b"), Line1: "c", City: "e", Region: new("f"), PostalCode: new("g"), Phone: address.Phone}})
	u := w.viewed(t, auth.Actor{ID: ada.ID})
	equal(t, "name", *u.Name, "Ada")
	found, err := w.List(as(t, staff(auth.RoleSupport)), user.Filter{Phone: u.Phone}, newest, page.Args{First: new(2)})
	must(t, err)
	equal(t, "found by the number that is there", len(found.Edges), 1)
	equal(t, "phone index", query[int](t, w, "SELECT count(*) FROM users.phone_index"), []int{1})
	equal(t, "audit", len(w.audit(t)), len(changes)+len(profile))
}

// An address that is deleted while it becomes the default is not the default of anybody.
func TestDeleteWhileSettingDefault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := &user.Account{}
	for i := range 12 {
		ada.AddressBook = append(ada.AddressBook, newAddress(fmt.Sprint(i)))
	}
	w.load(t, ada)
	ctx := as(t, auth.Actor{ID: ada.ID})
	results := together(24, func(i int) string {
		key := id.Owned(id.Address, id.Key{Owner: ada.ID, ID: ada.AddressBook[i/2].ID})
		var err error
		if i%2 == 0 {
			_, err = w.SetDefaultAddress(ctx, user.AddressSetDefaultInput{AddressID: key, Purpose: user.PurposeShipping})
		} else {
			_, err = w.DeleteAddress(ctx, user.AddressDeleteInput{AddressID: key})
		}
		if err == nil || fault.Is(err, fault.NotFound) {
			return "fine"
		}
		return err.Error()
	})
	equal(t, "outcomes", results, map[string]int{"fine": 24})
	equal(t, "addresses", len(w.book(t, auth.Actor{ID: ada.ID})), 0)
	equal(t, "default", w.viewed(t, auth.Actor{ID: ada.ID}).DefaultShippingAddressID, nil)
}

// What the verbs have sealed is sealed anew by a rotation, and reads the same afterwards.
func TestRotationCoversWhatIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ada := w.signedUp(t, "ada@example.com")
	made, err := w.CreateAddress(as(t, ada), user.AddressCreateInput{Name: "Ada", Line1: "Main St 1", City: "Berlin", Country: "DE"})
	must(t, err)
	for _, verb := range []string{"profile", "create", "update"} {
		must(t, ownVerbs(w, made.Address.GlobalID())[verb](as(t, ada)))
	}
	_, err = w.RequestEmailChange(as(t, ada), user.EmailChangeRequestInput{NewEmail: "new@example.com", Password: goodPassword})
	must(t, err)
	before, book := w.viewed(t, ada), w.book(t, ada)
	w.rotated(t)
	_, err = w.UpdateProfile(as(t, ada), user.ProfileUpdateInput{Name: set("New"), Phone: set("+4930901899")}) // the same
	must(t, err)
	n, err := w.Reseal(t.Context(), nil)
	must(t, err)
	equal(t, "rows", n, 4)
	equal(t, "keys", under(t, w), map[uint32]int{w.cfg.Sealer.PrimaryKeyID(): 6})
	w.keys, err = w.keys.Prune()
	must(t, err)
	w.cfg.Sealer = sealer(t, w.keys)
	w.Service = user.New(w.cfg)
	equal(t, "account", w.viewed(t, ada), before)
	equal(t, "book", w.book(t, ada), book)
	// Every column that holds bytes is sealed, and so rotated, or else a hash.
	equal(t, "columns", query[string](t, w, `SELECT table_name || '.' || column_name FROM information_schema.columns
		WHERE table_schema = 'users' AND data_type = 'bytea' ORDER BY 1`), []string{"addresses.details", "api_keys.hash",
		"email_changes.email", "email_index.email_index", "phone_index.phone_index", "refresh_tokens.token_hash", "river_job.unique_key", "tokens.hash",
		"users.email", "users.name", "users.phone"})
}
