package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// tick is the unit of CPU time in /proc, which is the same on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// stat is what /proc tells of a process.
type stat struct {
	parent            int
	own, deadChildren time.Duration // CPU time, in user and kernel mode
}

// readStat reads /proc; ok is false where there is none, or no such process.
func readStat(pid int) (s stat, ok bool) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return s, false
	}
	return parseStat(text)
}

// parseStat reads the format of proc_pid_stat(5). The name, in parentheses, may hold anything, parentheses too.
func parseStat(text []byte) (s stat, ok bool) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 15 {
		return s, false
	}
	number := func(field int) int { // counted from 1, as in the manual
		n, err := strconv.Atoi(string(fields[field-3]))
		ok = ok && err == nil
		return n
	}
	ok = true
	s.parent = number(4)
	s.own = time.Duration(number(14)+number(15)) * tick
	s.deadChildren = time.Duration(number(16)+number(17)) * tick
	return s, ok
}

// processCPU is the CPU time that a process has taken so far.
func processCPU(pid int) (time.Duration, bool) {
	s, ok := readStat(pid)
	return s.own, ok
}

// postgresCPU is the CPU time that a postmaster and its children, dead ones too, have taken so far.
func postgresCPU(postmaster int) (time.Duration, bool) {
	s, ok := readStat(postmaster)
	if !ok {
		return 0, false
	}
	sum := s.own + s.deadChildren
	processes, _ := filepath.Glob("/proc/[0-9]*") // the only error is a bad pattern
	for _, path := range processes {
		pid, _ := strconv.Atoi(filepath.Base(path))
		if s, ok := readStat(pid); ok && s.parent == postmaster {
			sum += s.own
		}
	}
	return sum, true
}

// findPostmaster returns the process that serves a database; 0 when it is not one of this machine's.
func findPostmaster(ctx context.Context, db *pgx.Conn) (int, error) {
	var backend int
	if err := db.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		return 0, fmt.Errorf("find the process of Postgres: %w", err)
	}
	s, ok := readStat(backend)
	if !ok {
		return 0, nil
	}
	// The same number may be a stranger here when Postgres runs elsewhere.
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(backend), "cmdline"))
	if err != nil || !bytes.HasPrefix(name, []byte("postgres")) {
		return 0, nil
	}
	return s.parent, nil
}
