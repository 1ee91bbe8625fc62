//go:build unix

package remote_test

import (
	"context"
	"fmt"
	"testing"

	"emporium/internal/cache/remote"
	"emporium/internal/redisclient/redistest"
	"emporium/internal/seal"
)

// BenchmarkGet compares a Get with the bare call of the client on what is stored.
func BenchmarkGet(b *testing.B) {
	server := redistest.New(b)
	s := open(b, server.URL(), remote.Options{Sealer: sealer(b, seal.New())})
	look, ctx := server.Client(), context.Background()
	for _, size := range []int{500, 10 << 10, 100 << 10} {
		for _, private := range []bool{false, true} {
			look.FlushDB(ctx)
			value := answer(size)
			s.store(key(1), value, private)
			name := look.Keys(ctx, "*").Val()[0]
			kind := fmt.Sprintf("%dB/private=%t", size, private)
			b.Run(kind+"/bare", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := s.client.Get(ctx, name).Err(); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(kind+"/store", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if s.Get(ctx, key(1), private) == nil {
						b.Fatal("a miss")
					}
				}
			})
			look.Set(ctx, "plain", value, 0)
			b.Run(kind+"/bare, not compressed", func(b *testing.B) {
				b.ReportAllocs()
				defer func() { b.ReportMetric(float64(len(value))/float64(look.StrLen(ctx, name).Val()), "times-smaller") }()
				for b.Loop() {
					if err := s.client.Get(ctx, "plain").Err(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkGetWhileOpen is what a Get costs while Redis is gone.
func BenchmarkGetWhileOpen(b *testing.B) {
	server := redistest.New(b)
	s := open(b, server.URL(), remote.Options{})
	server.Kill()
	s.gone()
	b.ReportAllocs()
	for b.Loop() {
		s.Get(context.Background(), key(1), false)
	}
}
