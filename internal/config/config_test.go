package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"emporium/internal/auth"
	"emporium/internal/config"
	"emporium/internal/money"
)

// load reads variables that have to be right; with a database given, keys are given too unless the test does so.
func load(t *testing.T, environ ...string) config.Config {
	t.Helper()
	if all := strings.Join(environ, "\n"); strings.Contains(all, "DATABASE_URL=") && !strings.Contains(all, "KEYS") {
		environ = append(slices.Clone(environ), "KEYSET_FILE=/k", "SIGNING_KEYS_FILE=/s")
	}
	c, err := config.Load(environ)
	if err != nil {
		t.Fatalf("%q: %v", environ, err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	want := config.Config{
		HTTPAddr: ":8080", AdminAddr: "127.0.0.1:9090", Dir: ".emporium",
		DatabaseConns: 16, Cache: "on", CacheBytes: 64 << 20, CacheMaxAge: time.Hour, CacheBudget: 25 * time.Millisecond,
		TokenIssuer: "emporium", TokenAudience: "emporium", AccessTokenTTL: 15 * time.Minute, SessionTTL: 30 * 24 * time.Hour,
		Currency: "EUR", TaxIncluded: true, PhoneRegion: "DE",
		MailFrom: "Emporium <shop@example.com>", PublicURL: "http://localhost:8080",
		TestProviderAddr: "127.0.0.1:8099",
		Limits: config.Limits{Body: 256 << 10, Tokens: 1200, Depth: 10, Introspection: 20, Aliases: 15, SameField: 5, Directives: 20,
			RootFields: 10, Mutations: 3, Cost: 20_000, Statements: 100},
		Points: 2000, AddressPoints: 10_000,
		Playground: "on", Introspection: "on", HTTPProfile: "default", TrustedMode: "off", LogLevel: slog.LevelInfo,
		UsageRetention: 180 * 24 * time.Hour, OperationTimeout: 15 * time.Second, ShutdownGrace: 20 * time.Second,
	}
	if got := load(t); !reflect.DeepEqual(got, want) || !got.Private() {
		t.Errorf("without variables:\n%+v, want\n%+v", got, want)
	}
	empty := []string{"HOME=/root", "SOMETHING_ELSE=x"}
	for _, name := range config.Variables() {
		empty = append(empty, name+"=")
	}
	if got := load(t, empty...); !reflect.DeepEqual(got, want) {
		t.Errorf("with empty variables:\n%+v, want\n%+v", got, want)
	}
}

func TestEveryVariableIsRead(t *testing.T) {
	t.Parallel()
	environ := []string{
		"HTTP_ADDR=:80", "ADMIN_ADDR=:81", "EMPORIUM_DIR=/var/lib/emporium",
		"DATABASE_URL=d", "DATABASE_DIRECT_URL=dd", "USERS_DATABASE_URL=u", "USERS_DATABASE_DIRECT_URL=ud",
		"PRODUCTS_DATABASE_URL=p", "PRODUCTS_DATABASE_DIRECT_URL=pd", "ORDERS_DATABASE_URL=o", "ORDERS_DATABASE_DIRECT_URL=od",
		"PAYMENTS_DATABASE_URL=y", "PAYMENTS_DATABASE_DIRECT_URL=yd", "DATABASE_MAX_CONNS=2", "REDIS_URL=redis://r",
		"CACHE=off", "CACHE_BYTES=1048576", "CACHE_MAX_AGE=5s", "CACHE_REDIS_BUDGET=7ms",
		"CDN_PURGE_URL=https://cdn/", "CDN_PURGE_TOKEN=ct",
		"KEYSET=k", "KEYSET_FILE=/k", "SIGNING_KEYS=s", "SIGNING_KEYS_FILE=/s",
		"TOKEN_ISSUER=i", "TOKEN_AUDIENCE=a", "ACCESS_TOKEN_TTL=1m", "SESSION_TTL=2h",
		`OIDC_ISSUERS=[{"issuer":"https://i","audience":"a","algs":["ES256"],"roleClaim":"r","roleMap":{"x":"ADMIN"},"defaultCustomer":true,"jwksUrl":"https://j"}]`,
		"CURRENCY=JPY", "PRICES_INCLUDE_TAX=false", "PHONE_REGION=JP", "SMTP_URL=smtps://u:p@m", "MAIL_FROM=Shop <s@shop.example>", "PUBLIC_URL=https://shop.example.com",
		"PAYMENT_PROVIDER=stripe", "STRIPE_API_KEY=sk", "STRIPE_WEBHOOK_SECRET=wh", "STRIPE_API_URL=http://st",
		"TEST_PROVIDER_URL=http://tp", "TEST_PROVIDER_KEY=tk", "TEST_PROVIDER_WEBHOOK_SECRET=tw", "TEST_PROVIDER_ADDR=127.0.0.1:1",
		"TLS_CERT_FILE=/c", "TLS_KEY_FILE=/ck", "COOKIE_SECURE=true",
		"TRUSTED_PROXIES=10.0.0.0/8,192.0.2.7,2001:db8::/32,::1", "PLAYGROUND=on", "INTROSPECTION=staff",
		"LIMIT_BODY_BYTES=1", "LIMIT_TOKENS=2", "LIMIT_DEPTH=3", "LIMIT_INTROSPECTION_DEPTH=4", "LIMIT_ALIASES=5",
		"LIMIT_SAME_FIELD_ALIASES=6", "LIMIT_DIRECTIVES=7", "LIMIT_ROOT_FIELDS=8", "LIMIT_MUTATIONS=9", "LIMIT_COST=10",
		"LIMIT_STATEMENTS=11", "RATE_LIMIT=12", "RATE_LIMIT_ADDRESS=0",
		"CORS_ORIGINS=https://a.example.com,http://b.example.com:8080", "HTTP_PROFILE=audit",
		"TRUSTED_DOCUMENTS=/web.json,/apps", "TRUSTED_DOCUMENTS_MODE=require", "TRUSTED_DOCUMENTS_CLIENTS=playground=off,web shop=log", "LOG_LEVEL=warn",
		"SCHEMA_USAGE_RETENTION=5h", "OPERATION_TIMEOUT=3s", "SHUTDOWN_GRACE=4s",
	}
	want := config.Config{
		HTTPAddr: ":80", AdminAddr: ":81", Dir: "/var/lib/emporium",
		DatabaseURL: "d", DatabaseDirectURL: "dd", UsersDB: "u", UsersDirectDB: "ud", ProductsDB: "p", ProductsDirectDB: "pd",
		OrdersDB: "o", OrdersDirectDB: "od", PaymentsDB: "y", PaymentsDirectDB: "yd", DatabaseConns: 2, RedisURL: "redis://r",
		Cache: "off", CacheBytes: 1 << 20, CacheMaxAge: 5 * time.Second, CacheBudget: 7 * time.Millisecond,
		CDNPurgeURL: "https://cdn/", CDNPurgeToken: "ct",
		Keyset: "k", KeysetFile: "/k", SigningKeys: "s", SigningKeysFile: "/s",
		TokenIssuer: "i", TokenAudience: "a", AccessTokenTTL: time.Minute, SessionTTL: 2 * time.Hour,
		OIDCIssuers: config.OIDCIssuers{{Issuer: "https://i", Audience: "a", Algs: []string{"ES256"}, RoleClaim: "r",
			RoleMap: map[string]auth.Role{"x": auth.RoleAdmin}, DefaultCustomer: true, JWKSURL: "https://j"}},
		Currency: money.Currency("JPY"), TaxIncluded: false, PhoneRegion: "JP",
		SMTPURL: "smtps://u:p@m", MailFrom: "Shop <s@shop.example>", PublicURL: "https://shop.example.com",
		PaymentProvider: "stripe", StripeAPIKey: "sk", StripeWebhookSecret: "wh", StripeAPIURL: "http://st",
		TestProviderURL: "http://tp", TestProviderKey: "tk", TestProviderWebhookSecret: "tw", TestProviderAddr: "127.0.0.1:1",
		TLSCertFile: "/c", TLSKeyFile: "/ck", CookieSecure: true,
		TrustedProxies: []config.Network{{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, {Prefix: netip.MustParsePrefix("192.0.2.7/32")},
			{Prefix: netip.MustParsePrefix("2001:db8::/32")}, {Prefix: netip.MustParsePrefix("::1/128")}},
		Limits: config.Limits{Body: 1, Tokens: 2, Depth: 3, Introspection: 4, Aliases: 5, SameField: 6, Directives: 7,
			RootFields: 8, Mutations: 9, Cost: 10, Statements: 11},
		Points: 12, AddressPoints: 0, Origins: []string{"https://a.example.com", "http://b.example.com:8080"},
		Playground: "on", Introspection: "staff", HTTPProfile: "audit", LogLevel: slog.LevelWarn,
		TrustedDocuments: []string{"/web.json", "/apps"}, TrustedMode: "require", TrustedClients: map[string]string{"playground": "off", "web shop": "log"},
		UsageRetention: 5 * time.Hour, OperationTimeout: 3 * time.Second, ShutdownGrace: 4 * time.Second,
	}
	if got := load(t, environ...); !reflect.DeepEqual(got, want) || got.Private() {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	var set []string
	for _, line := range environ {
		name, _, _ := strings.Cut(line, "=")
		set = append(set, name)
	}
	if !slices.Equal(set, config.Variables()) {
		t.Errorf("this test sets %v; there are %v", set, config.Variables())
	}
}

var variableName = regexp.MustCompile(`\b[A-Z]+(_[A-Z]+)*\b`)

// named returns the variables that an error is about: those at the beginning of its lines.
func named(err error) []string {
	if err == nil {
		return nil
	}
	seen := map[string]bool{}
	for line := range strings.Lines(err.Error()) {
		for _, name := range variableName.FindAllString(line, -1) {
			if slices.Contains(config.Variables(), name) {
				seen[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func TestWrongVariablesAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		environ []string
		want    []string // sorted
	}{
		{[]string{"DATABASE_MAX_CONNS=many"}, []string{"DATABASE_MAX_CONNS"}},
		{[]string{"DATABASE_MAX_CONNS=1"}, []string{"DATABASE_MAX_CONNS"}},
		{[]string{"DATABASE_MAX_CONNS=-5"}, []string{"DATABASE_MAX_CONNS"}},
		{[]string{"ACCESS_TOKEN_TTL=15"}, []string{"ACCESS_TOKEN_TTL"}},
		{[]string{"ACCESS_TOKEN_TTL=0s"}, []string{"ACCESS_TOKEN_TTL"}},
		{[]string{"SESSION_TTL=30d"}, []string{"SESSION_TTL"}},
		{[]string{"SESSION_TTL=-1h"}, []string{"SESSION_TTL"}},
		{[]string{"CACHE_REDIS_BUDGET=0s"}, []string{"CACHE_REDIS_BUDGET"}},
		{[]string{"OPERATION_TIMEOUT=0s"}, []string{"OPERATION_TIMEOUT"}},
		{[]string{"SHUTDOWN_GRACE=soon"}, []string{"SHUTDOWN_GRACE"}},
		{[]string{"SHUTDOWN_GRACE=0s"}, []string{"SHUTDOWN_GRACE"}},
		{[]string{"OIDC_ISSUERS=https://login.example.com"}, []string{"OIDC_ISSUERS"}},
		{[]string{`OIDC_ISSUERS={"issuer":"https://login.example.com"}`}, []string{"OIDC_ISSUERS"}},
		{[]string{`OIDC_ISSUERS=[{"issuer":"https://login.example.com","audiences":["a"]}]`}, []string{"OIDC_ISSUERS"}},
		{[]string{`OIDC_ISSUERS=[] [{"issuer":"https://login.example.com"}]`}, []string{"OIDC_ISSUERS"}},
		{[]string{"CURRENCY=euro"}, []string{"CURRENCY"}},
		{[]string{"CURRENCY=eur"}, []string{"CURRENCY"}},
		{[]string{"PHONE_REGION=Germany"}, []string{"PHONE_REGION"}},
		{[]string{"PHONE_REGION=ZZ"}, []string{"PHONE_REGION"}},
		{[]string{"LIMIT_DEPTH=0"}, []string{"LIMIT_DEPTH"}},
		{[]string{"LIMIT_TOKENS=many"}, []string{"LIMIT_TOKENS"}},
		{[]string{"RATE_LIMIT=-1"}, []string{"RATE_LIMIT"}},
		{[]string{"RATE_LIMIT_ADDRESS=10"}, []string{"LIMIT_COST", "RATE_LIMIT_ADDRESS"}},
		{[]string{"CORS_ORIGINS=*"}, []string{"CORS_ORIGINS"}},
		{[]string{"CORS_ORIGINS=https://a.example.com/"}, []string{"CORS_ORIGINS"}},
		{[]string{"HTTP_PROFILE=old"}, []string{"HTTP_PROFILE"}},
		{[]string{"TRUSTED_DOCUMENTS=d", "TRUSTED_DOCUMENTS_MODE=strict"}, []string{"TRUSTED_DOCUMENTS_MODE"}},
		{[]string{"TRUSTED_DOCUMENTS_MODE=log"}, []string{"TRUSTED_DOCUMENTS", "TRUSTED_DOCUMENTS_MODE"}},
		{[]string{"TRUSTED_DOCUMENTS_CLIENTS=web=require"}, []string{"TRUSTED_DOCUMENTS", "TRUSTED_DOCUMENTS_CLIENTS"}},
		{[]string{"TRUSTED_DOCUMENTS_CLIENTS=web=no"}, []string{"TRUSTED_DOCUMENTS_CLIENTS"}},
		{[]string{"TRUSTED_DOCUMENTS_CLIENTS==off"}, []string{"TRUSTED_DOCUMENTS_CLIENTS"}},
		{[]string{"TRUSTED_DOCUMENTS_CLIENTS=web"}, []string{"TRUSTED_DOCUMENTS_CLIENTS"}},
		{[]string{"TLS_CERT_FILE=/cert.pem"}, []string{"TLS_CERT_FILE", "TLS_KEY_FILE"}},
		{[]string{"TLS_KEY_FILE=/key.pem"}, []string{"TLS_CERT_FILE", "TLS_KEY_FILE"}},
		{[]string{"COOKIE_SECURE=always"}, []string{"COOKIE_SECURE"}},
		{[]string{"TRUSTED_PROXIES=localhost"}, []string{"TRUSTED_PROXIES"}},
		{[]string{"TRUSTED_PROXIES=10.0.0.0/8,10.0.0.0/33"}, []string{"TRUSTED_PROXIES"}},
		{[]string{"PLAYGROUND=yes"}, []string{"PLAYGROUND"}},
		{[]string{"PLAYGROUND=staff"}, []string{"PLAYGROUND"}},
		{[]string{"INTROSPECTION=true"}, []string{"INTROSPECTION"}},
		{[]string{"LOG_LEVEL=loud"}, []string{"LOG_LEVEL"}},
		{[]string{"DATABASE_DIRECT_URL=d"}, []string{"DATABASE_URL"}},
		{[]string{"USERS_DATABASE_URL=u"}, []string{"DATABASE_URL"}},
		{[]string{"PRODUCTS_DATABASE_URL=p"}, []string{"DATABASE_URL"}},
		{[]string{"ORDERS_DATABASE_URL=o"}, []string{"DATABASE_URL"}},
		{[]string{"PAYMENTS_DATABASE_URL=y"}, []string{"DATABASE_URL"}},
		{[]string{"PAYMENTS_DATABASE_DIRECT_URL=yd"}, []string{"DATABASE_URL"}},
		{[]string{"HTTP_ADDR=nope"}, []string{"HTTP_ADDR"}},
		{[]string{"HTTP_ADDR=:http"}, []string{"HTTP_ADDR"}},
		{[]string{"ADMIN_ADDR=:70000"}, []string{"ADMIN_ADDR"}},
		{[]string{"TEST_PROVIDER_ADDR=8099"}, []string{"TEST_PROVIDER_ADDR"}},
		{[]string{"CDN_PURGE_URL=ftp://:hunter2@example.com"}, []string{"CDN_PURGE_URL"}},
		{[]string{"CDN_PURGE_URL=https://example.com", "CDN_PURGE_TOKEN=hunter2\nX: y"}, []string{"CDN_PURGE_URL"}},
		{[]string{"CDN_PURGE_TOKEN=hunter2"}, []string{"CDN_PURGE_TOKEN", "CDN_PURGE_URL"}},
		{[]string{"REDIS_URL=http://example.com"}, []string{"REDIS_URL"}},
		{[]string{"REDIS_URL=redis://:hunter2@example.com/x"}, []string{"REDIS_URL"}},
		{[]string{"REDIS_URL=redis+sentinel://:hunter2@example.com"}, []string{"REDIS_URL"}},
		{[]string{"DATABASE_URL=d"}, []string{"KEYSET", "KEYSET_FILE", "SIGNING_KEYS", "SIGNING_KEYS_FILE"}},
		{[]string{"SMTP_URL=smtp://mail.example.com"}, []string{"MAIL_FROM", "PUBLIC_URL", "SMTP_URL"}},
		{[]string{"SMTP_URL=http://u:p@mail.example.com", "MAIL_FROM=Shop <s@shop.example>", "PUBLIC_URL=https://shop.example"}, []string{"SMTP_URL"}},
		{[]string{"SMTP_URL=smtp://u:p@mail.example.com?tls=off", "MAIL_FROM=Shop <s@shop.example>", "PUBLIC_URL=https://shop.example"}, []string{"SMTP_URL"}},
		{[]string{"SMTP_URL=smtp://mail.example.com?tls=perhaps", "MAIL_FROM=Shop <s@shop.example>", "PUBLIC_URL=https://shop.example"}, []string{"SMTP_URL"}},
		{[]string{"MAIL_FROM=Shop"}, []string{"MAIL_FROM"}},
		{[]string{"PUBLIC_URL=shop.example"}, []string{"PUBLIC_URL"}},
		{[]string{"PUBLIC_URL=https://shop.example/#x"}, []string{"PUBLIC_URL"}},
		{[]string{"PAYMENT_PROVIDER=paypal"}, []string{"PAYMENT_PROVIDER"}},
		{[]string{"PAYMENT_PROVIDER=Stripe", "STRIPE_API_KEY=sk", "STRIPE_WEBHOOK_SECRET=wh"}, []string{"PAYMENT_PROVIDER"}},
		{[]string{"PAYMENT_PROVIDER=stripe"}, []string{"PAYMENT_PROVIDER", "STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET"}},
		// All of them at once, each one once.
		{[]string{"DATABASE_MAX_CONNS=many", "SESSION_TTL=long", "ACCESS_TOKEN_TTL=0s", "LOG_LEVEL=loud", "CURRENCY=euro",
			"PLAYGROUND=yes", "TRUSTED_PROXIES=here", "ORDERS_DATABASE_URL=o"},
			[]string{"ACCESS_TOKEN_TTL", "CURRENCY", "DATABASE_MAX_CONNS", "DATABASE_URL", "LOG_LEVEL", "PLAYGROUND", "SESSION_TTL", "TRUSTED_PROXIES"}},
	} {
		_, err := config.Load(c.environ)
		if got := named(err); !slices.Equal(got, c.want) {
			t.Errorf("%q: the error names %v, want %v:\n%v", c.environ, got, c.want, err)
		}
		if err != nil && len(c.environ) > 1 && strings.Count(err.Error(), "\n") != len(c.want)-1 {
			t.Errorf("%q: the error does not have a line for each:\n%v", c.environ, err)
		}
	}
}

// TestPaymentProvider takes providers with all that they need, and only with that.
func TestPaymentProvider(t *testing.T) {
	t.Parallel()
	own := []string{"DATABASE_URL=d", "KEYSET_FILE=/k", "SIGNING_KEYS_FILE=/s"}
	stripe := []string{"STRIPE_API_KEY=sk", "STRIPE_WEBHOOK_SECRET=wh"}
	test := []string{"TEST_PROVIDER_URL=http://tp", "TEST_PROVIDER_KEY=tk", "TEST_PROVIDER_WEBHOOK_SECRET=tw"}
	for _, database := range [][]string{nil, own} {
		load(t, database...) // none is needed
		for provider, needs := range map[string][]string{"stripe": stripe, "test": test} {
			environ := append(slices.Clone(database), "PAYMENT_PROVIDER="+provider)
			if c := load(t, append(environ, needs...)...); c.PaymentProvider != provider {
				t.Errorf("%q is %q", provider, c.PaymentProvider)
			}
			want := append([]string{"PAYMENT_PROVIDER"}, needs...)
			for i := range want {
				want[i], _, _ = strings.Cut(want[i], "=")
			}
			for i := range needs {
				_, err := config.Load(append(environ, slices.Delete(slices.Clone(needs), i, i+1)...))
				switch {
				case provider == "test" && database == nil: // the server starts one of its own
					if err != nil {
						t.Errorf("%q without %s: %v", environ, needs[i], err)
					}
				case !slices.Equal(named(err), slices.Sorted(slices.Values(want))):
					t.Errorf("%q without %s: the error names %v, want %v", environ, needs[i], named(err), want)
				}
			}
		}
	}
}

func TestSecretsNeverShow(t *testing.T) {
	t.Parallel()
	const password = "hunter2"
	secret := config.Secret(password)
	c := config.Config{}
	for _, field := range reflect.VisibleFields(reflect.TypeOf(c)) {
		if field.Type == reflect.TypeFor[config.Secret]() {
			reflect.ValueOf(&c).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(secret))
		}
	}
	shown := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%10.3s", "%U"} {
		for name, value := range map[string]any{
			"secret": secret, "pointer": &secret, "list": []config.Secret{secret}, "map": map[string]config.Secret{"x": secret},
			"config": c, "config pointer": &c,
		} {
			shown[verb+" of the "+name] = fmt.Sprintf(verb, value)
		}
	}
	shown["Errorf"] = fmt.Errorf("can not reach %v", secret).Error()
	shown["Sprint"] = fmt.Sprint(secret, c)
	for name, value := range map[string]any{"secret": secret, "pointer": &secret, "config": c, "config pointer": &c} {
		b, err := json.Marshal(value)
		if err != nil {
			t.Errorf("JSON of the %s: %v", name, err)
		}
		shown["JSON of the "+name] = string(b)

		var text, lines bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("start", "value", value)
		slog.New(slog.NewJSONHandler(&lines, nil)).Info("start", "value", value)
		shown["slog's text of the "+name], shown["slog's JSON of the "+name] = text.String(), lines.String()
	}
	hex := fmt.Sprintf("%x", password)
	for how, text := range shown {
		if strings.Contains(text, password) || strings.Contains(strings.ToLower(text), hex) || strings.Contains(text, "hun") {
			t.Errorf("%s shows it: %s", how, text)
		}
	}
	if got := fmt.Sprintf("%v|%s|%q", secret, secret, config.Secret("")); got != "[secret]|[secret]|" {
		t.Errorf("secrets are shown as %s", got)
	}
	if string(secret) != password {
		t.Error("the secret is not what it was")
	}
}

func TestDatabaseURLs(t *testing.T) {
	t.Parallel()
	all := func(url string) map[string]string {
		return map[string]string{"users": url, "products": url, "orders": url, "payments": url}
	}
	with := func(base map[string]string, domain, url string) map[string]string {
		base[domain] = url
		return base
	}
	for _, c := range []struct {
		environ      []string
		urls, direct map[string]string
	}{
		{nil, all(""), all("")},
		{[]string{"DATABASE_URL=d"}, all("d"), all("d")},
		{[]string{"DATABASE_URL=d", "DATABASE_DIRECT_URL=dd"}, all("d"), all("dd")},
		{[]string{"DATABASE_URL=d", "USERS_DATABASE_URL=u"}, with(all("d"), "users", "u"), with(all("d"), "users", "u")},
		{[]string{"DATABASE_URL=d", "PRODUCTS_DATABASE_URL=p"}, with(all("d"), "products", "p"), with(all("d"), "products", "p")},
		{[]string{"DATABASE_URL=d", "ORDERS_DATABASE_URL=o"}, with(all("d"), "orders", "o"), with(all("d"), "orders", "o")},
		{[]string{"DATABASE_URL=d", "PAYMENTS_DATABASE_URL=y"}, with(all("d"), "payments", "y"), with(all("d"), "payments", "y")},
		// The common direct address is of another database than the domain's own.
		{[]string{"DATABASE_URL=d", "DATABASE_DIRECT_URL=dd", "ORDERS_DATABASE_URL=o"}, with(all("d"), "orders", "o"), with(all("dd"), "orders", "o")},
		{[]string{"DATABASE_URL=d", "DATABASE_DIRECT_URL=dd", "ORDERS_DATABASE_URL=o", "ORDERS_DATABASE_DIRECT_URL=od"},
			with(all("d"), "orders", "o"), with(all("dd"), "orders", "od")},
		{[]string{"DATABASE_URL=d", "USERS_DATABASE_DIRECT_URL=ud"}, all("d"), with(all("d"), "users", "ud")},
		{[]string{"DATABASE_URL=d", "PRODUCTS_DATABASE_DIRECT_URL=pd"}, all("d"), with(all("d"), "products", "pd")},
		{[]string{"DATABASE_URL=d", "PAYMENTS_DATABASE_DIRECT_URL=yd"}, all("d"), with(all("d"), "payments", "yd")},
	} {
		cfg := load(t, c.environ...)
		if got := cfg.DatabaseURLs(); !maps.Equal(got, c.urls) {
			t.Errorf("%q: the databases are %v, want %v", c.environ, got, c.urls)
		}
		if got := cfg.DirectURLs(); !maps.Equal(got, c.direct) {
			t.Errorf("%q: the direct addresses are %v, want %v", c.environ, got, c.direct)
		}
		if got := slices.Sorted(maps.Keys(cfg.DatabaseURLs())); !slices.Equal(got, slices.Sorted(slices.Values(config.Domains))) {
			t.Errorf("there are databases of %v, and the domains %v", got, config.Domains)
		}
	}
}

func TestTrustedDocumentsAreLoggedFirst(t *testing.T) {
	t.Parallel()
	if c := load(t, "TRUSTED_DOCUMENTS=d"); c.TrustedMode != "log" {
		t.Errorf("with documents the mode is %s", c.TrustedMode)
	}
}

func TestWhatIsOpenByDefault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		environ                   []string
		playground, introspection string
	}{
		{nil, "on", "on"},
		{[]string{"DATABASE_URL=d"}, "off", "off"},
		{[]string{"PLAYGROUND=off", "INTROSPECTION=off"}, "off", "off"},
		{[]string{"DATABASE_URL=d", "PLAYGROUND=on"}, "on", "off"},
		{[]string{"DATABASE_URL=d", "INTROSPECTION=staff"}, "off", "staff"},
		{[]string{"DATABASE_URL=d", "PLAYGROUND=on", "INTROSPECTION=on"}, "on", "on"},
	} {
		if got := load(t, c.environ...); got.Playground != c.playground || got.Introspection != c.introspection {
			t.Errorf("%q: the Playground is %s and introspection %s, want %s and %s",
				c.environ, got.Playground, got.Introspection, c.playground, c.introspection)
		}
	}
}

var (
	tableRow   = regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| (.+) \\| (.*?) ?\\|$")
	mentioned  = regexp.MustCompile("[`\n]([A-Z]+(?:_[A-Z]+)+)[`=]")
	oneLiteral = regexp.MustCompile("^`([^`]+)`$")
)

// TestDocumentation compares docs/configuration.md with the variables, both ways, their defaults included.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	defaults := map[string]string{}
	for _, row := range tableRow.FindAllStringSubmatch(string(file), -1) {
		documented = append(documented, row[1])
		if literal := oneLiteral.FindStringSubmatch(row[3]); literal != nil && !slices.Contains(config.Variables(), literal[1]) {
			defaults[row[1]] = literal[1]
		}
	}
	if !slices.Equal(documented, config.Variables()) {
		t.Errorf("the table has\n%v, the variables are\n%v", documented, config.Variables())
	}
	for _, m := range mentioned.FindAllStringSubmatch(string(file), -1) {
		if !slices.Contains(config.Variables(), m[1]) {
			t.Errorf("%s is mentioned and is no variable", m[1])
		}
	}

	want := map[string]string{"COOKIE_SECURE": "false"} // as is every switch that is not set
	for prefix, of := range map[string]reflect.Type{"": reflect.TypeFor[config.Config](), "LIMIT_": reflect.TypeFor[config.Limits]()} {
		for field := range of.Fields() {
			if value, ok := field.Tag.Lookup("envDefault"); ok {
				want[prefix+field.Tag.Get("env")] = value
			}
		}
	}
	if !maps.Equal(defaults, want) {
		t.Errorf("the table has the defaults\n%v, the variables\n%v", defaults, want)
	}
}

// TestDocumentedExamples loads what docs/configuration.md shows.
func TestDocumentedExamples(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var environ []string
	for _, block := range regexp.MustCompile("(?s)```(sh|json)\n(.*?)```").FindAllStringSubmatch(string(file), -1) {
		if block[1] == "json" {
			environ = append(environ, "OIDC_ISSUERS="+block[2])
			continue
		}
		for line := range strings.Lines(block[2]) {
			environ = append(environ, strings.ReplaceAll(strings.TrimSpace(line), "'", ""))
		}
	}
	c := load(t, environ...)
	for _, line := range environ {
		if strings.HasPrefix(line, "REDIS_URL=") { // one of many
			load(t, line)
		}
	}
	if len(environ) != 12 || c.SMTPURL == "" || c.DatabaseURL == "" || c.RedisURL == "" || len(c.TrustedProxies) != 3 || !c.CookieSecure {
		t.Errorf("the %d examples give %+v", len(environ), c)
	}
	var keys atomic.Pointer[auth.Keyring]
	keys.Store(auth.NewKeyring())
	_, err = auth.NewVerifier(auth.VerifierConfig{Issuer: c.TokenIssuer, Audience: c.TokenAudience, External: c.OIDCIssuers}, &keys)
	if err != nil || len(c.OIDCIssuers) != 2 {
		t.Errorf("the %d issuers of the example: %v", len(c.OIDCIssuers), err)
	}
}
