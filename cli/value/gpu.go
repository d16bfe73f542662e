package value

import (
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// GPUs collects --gpus.
type GPUs struct{ Values []container.DeviceRequest }

// Set implements pflag.Value.
func (g *GPUs) Set(v string) error {
	fields, err := csvFields(v)
	if err != nil {
		return err
	}
	req := container.DeviceRequest{}
	seen := map[string]bool{}
	for _, field := range fields {
		key, val, hasValue := strings.Cut(field, "=")
		if !hasValue {
			key, val = "count", key
		}
		if seen[key] {
			return fmt.Errorf("gpu request key '%s' can be specified only once", key)
		}
		seen[key] = true
		switch key {
		case "driver":
			req.Driver = val
		case "count":
			req.Count, err = gpuCount(val)
		case "device":
			req.DeviceIDs = strings.Split(val, ",")
		case "capabilities":
			req.Capabilities = [][]string{append(strings.Split(val, ","), "gpu")}
		case "options":
			var opts []string
			if opts, err = csvFields(val); err == nil {
				req.Options = KeyValues(opts)
			}
		default:
			return fmt.Errorf("unexpected key '%s' in '%s'", key, field)
		}
		if err != nil {
			return err
		}
	}
	if !seen["count"] && req.DeviceIDs == nil {
		req.Count = 1
	}
	if req.Options == nil {
		req.Options = map[string]string{}
	}
	if req.Capabilities == nil {
		req.Capabilities = [][]string{{"gpu"}}
	}
	g.Values = append(g.Values, req)
	return nil
}

func gpuCount(v string) (int, error) {
	if v == "all" {
		return -1, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, fmt.Errorf("invalid count (%s): value must be either \"all\" or an integer", v)
	}
	return n, nil
}

func (g *GPUs) String() string {
	if len(g.Values) == 0 {
		return ""
	}
	return fmt.Sprintf("%v", g.Values)
}

// Type implements pflag.Value.
func (*GPUs) Type() string { return "gpu-request" }

func csvFields(v string) ([]string, error) {
	fields, err := csv.NewReader(strings.NewReader(v)).Read()
	if err != nil {
		return nil, fmt.Errorf("invalid comma-separated value %q: %w", v, err)
	}
	return fields, nil
}
