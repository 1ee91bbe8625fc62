// Package app puts Emporium together: New makes it, Run serves until its context ends, Close frees what New took. The
// program and every end-to-end test go through it.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"emporium/graph"
	"emporium/graph/loader"
	"emporium/internal/auth"
	"emporium/internal/cache"
	"emporium/internal/cache/cdn"
	"emporium/internal/cache/remote"
	"emporium/internal/config"
	"emporium/internal/devstack"
	"emporium/internal/httpserver"
	"emporium/internal/httpserver/playground"
	"emporium/internal/id"
	"emporium/internal/jobs"
	"emporium/internal/mail"
	"emporium/internal/order"
	"emporium/internal/payment"
	"emporium/internal/payment/webhook"
	"emporium/internal/postgres"
	"emporium/internal/product"
	"emporium/internal/seed"
	"emporium/internal/telemetry"
	"emporium/internal/usage"
	"emporium/internal/user"
	"emporium/migrations"
)

// endpoint is the path of the GraphQL endpoint.
const endpoint = "/graphql"

// App is a running Emporium, or one about to run.
type App struct {
	cfg     config.Config
	log     *slog.Logger
	metrics *telemetry.Metrics
	secrets *secrets
	stack   *devstack.Stack // the private servers; nil if others were given
	dbs     databases
	redis   *redisClient
	hasher  *auth.Hasher

	services   loader.Services
	pay        providers
	serving    bool          // not a command that works beside a server
	mailbox    *user.Mailbox // nil where mails are sent, or not even kept
	queues     jobs.Queues
	streams    *graph.Streams
	usage      *usage.Counter
	cache      *cache.Cache  // nil: no answers are kept
	documents  *remote.Store // nil: each process knows its own
	cacheRedis *redisClient  // nil without a cache
	purger     *cdn.Purger   // nil: no cache in front of the server is told of changes
	handler    http.Handler
	http       net.Listener
	admin      net.Listener
	ready      atomic.Bool // migrated, and not draining
}

// New makes the app of a configuration. Without a database of its own it starts the private servers, migrates them and
// loads the demo shop once; progress is told to say, for a person. With a database it does not wait for it: Run migrates
// as soon as it is there.
func New(ctx context.Context, cfg config.Config, log *slog.Logger, say func(format string, args ...any)) (a *App, err error) {
	a = &App{cfg: cfg, log: log, metrics: telemetry.NewMetrics(), serving: true}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if cfg.Private() {
		stack, err := devstack.Start(ctx, devstack.Options{Dir: cfg.Dir, Log: say, Install: true})
		if err != nil {
			return a, err
		}
		a.use(stack)
	}
	if err := a.open(ctx); err != nil {
		return a, err
	}
	if cfg.Private() {
		if err := a.Migrate(ctx); err != nil {
			return a, err
		}
		if err := seed.Demo(ctx, a.seedServices(), nil); errors.Is(err, seed.ErrOtherData) {
			say("the demo shop is not loaded: %v", err)
		} else if err != nil {
			return a, err
		}
	}
	if a.handler, err = a.routes(); err != nil {
		return a, err
	}
	return a, nil
}

// Open makes only what commands need that serve nothing: databases, keys and services.
func Open(ctx context.Context, cfg config.Config, log *slog.Logger, say func(format string, args ...any)) (*App, error) {
	a := &App{cfg: cfg, log: log, metrics: telemetry.NewMetrics()}
	if cfg.Private() {
		// The server may be running on the private servers; a command then works beside it.
		stack, err := devstack.Start(ctx, devstack.Options{Dir: cfg.Dir, Log: say, Install: true})
		if errors.Is(err, devstack.ErrRunning) {
			stack, err = devstack.Attach(ctx, cfg.Dir)
		}
		if err != nil {
			return nil, err
		}
		a.use(stack)
	}
	if err := a.open(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// use makes the private servers the ones of the configuration.
func (a *App) use(stack *devstack.Stack) {
	a.stack = stack
	a.cfg.DatabaseURL = config.Secret(stack.DatabaseURL)
	if a.cfg.RedisURL == "" {
		a.cfg.RedisURL = config.Secret(stack.RedisURL)
	}
}

func (a *App) open(ctx context.Context) error {
	var err error
	if a.secrets, err = openSecrets(a.cfg, a.stack != nil, a.log); err != nil {
		return err
	}
	if a.redis, err = openRedis(string(a.cfg.RedisURL), throttleConns); err != nil {
		return err
	}
	if a.dbs, err = openDatabases(ctx, a.cfg, a.metrics); err != nil {
		return err
	}
	if err := a.openCache(); err != nil {
		return err
	}
	if err := a.openQueues(ctx); err != nil {
		return err
	}
	if a.pay, err = a.openProviders(ctx); err != nil {
		return err
	}
	return a.compose()
}

// openQueues makes the queue of each domain, in its database.
func (a *App) openQueues(ctx context.Context) error {
	a.queues = jobs.Queues{}
	urls := a.cfg.DirectURLs()
	for domain, db := range map[jobs.Domain]*postgres.DB{
		jobs.Users: a.dbs.users, jobs.Products: a.dbs.products, jobs.Orders: a.dbs.orders, jobs.Payments: a.dbs.payments,
	} {
		schema := strings.ToLower(string(domain))
		q, err := jobs.Open(ctx, db, urls[schema], schema, jobs.Options{Log: a.log, Observe: a.metrics.Job})
		if err != nil {
			return err
		}
		a.queues[domain] = q
	}
	return nil
}

// compose makes the services.
func (a *App) compose() error {
	hasher, err := auth.NewHasher(auth.HasherConfig{})
	if err != nil {
		return err
	}
	a.hasher = hasher
	throttle, err := auth.NewThrottle(auth.ThrottleConfig{
		Redis: a.redis.client, Secret: a.secrets.sealer.Index("throttle", "secret"), Log: a.log})
	if err != nil {
		return err
	}
	mailer, err := a.openMail()
	if err != nil {
		return err
	}
	// Orders ask users, and users tell orders whose account was deleted.
	var orders *order.Service
	var trace user.Trace
	if a.cache != nil && a.cfg.Cache == "on" {
		trace = a.cache.Trace
	}
	a.services = loader.Services{
		Users: user.New(user.Config{DB: a.dbs.users, Sealer: a.secrets.sealer, Hasher: hasher, Throttle: throttle, Log: a.log,
			Jobs: a.queues[jobs.Users], Mailer: mailer, Trace: trace,
			Forget:         func(ctx context.Context, owner uuid.UUID) error { return orders.ForgetOwner(ctx, owner) },
			Issuer:         auth.NewIssuer(a.cfg.TokenIssuer, a.cfg.TokenAudience, &a.secrets.signing),
			UsageRetention: a.cfg.UsageRetention, AccessTTL: a.cfg.AccessTokenTTL, SessionTTL: a.cfg.SessionTTL, PhoneRegion: a.cfg.PhoneRegion}),
		Products: product.New(a.dbs.products, a.cfg.Currency),
	}
	for _, q := range a.queues {
		q.AuditTo(a.services.Users.WriteAudit)
	}
	a.services.Products.RunJobs(a.queues[jobs.Products], a.log)
	// Orders ask payments, and payments tell orders what has become of the money.
	a.services.Payments = payment.New(payment.Config{DB: a.dbs.payments, Sealer: a.secrets.sealer, Currency: a.cfg.Currency,
		Jobs: a.queues[jobs.Payments], Log: a.log, Providers: a.pay.all, Default: a.pay.main, At: a.at,
		Tell: func(ctx context.Context, key id.Key, f order.PaymentFacts) error {
			return orders.PaymentsChanged(ctx, key, f)
		},
		Placed: func(ctx context.Context, key id.Key) (bool, error) { return orders.WasPlaced(ctx, key) },
		LineAmounts: func(ctx context.Context, key id.Key, lines, before []payment.LineQuantity) (int64, error) {
			return orders.AmountOf(ctx, key, quantities(lines), quantities(before))
		}})
	orders = order.New(order.Config{DB: a.dbs.orders, Sealer: a.secrets.sealer, Currency: a.cfg.Currency,
		Products: a.services.Products, Users: a.services.Users, TaxIncluded: a.cfg.TaxIncluded, Payments: a.services.Payments,
		Jobs: a.queues[jobs.Orders], Notify: notify(mailer), Log: a.log, At: a.at})
	a.services.Orders = orders
	return nil
}

func quantities(of []payment.LineQuantity) []order.LineQuantity {
	lines := make([]order.LineQuantity, len(of))
	for i, l := range of {
		lines[i] = order.LineQuantity(l)
	}
	return lines
}

// notify tells customers about their orders by mail.
func notify(mailer mail.Mailer) func(ctx context.Context, o *order.Order, n order.Notice) error {
	templates := map[order.Notice]mail.Template{order.NoticePlaced: mail.OrderPlaced, order.NoticePaymentFailed: mail.OrderPaymentFailed,
		order.NoticeShipped: mail.OrderShipped, order.NoticeCanceled: mail.OrderCanceled}
	return func(ctx context.Context, o *order.Order, n order.Notice) error {
		data := mail.OrderNews{Number: o.Number, Total: o.Total().String()}
		if o.ShippingAddress != nil {
			data.Name = o.ShippingAddress.Name
		}
		if o.Failure != nil {
			data.Reason = *o.Failure
		}
		err := mailer.Send(ctx, mail.Message{Template: templates[n], To: *o.Email, Data: data})
		if errors.Is(err, mail.ErrRefused) {
			return jobs.Never(err)
		}
		return err
	}
}

// at is told of the steps of orders and payments, for tests that kill the process there.
func (a *App) at(point string) {
	if killAt != nil {
		killAt(point)
	}
}

// openMail returns what sends mails: a mail server, or the mailbox of the private servers, or nothing.
func (a *App) openMail() (mail.Mailer, error) {
	writer, err := mail.NewWriter(a.cfg.MailFrom, a.cfg.PublicURL)
	if err != nil {
		return nil, err
	}
	switch {
	case a.cfg.SMTPURL != "":
		return mail.NewSMTP(string(a.cfg.SMTPURL), writer, nil)
	case a.stack != nil:
		a.mailbox = user.NewMailbox(a.dbs.users, writer)
		return a.mailbox, nil
	default:
		unsent := &mail.Unsent{Log: a.log}
		a.metrics.UnsentMails(unsent.Count)
		return unsent, nil
	}
}

// routes puts the public handler together.
func (a *App) routes() (http.Handler, error) {
	verifier, err := auth.NewVerifier(auth.VerifierConfig{
		Issuer: a.cfg.TokenIssuer, Audience: a.cfg.TokenAudience, External: a.cfg.OIDCIssuers}, &a.secrets.signing)
	if err != nil {
		return nil, fmt.Errorf("OIDC_ISSUERS: %w", err)
	}
	points, err := a.points()
	if err != nil {
		return nil, err
	}
	trust, err := a.trust()
	if err != nil {
		return nil, err
	}
	a.streams, a.usage = graph.NewStreams(), usage.NewCounter()
	api, err := graph.NewHandler(graph.Options{
		Services: a.services, Streams: a.streams, Queues: a.queues, Verifier: verifier, Metrics: a.metrics, Timeout: a.cfg.OperationTimeout,
		Introspection: graph.Introspection(a.cfg.Introspection), Draft: a.cfg.HTTPProfile == "audit", Limits: graph.Limits(a.cfg.Limits), Points: points, Origins: a.cfg.Origins,
		Cache: a.cache, MaxAge: a.cfg.CacheMaxAge, Purged: a.purger != nil, Trusted: trust, Documents: a.documents, Maker: a.maker(), Usage: a.usage,
		Cookies: graph.CookiePolicy{Path: endpoint, MaxAge: a.cfg.SessionTTL, Secure: a.cfg.CookieSecure},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(endpoint, api)
	mux.Handle(endpoint+"/stream", api)
	mux.Handle(webhook.Pattern, webhook.Handler(a.services.Payments, a.log))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.HandleFunc("GET /.well-known/jwks.json", a.jwks)
	mux.Handle("GET /pictures/", seed.Pictures())
	if a.mailbox != nil {
		mux.Handle("GET /mailbox", a.mailbox)
		mux.Handle("GET /mailbox/{id}", a.mailbox)
	}
	if a.cfg.Playground == "on" {
		mux.Handle("/", playground.Handler(playground.Config{
			Title: "Emporium Playground", Endpoint: endpoint, Tabs: playground.Examples(), Accounts: a.playgroundAccounts()}))
	}
	proxies := make([]netip.Prefix, len(a.cfg.TrustedProxies))
	for i, n := range a.cfg.TrustedProxies {
		proxies[i] = n.Prefix
	}
	return httpserver.Wrap(mux, httpserver.Options{Metrics: a.metrics, TrustedProxies: proxies, Route: route,
		HSTS: a.cfg.TLSCertFile != "" || a.cfg.CookieSecure}), nil
}

// points returns what bounds the cost of operations; nil if nothing does.
func (a *App) points() (*auth.Points, error) {
	limits := map[string]auth.Limit{}
	for kind, n := range map[string]int{auth.ThrottleViewerPoints: a.cfg.Points, auth.ThrottleAddressPoints: a.cfg.AddressPoints} {
		if n > 0 {
			limits[kind] = auth.PerSecond(n)
		}
	}
	if len(limits) == 0 {
		return nil, nil
	}
	// Its own throttle: what happens to it keeps nobody from signing in.
	throttle, err := auth.NewThrottle(auth.ThrottleConfig{
		Redis: a.redis.client, Secret: a.secrets.sealer.Index("throttle", "secret"), Limits: limits, Log: a.log})
	if err != nil {
		return nil, err
	}
	return auth.NewPoints(throttle)
}

// route names a path in metrics.
func route(path string) string {
	switch {
	case path == endpoint, path == endpoint+"/stream", path == "/healthz", path == "/readyz", path == "/.well-known/jwks.json", path == "/":
		return path
	case strings.HasPrefix(path, "/playground/"):
		return "/playground/"
	case strings.HasPrefix(path, "/webhooks/"):
		return "/webhooks/"
	case path == "/mailbox", strings.HasPrefix(path, "/mailbox/"):
		return "/mailbox"
	case strings.HasPrefix(path, "/pictures/"):
		return "/pictures/"
	default:
		return "other"
	}
}

// playgroundAccounts are the demo sign-ins, offered where the demo shop is: with the private servers alone.
func (a *App) playgroundAccounts() []playground.Account {
	if a.stack == nil {
		return nil
	}
	var accounts []playground.Account
	for _, d := range seed.Accounts() {
		accounts = append(accounts, playground.Account{Label: d.Label, Email: d.Email, Password: d.Password})
	}
	return accounts
}

// Handler is the public handler, for tests that need no socket.
func (a *App) Handler() http.Handler { return a.handler }

// Listen takes the addresses of the configuration; Run does so if it was not done.
func (a *App) Listen() error {
	if a.http != nil {
		return nil
	}
	var err error
	if a.http, err = net.Listen("tcp", a.cfg.HTTPAddr); err != nil {
		return fmt.Errorf("HTTP_ADDR: %w", err)
	}
	if a.admin, err = net.Listen("tcp", a.cfg.AdminAddr); err != nil {
		return errors.Join(fmt.Errorf("ADMIN_ADDR: %w", err), a.http.Close())
	}
	return nil
}

// HTTPAddr is the address that the app listens on, once it does.
func (a *App) HTTPAddr() string { return a.http.Addr().String() }

// AdminAddr is the address of the admin listener, once it listens.
func (a *App) AdminAddr() string { return a.admin.Addr().String() }

// Run serves until ctx is done, then drains: /readyz answers 503, running requests finish, everything that it started
// has stopped when it returns. Ready, which may be nil, is called once the app is ready for requests.
func (a *App) Run(ctx context.Context, ready func()) error {
	if err := a.Listen(); err != nil {
		return err
	}
	if err := a.pay.test.announce(ctx, a.http.Addr()); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.pay.test.watch(ctx) })
	group.Go(func() error {
		return httpserver.Serve(ctx, a.http, a.handler, a.cfg.ShutdownGrace, a.cfg.TLSCertFile, a.cfg.TLSKeyFile)
	})
	group.Go(func() error {
		return httpserver.Serve(ctx, a.admin, a.adminHandler(), time.Second, "", "")
	})
	group.Go(func() error {
		a.prepare(ctx)
		if !a.ready.Load() {
			return nil
		}
		for _, q := range a.queues {
			group.Go(func() error { return q.Run(ctx) })
		}
		if a.cache != nil {
			group.Go(func() error { return a.cache.Run(ctx) })
		}
		if a.purger != nil {
			group.Go(func() error { return a.purger.Run(ctx) })
		}
		if a.documents != nil {
			group.Go(func() error { return a.documents.Run(ctx) })
		}
		group.Go(func() error { return a.usage.Run(ctx, a.services.Users.RecordUsage) })
		if ready != nil {
			ready()
		}
		return nil
	})
	group.Go(func() error { return a.watchStack(ctx) })
	group.Go(func() error { return a.secrets.watch(ctx) })
	feeds, endFeeds := context.WithCancel(context.WithoutCancel(ctx)) // streams follow them until they have ended
	group.Go(func() error { return a.services.Orders.RunFeed(feeds) })
	group.Go(func() error { return a.services.Products.RunFeed(feeds) })
	group.Go(func() error {
		defer endFeeds()
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.ShutdownGrace)
		defer cancel()
		a.streams.End(grace)
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		a.ready.Store(false)
		return nil
	})
	a.log.InfoContext(ctx, "serving", "http", a.HTTPAddr(), "admin", a.AdminAddr(), "redis", a.redis.state(),
		"playground", a.cfg.Playground, "introspection", a.cfg.Introspection)
	err := group.Wait()
	// Now that nothing is answered any more, there is nothing more to count.
	if failed := a.usage.Flush(context.WithoutCancel(ctx), a.services.Users.RecordUsage); failed != nil {
		a.log.ErrorContext(ctx, "what clients have used of the schema in the last minute is lost", "error", failed)
	}
	return err
}

// prepare migrates as soon as the databases answer, and makes the app ready.
func (a *App) prepare(ctx context.Context) {
	for {
		err := a.Migrate(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			a.ready.Store(true)
			return
		}
		a.log.ErrorContext(ctx, "not ready: the databases can not be migrated; trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
}

// watchStack ends the app when its private Postgres has ended: nobody else would start it again.
func (a *App) watchStack(ctx context.Context) error {
	if a.stack == nil {
		return nil
	}
	for missed := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
		ping, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := a.dbs.users.Ping(ping)
		cancel()
		if missed++; err == nil {
			missed = 0
		}
		if missed == 3 && ctx.Err() == nil {
			return fmt.Errorf("the private Postgres in %s has ended; see postgres.log there, and start again", a.cfg.Dir)
		}
	}
}

// Migrate applies what is missing of every domain.
func (a *App) Migrate(ctx context.Context) error {
	urls := a.cfg.DirectURLs()
	for _, domain := range config.Domains {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
		steps, err := migrations.Up(ctx, urls[domain], domain)
		cancel()
		if err != nil {
			return err
		}
		for _, s := range steps {
			a.log.InfoContext(ctx, "migrated", "domain", s.Domain, "migration", s.Name)
		}
	}
	return nil
}

func (a *App) seedServices() seed.Services {
	return seed.Services{Users: a.services.Users, Products: a.services.Products, Orders: a.services.Orders,
		Payments: a.services.Payments, Hasher: a.hasher, Currency: a.cfg.Currency,
		Databases: []*postgres.DB{a.dbs.users, a.dbs.products, a.dbs.orders, a.dbs.payments}}
}

// Close frees what New took. It is called once, after Run has returned.
func (a *App) Close() error {
	for _, q := range a.queues {
		q.Close()
	}
	a.dbs.close()
	errs := []error{a.pay.test.close()}
	errs = append(errs, a.redis.close(), a.cacheRedis.close())
	for _, l := range []net.Listener{a.http, a.admin} {
		if l != nil {
			_ = l.Close() // Serve has closed it already, if it ran
		}
	}
	if a.stack != nil {
		errs = append(errs, a.stack.Close())
	}
	return errors.Join(errs...)
}

// readyz tells a load balancer whether to send requests here, and a person why not. Redis alone never makes it say no.
func (a *App) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	state := map[string]string{"redis": a.redis.state(), "migrations": "done"}
	ok := a.ready.Load()
	if !ok {
		state["migrations"] = "not done, or the server is stopping"
	}
	for _, db := range a.dbs.all {
		state["database "+strings.Join(db.domains, "+")] = "ok"
		if err := db.Ping(ctx); err != nil {
			state["database "+strings.Join(db.domains, "+")] = "does not answer"
			ok = false
		}
	}
	maps.Copy(state, a.cacheState())
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": ok, "parts": state})
}

// jwks publishes the public keys (RFC 7517). A new key is published before it signs, for longer than this is cached.
func (a *App) jwks(w http.ResponseWriter, r *http.Request) {
	body, err := a.secrets.signing.Load().JWKS()
	if err != nil {
		a.log.ErrorContext(r.Context(), "key set", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(body)
}

// adminHandler serves what is not for the public: metrics and profiles.
func (a *App) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler())
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// databases are the databases of the domains: four, or one that all share.
type databases struct {
	users, products, orders, payments *postgres.DB
	all                               []openDatabase
}

type openDatabase struct {
	*postgres.DB
	domains []string
	url     string
}

func openDatabases(ctx context.Context, cfg config.Config, metrics *telemetry.Metrics) (d databases, err error) {
	urls, direct := cfg.DatabaseURLs(), cfg.DirectURLs()
	into := map[string]**postgres.DB{"users": &d.users, "products": &d.products, "orders": &d.orders, "payments": &d.payments}
	for _, domain := range config.Domains {
		i := 0
		for i < len(d.all) && d.all[i].url != urls[domain] {
			i++
		}
		if i == len(d.all) {
			db, err := postgres.Open(ctx, urls[domain], postgres.Options{
				MaxConns: cfg.DatabaseConns, Observe: metrics.Statement, Pooled: direct[domain] != urls[domain]})
			if err != nil {
				return d, fmt.Errorf("%s: %w", domain, err)
			}
			d.all = append(d.all, openDatabase{DB: db, url: urls[domain]})
		}
		d.all[i].domains = append(d.all[i].domains, domain)
		*into[domain] = d.all[i].DB
	}
	for _, db := range d.all {
		metrics.Pool(strings.Join(db.domains, "+"), db.Stat)
	}
	return d, nil
}

func (d databases) close() {
	for _, db := range d.all {
		db.Close()
	}
}
