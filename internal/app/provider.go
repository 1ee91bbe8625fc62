package app

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"emporium/internal/payment/provider"
	"emporium/internal/payment/stripe"
	"emporium/internal/payment/testprovider"
)

// providers are whom the shop has payments made by.
type providers struct {
	all  map[string]provider.Provider
	main string        // that new payments go to; "": none is taken
	test *testProvider // the process of our own, where there is one
}

// openProviders makes the clients of the payment providers. A shop on private servers has a test provider of its own: a server
// starts it, a command uses the one that is running.
func (a *App) openProviders(ctx context.Context) (p providers, err error) {
	p.all, p.main = map[string]provider.Provider{}, a.cfg.PaymentProvider
	add := func(c provider.Provider) {
		// A few refusals of cards that do not answer are no failure of the provider: a circuit that opens makes all orders wait.
		guarded := provider.Resilient(c, provider.Options{Failures: 20})
		p.all[c.Name()] = guarded
		a.metrics.Circuit(c.Name(), func() bool { return guarded.Circuit() == provider.CircuitOpen })
	}
	if a.cfg.StripeAPIKey != "" {
		add(stripe.New(stripe.Config{APIKey: string(a.cfg.StripeAPIKey), WebhookSecret: string(a.cfg.StripeWebhookSecret), URL: a.cfg.StripeAPIURL}))
	}
	url, key, secret := a.cfg.TestProviderURL, string(a.cfg.TestProviderKey), string(a.cfg.TestProviderWebhookSecret)
	if url == "" && a.stack != nil && (p.main == "" || p.main == "test") {
		p.main = "test"
		key = hex.EncodeToString(a.secrets.sealer.Index("testprovider", "key"))
		secret = hex.EncodeToString(a.secrets.sealer.Index("testprovider", "webhooks"))
		at := filepath.Join(a.cfg.Dir, "testprovider.url")
		if a.serving {
			if p.test, err = startTestProvider(ctx, a.cfg.Dir, a.cfg.TestProviderAddr, key, secret); err != nil {
				return p, err
			}
			if err := os.WriteFile(at, []byte(p.test.url), 0o600); err != nil {
				return p, err
			}
		}
		running, err := os.ReadFile(at)
		if errors.Is(err, fs.ErrNotExist) {
			return p, nil
		} else if err != nil {
			return p, err
		}
		url = string(running)
	}
	if url != "" {
		client := testprovider.NewClient(url, key, secret)
		if p.test != nil {
			p.test.client = client
		}
		add(client)
	}
	return p, nil
}

// testProvider is a payment provider that moves no money, as a process of its own: its books outlive the server's, however that
// ends.
type testProvider struct {
	url    string
	client *testprovider.Client
	stdin  io.Closer // the process ends when this is closed, also because we have died
	ended  chan struct{}
	kill   func() error
}

// startTestProvider starts the process and waits until it answers.
func startTestProvider(ctx context.Context, dir, addr, key, secret string) (*testProvider, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("test provider: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, "testprovider.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("test provider: %w", err)
	}
	defer func() { _ = log.Close() }()
	// Not bound to ctx: the provider is there until the server has finished what it was doing.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, "testprovider", "--addr", addr, "--books", filepath.Join(dir, "testprovider.db"), "--until-stdin-closes")
	cmd.Env = append(os.Environ(), "TEST_PROVIDER_KEY="+key, "TEST_PROVIDER_WEBHOOK_SECRET="+secret)
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("test provider: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("test provider: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("test provider: %w", err)
	}
	p := &testProvider{stdin: stdin, ended: make(chan struct{}), kill: cmd.Process.Kill}
	said := make(chan string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			select {
			case said <- lines.Text():
			default:
			}
		}
		_ = cmd.Wait()
	}()
	select {
	case p.url = <-said:
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("the test provider did not start on %s (TEST_PROVIDER_ADDR); see testprovider.log in %s", addr, dir)
	case <-time.After(10 * time.Second):
		return nil, errors.Join(errors.New("the test provider does not start"), p.close())
	}
}

// watch reports that the process has ended by itself.
func (p *testProvider) watch(ctx context.Context) error {
	if p == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-p.ended:
		return errors.New("the test provider has ended; see testprovider.log, and start again")
	}
}

// announce tells the process where its events go.
func (p *testProvider) announce(ctx context.Context, http net.Addr) error {
	if p == nil {
		return nil
	}
	_, port, err := net.SplitHostPort(http.String())
	if err != nil {
		return err
	}
	settings := testprovider.Webhooks{URL: "http://" + net.JoinHostPort("127.0.0.1", port) + "/webhooks/test"}
	if err := p.client.SetWebhooks(ctx, settings); err != nil {
		return fmt.Errorf("test provider: %w", err)
	}
	return nil
}

// close ends the process.
func (p *testProvider) close() error {
	if p == nil {
		return nil
	}
	if p.client != nil {
		p.client.Close()
	}
	err := p.stdin.Close()
	if err != nil && strings.Contains(err.Error(), "already closed") {
		err = nil
	}
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		err = errors.Join(err, p.kill())
		<-p.ended
	}
	return err
}
