package ocijson

import (
	"encoding/json"
	"fmt"

	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// fill sets every field that has a meaning on Linux, each to a value of its own.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if p := f.Tag.Get("platform"); p != "" && !strings.Contains(p, "linux") && f.Type.Kind() != reflect.String {
				continue
			}
			fill(v.Field(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range 2 {
			e := reflect.New(v.Type().Elem()).Elem()
			fill(e, n)
			v.SetMapIndex(reflect.ValueOf(fmt.Sprintf("key%d", i)), e)
		}
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d <\"\\\n\x01é\u2028𝄞>", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(-*n))
	case reflect.Uint, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	default:
		panic(v.Kind())
	}
}

func TestEveryField(t *testing.T) {
	want := &specs.Spec{}
	n := 0
	fill(reflect.ValueOf(want).Elem(), &n)
	for _, indent := range []bool{false, true} {
		raw, err := json.Marshal(want)
		if indent {
			raw, err = json.MarshalIndent(want, "", "\t")
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(want)
			t.Errorf("got\n%s\nwant\n%s", a, b)
		}
	}
}

func TestLikeEncodingJSON(t *testing.T) {
	for _, in := range []string{
		`{}`, `null`, ` { "hostname" : "a" } `, `{"hostname":null,"mounts":null,"mounts":[]}`,
		`{"unknown":[1,-2.5e3,{"x":[]},true,false,null,"\ud834\udd1e"],"hostname":"\ud834x\u00e9"}`,
		`{"hostname":"` + "\xff\xfe" + `"}`,
		`{"process":{"user":{"uid":4294967295},"rlimits":[{"type":"RLIMIT_NOFILE","hard":18446744073709551615,"soft":1}]}}`,
		// and what both must refuse
		``, `{`, `{"hostname":1}`, `{"hostname":"x"`, `{"hostname":"x",}`, `{"a":01}`, `{"a":+1}`, `{"a":1.}`, `[]`, `{} x`,
		`{"process":{"user":{"uid":-1}}}`, `{"process":{"user":{"uid":4294967296}}}`, `{"process":{"user":{"uid":1.5}}}`,
		"{\"hostname\":\"a\nb\"}", `{"hostname":"\x"}`, `{"hostname":"\u12"}`, `{"a":tru}`, `{"linux":{"namespaces":[{},]}}`,
	} {
		t.Run(in, func(t *testing.T) {
			want := &specs.Spec{}
			wantErr := json.Unmarshal([]byte(in), want)
			got, err := Decode([]byte(in))
			if (err != nil) != (wantErr != nil) {
				t.Fatalf("error = %v, encoding/json says %v", err, wantErr)
			}
			if err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// What is for other systems must not vanish, so that it can be refused.
func TestOtherSystems(t *testing.T) {
	spec, err := Decode([]byte(`{"windows":{"layerFolders":["a"]},"solaris":{},"vm":null}`))
	if err != nil || spec.Windows == nil || spec.Solaris == nil || spec.VM != nil {
		t.Errorf("got %+v, %v", spec, err)
	}
}

func TestDeepNesting(t *testing.T) {
	if _, err := Decode([]byte(`{"a":` + strings.Repeat("[", 100_000))); err == nil {
		t.Error("100,000 open brackets were accepted")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"linux":{"seccomp":{"syscalls":[{"names":["a","b"],"args":[{"index":1}]}]}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := Decode(raw); err == nil && !json.Valid(raw) {
			t.Errorf("accepted %q, which is no JSON", raw)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	want := &specs.Spec{}
	n := 0
	fill(reflect.ValueOf(want).Elem(), &n)
	raw, err := json.Marshal(want)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}
