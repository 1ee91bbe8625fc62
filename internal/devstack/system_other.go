//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package devstack

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Without these there is no start: it fails at its first lock.

type lockKind int

const (
	shared lockKind = iota
	exclusive
)

func tryLock(*os.File, lockKind) (bool, error) { return false, errors.ErrUnsupported }
func unlock(*os.File) error                    { return errors.ErrUnsupported }
func kill(int, syscall.Signal) error           { return errors.ErrUnsupported }
func owner(fs.FileInfo) (uid, gid uint32)      { return 0, 0 }

func detached(*account, syscall.Signal) *syscall.SysProcAttr { return nil }
