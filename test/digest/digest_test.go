// Package digest compares the stand-in for github.com/opencontainers/go-digest
// (third_party/go-digest) with the grammar that the library goes by, written as
// the regular expressions of its version 1.0.0.
package digest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

var (
	anyDigest = regexp.MustCompile(`^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$`)
	known     = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}
	digits    = regexp.MustCompile(`^[a-f0-9]+$`)
)

// want is what version 1.0.0 says of s.
func want(s string) error {
	name, encoded, _ := strings.Cut(s, ":")
	switch length := known[name]; {
	case name == "" || encoded == "":
		return digest.ErrDigestInvalidFormat
	case length > 0 && len(encoded) != length:
		return digest.ErrDigestInvalidLength
	case length > 0 && digits.MatchString(encoded):
		return nil
	case length == 0 && anyDigest.MatchString(s):
		return digest.ErrDigestUnsupported
	}
	return digest.ErrDigestInvalidFormat
}

var seeds = []string{
	"", ":", "a", "a:", ":a", "sha256:", "sha256:ab", "sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("A", 64),
	"sha256:" + strings.Repeat("g", 64), "sha256:" + strings.Repeat("a", 63) + "\n", "sha256:" + strings.Repeat("a", 64) + "\n",
	"sha256:" + strings.Repeat("a", 62) + "é", "sha384:" + strings.Repeat("0", 96), "sha512:" + strings.Repeat("f", 128), "sha512:" + strings.Repeat("f", 64),
	"SHA256:" + strings.Repeat("a", 64), "md5:abc", "a+b.c_d-e:=_-Z9", "a++b:c", "+a:b", "a+:b", "a.:b", "a:b:c", "a:b c", "ä:b", "a:ä", "a\n:b", "a:b\n",
	"sha256 :" + strings.Repeat("a", 64), "x:" + strings.Repeat("y", 1000),
}

func check(t *testing.T, s string) {
	t.Helper()
	d, err := digest.Parse(s)
	if !errors.Is(err, want(s)) || (err == nil) != (want(s) == nil) || string(d) != s {
		t.Errorf("Parse(%q): %q, %v, want %v", s, d, err, want(s))
	}
	if err == nil && string(d.Algorithm())+":"+d.Encoded() != s {
		t.Errorf("%q is not %q and %q", s, d.Algorithm(), d.Encoded())
	}
}

func TestGrammar(t *testing.T) {
	for _, s := range seeds {
		t.Run(s, func(t *testing.T) { check(t, s) })
	}
}

func FuzzGrammar(f *testing.F) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(check)
}

func TestHashes(t *testing.T) {
	const content = "content"
	a, b, c := sha256.Sum256([]byte(content)), sha512.Sum384([]byte(content)), sha512.Sum512([]byte(content))
	for alg, sum := range map[digest.Algorithm][]byte{digest.SHA256: a[:], digest.SHA384: b[:], digest.SHA512: c[:]} {
		want := digest.Digest(string(alg) + ":" + hex.EncodeToString(sum))
		byReader, err := alg.FromReader(strings.NewReader(content))
		for how, got := range map[string]digest.Digest{
			"FromString": alg.FromString(content), "FromReader": byReader, "NewDigestFromBytes": digest.NewDigestFromBytes(alg, sum),
			"NewDigestFromHex": digest.NewDigestFromHex(string(alg), hex.EncodeToString(sum)),
		} {
			if got != want || err != nil || got.Validate() != nil || alg.Size() != len(sum) {
				t.Errorf("%s of %s: %s, %v", how, alg, got, err)
			}
		}
		v := want.Verifier()
		_, _ = v.Write([]byte(content[:3]))
		early := v.Verified()
		if _, _ = v.Write([]byte(content[3:])); early || !v.Verified() {
			t.Errorf("the verifier of %s: %v too early, %v at the end", alg, early, v.Verified())
		}
	}
	if got := digest.FromBytes([]byte(content)); got.Algorithm() != digest.Canonical {
		t.Errorf("FromBytes: %s", got)
	}
}

func TestAlgorithms(t *testing.T) {
	var a digest.Algorithm
	if err := a.Set(""); err != nil || a != digest.Canonical {
		t.Errorf("Set(\"\"): %s, %v", a, err)
	}
	if err := a.Set("md5"); !errors.Is(err, digest.ErrDigestUnsupported) || a.Available() || a.Size() != 0 {
		t.Errorf("Set(md5): %v", err)
	}
	for name, f := range map[string]func(){
		"a hash of an unknown algorithm": func() { digest.Algorithm("md5").Hash() },
		"the algorithm of no digest":     func() { digest.Digest("nothing").Algorithm() },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}
