package alertmanager

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// SignatureHeader carries the HMAC of the body.
const SignatureHeader = "X-Signature-256"

// ErrUnauthorized means that the sender did not prove who it is. The wrapping
// error says what was missing, for the log; a sender is told no more.
var ErrUnauthorized = errors.New("unauthorized")

// VerifyBearer compares the Authorization header with the token, in a time that
// does not depend on where they differ. An empty token permits nobody.
func VerifyBearer(header, token string) error {
	scheme, given, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return fmt.Errorf("%w: no bearer token", ErrUnauthorized)
	}
	// Hashes, because the comparison tells the length of what it compares.
	a, b := sha256.Sum256([]byte(strings.TrimSpace(given))), sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(a[:], b[:]) != 1 || token == "" {
		return fmt.Errorf("%w: another bearer token", ErrUnauthorized)
	}
	return nil
}

// VerifyHMAC checks the X-Signature-256 header, "sha256=" and the hex HMAC of
// the body as it was received. An empty key permits nobody.
func VerifyHMAC(body []byte, header string, key []byte) error {
	text, ok := strings.CutPrefix(header, "sha256=")
	if !ok {
		return fmt.Errorf("%w: no %s header with sha256=", ErrUnauthorized, SignatureHeader)
	}
	given, err := hex.DecodeString(text)
	if err != nil {
		return fmt.Errorf("%w: the signature is not hexadecimal", ErrUnauthorized)
	}
	if len(key) == 0 || !hmac.Equal(given, sum(body, key)) {
		return fmt.Errorf("%w: the signature is of another body or key", ErrUnauthorized)
	}
	return nil
}

// Sign gives the header that VerifyHMAC wants.
func Sign(body, key []byte) string { return "sha256=" + hex.EncodeToString(sum(body, key)) }

func sum(body, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(nil)
}
