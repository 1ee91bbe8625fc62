// Package idempotency lets a change be asked for any number of times and happen once. The client sends a key of its own
// with the request; the key, a hash of the request and its outcome are written in the transaction of the change, so that
// there is never one without the other.
package idempotency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"emporium/internal/fault"
	"emporium/internal/postgres"
)

// TTL is how long a key is remembered. After that it may stand for another request.
const TTL = 24 * time.Hour

// maxKey is the most characters of a key.
const maxKey = 255

// Keys are those of a domain: the name of its schema, in which there is a table idempotency_keys (actor_id, key,
// request_hash, outcome, created_at) with the primary key (actor_id, key) and an index on created_at.
type Keys string

// Request is what is asked for. Two are the same if their verb and the JSON of their input are.
type Request struct {
	Actor uuid.UUID // whose key it is: nobody else's requests are looked at
	Key   string    // 1 to 255 visible ASCII characters
	Verb  string
	Input any
}

// Do makes a change in a transaction unless the request was answered within the TTL: then it returns the outcome of that
// time, whatever has happened since. An outcome is stored as JSON and should hold keys of what was changed rather than
// what was seen of it, so that the viewer's access is asked again. A change that fails leaves nothing behind: its key can be
// used again.
//
// It fails with Conflict when the key stands for another request, with InProgress while the same actor's key is at work
// elsewhere, and with BadUserInput for what is no key.
func Do[O any](
	ctx context.Context, db *postgres.DB, keys Keys, r Request, change func(ctx context.Context, tx *postgres.Tx) (O, error),
) (outcome O, err error) {
	hash, err := r.hash()
	if err != nil {
		return outcome, err
	}
	err = db.InTx(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		var none O
		outcome = none // of a try that lost a race
		// The lock is let go with the transaction. Who does not get it is told at once, instead of waiting with a connection.
		free, _, err := postgres.First(ctx, tx, postgres.Stmt{
			Name: string(keys) + ".idempotency_lock",
			SQL:  "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))",
		}, pgx.RowTo[bool], "emporium idempotency "+string(keys)+" "+r.Actor.String()+" "+r.Key)
		if err != nil {
			return err
		}
		if !free {
			return inProgress()
		}
		type row struct {
			Hash    []byte
			Outcome []byte
		}
		old, found, err := postgres.First(ctx, tx, postgres.Stmt{
			Name: string(keys) + ".idempotency_key",
			SQL: "SELECT request_hash, outcome FROM " + string(keys) +
				".idempotency_keys WHERE actor_id = $1 AND key = $2 AND created_at > now() - $3::interval",
			Reads: postgres.All(string(keys) + ".idempotency_keys"), Volatile: true,
		}, pgx.RowToStructByPos[row], r.Actor, r.Key, TTL)
		switch {
		case err != nil:
			return err
		case found && !bytes.Equal(old.Hash, hash):
			return &fault.Error{Code: fault.Conflict, Message: "this idempotency key was used for another request",
				Field: []string{"idempotencyKey"}}
		case found:
			return json.Unmarshal(old.Outcome, &outcome)
		}
		if outcome, err = change(ctx, tx); err != nil {
			return err
		}
		text, err := json.Marshal(outcome)
		if err != nil {
			return fmt.Errorf("%s: outcome: %w", r.Verb, err)
		}
		// An old row gives way. A young one can only be of somebody whom the lock did not stop, on another coordinator of a
		// cluster: then this change is undone.
		n, err := postgres.Exec(ctx, tx, postgres.Stmt{
			Name: string(keys) + ".put_idempotency_key",
			SQL: "INSERT INTO " + string(keys) + `.idempotency_keys AS k (actor_id, key, request_hash, outcome) VALUES ($1, $2, $3, $4)
				ON CONFLICT (actor_id, key) DO UPDATE SET request_hash = EXCLUDED.request_hash, outcome = EXCLUDED.outcome, created_at = now()
				WHERE k.created_at <= now() - $5::interval`,
		}, r.Actor, r.Key, hash, string(text), TTL)
		if err == nil && n == 0 {
			err = inProgress()
		}
		return err
	})
	return outcome, err
}

// inProgress returns a fresh error.
func inProgress() error {
	return fault.New(fault.InProgress, "a request with this idempotency key is under way; ask again")
}

// hash checks the key and returns the hash of the request.
func (r Request) hash() ([]byte, error) {
	ok := len(r.Key) > 0 && len(r.Key) <= maxKey
	for i := range len(r.Key) {
		ok = ok && r.Key[i] > ' ' && r.Key[i] <= '~'
	}
	if !ok {
		return nil, fault.Input("an idempotency key has 1 to 255 visible ASCII characters", "idempotencyKey")
	}
	text, err := json.Marshal([]any{r.Verb, r.Input})
	if err != nil {
		return nil, fmt.Errorf("%s: input: %w", r.Verb, err)
	}
	sum := sha256.Sum256(text)
	return sum[:], nil
}

// DeleteBefore deletes up to limit keys that are older than an instant, and returns how many it has deleted: for a job that
// calls it again until it is less than the limit. Keys that are older than the TTL are of no use.
func DeleteBefore(ctx context.Context, db *postgres.DB, keys Keys, before time.Time, limit int) (int, error) {
	table := string(keys) + ".idempotency_keys"
	n, err := postgres.Exec(ctx, db, postgres.Stmt{
		Name: string(keys) + ".delete_idempotency_keys",
		SQL: "DELETE FROM " + table + " WHERE created_at < $1 AND (actor_id, key) IN (SELECT actor_id, key FROM " + table +
			" WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
		Reads: postgres.All(table),
	}, before, limit)
	return int(n), err
}
