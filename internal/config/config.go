// Package config reads the process's configuration from its environment and checks it. docs/configuration.md describes
// every variable; a test compares the two. Secrets are never printed.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/nyaruka/phonenumbers"

	"emporium/internal/auth"
	"emporium/internal/cache/cdn"
	"emporium/internal/mail"
	"emporium/internal/money"
	"emporium/internal/redisclient"
)

// Config is the configuration of a process.
type Config struct {
	HTTPAddr  string `env:"HTTP_ADDR" envDefault:":8080"`
	AdminAddr string `env:"ADMIN_ADDR" envDefault:"127.0.0.1:9090"`
	Dir       string `env:"EMPORIUM_DIR" envDefault:".emporium"`

	DatabaseURL       Secret `env:"DATABASE_URL"`
	DatabaseDirectURL Secret `env:"DATABASE_DIRECT_URL"`
	UsersDB           Secret `env:"USERS_DATABASE_URL"`
	UsersDirectDB     Secret `env:"USERS_DATABASE_DIRECT_URL"`
	ProductsDB        Secret `env:"PRODUCTS_DATABASE_URL"`
	ProductsDirectDB  Secret `env:"PRODUCTS_DATABASE_DIRECT_URL"`
	OrdersDB          Secret `env:"ORDERS_DATABASE_URL"`
	OrdersDirectDB    Secret `env:"ORDERS_DATABASE_DIRECT_URL"`
	PaymentsDB        Secret `env:"PAYMENTS_DATABASE_URL"`
	PaymentsDirectDB  Secret `env:"PAYMENTS_DATABASE_DIRECT_URL"`
	DatabaseConns     int    `env:"DATABASE_MAX_CONNS" envDefault:"16"`
	RedisURL          Secret `env:"REDIS_URL"`

	Cache       string        `env:"CACHE" envDefault:"on"`
	CacheBytes  int64         `env:"CACHE_BYTES" envDefault:"67108864"`
	CacheMaxAge time.Duration `env:"CACHE_MAX_AGE" envDefault:"1h"`
	CacheBudget time.Duration `env:"CACHE_REDIS_BUDGET" envDefault:"25ms"`

	CDNPurgeURL   Secret `env:"CDN_PURGE_URL"`
	CDNPurgeToken Secret `env:"CDN_PURGE_TOKEN"`

	Keyset          Secret `env:"KEYSET"`
	KeysetFile      string `env:"KEYSET_FILE"`
	SigningKeys     Secret `env:"SIGNING_KEYS"`
	SigningKeysFile string `env:"SIGNING_KEYS_FILE"`

	TokenIssuer    string        `env:"TOKEN_ISSUER" envDefault:"emporium"`
	TokenAudience  string        `env:"TOKEN_AUDIENCE" envDefault:"emporium"`
	AccessTokenTTL time.Duration `env:"ACCESS_TOKEN_TTL" envDefault:"15m"`
	SessionTTL     time.Duration `env:"SESSION_TTL" envDefault:"720h"`
	OIDCIssuers    OIDCIssuers   `env:"OIDC_ISSUERS"`

	Currency    money.Currency `env:"CURRENCY" envDefault:"EUR"`
	TaxIncluded bool           `env:"PRICES_INCLUDE_TAX" envDefault:"true"`
	PhoneRegion string         `env:"PHONE_REGION" envDefault:"DE"`

	SMTPURL   Secret `env:"SMTP_URL"`
	MailFrom  string `env:"MAIL_FROM" envDefault:"Emporium <shop@example.com>"`
	PublicURL string `env:"PUBLIC_URL"`

	PaymentProvider           string `env:"PAYMENT_PROVIDER"`
	StripeAPIKey              Secret `env:"STRIPE_API_KEY"`
	StripeWebhookSecret       Secret `env:"STRIPE_WEBHOOK_SECRET"`
	StripeAPIURL              string `env:"STRIPE_API_URL"`
	TestProviderURL           string `env:"TEST_PROVIDER_URL"`
	TestProviderKey           Secret `env:"TEST_PROVIDER_KEY"`
	TestProviderWebhookSecret Secret `env:"TEST_PROVIDER_WEBHOOK_SECRET"`
	TestProviderAddr          string `env:"TEST_PROVIDER_ADDR" envDefault:"127.0.0.1:8099"`

	TLSCertFile    string    `env:"TLS_CERT_FILE"`
	TLSKeyFile     string    `env:"TLS_KEY_FILE"`
	CookieSecure   bool      `env:"COOKIE_SECURE"`
	TrustedProxies []Network `env:"TRUSTED_PROXIES"`
	Playground     string    `env:"PLAYGROUND"`
	Introspection  string    `env:"INTROSPECTION"`
	Limits         Limits    `envPrefix:"LIMIT_"`
	Points         int       `env:"RATE_LIMIT" envDefault:"2000"`
	AddressPoints  int       `env:"RATE_LIMIT_ADDRESS" envDefault:"10000"`
	Origins        []string  `env:"CORS_ORIGINS"`
	HTTPProfile    string    `env:"HTTP_PROFILE" envDefault:"default"`

	TrustedDocuments []string          `env:"TRUSTED_DOCUMENTS"`
	TrustedMode      string            `env:"TRUSTED_DOCUMENTS_MODE"`
	TrustedClients   map[string]string `env:"TRUSTED_DOCUMENTS_CLIENTS" envKeyValSeparator:"="`

	LogLevel slog.Level `env:"LOG_LEVEL" envDefault:"info"`

	UsageRetention   time.Duration `env:"SCHEMA_USAGE_RETENTION" envDefault:"4320h"`
	OperationTimeout time.Duration `env:"OPERATION_TIMEOUT" envDefault:"15s"`
	ShutdownGrace    time.Duration `env:"SHUTDOWN_GRACE" envDefault:"20s"`
}

// Limits bound what a GraphQL request may ask for; graph.Limits says of what each is.
type Limits struct {
	Body          int64 `env:"BODY_BYTES" envDefault:"262144"`
	Tokens        int   `env:"TOKENS" envDefault:"1200"`
	Depth         int   `env:"DEPTH" envDefault:"10"`
	Introspection int   `env:"INTROSPECTION_DEPTH" envDefault:"20"`
	Aliases       int   `env:"ALIASES" envDefault:"15"`
	SameField     int   `env:"SAME_FIELD_ALIASES" envDefault:"5"`
	Directives    int   `env:"DIRECTIVES" envDefault:"20"`
	RootFields    int   `env:"ROOT_FIELDS" envDefault:"10"`
	Mutations     int   `env:"MUTATIONS" envDefault:"3"`
	Cost          int   `env:"COST" envDefault:"20000"`
	Statements    int   `env:"STATEMENTS" envDefault:"100"`
}

// Domains are the domains that can have a database of their own.
var Domains = []string{"users", "products", "orders", "payments"}

// Load reads the configuration from the environment, given as KEY=value lines like os.Environ. The error names every
// variable that is wrong.
func Load(environ []string) (Config, error) {
	c, err := env.ParseAsWithOptions[Config](env.Options{Environment: env.ToMap(environ)})
	faults, unread := readable(err)
	fail := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if _, err := money.ParseCurrency(string(c.Currency)); err != nil {
		fail("CURRENCY: %w", err)
	}
	if phonenumbers.GetCountryCodeForRegion(strings.ToUpper(c.PhoneRegion)) == 0 {
		fail("PHONE_REGION: %.10q is not an ISO 3166-1 country code like \"DE\"", c.PhoneRegion)
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		fail("TLS_CERT_FILE and TLS_KEY_FILE are given together or not at all")
	}
	if c.Private() && c.anyOtherDatabase() {
		fail("DATABASE_URL is missing: a direct address and a database of a domain's own come on top of it")
	}
	for name, address := range map[string]string{"HTTP_ADDR": c.HTTPAddr, "ADMIN_ADDR": c.AdminAddr, "TEST_PROVIDER_ADDR": c.TestProviderAddr} {
		if _, port, err := net.SplitHostPort(address); err != nil {
			fail("%s: %q is not of the form HOST:PORT or :PORT", name, address)
		} else if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			fail("%s: the port %q is not a number from 0 to 65535", name, port)
		}
	}
	if c.RedisURL != "" {
		if err := redisclient.Check(string(c.RedisURL)); err != nil {
			fail("REDIS_URL %w (it is not shown, because it may hold a password)", err)
		}
	}
	if !c.Private() && c.Keyset == "" && c.KeysetFile == "" {
		fail("KEYSET or KEYSET_FILE is missing: the keys that seal personal data (make them with `emporium keys new`)")
	}
	if !c.Private() && c.SigningKeys == "" && c.SigningKeysFile == "" {
		fail("SIGNING_KEYS or SIGNING_KEYS_FILE is missing: the keys that sign tokens (make them with `emporium keys signing new`)")
	}
	if c.SMTPURL != "" {
		if err := mail.CheckSMTP(string(c.SMTPURL)); err != nil {
			fail("SMTP_URL %w", err)
		}
		if strings.HasSuffix(c.MailFrom, "@example.com>") || c.PublicURL == "" {
			fail("MAIL_FROM and PUBLIC_URL are needed with SMTP_URL: nobody can answer to, or follow links of, an example")
		}
	}
	if c.PublicURL == "" {
		c.PublicURL = "http://localhost"
		if _, port, _ := net.SplitHostPort(c.HTTPAddr); port != "" {
			c.PublicURL += ":" + port
		}
	} else if err := mail.CheckPublicURL(c.PublicURL); err != nil {
		fail("PUBLIC_URL: %w", err)
	}
	if err := mail.CheckFrom(c.MailFrom); err != nil {
		fail("MAIL_FROM: %w", err)
	}
	switch c.PaymentProvider {
	case "":
	case "stripe":
		if c.StripeAPIKey == "" || c.StripeWebhookSecret == "" {
			fail("PAYMENT_PROVIDER is stripe: STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET are needed")
		}
	case "test":
		if !c.Private() && (c.TestProviderURL == "" || c.TestProviderKey == "" || c.TestProviderWebhookSecret == "") {
			fail("PAYMENT_PROVIDER is test: TEST_PROVIDER_URL, TEST_PROVIDER_KEY and TEST_PROVIDER_WEBHOOK_SECRET are needed")
		}
	default:
		fail("PAYMENT_PROVIDER is `stripe`, `test`, or left out")
	}
	c.Playground = c.orDefault(c.Playground)
	if c.Playground != "on" && c.Playground != "off" {
		fail("PLAYGROUND is `on` or `off`")
	}
	c.Introspection = c.orDefault(c.Introspection)
	limits := reflect.ValueOf(c.Limits)
	for i := range limits.NumField() {
		if limits.Field(i).Int() < 1 {
			fail("LIMIT_%s is below 1", limits.Type().Field(i).Tag.Get("env"))
		}
	}
	for name, n := range map[string]int{"RATE_LIMIT": c.Points, "RATE_LIMIT_ADDRESS": c.AddressPoints} {
		if n < 0 || n > 1_000_000 {
			fail("%s is a number of points from 0, for no limit, to 1000000", name)
		}
		if burst := auth.PerSecond(max(n, 1)).Burst; n > 0 && burst < 2*c.Limits.Cost {
			fail("%s lets %d points be used at once, and an operation may cost more than half of that (LIMIT_COST)", name, burst)
		}
	}
	for _, o := range c.Origins {
		if u, err := url.Parse(o); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || o != u.Scheme+"://"+u.Host {
			fail("CORS_ORIGINS: %q is not of the form https://shop.example.com", o)
		}
	}
	if c.HTTPProfile != "default" && c.HTTPProfile != "audit" {
		fail("HTTP_PROFILE is `default` or `audit`")
	}
	if c.TrustedMode == "" {
		c.TrustedMode = "off"
		if len(c.TrustedDocuments) > 0 {
			c.TrustedMode = "log"
		}
	}
	isMode := func(mode string) bool { return mode == "off" || mode == "log" || mode == "require" }
	if !isMode(c.TrustedMode) {
		fail("TRUSTED_DOCUMENTS_MODE is `off`, `log` or `require`")
	} else if c.TrustedMode != "off" && len(c.TrustedDocuments) == 0 {
		fail("TRUSTED_DOCUMENTS_MODE is %s: TRUSTED_DOCUMENTS is needed", c.TrustedMode)
	}
	for client, mode := range c.TrustedClients {
		if client == "" || !isMode(mode) {
			fail("TRUSTED_DOCUMENTS_CLIENTS: %q is not of the form CLIENT=MODE, with `off`, `log` or `require`", client+"="+mode)
		} else if mode != "off" && len(c.TrustedDocuments) == 0 {
			fail("TRUSTED_DOCUMENTS_CLIENTS has %s for %q: TRUSTED_DOCUMENTS is needed", mode, client)
		}
	}
	if c.Introspection != "on" && c.Introspection != "staff" && c.Introspection != "off" {
		fail("INTROSPECTION is `on`, `staff` or `off`")
	}
	for name, d := range map[string]time.Duration{
		"ACCESS_TOKEN_TTL": c.AccessTokenTTL, "SESSION_TTL": c.SessionTTL,
		"CACHE_MAX_AGE": c.CacheMaxAge, "CACHE_REDIS_BUDGET": c.CacheBudget, "SCHEMA_USAGE_RETENTION": c.UsageRetention,
		"OPERATION_TIMEOUT": c.OperationTimeout, "SHUTDOWN_GRACE": c.ShutdownGrace,
	} {
		if d <= 0 && !slices.Contains(unread, name) {
			fail("%s must be longer than nothing", name)
		}
	}
	if c.CDNPurgeURL != "" {
		if err := cdn.Check(string(c.CDNPurgeURL), string(c.CDNPurgeToken)); err != nil {
			fail("CDN_PURGE_URL %w (neither is shown, because they may hold secrets)", err)
		}
	} else if c.CDNPurgeToken != "" {
		fail("CDN_PURGE_TOKEN is given without CDN_PURGE_URL")
	}
	if c.Cache != "on" && c.Cache != "age" && c.Cache != "off" {
		fail("CACHE is `on`, `age` or `off`")
	}
	if c.CacheBytes < 1<<20 && !slices.Contains(unread, "CACHE_BYTES") {
		fail("CACHE_BYTES must be at least 1048576, a mebibyte")
	}
	if c.DatabaseConns < 2 && !slices.Contains(unread, "DATABASE_MAX_CONNS") {
		fail("DATABASE_MAX_CONNS must be at least 2")
	}
	return c, errors.Join(faults...)
}

// Private tells whether the process uses a private Postgres and Redis of its own, for development, because it was given
// no database.
func (c Config) Private() bool { return c.DatabaseURL == "" }

// orDefault is on for development and off in production, unless it is said.
func (c Config) orDefault(said string) string {
	switch {
	case said != "":
		return said
	case c.Private():
		return "on"
	default:
		return "off"
	}
}

func (c Config) anyOtherDatabase() bool {
	return c.UsersDB+c.ProductsDB+c.OrdersDB+c.PaymentsDB+
		c.DatabaseDirectURL+c.UsersDirectDB+c.ProductsDirectDB+c.OrdersDirectDB+c.PaymentsDirectDB != ""
}

// DatabaseURLs returns for each domain the URL of its database: its own, or the common one.
func (c Config) DatabaseURLs() map[string]string {
	return map[string]string{
		"users": first(c.UsersDB, c.DatabaseURL), "products": first(c.ProductsDB, c.DatabaseURL),
		"orders": first(c.OrdersDB, c.DatabaseURL), "payments": first(c.PaymentsDB, c.DatabaseURL),
	}
}

// DirectURLs returns for each domain the URL of its database that does not lead through a transaction pooler, for what a
// pooler can not carry: migrations, session locks, replication.
func (c Config) DirectURLs() map[string]string {
	return map[string]string{
		"users":    first(c.UsersDirectDB, c.UsersDB, c.DatabaseDirectURL, c.DatabaseURL),
		"products": first(c.ProductsDirectDB, c.ProductsDB, c.DatabaseDirectURL, c.DatabaseURL),
		"orders":   first(c.OrdersDirectDB, c.OrdersDB, c.DatabaseDirectURL, c.DatabaseURL),
		"payments": first(c.PaymentsDirectDB, c.PaymentsDB, c.DatabaseDirectURL, c.DatabaseURL),
	}
}

func first(urls ...Secret) string {
	for _, u := range urls {
		if u != "" {
			return string(u)
		}
	}
	return ""
}

// Secret is a text that does not show when it is printed or logged.
type Secret string

// Format hides the text from every verb of package fmt.
func (s Secret) Format(f fmt.State, _ rune) {
	if s != "" {
		_, _ = f.Write([]byte("[secret]"))
	}
}

// LogValue hides the text from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// MarshalJSON hides the text.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(fmt.Sprint(s)) }

// Network is a range of IP addresses, or a single one.
type Network struct{ netip.Prefix }

// UnmarshalText reads CIDR notation or an address.
func (n *Network) UnmarshalText(text []byte) (err error) {
	if n.Prefix, err = netip.ParsePrefix(string(text)); err == nil {
		return nil
	}
	address, err := netip.ParseAddr(string(text))
	if err != nil {
		return fmt.Errorf("%q is neither an IP address nor a range like 10.0.0.0/8", text)
	}
	n.Prefix = netip.PrefixFrom(address, address.BitLen())
	return nil
}

// OIDCIssuers are the external issuers of tokens that are accepted: a JSON list.
type OIDCIssuers []auth.External

// UnmarshalText reads the JSON list strictly.
func (o *OIDCIssuers) UnmarshalText(text []byte) error {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode((*[]auth.External)(o)); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON list")
	}
	return nil
}

// readable names the variable in each of the parser's errors, which name the field, and returns these variables too.
func readable(err error) (faults []error, unread []string) {
	if err == nil {
		return nil, nil
	}
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []error{err}, nil
	}
	for _, e := range all.Errors {
		var parse env.ParseError
		if errors.As(e, &parse) {
			name := variable(parse.Name)
			unread = append(unread, name)
			e = fmt.Errorf("%s: %w", name, parse.Err)
		}
		faults = append(faults, e)
	}
	return faults, unread
}

func variable(field string) string {
	if f, ok := reflect.TypeFor[Config]().FieldByName(field); ok {
		name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
		return name
	}
	return field
}

// Variables returns the names of all variables, in the order of the fields.
func Variables() []string { return variables(reflect.TypeFor[Config](), "") }

func variables(of reflect.Type, prefix string) (names []string) {
	for field := range of.Fields() {
		if name := field.Tag.Get("env"); name != "" {
			names = append(names, prefix+name)
		} else if below := field.Tag.Get("envPrefix"); below != "" {
			names = append(names, variables(field.Type, below)...)
		}
	}
	return names
}
