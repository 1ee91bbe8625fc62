//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package devstack

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

type lockKind int

const (
	shared    lockKind = syscall.LOCK_SH
	exclusive lockKind = syscall.LOCK_EX
)

// tryLock locks an open file, or changes its lock, without waiting. Where that fails, a lock that f had may be lost.
func tryLock(f *os.File, how lockKind) (bool, error) {
	for {
		err := syscall.Flock(int(f.Fd()), int(how)|syscall.LOCK_NB)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		default:
			return err == nil, err
		}
	}
}

func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

func kill(pid int, signal syscall.Signal) error { return syscall.Kill(pid, signal) }

func owner(fi fs.FileInfo) (uid, gid uint32) {
	st := fi.Sys().(*syscall.Stat_t)
	return st.Uid, st.Gid
}

// detached starts a process in a session of its own, out of reach of the terminal's signals, as the account if there is
// one, to be sent onDeath, if not 0, when the thread that starts it ends.
func detached(a *account, onDeath syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	setDeathSignal(attr, onDeath)
	return attr
}
