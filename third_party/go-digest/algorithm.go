package digest

import (
	"crypto"
	"encoding/hex"
	"hash"
	"io"
)

// Algorithm is the name of a hash function.
type Algorithm string

// The algorithms that the image specification registers.
const (
	SHA256 Algorithm = "sha256"
	SHA384 Algorithm = "sha384"
	SHA512 Algorithm = "sha512"

	// Canonical is the one that content is named by.
	Canonical = SHA256
)

// function is the hash function of that name, or 0.
func (a Algorithm) function() crypto.Hash {
	switch a {
	case SHA256:
		return crypto.SHA256
	case SHA384:
		return crypto.SHA384
	case SHA512:
		return crypto.SHA512
	}
	return 0
}

// Available tells whether the hash function is known and linked.
func (a Algorithm) Available() bool { f := a.function(); return f != 0 && f.Available() }

func (a Algorithm) String() string { return string(a) }

// Size is the length of a hash in bytes, 0 for an unknown algorithm.
func (a Algorithm) Size() int {
	if f := a.function(); f != 0 {
		return f.Size()
	}
	return 0
}

// Set makes an Algorithm a flag's value; "" is the canonical one.
func (a *Algorithm) Set(value string) error {
	if *a = Algorithm(value); value == "" {
		*a = Canonical
	}
	if !a.Available() {
		return ErrDigestUnsupported
	}
	return nil
}

// Digester makes a digest of what is written to its hash. It panics for an
// algorithm that is not Available.
func (a Algorithm) Digester() Digester { return digester{a, a.Hash()} }

// Hash makes a hash. It panics for an algorithm that is not Available.
func (a Algorithm) Hash() hash.Hash {
	if !a.Available() {
		panic("digest algorithm \"" + string(a) + "\" is not linked: check it with Available first")
	}
	return a.function().New()
}

// Encode is a finished hash as it stands in a digest.
func (a Algorithm) Encode(sum []byte) string { return hex.EncodeToString(sum) }

// FromReader hashes all of r.
func (a Algorithm) FromReader(r io.Reader) (Digest, error) {
	d := a.Digester()
	if _, err := io.Copy(d.Hash(), r); err != nil {
		return "", err
	}
	return d.Digest(), nil
}

// FromBytes hashes b.
func (a Algorithm) FromBytes(b []byte) Digest {
	h := a.Hash()
	_, _ = h.Write(b) // a hash takes everything: hash.Hash
	return NewDigest(a, h)
}

// FromString hashes s.
func (a Algorithm) FromString(s string) Digest { return a.FromBytes([]byte(s)) }

// Validate checks the part of a digest that follows the colon.
func (a Algorithm) Validate(encoded string) error {
	size := a.Size()
	if size == 0 {
		return ErrDigestUnsupported
	}
	if len(encoded) != hex.EncodedLen(size) {
		return ErrDigestInvalidLength
	}
	for i := range len(encoded) {
		// Upper-case digits would give the same content a second name.
		if c := encoded[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return ErrDigestInvalidFormat
		}
	}
	return nil
}

// Digester hashes what is written to Hash.
type Digester interface {
	Hash() hash.Hash
	Digest() Digest
}

type digester struct {
	alg  Algorithm
	hash hash.Hash
}

func (d digester) Hash() hash.Hash { return d.hash }
func (d digester) Digest() Digest  { return NewDigest(d.alg, d.hash) }

// Verifier is a hash that knows what should come out.
type Verifier interface {
	io.Writer
	// Verified tells whether what was written until now has the digest.
	Verified() bool
}

type verifier struct {
	hash   hash.Hash
	digest Digest
}

func (v verifier) Write(p []byte) (int, error) { return v.hash.Write(p) }
func (v verifier) Verified() bool              { return NewDigest(v.digest.Algorithm(), v.hash) == v.digest }
