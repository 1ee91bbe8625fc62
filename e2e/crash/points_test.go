package crash

import (
	"testing"
	"time"

	"emporium/internal/postgres/pgtest"
)

// flow is something that people do, with the points that the server comes by meanwhile.
type flow struct {
	name    string
	prepare func(s *store) request // on a server that lives
	points  []string
}

// bought orders something, and returns the order with its payment and its first line.
func bought(s *store, card string) (order, payment, line string) {
	s.t.Helper()
	r := ordering(s, card)
	answer, err := s.do(s.t.Context(), r)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.log())
	}
	order = answer.Text("order", "id")
	o, err := s.look(s.t.Context(), s.manager, order)
	if err != nil || o.Text("status") != "PLACED" {
		s.t.Fatalf("order %v %v: %v\n%s", answer, o, err, s.log())
	}
	return order, o.List("payments")[0].Text("id"), o.List("lines")[0].Text("id")
}

func ordering(s *store, card string) request {
	s.t.Helper()
	r, err := s.cart(s.t.Context(), card, item{s.plenty[0], 2}, item{s.plenty[1], 1})
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.log())
	}
	return r
}

var flows = []flow{
	{"an order", func(s *store) request { return ordering(s, "card_ok") }, []string{
		"order: it exists", "order: before hold", "order: after hold", "authorize/committing", "authorize/committed", "ask/committing",
		"ask/committed", "authorize/calling", "authorize/called", "apply/committing", "apply/committed", "order: before sale",
		"order: after sale", "order: before it is finished", "order: after it is finished", "receive/committing", "receive/committed"}},
	{"a payment that is refused", func(s *store) request { return ordering(s, "card_declined") }, []string{
		"apply/committing", "apply/committed", "order: before it is finished", "order: after it is finished", "close/committing",
		"close/committed", "release/committing", "release/committed", "command/committing", "command/committed", "void/calling",
		"void/called", "order: after the money is back", "order: after the goods are back"}},
	{"an answer that is lost", func(s *store) request { return ordering(s, "card_late") }, []string{
		"authorize/calling", "authorize/called", "apply/committed"}},
	{"a cancellation", func(s *store) request {
		order, _, _ := bought(s, "card_ok")
		return s.cancel(order)
	}, []string{"close/committing", "close/committed", "release/committing", "release/committed", "command/committing", "command/committed",
		"void/calling", "void/called", "apply/committing", "apply/committed", "order: after the money is back", "order: after the goods are back"}},
	{"a capture", func(s *store) request {
		_, payment, _ := bought(s, "card_ok")
		return s.capture(payment)
	}, []string{"capture/committing", "capture/committed", "capture/calling", "capture/called", "apply/committing", "apply/committed"}},
	{"a void", func(s *store) request {
		_, payment, _ := bought(s, "card_ok")
		return s.void(payment)
	}, []string{"void/committing", "void/committed", "void/calling", "void/called"}},
	{"a refund", func(s *store) request { return s.refund(captured(s), "7.50") }, []string{
		"refund/committing", "refund/committed", "refund/calling", "refund/called", "apply/committing", "apply/committed"}},
	{"a capture that is refused", func(s *store) request {
		_, payment, _ := bought(s, "card_capture_fails")
		return s.capture(payment)
	}, []string{"end/committing", "end/committed"}},
	{"a cancellation that refunds", func(s *store) request {
		order, payment, _ := bought(s, "card_ok")
		s.settled(s.capture(payment))
		return s.cancel(order)
	}, []string{"command/committed", "refund/calling", "refund/called", "order: after the money is back"}},
	{"an edit", func(s *store) request {
		order, _, line := bought(s, "card_ok")
		return s.edit(order, line, s.plenty[2])
	}, []string{"order: before an edit is held", "order: after an edit is held", "order: after an edit is sold"}},
}

func captured(s *store) (payment string) {
	s.t.Helper()
	_, payment, _ = bought(s, "card_ok")
	s.settled(s.capture(payment))
	return payment
}

// settled sends a request of the manager's that has to succeed.
func (s *store) settled(r request) {
	s.t.Helper()
	answer, err := s.do(s.t.Context(), r)
	if err != nil || len(answer.List("userErrors")) > 0 {
		s.t.Fatalf("%s: %v %v\n%s", r.name, answer, err, s.log())
	}
}

// TestDeathAtEachPoint kills the server at each point of each flow. The request is sent again with its key to the next server:
// it is answered, and what was begun is finished.
func TestDeathAtEachPoint(t *testing.T) {
	t.Parallel()
	for _, f := range flows {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			dbs := pgtest.New(t)
			s := openShop(t, dbs.URLs, dbs.RedisURL)
			for _, point := range f.points {
				began := time.Now()
				r := f.prepare(s)
				s.process.kill()
				s.start(point)
				first, err := s.ask(t.Context(), r.token, r.query, r.variables)
				if !s.died() {
					t.Fatalf("it did not die at %q: %v %v\n%s", point, first, err, s.log())
				}
				s.start("")
				if answer, err := s.do(t.Context(), r); err != nil {
					t.Errorf("after a death at %q: %v %v", point, answer, err)
				} else if answer.At("order") == nil && answer.At("payment") == nil {
					t.Errorf("after a death at %q: %v", point, answer)
				}
				t.Logf("%s: %s", point, time.Since(began))
			}
			s.finish()
			s.check()
		})
	}
}
