package value

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxEnvLine bounds a line of an env or label file.
const maxEnvLine = 1 << 20

// CheckEnv is the check of -e NAME[=VALUE]: a bare name takes the client's
// value; if there is none, the daemon is told to unset it.
func CheckEnv(v string) (string, error) {
	name, _, ok := strings.Cut(v, "=")
	if name == "" {
		return "", fmt.Errorf("invalid environment variable: %s", v)
	}
	if ok {
		return v, nil
	}
	if val, set := os.LookupEnv(name); set {
		return name + "=" + val, nil
	}
	return v, nil
}

// CheckLabel is the check of -l KEY[=VALUE].
func CheckLabel(v string) (string, error) {
	if key, _, _ := strings.Cut(v, "="); key == "" {
		return "", fmt.Errorf("invalid label '%s': empty name", v)
	}
	return v, nil
}

// Env reads the files of --env-file and puts the flags' values last.
func Env(files, flags []string) ([]string, error) {
	return fromFiles(files, flags, func(name string) (string, bool) {
		val, ok := os.LookupEnv(name)
		return name + "=" + val, ok
	})
}

// Labels reads the files of --label-file and puts the flags' values last.
func Labels(files, flags []string) (map[string]string, error) {
	items, err := fromFiles(files, flags, func(key string) (string, bool) { return key, true })
	if err != nil {
		return nil, err
	}
	return KeyValues(items), nil
}

// fromFiles reads KEY=VALUE lines; bare says what a line without "=" means.
func fromFiles(files, flags []string, bare func(string) (string, bool)) ([]string, error) {
	items := []string{}
	for _, name := range files {
		got, err := readPairs(name, bare)
		if err != nil {
			return nil, err
		}
		items = append(items, got...)
	}
	return append(items, flags...), nil
}

func readPairs(name string, bare func(string) (string, bool)) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	items, err := parsePairs(f, bare)
	if err != nil {
		return nil, fmt.Errorf("invalid file (%s): %w", name, err)
	}
	return items, nil
}

func parsePairs(r io.Reader, bare func(string) (string, bool)) ([]string, error) {
	var items []string
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxEnvLine)
	for n := 1; scanner.Scan(); n++ {
		line := scanner.Bytes()
		if !utf8.Valid(line) {
			return nil, fmt.Errorf("invalid utf8 bytes at line %d: %q", n, line)
		}
		text := string(line)
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
		if text == "" || text[0] == '#' {
			continue
		}
		key, _, hasValue := strings.Cut(text, "=")
		if key == "" {
			return nil, fmt.Errorf("no variable name on line '%s'", text)
		}
		if strings.IndexFunc(key, unicode.IsSpace) != -1 {
			return nil, fmt.Errorf("variable '%s' contains whitespaces", key)
		}
		if hasValue {
			items = append(items, text)
		} else if item, ok := bare(key); ok {
			items = append(items, item)
		}
	}
	return items, scanner.Err()
}

// CheckSysctl is the check of --sysctl KEY=VALUE. Which keys are namespaced is
// known to the daemon.
func CheckSysctl(v string) (string, error) {
	if key, _, ok := strings.Cut(v, "="); !ok || key == "" {
		return "", fmt.Errorf("sysctl '%s' is not allowed: it must be KEY=VALUE", v)
	}
	return v, nil
}
