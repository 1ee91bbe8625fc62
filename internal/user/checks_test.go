package user

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// What a slow statement has read of a session does not bring it back.
func TestEndedSessionsStayEnded(t *testing.T) {
	t.Parallel()
	c, now := newChecks(), time.Now()
	key := checkKey{uuid.New(), uuid.New()}
	read := checked{at: now, ok: true}
	c.end(key.owner, key.session)
	if got := c.put(key, read); got.ok {
		t.Error("the reader passes")
	}
	if got, fresh := c.get(key, now.Add(time.Hour)); got.ok || !fresh {
		t.Error("the session passes, or is asked for again")
	}
	other := checkKey{key.owner, uuid.New()}
	if got := c.put(other, read); !got.ok {
		t.Error("another session of the user does not pass")
	}
}
