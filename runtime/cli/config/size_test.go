package config

import "testing"

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-1": -1, "52428800": 52428800, "50M": 50 << 20, "50m": 50 << 20, "50MB": 50 << 20, "50MiB": 50 << 20,
		"1.5g": 3 << 29, "7k": 7168, "2 T": 2 << 40, "10b": 10,
	} {
		if got, err := Size(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "M", "b", "-2M", "1x", "nan", "inf", "9999999p", "1.2.3", "0x10M"} {
		if got, err := Size(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
}
