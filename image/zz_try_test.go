package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/sampan-containers/sampan/state"
)

type pubs struct{}

func (pubs) Publish(m events.Message) { fmt.Println("EVENT", m.Action, m.Actor.Attributes["name"]) }

func TestTry(t *testing.T) {
	dir := os.Getenv("TRY_DIR")
	st, err := state.Open(dir + "/state.db")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	s, err := New(Config{Root: dir}, st, pubs{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.Getenv("TRY_TAR"))
	if err != nil {
		t.Fatal(err)
	}
	t0 := time.Now()
	id, err := s.Import(context.Background(), f, ImportOptions{Reference: "deb:1"}, os.Stdout)
	fmt.Println(id, err, time.Since(t0))
	img, err := s.Get(context.Background(), "deb:1")
	fmt.Println(img, err)
	fmt.Println(s.Lowers(img))
	_ = io.EOF
	s.Close()
}
