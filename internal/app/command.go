package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/urfave/cli/v3"

	"emporium/internal/auth"
	"emporium/internal/config"
	"emporium/internal/payment/testprovider"
	"emporium/internal/product"
	"emporium/internal/productcsv"
	"emporium/internal/seal"
	"emporium/internal/seed"
	"emporium/internal/telemetry"
	"emporium/migrations"
)

// Command runs the program: args as the shell gave them, the name first. Answers go to out; logs, as JSON lines, and
// what is said to a person go to errs.
func Command(ctx context.Context, args, environ []string, out, errs io.Writer) error {
	p := &program{environ: environ, out: out, errs: errs}
	root := &cli.Command{
		Name:  "emporium",
		Usage: "a GraphQL backend-for-frontend for shops",
		Description: "Configured by environment variables: see docs/configuration.md. Without DATABASE_URL everything runs on\n" +
			"a private Postgres and Redis under EMPORIUM_DIR (.emporium).",
		Writer: out, ErrWriter: errs,
		HideVersion:    true,
		DefaultCommand: "serve",
		ExitErrHandler: func(context.Context, *cli.Command, error) {}, // main prints the error, and alone exits
		Commands: []*cli.Command{
			{Name: "serve", Usage: "serve the API until interrupted (the default)", Action: p.serve},
			{Name: "migrate", Usage: "change the database schemas", Commands: []*cli.Command{
				{Name: "up", Usage: "apply what is missing", Action: p.migrate(migrations.Up, "applied")},
				{Name: "down", Usage: "take the latest migration of one domain back, and with it what its tables hold",
					ArgsUsage: "DOMAIN", Flags: []cli.Flag{&cli.BoolFlag{Name: "yes", Usage: "really"}}, Action: p.migrateDown},
				{Name: "status", Usage: "list all migrations", Action: p.migrate(migrations.Status, "")},
			}},
			{Name: "seed", Usage: "fill empty databases with a shop", Flags: []cli.Flag{
				&cli.StringFlag{Name: "scale", Value: "demo", Usage: "`demo` (a small shop) or `bench` (100,000 orders)"},
			}, Action: p.seed},
			{Name: "import", Usage: "read data from files", Commands: []*cli.Command{
				{Name: "products", Usage: "create and update products from a CSV file in Shopify's format, all or none",
					ArgsUsage: "FILE.csv", Flags: []cli.Flag{&cli.BoolFlag{Name: "dry-run", Usage: "check everything, change nothing"}},
					Action: p.importProducts},
			}},
			{Name: "export", Usage: "write data to files", Commands: []*cli.Command{
				{Name: "products", Usage: "write all products as CSV in Shopify's format",
					ArgsUsage: "[FILE.csv]", Action: p.exportProducts},
			}},
			{Name: "keys", Usage: "make and rotate keys", Commands: []*cli.Command{
				{Name: "new", Usage: "make keys that seal personal data", ArgsUsage: "[FILE]", Action: p.keysNew(func() ([]byte, error) { return seal.New().Marshal() })},
				{Name: "rotate", Usage: "seal all personal data with a new key; can be interrupted and resumed", Flags: []cli.Flag{
					&cli.DurationFlag{Name: "settle", Value: 15 * time.Second, Usage: "how long running servers have to take over a changed KEYSET_FILE"},
					&cli.BoolFlag{Name: "resume", Usage: "make no new key: go on with the newest one"},
				}, Action: p.keysRotate},
				{Name: "prune", Usage: "drop keys that seal nothing any more", Flags: []cli.Flag{
					&cli.DurationFlag{Name: "settle", Value: 15 * time.Second, Usage: "how long running servers have to take over a changed KEYSET_FILE"},
				}, Action: p.keysPrune},
				{Name: "signing", Usage: "keys that sign tokens", Commands: []*cli.Command{
					{Name: "new", Usage: "make the first key", ArgsUsage: "[FILE]", Action: p.keysNew(func() ([]byte, error) { return auth.NewKeyring().Marshal() })},
					{Name: "list", Usage: "list the keys", Action: p.signingList},
					{Name: "add", Usage: "add a key that is published and accepted, but does not sign yet", Action: p.signingChange(func(k *auth.Keyring, _ string) (*auth.Keyring, error) {
						next, _, err := k.Add()
						return next, err
					})},
					{Name: "promote", Usage: "let a key sign", ArgsUsage: "KEY", Action: p.signingChange((*auth.Keyring).Promote)},
					{Name: "retire", Usage: "accept nothing of a key any more", ArgsUsage: "KEY", Action: p.signingChange((*auth.Keyring).Retire)},
				}},
			}},
			{Name: "testprovider", Usage: "be a payment provider that moves no money, until interrupted",
				Description: "TEST_PROVIDER_KEY and TEST_PROVIDER_WEBHOOK_SECRET come from the environment. See docs/payments-providers.md.",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "addr", Value: "127.0.0.1:8099", Usage: "`HOST:PORT` of this machine to listen on"},
					&cli.StringFlag{Name: "books", Value: ".emporium/testprovider.db", Usage: "the `FILE` that payments are kept in"},
					&cli.StringFlag{Name: "webhook-url", Usage: "where events go"},
					&cli.BoolFlag{Name: "until-stdin-closes", Usage: "end when standard input does, instead of by a signal"},
				}, Action: p.testProvider},
			{Name: "payments", Usage: "look after payments", Commands: []*cli.Command{
				{Name: "reconcile", Usage: "compare the books of the payment providers with the shop's, and apply what is missing", Flags: []cli.Flag{
					&cli.DurationFlag{Name: "since", Value: 26 * time.Hour, Usage: "how far to look back"},
				}, Action: p.reconcile},
			}},
			{Name: "cache", Usage: "look into the response cache, and empty it", Commands: []*cli.Command{
				{Name: "explain", Usage: "say for how long and for whom answers to an operation are kept, and what voids them",
					ArgsUsage: "FILE.graphql",
					Description: "Needs no database: for whom and for how long is what the schema says. What an answer is made of is known once it was\n" +
						"made: --run asks the configured databases, reads only, and names the tags by which a change voids the answer.",
					Flags: []cli.Flag{
						&cli.StringFlag{Name: "operation", Usage: "the `NAME` of the operation, if the file has several"},
						&cli.StringFlag{Name: "variables", Usage: "its variables, as a `JSON` object"},
						&cli.BoolFlag{Name: "run", Usage: "run it, and name what it was read from"},
						&cli.StringFlag{Name: "as", Usage: "run it as somebody with the `ROLE` CUSTOMER, SUPPORT, MANAGER, ADMIN or SERVICE; without, as nobody"},
					}, Action: p.cacheExplain},
				{Name: "purge", Usage: "make every process drop the answers that it keeps, and Redis too; nothing else is touched",
					Description: "Answers are dropped by themselves when something in them changes. This is for when the databases were brought back to an\n" +
						"earlier state, or when in doubt.",
					Action: p.cachePurge},
			}},
			{Name: "schema", Usage: "look after the contract with clients", Commands: []*cli.Command{
				{Name: "lint", Usage: "hold a schema against the conventions; findings name file and line", ArgsUsage: "[" + schemaFile + "]", Action: p.schemaLint},
				{Name: "print", Usage: "print the schema that is served, as a document", Action: p.schemaPrint},
				{Name: "diff", Usage: "list what has changed from one schema to another, or to the one that is served; fails if it breaks clients",
					ArgsUsage: "OLD.graphqls [NEW.graphqls]", Flags: []cli.Flag{
						&cli.TimestampFlag{Name: "on", Usage: "the `DAY` by which days of removal are judged, like 2027-03-31; without, today",
							Config: cli.TimestampConfig{Layouts: []string{time.DateOnly}}},
					}, Action: p.schemaDiff},
				{Name: "usage", Usage: "say which clients use something of the schema, since when and until when",
					ArgsUsage: "[COORDINATE…]",
					Description: "COORDINATE is a type, or like Type.field, Type.field(argument:), Input.field, Enum.VALUE; with it comes what is in it. What a\n" +
						"document names counts once for each time that it is answered. Values of enums that only answers hold are not counted.",
					Flags: []cli.Flag{
						&cli.BoolFlag{Name: "unused", Usage: "list what is in the schema and was not used, instead"},
						&cli.BoolFlag{Name: "deprecated", Usage: "only what is deprecated"},
					}, Action: p.schemaUsage},
			}},
			{Name: "documents", Usage: "look after the documents that frontends register", Commands: []*cli.Command{
				{Name: "check", Usage: "hold manifests of trusted documents against the schema and the limits; findings name file, line and ID",
					ArgsUsage: "FILE…", Action: p.documentsCheck},
			}},
			{Name: "token", Usage: "open a session of an account and print its access token", Flags: []cli.Flag{
				&cli.StringFlag{Name: "email", Required: true, Usage: "whose"},
			}, Action: p.token},
		},
	}
	return root.Run(ctx, args)
}

// program is what the commands share.
type program struct {
	environ   []string
	out, errs io.Writer
}

func (p *program) say(format string, args ...any) { fmt.Fprintf(p.errs, format+"\n", args...) }

func (p *program) config() (config.Config, *slog.Logger, error) {
	cfg, err := config.Load(p.environ)
	if err != nil {
		return cfg, nil, fmt.Errorf("configuration:\n%w", err)
	}
	log := telemetry.NewLogger(p.errs, cfg.LogLevel)
	slog.SetDefault(log)
	return cfg, log, nil
}

// with opens the app for a command that serves nothing, on migrated databases.
func (p *program) with(ctx context.Context, do func(*App) error) (err error) {
	cfg, log, err := p.config()
	if err != nil {
		return err
	}
	a, err := Open(ctx, cfg, log, p.say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := a.Migrate(ctx); err != nil {
		return err
	}
	return do(a)
}

func (p *program) serve(ctx context.Context, c *cli.Command) (err error) {
	if c.Args().Present() {
		return fmt.Errorf("there is no command %q; see emporium --help", c.Args().First())
	}
	cfg, log, err := p.config()
	if err != nil {
		return err
	}
	kept := cfg.CacheBytes
	if cfg.Cache == "off" {
		kept = 0
	}
	tuneGC(log, kept)
	a, err := New(ctx, cfg, log, p.say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	return a.Run(ctx, func() { p.welcome(a) })
}

// welcome tells a person where to go.
func (p *program) welcome(a *App) {
	scheme := "http"
	if a.cfg.TLSCertFile != "" {
		scheme = "https"
	}
	base := scheme + "://" + reachable(a.HTTPAddr())
	var b strings.Builder
	b.WriteString("\n  Emporium is ready.\n\n")
	if a.cfg.Playground == "on" {
		fmt.Fprintf(&b, "  Playground   %s/\n", base)
	}
	fmt.Fprintf(&b, "  GraphQL      %s%s\n  Metrics      http://%s/metrics\n", base, endpoint, reachable(a.AdminAddr()))
	if a.mailbox != nil {
		fmt.Fprintf(&b, "  Mailbox      %s/mailbox\n", base)
	}
	if a.stack != nil {
		b.WriteString("\n  Demo sign-ins\n")
		for _, d := range seed.Accounts() {
			fmt.Fprintf(&b, "    %-28s %-24s %s\n", d.Label, d.Email, d.Password)
		}
	}
	if a.redis.client == nil {
		fmt.Fprintf(&b, "\n  Redis is %s.\n", a.redis.state())
		if a.stack != nil && a.stack.RedisErr != nil {
			fmt.Fprintf(&b, "  (%v)\n", a.stack.RedisErr)
		}
	}
	b.WriteString("\n  Ctrl-C stops it.\n\n")
	_, _ = io.WriteString(p.out, b.String())
}

// reachable turns a listener's address into one that a browser on this machine can open.
func reachable(address string) string {
	for _, everywhere := range []string{"[::]:", "0.0.0.0:"} {
		if port, ok := strings.CutPrefix(address, everywhere); ok {
			return "localhost:" + port
		}
	}
	return address
}

type migration func(ctx context.Context, url, domain string) ([]migrations.Step, error)

func (p *program) migrate(do migration, verb string) cli.ActionFunc {
	return func(ctx context.Context, _ *cli.Command) error {
		return p.migrateDomains(ctx, do, verb, config.Domains...)
	}
}

func (p *program) migrateDown(ctx context.Context, c *cli.Command) error {
	domain := c.Args().First()
	for _, known := range config.Domains {
		if domain == known {
			if !c.Bool("yes") {
				return fmt.Errorf("this drops what the tables of %s hold; say `migrate down --yes %s` if you mean it", domain, domain)
			}
			return p.migrateDomains(ctx, migrations.Down, "took back", domain)
		}
	}
	return fmt.Errorf("name the domain: one of %s", strings.Join(config.Domains, ", "))
}

func (p *program) migrateDomains(ctx context.Context, do migration, verb string, domains ...string) (err error) {
	cfg, log, err := p.config()
	if err != nil {
		return err
	}
	a, err := Open(ctx, cfg, log, p.say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	urls, any := a.cfg.DirectURLs(), false
	for _, domain := range domains {
		steps, err := do(ctx, urls[domain], domain)
		if err != nil {
			return err
		}
		for _, s := range steps {
			any = true
			switch {
			case verb != "":
				fmt.Fprintf(p.out, "%s %s/%s\n", verb, s.Domain, s.Name)
			case s.Applied.IsZero():
				fmt.Fprintf(p.out, "%s/%-24s missing\n", s.Domain, s.Name)
			default:
				fmt.Fprintf(p.out, "%s/%-24s applied %s\n", s.Domain, s.Name, s.Applied.UTC().Format(time.RFC3339))
			}
		}
	}
	if !any {
		fmt.Fprintln(p.out, "nothing to do")
	}
	return nil
}

func (p *program) seed(ctx context.Context, c *cli.Command) error {
	load := map[string]func(context.Context, seed.Services, func(string, int, int)) error{"demo": seed.Demo, "bench": seed.Bench}[c.String("scale")]
	if load == nil {
		return fmt.Errorf("--scale is `demo` or `bench`, not %q", c.String("scale"))
	}
	return p.with(ctx, func(a *App) error {
		began := time.Now()
		if err := load(ctx, a.seedServices(), p.progress()); err != nil {
			return err
		}
		fmt.Fprintf(p.out, "seeded in %.1f s\n", time.Since(began).Seconds())
		return nil
	})
}

// progress prints how far long work is, and always its end.
func (p *program) progress() func(what string, done, total int) {
	pace := pacer()
	return func(what string, done, total int) {
		if pace() || done == total {
			p.say("  %-10s %d of %d", what, done, total)
		}
	}
}

// paced passes a report of progress on at most twice a second.
func (p *program) paced(report func(done int)) func(done int) {
	pace := pacer()
	return func(done int) {
		if pace() {
			report(done)
		}
	}
}

// pacer returns a function that is true at most twice a second.
func pacer() func() bool {
	last := time.Now()
	return func() bool {
		if time.Since(last) < 500*time.Millisecond {
			return false
		}
		last = time.Now()
		return true
	}
}

func (p *program) importProducts(ctx context.Context, c *cli.Command) error {
	if c.Args().Len() != 1 {
		return errors.New("name one CSV file")
	}
	name := c.Args().First()
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return p.with(ctx, func(a *App) error {
		done, report := 0, p.paced(func(done int) { p.say("  %d products read", done) })
		result, err := a.services.Products.Upsert(ctx, func(yield func(*product.Draft, error) bool) {
			for d, err := range productcsv.Read(file, name, a.cfg.Currency) {
				done++
				report(done)
				if !yield(d, err) {
					return
				}
			}
		}, c.Bool("dry-run"))
		if err != nil {
			return fmt.Errorf("nothing was imported: %w", err)
		}
		verb := "imported"
		if c.Bool("dry-run") {
			verb = "would import"
		}
		fmt.Fprintf(p.out, "%s %s: %d created, %d updated, %d unchanged\n", verb, name, result.Created, result.Updated, result.Unchanged)
		return nil
	})
}

func (p *program) exportProducts(ctx context.Context, c *cli.Command) error {
	return p.with(ctx, func(a *App) (err error) {
		out := p.out
		if name := c.Args().First(); name != "" {
			file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			out = file
		}
		w := productcsv.NewWriter(out, a.cfg.Currency)
		count := 0
		if err := a.services.Products.Each(ctx, func(d *product.Draft) error { count++; return w.Write(d) }); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
		p.say("%d products exported", count)
		return nil
	})
}

func (p *program) testProvider(ctx context.Context, c *cli.Command) error {
	secrets := env.ToMap(p.environ)
	if c.Bool("until-stdin-closes") {
		// A signal of the terminal is for the server, which lets go of this when it is through.
		var stop context.CancelFunc
		ctx, stop = context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	return testprovider.Run(ctx, testprovider.Config{
		Addr: c.String("addr"), Books: c.String("books"), WebhookURL: c.String("webhook-url"),
		APIKey: secrets["TEST_PROVIDER_KEY"], WebhookSecret: secrets["TEST_PROVIDER_WEBHOOK_SECRET"],
		Log: telemetry.NewLogger(p.errs, slog.LevelInfo), Ready: func(url string) { fmt.Fprintln(p.out, url) },
	})
}

func (p *program) token(ctx context.Context, c *cli.Command) error {
	return p.with(ctx, func(a *App) error {
		tokens, err := a.services.Users.OpenSession(ctx, c.String("email"))
		if err != nil {
			return err
		}
		fmt.Fprintln(p.out, tokens.AccessToken)
		return nil
	})
}

func (p *program) reconcile(ctx context.Context, c *cli.Command) error {
	return p.with(ctx, func(a *App) error {
		found, err := a.services.Payments.Reconcile(ctx, time.Now().Add(-c.Duration("since")))
		fmt.Fprintf(p.out, "%d payments were compared; of %d something was missing here and is applied; %d differ: see paymentDifferences\n",
			found.Seen, found.Applied, found.Differences)
		return err
	})
}
