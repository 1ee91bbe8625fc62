//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package devstack

import "syscall"

// setDeathSignal does nothing: what outlives its owner is ended by the next start.
func setDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}
