package seed

import "context"

func Bench(ctx context.Context, s Services, progress Progress) error { return nil }
