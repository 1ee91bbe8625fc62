package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"emporium/internal/devstack"
	"emporium/internal/postgres/pgtest"
)

// crowd buys until it is told to stop, and remembers what it was answered.
type crowd struct {
	s    *store
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	placed  []sent // orders that buyers were answered
	answers map[string]int
	total   int        // of the answers
	counted *sync.Cond // one more of them
}

// sent is a request that was answered with an order.
type sent struct {
	request
	order string
}

// cards are what buyers pay with besides card_ok, which two of three take: a provider that fails more often than not is not asked
// for a while.
var cards = []string{"card_declined", "card_action", "card_timeout", "card_late", "card_unavailable_once"}

// gather lets buyers and a manager loose.
func gather(s *store) *crowd {
	ctx, stop := context.WithCancel(s.t.Context())
	c := &crowd{s: s, stop: stop, answers: map[string]int{}}
	c.counted = sync.NewCond(&c.mu)
	for i := range 8 {
		c.done.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for ctx.Err() == nil {
				if err := c.buy(ctx, r); err != nil && ctx.Err() == nil {
					s.t.Errorf("a buyer: %v", err)
				}
			}
		})
	}
	c.done.Go(func() {
		r := rand.New(rand.NewPCG(1, 99))
		for ctx.Err() == nil {
			if err := c.manage(ctx, r); err != nil && ctx.Err() == nil {
				s.t.Errorf("the manager: %v", err)
			}
		}
	})
	return c
}

func (c *crowd) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[what]++
	c.total++
	c.counted.Broadcast()
}

// after waits until the crowd has had so many more answers: then others of it are in the middle of something.
func (c *crowd) after(answers int) {
	c.s.t.Helper()
	const most = 2 * time.Minute
	late := false
	timer := time.AfterFunc(most, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		late = true
		c.counted.Broadcast()
	})
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for want := c.total + answers; c.total < want; c.counted.Wait() {
		if late {
			c.s.t.Fatalf("there were no %d answers within %s: %v\n%s", answers, most, c.answers, c.s.log())
		}
	}
}

// buy orders something, approves it half the time if it is asked for, and sometimes asks again with the same key.
func (c *crowd) buy(ctx context.Context, r *rand.Rand) error {
	items := []item{{c.s.plenty[r.IntN(len(c.s.plenty))], 1 + r.IntN(3)}}
	if r.IntN(3) == 0 {
		items = append(items, item{c.s.scarce[r.IntN(len(c.s.scarce))], 1})
	}
	card := "card_ok"
	if r.IntN(3) == 0 {
		card = cards[r.IntN(len(cards))]
	}
	q, err := c.s.cart(ctx, card, items...)
	if err != nil {
		return err
	}
	answer, err := c.s.do(ctx, q)
	if err != nil {
		return err
	}
	order := answer.Text("order", "id")
	if order == "" {
		c.count(fmt.Sprint(problems(answer)))
		return nil
	}
	c.count(answer.Text("order", "status"))
	c.mu.Lock()
	c.placed = append(c.placed, sent{q, order})
	c.mu.Unlock()
	if r.IntN(2) == 0 {
		o, err := c.s.look(ctx, answer.Text("guest", "token"), order)
		if err != nil {
			return err
		}
		for _, p := range o.List("payments") {
			if url := p.Text("action", "url"); url != "" {
				if err := c.s.approve(ctx, url); err != nil {
					return err
				}
			}
		}
	}
	if r.IntN(3) == 0 {
		return c.again(ctx, sent{q, order})
	}
	return nil
}

// again sends a request again, and is answered with the same order.
func (c *crowd) again(ctx context.Context, q sent) error {
	answer, err := c.s.do(ctx, q.request)
	if err == nil && answer.Text("order", "id") != q.order {
		err = fmt.Errorf("the key of order %s was answered with %v", q.order, answer)
	}
	return err
}

// manage does something with an order of the latest ones. That it is refused, since the order is elsewhere by then, is fine.
func (c *crowd) manage(ctx context.Context, r *rand.Rand) error {
	c.mu.Lock()
	n := len(c.placed)
	var q sent
	if n > 0 {
		q = c.placed[n-1-r.IntN(min(n, 10))]
	}
	c.mu.Unlock()
	if n == 0 {
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
		return nil
	}
	o, err := c.s.look(ctx, c.s.manager, q.order)
	if err != nil || len(o.List("payments")) == 0 || len(o.List("lines")) == 0 {
		return err
	}
	payment := o.List("payments")[0].Text("id")
	var what request
	switch r.IntN(6) {
	case 0:
		what = c.s.cancel(q.order)
	case 1:
		what = c.s.void(payment)
	case 2:
		what = c.s.edit(q.order, o.List("lines")[0].Text("id"), c.s.plenty[r.IntN(len(c.s.plenty))])
	case 3:
		what = c.s.refund(payment, "1")
	default:
		what = c.s.capture(payment)
	}
	answer, err := c.s.do(ctx, what)
	if no, is := errors.AsType[*refused](err); is && (no.code == "CONFLICT" || no.code == "BAD_USER_INPUT") {
		err = nil
	}
	if err == nil {
		outcome := "done"
		if len(problems(answer)) > 0 {
			outcome = "refused"
		}
		c.count(what.name + " " + outcome)
	}
	return err
}

// leave stops the crowd. Requests that are under way come to nothing, as if the browser had been closed.
func (c *crowd) leave() {
	c.stop()
	c.done.Wait()
	c.s.t.Logf("answers: %v", c.answers)
}

// keep asks with the key of each order once more: there is one order for it.
func (c *crowd) keep() {
	for _, q := range c.placed {
		if err := c.again(c.s.t.Context(), q); err != nil {
			c.s.t.Error(err)
		}
	}
}

// crashes is how often the server is killed under load: EMPORIUM_CRASHES, or a few.
func crashes(t *testing.T) int {
	t.Helper()
	text := os.Getenv("EMPORIUM_CRASHES")
	if text == "" {
		return 8
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("EMPORIUM_CRASHES is %q", text)
	}
	return n
}

// TestDeathUnderLoad kills the server at random moments while everybody buys.
func TestDeathUnderLoad(t *testing.T) {
	t.Parallel()
	dbs := pgtest.New(t)
	s := openShop(t, dbs.URLs, dbs.RedisURL)
	c := gather(s)
	for range crashes(t) {
		c.after(1 + rand.IntN(40))
		s.process.kill()
		s.start("")
	}
	c.leave()
	s.finish()
	c.keep()
	s.check()
	if len(c.placed) < 10 {
		t.Errorf("only %d orders were made", len(c.placed))
	}
}

// TestDeathOfPostgres lets Postgres die under load, without a checkpoint, and come back.
func TestDeathOfPostgres(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/tmp", "emporium-crash") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // root's servers run as somebody else
		t.Fatal(err)
	}
	up := func() *devstack.Stack {
		stack, err := devstack.Start(t.Context(), devstack.Options{Dir: dir, NeedRedis: true})
		if err != nil {
			t.Fatal(err)
		}
		return stack
	}
	stack := up()
	t.Cleanup(func() { _ = stack.Close() })
	urls := map[string]string{}
	for _, domain := range domains {
		urls[domain] = stack.DatabaseURL
	}
	s := openShop(t, urls, stack.RedisURL)
	s.dying = true
	c := gather(s)
	for range max(1, crashes(t)/10) {
		c.after(50)
		text, err := os.ReadFile(filepath.Join(dir, "data", "postgres", "postmaster.pid"))
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil { // "immediate" shutdown
			t.Fatal(err)
		}
		if err := stack.Close(); err != nil {
			t.Fatal(err)
		}
		stack = up()
	}
	c.after(50)
	c.leave()
	s.finish()
	c.keep()
	s.check()
	if len(c.placed) < 10 {
		t.Errorf("only %d orders were made", len(c.placed))
	}
}
