package client

import "strings"

// Docker's own registry, and the repository of its official images.
const (
	defaultDomain   = "docker.io"
	officialPrefix  = "library/"
	defaultTag      = "latest"
	legacyDomain    = "index.docker.io"
	localhostDomain = "localhost"
)

// Reference is an image reference as a user writes it, taken apart. It is not
// checked: the daemon does that, with an error that names the reference.
type Reference struct {
	Domain string // docker.io where none was written
	Path   string // with library/ for an official image
	Tag    string
	Digest string
}

// ParseReference takes NAME[:TAG][@DIGEST] apart
// (https://github.com/distribution/reference, "normalized" names).
func ParseReference(s string) Reference {
	var r Reference
	s, r.Digest, _ = strings.Cut(s, "@")
	// The API takes name and tag apart, and a daemon takes the tag for another
	// than the one in the name: what has two stays whole, and is refused.
	last := s[strings.LastIndexByte(s, '/')+1:]
	if strings.Count(last, ":") == 1 {
		colon := strings.LastIndexByte(s, ':')
		s, r.Tag = s[:colon], s[colon+1:]
	}
	first, rest, found := strings.Cut(s, "/")
	if found && (strings.ContainsAny(first, ".:") || first == localhostDomain || strings.ToLower(first) != first) {
		r.Domain, r.Path = first, rest
	} else {
		r.Domain, r.Path = defaultDomain, s
	}
	if r.Domain == legacyDomain {
		r.Domain = defaultDomain
	}
	if r.Domain == defaultDomain && !strings.Contains(r.Path, "/") {
		r.Path = officialPrefix + r.Path
	}
	return r
}

// Name is the repository with its registry.
func (r Reference) Name() string { return r.Domain + "/" + r.Path }

// NameOnly tells that neither tag nor digest was written.
func (r Reference) NameOnly() bool { return r.Tag == "" && r.Digest == "" }

// WithDefaultTag adds :latest where neither tag nor digest was written.
func (r Reference) WithDefaultTag() Reference {
	if r.NameOnly() {
		r.Tag = defaultTag
	}
	return r
}

func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// tagOrDigest is how the API names one image of a repository.
func (r Reference) tagOrDigest() string {
	if r.Digest != "" {
		return r.Digest
	}
	return r.WithDefaultTag().Tag
}
