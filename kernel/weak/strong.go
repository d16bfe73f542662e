//go:build !weakened

package weak

// Off reports whether a defence is switched off.
func Off(string) bool { return false }
