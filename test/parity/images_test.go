package parity

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// full is an image with everything in its configuration.
const full = "full:test"

var changes = []string{
	"ENV A=1", "ENV PATH=/bin:/usr/bin", "EXPOSE 80 81/udp", "VOLUME /data", "LABEL tier=front", "USER app", "WORKDIR /tmp",
	`ENTRYPOINT ["/bin/busybox"]`, `CMD ["sleep","1000"]`, "ONBUILD RUN true", `HEALTHCHECK --interval=1h CMD true`,
}

func sortLines(text string) string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func compareImages(t *testing.T, p *pair) {
	args := []string{"import"}
	for _, c := range changes {
		args = append(args, "-c", c)
	}
	rootfs := busyboxTar(t)
	time.Sleep(time.Second) // images are listed by their second of creation
	p.must(t, append(args, "-m", "made by a test", rootfs, full)...)
	p.must(t, "tag", full, "other/name:v1")
	for _, name := range []string{busybox, full} {
		for _, v := range versions {
			p.get(t, "image", "/v"+v+"/images/"+name+"/json")
			p.get(t, "history", "/v"+v+"/images/"+name+"/history")
		}
	}
	for _, v := range versions {
		for _, query := range []string{"", "?all=1", `?filters={"reference":["other/*"]}`, `?filters={"label":["tier=front"]}`, `?filters={"dangling":["true"]}`} {
			path := "/v" + v + "/images/json" + query
			ours, theirs := p.both(t, func(e *engine) any { return byName(t, e.get(t, path), "RepoTags") })
			p.compare(t, "images", path, ours, theirs)
		}
	}
	for _, args := range [][]string{{"images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.Digest}} {{.CreatedSince}}"},
		{"history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}|{{.CreatedSince}}", full}} {
		ours, theirs := p.must(t, args...)
		p.compareText(t, "docker "+args[0], sortLines(ours), sortLines(theirs)) // the names of one image have no order
	}
	p.must(t, "rmi", "other/name:v1")
}
