// Package encrypt encrypts message bodies with AES-GCM, under keys that have names, so
// that they can be changed while messages are on their way. It is an encoding for
// codec.Encoded:
//
//	keys, err := encrypt.New(encrypt.Keyring{Current: "2026-11", Keys: map[string][]byte{"2026-11": key}})
//	c := codec.Encoded(codec.JSON[Order](), compress.Zstd(compress.Options{}), keys)
//
// A body becomes a version, the length and name of its key, a random nonce of 12 bytes, and
// the ciphertext with its tag. Bound to it, so that it cannot be changed or moved unseen, are the
// key's name, the content type, and the Keyring's Context. Headers, key and ID of the message
// are not encrypted: brokers need them.
//
// A payload that is not encrypted is refused, and so is one whose key is unknown: an error
// that is permanent. To change keys, first give the new one to every reader, then make it
// Current for publishers, and take the old one away when no message of it is left. Nonces are
// random, so a key is good for some four billion messages: change it before.
package encrypt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/waybill-go/waybill/codec"
)

// Token names the encoding in the header content-encoding.
const Token = "waybill-aes-gcm" //nolint:gosec // a name, not a secret

// The errors of Decode. Neither tells anything of the body or of a key.
var (
	// ErrMalformed: the body is not one that this package made.
	ErrMalformed = errors.New("encrypted body is malformed")
	// ErrUnknownKey: the Keyring does not have the key that the body names.
	ErrUnknownKey = errors.New("key is unknown")
	// ErrForged: the body, its content type or its context were changed, or the key is another
	// one of the same name.
	ErrForged = errors.New("encrypted body does not verify")
)

// Keyring are the keys by their names.
type Keyring struct {
	// Current names the key that bodies are encrypted with; empty: this side only decrypts.
	Current string
	// Keys are of 16, 24 or 32 bytes, for AES-128, -192 and -256. Names are of 1 to 255 bytes,
	// and readable by anyone.
	Keys map[string][]byte
	// Context is bound to each body, and must be the same on both sides: a topic's name, for
	// example, so that a body cannot be moved to another topic. May be empty.
	Context string
}

const version = 1

// Encryption is the encoding of a Keyring.
type Encryption struct {
	current string
	keys    map[string]cipher.AEAD
	context string
}

var _ codec.Encoding = (*Encryption)(nil)

// New checks a Keyring, and copies it.
func New(k Keyring) (*Encryption, error) {
	e := &Encryption{current: k.Current, context: k.Context, keys: map[string]cipher.AEAD{}}
	if len(k.Keys) == 0 {
		return nil, errors.New("encrypt: the keyring has no keys")
	}
	for name, key := range k.Keys {
		if name == "" || len(name) > 255 {
			return nil, fmt.Errorf("encrypt: the name of a key has %d bytes; want 1 to 255", len(name))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("encrypt: key %q has %d bytes; want 16, 24 or 32", name, len(key))
		}
		if e.keys[name], err = cipher.NewGCM(block); err != nil {
			return nil, fmt.Errorf("encrypt: key %q: %w", name, err)
		}
	}
	if _, ok := e.keys[k.Current]; !ok && k.Current != "" {
		return nil, fmt.Errorf("encrypt: the current key %q is not in the keyring", k.Current)
	}
	return e, nil
}

// Encode encrypts a body with the current key.
func (e *Encryption) Encode(p codec.Payload) ([]byte, string, error) {
	if e.current == "" {
		return nil, "", errors.New("encrypt: the keyring has no current key: it is for reading alone")
	}
	aead := e.keys[e.current]
	out := make([]byte, 0, 2+len(e.current)+aead.NonceSize()+len(p.Body)+aead.Overhead())
	out = append(out, version, byte(len(e.current))) //nolint:gosec // New checks its length
	out = append(out, e.current...)
	nonce := len(out)
	out = out[:nonce+aead.NonceSize()]
	_, _ = rand.Read(out[nonce:]) // never fails
	return aead.Seal(out, out[nonce:], p.Body, e.bound(e.current, p.ContentType)), Token, nil
}

// Accepts says whether the token is Token.
func (e *Encryption) Accepts(token string) bool { return token == Token }

// Optional is false: what is not encrypted is refused.
func (e *Encryption) Optional() bool { return false }

// Decode decrypts a body.
func (e *Encryption) Decode(p codec.Payload, _ string) ([]byte, error) {
	if len(p.Body) < 2 || p.Body[0] != version {
		return nil, ErrMalformed
	}
	length := int(p.Body[1])
	rest := p.Body[2:]
	if length == 0 || len(rest) < length {
		return nil, ErrMalformed
	}
	name := string(rest[:length])
	rest = rest[length:]
	aead, ok := e.keys[name]
	if !ok {
		return nil, fmt.Errorf("encrypt: %w: %q; give it to readers before publishers use it", ErrUnknownKey, name)
	}
	if len(rest) < aead.NonceSize()+aead.Overhead() {
		return nil, ErrMalformed
	}
	nonce, sealed := rest[:aead.NonceSize()], rest[aead.NonceSize():]
	body, err := aead.Open(nil, nonce, sealed, e.bound(name, p.ContentType))
	if err != nil {
		return nil, fmt.Errorf("encrypt: key %q: %w", name, ErrForged)
	}
	return body, nil
}

// bound is what a body is bound to: each part behind its length, so that none can pass for
// another.
func (e *Encryption) bound(key, contentType string) []byte {
	out := []byte{version}
	for _, part := range []string{key, contentType, e.context} {
		out = binary.BigEndian.AppendUint64(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}
