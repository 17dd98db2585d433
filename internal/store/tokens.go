package store

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"grace"
	"grace/internal/dbtx"
	"grace/internal/event"
)

// TokenPrefix begins every secret, so that secret scanners and people know one
// when they see it.
const TokenPrefix = "grace_"

// Token is an API token. Its secret is not kept: only its hash is.
type Token struct {
	Name      string     `json:"name"`
	Role      string     `json:"role"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	Forged    bool       `json:"forged,omitempty"` // it does not carry GRACE's seal, and opens nothing
}

// Valid tells whether the token may be used at a time.
func (t Token) Valid(now time.Time) bool {
	return t.RevokedAt == nil && (t.ExpiresAt == nil || now.Before(*t.ExpiresAt))
}

// NewToken describes a token to be created.
type NewToken struct {
	Name    string
	Role    string
	Expires *time.Time // nil: never
}

// HashToken gives the form under which a secret is looked up. The secret has
// 256 random bits, so a plain hash is as good as a slow one.
func HashToken(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// CreateToken creates a token and gives its secret, which cannot be had again.
// A name is used once: the audit log names actors by it, so it stays taken by
// a revoked token too (ErrConflict).
func (s *Store) CreateToken(ctx context.Context, actor string, t NewToken) (secret string, err error) {
	if t.Role == "" || clean(t.Role) != t.Role {
		return "", errors.New("create token: it needs a role")
	}
	// In ASCII, so that no name looks like another in the audit log.
	if !grace.ServiceID(t.Name).Valid() {
		return "", fmt.Errorf("create token %+q: a name has letters of ASCII, digits, dot, dash and underscore, and begins with a letter or digit", t.Name)
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	secret = TokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	now := s.now()
	err = s.Do(ctx, func(ctx context.Context, tx Tx) error {
		hash, created, expires := HashToken(secret), millis(now), optionalMillis(t.Expires)
		result, err := tx.Exec(ctx, s.sql(`INSERT INTO grace_tokens (name, hash, role, created_at, expires_at, seal)
			VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING`),
			t.Name, hash, t.Role, created, expires, s.sealToken(t.Name, hash, t.Role, created, expires, nil))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil {
			return err
		} else if n != 1 {
			return fmt.Errorf("the name is taken, use another one: %w", ErrConflict)
		}
		return s.Append(ctx, tx, event.TokenChanged{Name: t.Name, Role: t.Role, Actor: actor, At: now})
	})
	if err != nil {
		return "", fmt.Errorf("create token %s: %w", t.Name, err)
	}
	return secret, nil
}

// revocations counts what the audit log says: a row put back to how it was before
// the token was revoked has its seal of then.
const selectToken = `SELECT name, hash, role, created_at, expires_at, revoked_at, seal,
	(SELECT max(at) FROM grace_audit_log AS l WHERE l.object = 'token/' || t.name AND l.action = 'token.revoked') FROM grace_tokens AS t`

// scanToken gives what is stored of a token, and whether its seal holds.
func (s *Store) scanToken(row dbtx.Row) (t Token, genuine bool, err error) {
	var hash, seal string
	var created int64
	var expires, revoked, logged *int64
	if err := row.Scan(&t.Name, &hash, &t.Role, &created, &expires, &revoked, &seal, &logged); err != nil {
		return t, false, err
	}
	t.CreatedAt, t.ExpiresAt, t.RevokedAt = fromMillis(created), fromOptionalMillis(expires), fromOptionalMillis(revoked)
	genuine = hmac.Equal([]byte(seal), []byte(s.sealToken(t.Name, hash, t.Role, created, expires, revoked)))
	if revoked == nil && logged != nil {
		t.RevokedAt, genuine = fromOptionalMillis(logged), false
	}
	return t, genuine, nil
}

// TokenByHash finds a token by HashToken of its secret; it wraps ErrNotFound.
// Whether the token is still valid is for the caller to ask.
func (s *Store) TokenByHash(ctx context.Context, q Querier, hash string) (Token, error) {
	t, genuine, err := s.scanToken(q.QueryRow(ctx, s.sql(selectToken+" WHERE hash = $1"), hash))
	if errors.Is(err, dbtx.ErrNoRows) {
		return Token{}, fmt.Errorf("token: %w", ErrNotFound)
	}
	if err != nil {
		return Token{}, fmt.Errorf("read token: %w", err)
	}
	if !genuine {
		return Token{}, s.forged("token " + t.Name)
	}
	return t, nil
}

// ListTokens reads all tokens, revoked ones too, by name.
func (s *Store) ListTokens(ctx context.Context, q Querier) ([]Token, error) {
	var tokens []Token
	err := each(ctx, q, s.sql(selectToken+" ORDER BY name"), nil, func(row dbtx.Row) error {
		t, genuine, err := s.scanToken(row)
		t.Forged = !genuine
		tokens = append(tokens, t)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	return tokens, nil
}

// RevokeToken makes a token invalid for good. Revoking it again changes
// nothing; a name that does not exist is ErrNotFound.
func (s *Store) RevokeToken(ctx context.Context, actor, name string) error {
	now := s.now()
	err := s.Do(ctx, func(ctx context.Context, tx Tx) error {
		var hash, role string
		var created int64
		var expires, revoked *int64
		err := tx.QueryRow(ctx, s.sql("SELECT hash, role, created_at, expires_at, revoked_at FROM grace_tokens WHERE name = $1 /*lock*/"), name).
			Scan(&hash, &role, &created, &expires, &revoked)
		if errors.Is(err, dbtx.ErrNoRows) {
			return ErrNotFound
		}
		if err != nil || revoked != nil {
			return err
		}
		at := millis(now)
		if _, err := tx.Exec(ctx, s.sql("UPDATE grace_tokens SET revoked_at = $1, seal = $2 WHERE name = $3"),
			at, s.sealToken(name, hash, role, created, expires, &at), name); err != nil {
			return err
		}
		return s.Append(ctx, tx, event.TokenChanged{Name: name, Revoked: true, Actor: actor, At: now})
	})
	if err != nil {
		return fmt.Errorf("revoke token %s: %w", name, err)
	}
	return nil
}
