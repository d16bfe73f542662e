package value

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"

	"github.com/docker/go-units"
)

// Bytes is a size such as 64m.
type Bytes int64

// Set implements pflag.Value.
func (b *Bytes) Set(v string) error {
	n, err := units.RAMInBytes(v)
	*b = Bytes(n)
	return err
}

func (b *Bytes) String() string {
	// Zero is "not set", and --help must not show a default.
	if *b == 0 {
		return ""
	}
	return units.BytesSize(float64(*b))
}

// Type implements pflag.Value.
func (*Bytes) Type() string { return "bytes" }

// SwapBytes is a size, or -1 for no limit.
type SwapBytes int64

// Set implements pflag.Value.
func (b *SwapBytes) Set(v string) error {
	if v == "-1" {
		*b = -1
		return nil
	}
	n, err := units.RAMInBytes(v)
	*b = SwapBytes(n)
	return err
}

func (b *SwapBytes) String() string {
	switch *b {
	case 0:
		return ""
	case -1:
		return "-1"
	}
	return units.BytesSize(float64(*b))
}

// Type implements pflag.Value.
func (*SwapBytes) Type() string { return "bytes" }

// CPUs is a number of processors in units of 1e-9.
type CPUs int64

// Set implements pflag.Value.
func (c *CPUs) Set(v string) error {
	cpus, ok := new(big.Rat).SetString(v)
	if !ok {
		return fmt.Errorf("failed to parse %v as a rational number", v)
	}
	nano := cpus.Mul(cpus, big.NewRat(1e9, 1))
	if !nano.IsInt() {
		return errors.New("value is too precise")
	}
	if !nano.Num().IsInt64() {
		return errors.New("value is out of range")
	}
	*c = CPUs(nano.Num().Int64())
	return nil
}

func (c *CPUs) String() string {
	if *c == 0 {
		return ""
	}
	return big.NewRat(int64(*c), 1e9).FloatString(3)
}

// Type implements pflag.Value.
func (*CPUs) Type() string { return "decimal" }

// CheckSwappiness accepts -1 (unset) or a percentage.
func CheckSwappiness(n int64) error {
	if n != -1 && (n < 0 || n > 100) {
		return fmt.Errorf("invalid value: %d. Valid memory swappiness range is 0-100", n)
	}
	return nil
}

func parseUint(v string) (uint64, error) { return strconv.ParseUint(v, 10, 64) }
