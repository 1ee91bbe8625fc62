package user_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"emporium/internal/auth"
	"emporium/internal/fault"
	"emporium/internal/id"
	"emporium/internal/page"
	"emporium/internal/user"
)

// Roles and owners against every verb that reads.
func TestReadsShowWhatIsTheViewers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, bob := id.New(), id.New()
	adas, bobs := newAddress("Ada"), newAddress("Bob")
	w.load(t,
		&user.Account{User: user.User{ID: ada, Email: new("ada@example.com")}, AddressBook: []user.Address{adas}},
		&user.Account{User: user.User{ID: bob, Email: new("bob@example.com")}, AddressBook: []user.Address{bobs}},
	)
	both := []uuid.UUID{ada, bob, id.New(), ada}
	keys := []id.Key{{Owner: ada, ID: adas.ID}, {Owner: bob, ID: bobs.ID}, {Owner: ada, ID: bobs.ID}, {Owner: id.New(), ID: adas.ID}}

	for name, tc := range map[string]struct {
		viewer auth.Actor
		sees   []uuid.UUID
		denied fault.Code // by the verbs of staff
	}{
		"anonymous":        {auth.Actor{}, nil, fault.Unauthenticated},
		"roles of nobody":  {auth.Actor{Roles: auth.Roles(auth.RoleAdmin)}, nil, fault.Unauthenticated},
		"ada":              {auth.Actor{ID: ada, Roles: auth.Roles(auth.RoleCustomer)}, []uuid.UUID{ada}, fault.Forbidden},
		"bob, no role":     {auth.Actor{ID: bob}, []uuid.UUID{bob}, fault.Forbidden},
		"another customer": {staff(auth.RoleCustomer), nil, fault.Forbidden},
		"service":          {staff(auth.RoleService), nil, fault.Forbidden},
		"support":          {staff(auth.RoleSupport), []uuid.UUID{ada, bob}, ""},
		"manager":          {staff(auth.RoleManager), []uuid.UUID{ada, bob}, ""},
		"admin":            {staff(auth.RoleAdmin), []uuid.UUID{ada, bob}, ""},
	} {
		ctx := as(t, tc.viewer)
		users, err := w.ByIDs(ctx, both)
		must(t, err)
		equal(t, name+": ByIDs", owners(users, func(u *user.User) uuid.UUID { return u.ID }), tc.sees)
		book, err := w.AddressesOf(ctx, both)
		must(t, err)
		equal(t, name+": AddressesOf", owners(book, func(a *user.Address) uuid.UUID { return a.Owner }), tc.sees)
		single, err := w.Addresses(ctx, keys)
		must(t, err)
		equal(t, name+": Addresses", owners(single, func(a *user.Address) uuid.UUID { return a.Owner }), tc.sees)

		var found []string
		one, err1 := w.ByEmail(ctx, "ADA@example.com")
		if one != nil {
			found = append(found, *one.Email)
		}
		list, err2 := w.List(ctx, user.Filter{}, newest, page.Args{First: new(10)})
		if list != nil {
			found = append(found, fmt.Sprint(len(list.Edges)))
		}
		n, err3 := w.Count(ctx, user.Filter{})
		if n != 0 {
			found = append(found, fmt.Sprint(n))
		}
		if tc.denied == "" {
			equal(t, name+": verbs of staff", found, []string{"ada@example.com", "2", "2"})
		} else {
			equal(t, name+": verbs of staff", found, nil)
		}
		for _, err := range []error{err1, err2, err3} {
			if tc.denied != "" || err != nil {
				code(t, name, err, tc.denied)
			}
		}
	}
}

func owners[T any](all []T, of func(T) uuid.UUID) []uuid.UUID {
	var found []uuid.UUID
	for _, one := range all {
		found = append(found, of(one))
	}
	slices.SortFunc(found, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return found
}

func newAddress(name string) user.Address {
	return user.Address{ID: id.New(), Country: "DE", Postal: user.Postal{
		Name: name, Company: new("Analytical Engines"), Line1: "Unter den Linden 77", Line2: new("Hinterhaus"),
		City: "Berlin", Region: new("Brandenburg"), PostalCode: new("10117"), Phone: new("+4930901820"),
	}}
}

var newest = user.Sort{Field: user.SortCreatedAt, Direction: page.Descending}

func TestReadsReturnWhatWasWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := newAddress("Ada"), newAddress("Ada at work")
	second.Postal = user.Postal{Name: "Ada at work", Line1: "1 Main St", City: "Springfield"}
	second.Country = "US"
	created := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	ada := &user.Account{
		User: user.User{ID: id.At(created, uuid.New()), Status: user.StatusDeactivated, Roles: []auth.Role{auth.RoleManager, auth.RoleAdmin},
			Name: new("Ada Lovelace"), Email: new("Ada@Example.com"), Phone: new("030 901820"),
			DefaultShippingAddressID: &second.ID, DefaultBillingAddressID: &first.ID, CreatedAt: created},
		AddressBook: []user.Address{second, first},
	}
	guest := &user.Account{User: user.User{ID: id.New(), Guest: true, CreatedAt: created}}
	w.load(t, ada, guest)

	ctx := as(t, staff(auth.RoleSupport))
	users, err := w.ByIDs(ctx, []uuid.UUID{ada.ID})
	must(t, err)
	want := ada.User
	want.Email, want.Phone = new("ada@example.com"), new("+4930901820")
	equal(t, "account", users, []*user.User{&want})
	users, err = w.ByIDs(ctx, []uuid.UUID{guest.ID})
	must(t, err)
	equal(t, "guest", users, []*user.User{{ID: guest.ID, Guest: true, Status: user.StatusActive, Roles: []auth.Role{auth.RoleCustomer}, CreatedAt: created}})

	book, err := w.AddressesOf(ctx, []uuid.UUID{ada.ID, guest.ID})
	must(t, err)
	first.Owner, second.Owner = ada.ID, ada.ID
	equal(t, "address book, oldest first", book, []*user.Address{&first, &second})
	one, err := w.ByEmail(ctx, " ada@EXAMPLE.com")
	must(t, err)
	equal(t, "by e-mail", one, &want)
	one, err = w.ByEmail(ctx, "bob@example.com")
	must(t, err)
	equal(t, "by an unknown e-mail", one, nil)
	_, err = w.ByEmail(ctx, "bob")
	code(t, "by what is no e-mail", err, fault.BadUserInput)

	for what, none := range map[string]func() (int, error){
		"ByIDs":       func() (int, error) { all, err := w.ByIDs(ctx, nil); return len(all), err },
		"AddressesOf": func() (int, error) { all, err := w.AddressesOf(ctx, nil); return len(all), err },
		"Addresses":   func() (int, error) { all, err := w.Addresses(ctx, nil); return len(all), err },
	} {
		n, err := none()
		must(t, err)
		equal(t, what+" of nothing", n, 0)
	}
}

func TestListIsFilteredAndPaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	day := func(n int) time.Time { return time.Date(2026, 5, n, 0, 0, 0, 0, time.UTC) }
	var ids []uuid.UUID
	var accounts []*user.Account
	for i := range 7 {
		u := user.User{ID: id.At(day(i+1), uuid.New()), Email: new(fmt.Sprintf("u%d@example.com", i)), CreatedAt: day(i + 1)}
		switch i {
		case 1:
			u.Status = user.StatusDeactivated
		case 2:
			u.Roles = []auth.Role{auth.RoleCustomer, auth.RoleSupport}
		case 3, 4:
			u.Phone = new("+4930901820")
		case 5:
			u.Guest = true
		}
		ids, accounts = append(ids, u.ID), append(accounts, &user.Account{User: u})
	}
	w.load(t, accounts...)
	ctx := as(t, staff(auth.RoleSupport))
	pick := func(n ...int) []uuid.UUID {
		picked := []uuid.UUID{}
		for _, i := range n {
			picked = append(picked, ids[i])
		}
		return picked
	}
	nodes := func(c *user.Connection) []uuid.UUID {
		found := []uuid.UUID{}
		for _, u := range c.Nodes() {
			found = append(found, u.ID)
		}
		return found
	}

	for name, tc := range map[string]struct {
		filter user.Filter
		want   []uuid.UUID
	}{
		"all":            {user.Filter{}, pick(6, 5, 4, 3, 2, 1, 0)},
		"e-mail":         {user.Filter{Email: new("U3@example.com")}, pick(3)},
		"guest's e-mail": {user.Filter{Email: new("u5@example.com")}, pick()},
		"no such e-mail": {user.Filter{Email: new("x@example.com")}, pick()},
		"phone":          {user.Filter{Phone: new("+49 30 901820")}, pick(4, 3)},
		"phone at home":  {user.Filter{Phone: new("030 901820")}, pick(4, 3)},
		"role":           {user.Filter{Role: new(auth.RoleSupport)}, pick(2)},
		"status":         {user.Filter{Status: new(user.StatusDeactivated)}, pick(1)},
		"from":           {user.Filter{CreatedAt: &page.TimeRange{From: new(day(6))}}, pick(6, 5)},
		"until":          {user.Filter{CreatedAt: &page.TimeRange{Until: new(day(2))}}, pick(0)},
		"span":           {user.Filter{CreatedAt: &page.TimeRange{From: new(day(2)), Until: new(day(4))}}, pick(2, 1)},
		"owners":         {user.Filter{Owners: pick(0, 4), OrderNumber: new("EM-1")}, pick(4, 0)},
		"no owners":      {user.Filter{Owners: pick()}, pick()},
		"number alone":   {user.Filter{OrderNumber: new("EM-1")}, pick(6, 5, 4, 3, 2, 1, 0)},
		"all together": {user.Filter{Phone: new("+4930901820"), Status: new(user.StatusActive), Role: new(auth.RoleCustomer),
			Owners: pick(0, 3, 4), Email: new("u4@example.com"), CreatedAt: &page.TimeRange{From: new(day(1))}}, pick(4)},
	} {
		var c *user.Connection
		var n int
		got := statements(ctx, func(ctx context.Context) {
			var err error
			c, err = w.List(ctx, tc.filter, newest, page.Args{First: new(100)})
			must(t, err)
			n, err = w.Count(ctx, c.Filter)
			must(t, err)
		})
		equal(t, name, nodes(c), tc.want)
		equal(t, name+": count", n, len(tc.want))
		equal(t, name+": statements", got, []string{"users.list", "users.count"})
	}

	// Pages forth and back, in both directions.
	for _, direction := range []page.Direction{page.Ascending, page.Descending} {
		sort := user.Sort{Field: user.SortCreatedAt, Direction: direction}
		want := pick(0, 1, 2, 3, 4, 5, 6)
		if direction == page.Descending {
			slices.Reverse(want)
		}
		var forth, back []uuid.UUID
		args := page.Args{First: new(3)}
		for {
			c, err := w.List(ctx, user.Filter{}, sort, args)
			must(t, err)
			forth = append(forth, nodes(c)...)
			if !c.PageInfo.HasNextPage {
				break
			}
			args.After = c.PageInfo.EndCursor()
		}
		equal(t, "forth "+string(direction), forth, want)
		args = page.Args{Last: new(3)}
		for {
			c, err := w.List(ctx, user.Filter{}, sort, args)
			must(t, err)
			back = append(nodes(c), back...)
			if !c.PageInfo.HasPreviousPage {
				break
			}
			args.Before = c.PageInfo.StartCursor()
		}
		equal(t, "back "+string(direction), back, want)
	}

	c, err := w.List(ctx, user.Filter{}, newest, page.Args{First: new(1)})
	must(t, err)
	for name, do := range map[string]func() error{
		"e-mail": func() error { _, err := w.Count(ctx, user.Filter{Email: new("u3")}); return err },
		"phone":  func() error { _, err := w.Count(ctx, user.Filter{Phone: new("1")}); return err },
		"page":   func() error { _, err := w.List(ctx, user.Filter{}, newest, page.Args{First: new(101)}); return err },
		"field":  func() error { _, err := w.List(ctx, user.Filter{}, user.Sort{}, page.Args{First: new(1)}); return err },
		"cursor of another order": func() error {
			_, err := w.List(ctx, user.Filter{}, user.Sort{Field: user.SortCreatedAt, Direction: page.Ascending},
				page.Args{First: new(1), After: c.PageInfo.EndCursor()})
			return err
		},
		"forged cursor": func() error {
			_, err := w.List(ctx, user.Filter{}, newest, page.Args{First: new(1), After: new(page.Cursor("CREATED_AT DESC", "x"))})
			return err
		},
	} {
		code(t, name, do(), fault.BadUserInput)
	}
}

// One statement however many rows.
func TestBatchesAreOneStatement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ids []uuid.UUID
	var keys []id.Key
	var accounts []*user.Account
	for range 50 {
		a := &user.Account{User: user.User{ID: id.New()}, AddressBook: []user.Address{newAddress("Ada"), newAddress("Bob")}}
		ids, accounts = append(ids, a.ID), append(accounts, a)
		for _, address := range a.AddressBook {
			keys = append(keys, id.Key{Owner: a.ID, ID: address.ID})
		}
	}
	w.load(t, accounts...)
	for _, n := range []int{1, 50} {
		got := statements(as(t, staff(auth.RoleSupport)), func(ctx context.Context) {
			users, err := w.ByIDs(ctx, ids[:n])
			must(t, err)
			book, err := w.AddressesOf(ctx, ids[:n])
			must(t, err)
			single, err := w.Addresses(ctx, keys[:2*n])
			must(t, err)
			equal(t, "rows", []int{len(users), len(book), len(single)}, []int{n, 2 * n, 2 * n})
		})
		equal(t, "statements", got, []string{"users.by_id", "users.addresses_by_owner", "users.addresses_by_key"})
	}
}
