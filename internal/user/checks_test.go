package user

import (
	"testing"
	"time"

	"github.com/google/uuid"
)

// What a slow statement has read of a session does not bring it back.
func TestEndedSessionsStayEnded(t *testing.T) {
	t.Parallel()
	c, now := newChecks(nil), time.Now()
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

// What was read of an account before it was changed is forgotten, and not kept when it arrives late; of others it is.
func TestChangedAccountsAreReadAnew(t *testing.T) {
	t.Parallel()
	c, before := newChecks(nil), time.Now()
	changed, after := before.Add(time.Millisecond), before.Add(2*time.Millisecond)
	key, other := checkKey{uuid.New(), uuid.New()}, checkKey{uuid.New(), uuid.New()}
	ended := checkKey{key.owner, uuid.New()}
	for _, k := range []checkKey{key, other} {
		c.put(k, checked{at: before, ok: true})
	}
	c.end(ended.owner, ended.session)
	c.changed(key.owner, changed)
	if _, fresh := c.get(key, after); fresh {
		t.Error("what was known is believed")
	}
	if got, fresh := c.get(ended, after); got.ok || !fresh {
		t.Error("a session that has ended is asked for again")
	}
	c.put(key, checked{at: before, ok: true})
	if _, fresh := c.get(key, after); fresh {
		t.Error("what was read before the change is kept")
	}
	c.put(key, checked{at: after, ok: true})
	for _, k := range []checkKey{key, other} {
		if got, fresh := c.get(k, after); !got.ok || !fresh {
			t.Error("what holds is not kept")
		}
	}
}
