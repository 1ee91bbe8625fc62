package seed

import (
	"sync/atomic"
	"testing"
	"time"

	"emporium/internal/auth"
	"emporium/internal/money"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/postgres"
	"emporium/internal/postgres/pgtest"
	"emporium/internal/product"
	"emporium/internal/seal"
	"emporium/internal/user"
)

// world is an empty shop on databases of its own.
type world struct {
	Services
	dbs *pgtest.Databases
}

func newWorld(t testing.TB, c money.Currency) *world {
	t.Helper()
	w := &world{dbs: pgtest.New(t)}
	sealer, err := seal.NewSealer(seal.New())
	must(t, err)
	hasher, err := auth.NewHasher(auth.HasherConfig{Params: auth.Params{Memory: 8, Passes: 1, Lanes: 1}})
	must(t, err)
	throttle, err := auth.NewThrottle(auth.ThrottleConfig{Limits: map[string]auth.Limit{
		auth.ThrottleAccount: {Burst: 100, Every: time.Hour}, auth.ThrottleAddress: {Burst: 100, Every: time.Hour},
	}})
	must(t, err)
	var ring atomic.Pointer[auth.Keyring]
	ring.Store(auth.NewKeyring())
	w.Services = Services{
		Users: user.New(user.Config{DB: w.dbs.Users, Sealer: sealer, Hasher: hasher, Throttle: throttle,
			Issuer: auth.NewIssuer("emporium", "emporium", &ring)}),
		Products:  product.New(w.dbs.Products, c),
		Orders:    order.New(w.dbs.Orders, sealer, c),
		Payments:  payment.New(w.dbs.Payments, sealer, c),
		Hasher:    hasher,
		Currency:  c,
		Databases: []*postgres.DB{w.dbs.Users, w.dbs.Products, w.dbs.Orders, w.dbs.Payments},
	}
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
