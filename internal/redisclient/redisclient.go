// Package redisclient makes clients of Redis: one server, servers watched by Sentinels, or a Redis Cluster. Whatever
// becomes of Redis, a call of such a client takes no longer than its context allows, and the connections and goroutines
// that wait for Redis are bounded.
package redisclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Timeouts bound what a caller does not: connections are also made, and their answers awaited, for nobody.
const (
	dialTimeout = 500 * time.Millisecond
	callTimeout = time.Second
)

// Forms are the URLs that Open takes, for messages to people.
const Forms = "redis://, rediss:// or unix://, redis+cluster://HOST:PORT,… or redis+sentinel://HOST:PORT,…/NAME, " +
	"the last two also with rediss"

var errURL = errors.New("is none of " + Forms)

// Check tells what is wrong with a URL, in words that follow a variable's name and show nothing of it, because it may
// hold a password.
func Check(rawURL string) error {
	_, err := parse(rawURL)
	return err
}

// Open returns a client that keeps at most so many connections to each server. It does no I/O: a server that is not there
// yet is found when it comes. Close it.
//
// go-redis retries nothing here: what is asked for can be done without, and a dead server is left at once. Commands end
// with their context's deadline or after a second.
func Open(rawURL string, conns int) (redis.UniversalClient, error) {
	t, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	conns = max(conns, 1)
	off := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled} // of Redis Enterprise: one more round trip for each connection
	switch {
	case t.cluster != nil:
		o := t.cluster
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = dialTimeout, callTimeout, callTimeout, callTimeout
		o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
		o.PoolSize, o.MaxActiveConns, o.MinIdleConns, o.MaxIdleConns, o.PipelinePoolSize = conns, conns, 1, 0, -1
		o.DisableIdentity, o.MaintNotificationsConfig = true, off
		// Otherwise the client asks for a list of all commands, and waits for it.
		o.DisableRoutingPolicies = true
		// A cluster that moves tells so with its answers; one that has lost a master does not.
		o.ClusterStateReloadInterval = 5 * time.Second
		o.Dialer = dialer(o.TLSConfig)
		return redis.NewClusterClient(o), nil
	case t.sentinel != nil:
		o := t.sentinel
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = dialTimeout, callTimeout, callTimeout, callTimeout
		o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
		o.PoolSize, o.MaxActiveConns, o.MinIdleConns, o.MaxIdleConns, o.PipelinePoolSize = conns, conns, 1, 0, -1
		o.DisableIdentity = true
		o.Dialer = dialer(o.TLSConfig)
		return redis.NewFailoverClient(o), nil
	default:
		o := t.single
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = dialTimeout, callTimeout, callTimeout, callTimeout
		o.MaxRetries, o.DialerRetries, o.ContextTimeoutEnabled = -1, 1, true
		o.PoolSize, o.MaxActiveConns, o.MinIdleConns, o.MaxIdleConns, o.PipelinePoolSize = conns, conns, 1, 0, -1
		o.DisableIdentity, o.MaintNotificationsConfig = true, off
		o.Dialer = dialer(o.TLSConfig)
		return redis.NewClient(o), nil
	}
}

// target is one of three.
type target struct {
	single   *redis.Options
	sentinel *redis.FailoverOptions
	cluster  *redis.ClusterOptions
}

// parse reads a URL. go-redis reads the parameters, after a URL of several hosts, which it does not know and net/url
// refuses, was turned into its own form.
func parse(rawURL string) (target, error) {
	scheme, rest, found := strings.Cut(rawURL, "://")
	if !found {
		return target{}, errURL
	}
	scheme, kind, many := strings.Cut(scheme, "+")
	if !many {
		if scheme != "redis" && scheme != "rediss" && scheme != "unix" {
			return target{}, errURL
		}
		o, err := redis.ParseURL(rawURL)
		if err != nil {
			return target{}, errors.New("can not be parsed")
		}
		return target{single: o}, nil
	}
	if scheme != "redis" && scheme != "rediss" || kind != "cluster" && kind != "sentinel" {
		return target{}, errURL
	}
	authority, path, query := split(rest)
	user, hosts := "", authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, hosts = authority[:i], authority[i+1:]
	}
	port := "6379"
	if kind == "sentinel" {
		port = "26379"
	}
	addrs, err := addresses(hosts, port)
	if err != nil {
		return target{}, err
	}
	parameters, err := url.ParseQuery(query)
	if err != nil {
		return target{}, errors.New("has parameters that can not be parsed")
	}
	if parameters.Has("addr") {
		return target{}, errors.New("has a parameter addr: all hosts go before the path, with commas between them")
	}
	if kind == "cluster" {
		return clusterOf(scheme, user, addrs, path, parameters)
	}
	return sentinelOf(scheme, user, addrs, path, parameters)
}

func clusterOf(scheme, user string, addrs []string, path string, parameters url.Values) (target, error) {
	if path != "" && path != "0" {
		return target{}, errors.New("names a database: a cluster has none but 0")
	}
	parameters["addr"] = addrs[1:]
	if user != "" {
		user += "@"
	}
	o, err := redis.ParseClusterURL(scheme + "://" + user + addrs[0] + "?" + parameters.Encode())
	if err != nil {
		return target{}, errors.New("can not be parsed")
	}
	if o.TLSConfig != nil {
		o.TLSConfig.ServerName = "" // each server's own
	}
	return target{cluster: o}, nil
}

func sentinelOf(scheme, user string, addrs []string, path string, parameters url.Values) (target, error) {
	name, db, _ := strings.Cut(path, "/")
	name, err := url.PathUnescape(name)
	if err != nil || name == "" {
		return target{}, errors.New("does not name what the Sentinels watch: redis+sentinel://HOST:PORT,…/NAME")
	}
	u, err := url.Parse(scheme + "://" + user + "@host")
	if err != nil {
		return target{}, errors.New("can not be parsed")
	}
	// In go-redis's form the user before the hosts is the Sentinels'. Redis is what most people give a password.
	watcher := url.UserPassword(parameters.Get("sentinel_username"), parameters.Get("sentinel_password"))
	for _, parameter := range []string{"sentinel_username", "sentinel_password", "username", "password", "master_name", "db"} {
		parameters.Del(parameter)
	}
	parameters["addr"] = addrs[1:]
	parameters.Set("master_name", name)
	o, err := redis.ParseFailoverURL(scheme + "://" + addrs[0] + "/" + db + "?" + parameters.Encode())
	if err != nil || o.RouteByLatency || o.RouteRandomly {
		return target{}, errors.New("can not be parsed")
	}
	o.Username = u.User.Username()
	o.Password, _ = u.User.Password()
	o.SentinelUsername = watcher.Username()
	o.SentinelPassword, _ = watcher.Password()
	if o.TLSConfig != nil {
		o.TLSConfig.ServerName = ""
	}
	return target{sentinel: o}, nil
}

// split returns what stands before the path, the path without its slash, and the parameters.
func split(rest string) (authority, path, query string) {
	rest, query, _ = strings.Cut(rest, "?")
	authority, path, _ = strings.Cut(rest, "/")
	return authority, strings.TrimSuffix(path, "/"), query
}

// addresses reads a list of hosts, with ports or without.
func addresses(list, port string) ([]string, error) {
	addrs := strings.Split(list, ",")
	for i, a := range addrs {
		host, p, err := net.SplitHostPort(a)
		if err != nil {
			host, p = strings.TrimSuffix(strings.TrimPrefix(a, "["), "]"), port
		}
		if host == "" || p == "" || strings.ContainsAny(host, " []") || strings.Contains(host, ":") && !strings.HasPrefix(a, "[") {
			return nil, fmt.Errorf("has a host number %d that is not HOST or HOST:PORT", i+1)
		}
		addrs[i] = net.JoinHostPort(host, p)
	}
	return addrs, nil
}

// lines keeps go-redis, which logs each failed dial as a line of text, to what its users and /readyz say better.
type lines struct{}

// Printf passes the line on for debugging.
func (lines) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, "redis", "line", fmt.Sprintf(format, v...))
}

func init() { redis.SetLogger(lines{}) }
