package inflate

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// all decompresses in blocks of the size, as the layer store does.
func all(src io.Reader, size int) ([]byte, error) {
	z := new(Reader)
	z.Reset(src)
	var whole []byte
	block := make([]byte, Window+size)
	history := 0
	for {
		n, err := z.Fill(block[:history+size], history)
		whole = append(whole, block[history:history+n]...)
		if err == io.EOF {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		end := history + n
		history = copy(block, block[max(0, end-Window):end])
	}
}

// reference is what the standard library makes of it.
func reference(raw []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func pack(t testing.TB, plain []byte, level int) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// samples are data of different kinds.
func samples() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	few := make([]byte, 200_000)
	for i := range few {
		few[i] = "ab"[r.IntN(2)]
	}
	var skewed []byte // long codes, so that there are subtables
	for i := range 256 {
		skewed = append(skewed, bytes.Repeat([]byte{byte(i)}, 1+1<<(i%18))...)
	}
	r.Shuffle(len(skewed), func(i, j int) { skewed[i], skewed[j] = skewed[j], skewed[i] })
	var mixed []byte
	for len(mixed) < 500_000 {
		at, n := r.IntN(len(mixed)+1), 1+r.IntN(400)
		if r.IntN(3) == 0 || at+n > len(mixed) {
			at = r.IntN(len(noise) - n)
			mixed = append(mixed, noise[at:at+n]...)
		} else {
			mixed = append(mixed, mixed[at:at+n]...)
		}
	}
	return map[string][]byte{
		"nothing": nil, "one byte": []byte("x"), "text": []byte(strings.Repeat("the quick brown fox jumps over the lazy dog\n", 5000)),
		"zeros": make([]byte, 400_000), "noise": noise, "two letters": few, "skewed": skewed, "mixed": mixed,
	}
}

func TestAsTheStandardLibrary(t *testing.T) {
	for name, plain := range samples() {
		for _, level := range []int{gzip.NoCompression, gzip.BestSpeed, gzip.DefaultCompression, gzip.BestCompression, gzip.HuffmanOnly} {
			raw := pack(t, plain, level)
			for _, size := range []int{1, 7, 300, 1000, 4096, 256 << 10} {
				if size == 1 && len(plain) > 1000 {
					continue
				}
				got, err := all(bytes.NewReader(raw), size)
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%s, level %d, blocks of %d: %d bytes of %d, %v", name, level, size, len(got), len(plain), err)
				}
			}
			if got, err := all(iotest.OneByteReader(bytes.NewReader(raw)), 4096); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s, level %d, byte by byte: %d bytes of %d, %v", name, level, len(got), len(plain), err)
			}
			if got, err := all(iotest.DataErrReader(bytes.NewReader(raw)), 4096); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s, level %d, with the end beside the data: %d bytes of %d, %v", name, level, len(got), len(plain), err)
			}
		}
	}
}

func TestSeveralMembers(t *testing.T) {
	a, b := []byte(strings.Repeat("first ", 9000)), []byte("second")
	raw := append(pack(t, a, 6), pack(t, b, 9)...)
	got, err := all(bytes.NewReader(raw), 1000)
	if err != nil || !bytes.Equal(got, append(a, b...)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// A member may not refer to the one before it.
	var out bytes.Buffer
	z, err := flate.NewWriterDict(&out, 9, a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(a[:6000]); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	second := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), out.Bytes()...)
	if got, err := all(bytes.NewReader(append(pack(t, a, 6), second...)), 256<<10); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a reference into the member before: %d bytes, %v", len(got), err)
	}
}

func TestHeaders(t *testing.T) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Name, z.Comment, z.Extra = "a name", "a comment", bytes.Repeat([]byte("extra"), 9000)
	if _, err := z.Write([]byte("plain")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := all(iotest.HalfReader(&out), 100); err != nil || string(got) != "plain" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDamage(t *testing.T) {
	plain := samples()["mixed"][:60_000]
	raw := pack(t, plain, 6)
	failure := errors.New("the cable is cut")
	for name, test := range map[string]struct {
		src  io.Reader
		want error
	}{
		"no gzip":         {strings.NewReader("this is no gzip at all"), ErrHeader},
		"nothing":         {strings.NewReader(""), io.EOF},
		"cut in header":   {bytes.NewReader(raw[:5]), io.ErrUnexpectedEOF},
		"cut in data":     {bytes.NewReader(raw[:len(raw)/2]), io.ErrUnexpectedEOF},
		"cut in trailer":  {bytes.NewReader(raw[:len(raw)-3]), io.ErrUnexpectedEOF},
		"wrong checksum":  {bytes.NewReader(flip(raw, len(raw)-8)), ErrChecksum},
		"wrong length":    {bytes.NewReader(flip(raw, len(raw)-1)), ErrChecksum},
		"rest behind":     {bytes.NewReader(append(bytes.Clone(raw), "rest of a file"...)), ErrHeader},
		"source fails":    {io.MultiReader(bytes.NewReader(raw[:len(raw)/2]), iotest.ErrReader(failure)), failure},
		"fails at header": {iotest.ErrReader(failure), failure},
		"no progress":     {io.MultiReader(bytes.NewReader(raw[:100]), idle{}), io.ErrNoProgress},
	} {
		t.Run(name, func(t *testing.T) {
			z := new(Reader)
			z.Reset(test.src)
			block := make([]byte, len(plain)+100)
			n, err := z.Fill(block, 0)
			if !errors.Is(err, test.want) {
				t.Errorf("%d bytes, %v, want %v", n, err, test.want)
			}
			if !bytes.Equal(block[:n], plain[:n]) {
				t.Error("wrong bytes before the failure")
			}
		})
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

func flip(raw []byte, at int) []byte {
	raw = bytes.Clone(raw)
	raw[at] ^= 0x10
	return raw
}

// TestEveryByteDamaged compares with the standard library what becomes of streams
// with one wrong byte.
func TestEveryByteDamaged(t *testing.T) {
	plain := append([]byte(strings.Repeat("some text, ", 30)), samples()["skewed"][:600]...)
	for _, level := range []int{1, gzip.HuffmanOnly} {
		raw := pack(t, plain, level)
		for at := range raw {
			for _, bit := range []byte{1, 0x20} {
				bad := bytes.Clone(raw)
				bad[at] ^= bit
				compare(t, bad)
			}
		}
	}
}

func compare(t *testing.T, raw []byte) {
	t.Helper()
	want, wantErr := reference(raw)
	got, err := all(bytes.NewReader(raw), 400+len(raw)%400)
	if wantErr == io.EOF { // of nothing at all
		wantErr = nil
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%x: %v here, %v in the standard library", raw, err, wantErr)
	}
	if err == nil && !bytes.Equal(got, want) {
		t.Fatalf("%x: other bytes than the standard library", raw)
	}
}

func FuzzAsTheStandardLibrary(f *testing.F) {
	for _, plain := range samples() {
		for _, level := range []int{1, 6} {
			f.Add(pack(f, plain[:min(len(plain), 2000)], level))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		compare(t, raw)
		// And as the inside of a member, so that headers need not be guessed.
		compare(t, append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), raw...))
		// Without a right checksum both fail; before that both give the same bytes.
		want, _ := io.ReadAll(flate.NewReader(bytes.NewReader(raw)))
		got, _ := all(bytes.NewReader(append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), raw...)), 5000)
		if n := min(len(got), len(want)); !bytes.Equal(got[:n], want[:n]) {
			t.Fatalf("%x: other bytes than the standard library", raw)
		}
	})
}

func BenchmarkFill(b *testing.B) {
	r := rand.New(rand.NewPCG(3, 4))
	words := make([][]byte, 1000)
	for i := range words {
		for range 2 + r.IntN(9) {
			words[i] = append(words[i], "etaoinshrdlucmfwypvbgkjqxz"[r.IntN(r.IntN(25)+1)])
		}
	}
	var plain []byte
	for len(plain) < 8<<20 {
		plain = append(append(plain, words[r.IntN(r.IntN(999)+1)]...), ' ')
	}
	raw := pack(b, plain, 6)
	block := make([]byte, Window+256<<10)
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		z, history := new(Reader), 0
		z.Reset(bytes.NewReader(raw))
		for {
			n, err := z.Fill(block, history)
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			end := history + n
			history = copy(block, block[end-Window:end])
		}
	}
}
