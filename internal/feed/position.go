package feed

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"emporium/internal/fault"
)

// maxPosition bounds what a client is given and may send for a position, in bytes. One names each transaction that was
// under way.
const maxPosition = 2 << 10

// Position says which transactions somebody knows of: a snapshot of Postgres in its text form, "xmin:xmax:xip,…". Those
// before xmax are known, but for those in the list, which were under way.
type Position string

// ParsePosition returns what a client sends back. It fails with BadUserInput about the argument.
func ParsePosition(text, argument string) (Position, error) {
	if _, ok := parse(Position(text)); !ok || len(text) > maxPosition {
		return "", fault.Input("`"+argument+"` is no cursor of these changes", argument)
	}
	return Position(text), nil
}

// snapshot is a position taken apart.
type snapshot struct {
	min, max uint64
	open     []uint64 // ascending, from min to below max
}

func parse(p Position) (s snapshot, ok bool) {
	parts := strings.Split(string(p), ":")
	if len(parts) != 3 {
		return s, false
	}
	var errs [2]error
	s.min, errs[0] = strconv.ParseUint(parts[0], 10, 63)
	s.max, errs[1] = strconv.ParseUint(parts[1], 10, 63)
	if cmp.Or(errs[0], errs[1]) != nil || s.min == 0 || s.min > s.max {
		return s, false
	}
	if parts[2] == "" {
		return s, true
	}
	for text := range strings.SplitSeq(parts[2], ",") {
		xid, err := strconv.ParseUint(text, 10, 63)
		if err != nil || xid < s.min || xid >= s.max || len(s.open) > 0 && xid <= s.open[len(s.open)-1] {
			return s, false
		}
		s.open = append(s.open, xid)
	}
	return s, true
}

// upTo returns the position of somebody who knows what p knows of, and of it only transactions up to last.
func (p Position) upTo(last uint64) Position {
	s, _ := parse(p)
	s.max = min(s.max, last+1)
	s.min = min(s.min, s.max)
	s.open = slices.DeleteFunc(s.open, func(xid uint64) bool { return xid >= s.max })
	open := make([]string, len(s.open))
	for i, xid := range s.open {
		open[i] = strconv.FormatUint(xid, 10)
	}
	return Position(strconv.FormatUint(s.min, 10) + ":" + strconv.FormatUint(s.max, 10) + ":" + strings.Join(open, ","))
}

// Short returns the position, or, if it is too long for a client, an earlier one: after it more is told again.
func (p Position) Short() string {
	if len(p) <= maxPosition {
		return string(p)
	}
	s, _ := parse(p)
	return string(p.upTo(s.min - 1))
}

// beyond reports whether p knows of transactions that have not begun at the time of now: it is of another database, or of
// this one before it was put back to an earlier state.
func (p Position) beyond(now Position) bool {
	a, _ := parse(p)
	b, _ := parse(now)
	return a.max > b.max
}

// Nullable returns the position as a parameter of a statement, nil for none.
func (p Position) Nullable() *string {
	if p == "" {
		return nil
	}
	return (*string)(&p)
}

// Transaction reads the text of an xid8.
func Transaction(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) }
