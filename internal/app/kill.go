package app

import "emporium/internal/cache"

// killAt is told of each step of orders and payments. It is set by builds that are tested by being killed; see kill_crashtest.go.
var killAt func(point string)

// changeCache changes the options of the response cache. It is set by builds in whose cache things are to come in an unusual
// order; see cache_crashtest.go.
var changeCache func(o *cache.Options)
