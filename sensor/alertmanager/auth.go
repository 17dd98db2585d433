package alertmanager

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
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

// Tolerance is how far the time of a signature may be from ours.
const Tolerance = 5 * time.Minute

// VerifyHMAC checks the X-Signature-256 header: "t=", the time of sending in Unix
// seconds, ",sha256=" and the hex HMAC of that time, a dot and the body as it was
// received. The time may be off by Tolerance; within it a receiver remembers what
// it took, so that nobody can send a request again that they have seen. An empty
// key permits nobody.
func VerifyHMAC(body []byte, header string, key []byte, now time.Time) error {
	stamp, text, ok := strings.Cut(header, ",sha256=")
	unix, isTime := strings.CutPrefix(stamp, "t=")
	seconds, err := strconv.ParseInt(unix, 10, 64)
	if !ok || !isTime || err != nil {
		return fmt.Errorf("%w: no %s header with t=SECONDS,sha256=HEX", ErrUnauthorized, SignatureHeader)
	}
	given, err := hex.DecodeString(text)
	if err != nil {
		return fmt.Errorf("%w: the signature is not hexadecimal", ErrUnauthorized)
	}
	if len(key) == 0 || !hmac.Equal(given, sum(unix, body, key)) {
		return fmt.Errorf("%w: the signature is of another time, body or key", ErrUnauthorized)
	}
	if off := now.Sub(time.Unix(seconds, 0)).Abs(); off > Tolerance {
		return fmt.Errorf("%w: it was signed %s from now; the clocks may differ by %s", ErrUnauthorized, off.Round(time.Second), Tolerance)
	}
	return nil
}

// Sign gives the header that VerifyHMAC wants.
func Sign(body, key []byte, now time.Time) string {
	unix := strconv.FormatInt(now.Unix(), 10)
	return "t=" + unix + ",sha256=" + hex.EncodeToString(sum(unix, body, key))
}

func sum(unix string, body, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(unix + "."))
	h.Write(body)
	return h.Sum(nil)
}
