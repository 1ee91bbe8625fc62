package app

// killAt is told of each step of orders and payments. It is set by builds that are tested by being killed; see kill_crashtest.go.
var killAt func(point string)
