package order

import (
	"context"
	"time"

	"github.com/google/uuid"

	"emporium/internal/id"
	"emporium/internal/postgres"
)

// Notice is what a customer is told about an order.
type Notice string

const (
	NoticePlaced        Notice = "PLACED"
	NoticePaymentFailed Notice = "PAYMENT_FAILED"
	NoticeShipped       Notice = "SHIPPED"
	NoticeCanceled      Notice = "CANCELED"
)

// noticeJob tells a customer of an order.
type noticeJob struct {
	Owner  uuid.UUID `json:"owner"`
	Order  uuid.UUID `json:"order"`
	Notice Notice    `json:"notice"`
}

// Kind names the job.
func (noticeJob) Kind() string { return "orders.notice" }

// tellCustomer has the customer of an order told of something, once the transaction has committed.
func (s *Service) tellCustomer(ctx context.Context, tx *postgres.Tx, key id.Key, n Notice) error {
	if s.notify == nil {
		return nil
	}
	return s.jobs.Add(ctx, tx, noticeJob{key.Owner, key.ID, n}, time.Time{})
}

// sendNotice tells a customer. Orders without an address have nobody to be told.
func (s *Service) sendNotice(ctx context.Context, j noticeJob) error {
	o, err := s.read(ctx, s.db, id.Key{Owner: j.Owner, ID: j.Order})
	if err != nil || o.Email == nil {
		return err
	}
	return s.notify(ctx, o, j.Notice)
}
