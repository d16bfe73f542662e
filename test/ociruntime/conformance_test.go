package ociruntime

import (
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The conformance table: which tests stand for a section of the specification. Sections
// of TestFields are in the table by their cases. What a section says to others than
// runtimes on Linux is waived sentence by sentence, in waivers.
var sectionTests = map[string][]string{
	"bundle.md#containerFormat":        {"TestBundle"},
	"runtime.md#runtimeScopeContainer": {"TestLifecycle"},
	"runtime.md#runtimeState":          {"TestState"},
	"runtime.md#runtimeLifecycle":      {"TestLifecycle", "TestHooks", "TestHooksFail", "TestErrorsLeaveNothing"},
	"runtime.md#runtimeErrors":         {"TestErrorsLeaveNothing"},
	"runtime.md#runtimeWarnings":       {"TestWarnings"},
	"runtime.md#runtimeOperations":     {"TestLifecycle", "TestState"},
	"runtime.md#runtimeQueryState":     {"TestState"},
	"runtime.md#runtimeCreate":         {"TestLifecycle", "TestErrorsLeaveNothing"},
	"runtime.md#runtimeStart":          {"TestLifecycle"},
	"runtime.md#runtimeKill":           {"TestLifecycle"},
	"runtime.md#runtimeDelete":         {"TestLifecycle", "TestErrorsLeaveNothing"},

	"config.md#configProcess":                       {"TestTerminal", "TestFields"},
	"config.md#configPlatformSpecificConfiguration": {"TestExtensibility"},
	"config.md#configHooks":                         {"TestHooks", "TestHooksFail"},
	"config.md#configHooksPrestart":                 {"TestHooks"},
	"config.md#configHooksCreateRuntime":            {"TestHooks"},
	"config.md#configHooksCreateContainer":          {"TestHooks"},
	"config.md#configHooksStartContainer":           {"TestHooks"},
	"config.md#configHooksPoststart":                {"TestHooks"},
	"config.md#configHooksPoststop":                 {"TestHooks", "TestHooksFail"},
	"config.md#configExtensibility":                 {"TestExtensibility"},
	"config.md#Valid values":                        {"TestExtensibility", "TestFields"},

	"config-linux.md#configLinuxNetworkDevices":                     {"TestNetDevices"},
	"config-linux.md#Namespace Lifecycle and Container Termination": {"TestNetDevices"},
	"config-linux.md#configLinuxControlGroups":                      {"TestErrorsLeaveNothing", "TestExistingGroup"},
	"config-linux.md#Cgroup ownership":                              {"TestCgroupOwnership"},
	"config-linux.md#Example":                                       {"TestFields"}, // of unified
	"config-linux.md#containerprocessstate":                         {"TestSeccompNotify"},

	"features.md#features":                           {"TestFeatures"},
	"features.md#featuresSpecificationVersion":       {"TestFeatures"},
	"features.md#featuresHooks":                      {"TestFeatures", "TestHooks"},
	"features.md#featuresMountOptions":               {"TestFeatures"},
	"features.md#featuresAnnotations":                {"TestFeatures"},
	"features-linux.md#linuxFeaturesNamespaces":      {"TestFeatures"},
	"features-linux.md#linuxFeaturesCapabilities":    {"TestFeatures"},
	"features-linux.md#linuxFeaturesSeccomp":         {"TestFeatures", "TestFields"},
	"features-linux.md#linuxFeaturesMemoryPolicy":    {"TestFeatures", "TestFields"},
	"features-linux.md#linuxFeaturesMountExtensions": {"TestFeatures", "TestFields"},
}

// waivers are sentences with a MUST that no test can stand for, or that we do not keep,
// by a part of their text.
var waivers = map[string]string{
	"On Windows":                                        "another platform",
	"Hyper-V":                                           "another platform",
	"volume GUID":                                       "another platform",
	"MUST NOT be nested within another":                 "another platform",
	"target platform of this spec is":                   "another platform",
	"is REQUIRED if this field":                         "another platform",
	"annotation value MUST have":                        "for those who write annotations",
	"namespace for keys is reserved":                    "for the authors of the specification",
	"namespace not specified in this":                   "for the authors of the specification",
	"`poststart` hook fails, the runtime MUST":          "a failing poststart hook is a warning: the container runs already, runtime-spec 1.0 to 1.1 wanted that, and callers rely on it",
	"MUST be unique across all containers on this host": "the records of one --root are all that a runtime without a daemon knows",
}

// specification finds the files of the module that the runtime is compiled with.
func specification(t *testing.T) string {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runtime-spec")
	cmd.Dir = module
	out, err := cmd.Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

var (
	heading     = regexp.MustCompile(`^#+ *(?:<a name="([^"]+)"[^>]*>(?:</a>)?)?(.*)`)
	requirement = regexp.MustCompile(`\b(MUST|REQUIRED|SHALL)\b`)
)

// requirements lists the sentences of the Linux and common parts that demand something,
// by section.
func requirements(t *testing.T) map[string][]string {
	t.Helper()
	dir := specification(t)
	list := map[string][]string{}
	for _, file := range []string{"bundle.md", "runtime.md", "runtime-linux.md", "config.md", "config-linux.md", "features.md", "features-linux.md"} {
		data, err := os.ReadFile(filepath.Join(dir, file))
		must(t, err)
		section, code := "", false
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "```") {
				code = !code
			}
			if code {
				continue
			}
			if m := heading.FindStringSubmatch(line); m != nil {
				if section = m[1]; section == "" {
					section = strings.TrimSpace(m[2])
				}
				continue
			}
			for sentence := range strings.SplitSeq(line, ". ") {
				if requirement.MatchString(sentence) {
					list[file+"#"+section] = append(list[file+"#"+section], sentence)
				}
			}
		}
	}
	return list
}

// testFunctions are the tests of this package.
func testFunctions(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	var list []string
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		must(t, err)
		for name := range f.Scope.Objects {
			list = append(list, name)
		}
	}
	return list
}

// TestConformanceSections: every MUST of the specification is in a section that a test
// is named after, or is waived with a reason. Those without are listed.
func TestConformanceSections(t *testing.T) {
	tests := testFunctions(t)
	byCase := map[string]int{}
	for _, f := range fields() {
		byCase[f.section]++
	}
	all := requirements(t)
	total, waived := 0, 0
	for section, sentences := range all {
		covered := byCase[section] > 0
		for _, name := range sectionTests[section] {
			if !slices.Contains(tests, name) {
				t.Errorf("%s names the test %s, which does not exist", section, name)
			}
			covered = true
		}
		for _, sentence := range sentences {
			total++
			if waiver(sentence) != "" {
				waived++
				continue
			}
			if !covered {
				t.Errorf("no test for %s: %s", section, sentence)
			}
		}
	}
	for section := range sectionTests {
		if len(all[section]) == 0 {
			t.Errorf("the specification has no section %s with a MUST", section)
		}
	}
	t.Logf("%d requirements in %d sections, %d of them waived", total, len(all), waived)
}

func waiver(sentence string) string {
	for part, reason := range waivers {
		if strings.Contains(sentence, part) {
			return reason
		}
	}
	return ""
}
