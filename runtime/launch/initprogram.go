package launch

import (
	"encoding/binary"
	"errors"
)

// initAddress is where the code of the init program lies in this program.
func initAddress() uintptr

// InitProgram is a static program of some kilobytes that is the first process of a
// container in its command's place (docker run --init). It starts the command, passes
// all signals on to it, reaps whatever is left to it, and ends as the command does:
// with its exit code, or 128 and the number of the signal.
//
// Its arguments are its own name, "--", and the command with the command's. candidates
// are the files that the command may be, in the order of PATH; name is the command in
// what it says when there is none: exit code 127, or 126 if one could not be executed.
//
// While it runs it has two pages of its own. The command leads a process group, which
// has the terminal if there is one.
func InitProgram(name string, candidates []string) ([]byte, error) {
	image := make([]byte, headerSize, dataOffset+1024)
	image = append(image, codeAt(initAddress())...)
	if len(image) > dataOffset {
		return nil, errors.New("the code of the init program is too long")
	}
	image = image[:dataOffset]
	missing := "exec " + name + ": there is no such program in the container\n"
	denied := "exec " + name + ": it cannot be executed: a directory, not for this user, or not for this machine\n"
	const head = 5 * 4
	put := func(n int) { image = binary.NativeEndian.AppendUint32(image, uint32(n)) }
	put(head)
	put(len(missing))
	put(head + len(missing))
	put(len(denied))
	put(head + len(missing) + len(denied))
	image = append(image, missing...)
	image = append(image, denied...)
	for _, c := range candidates {
		image = append(image, c...)
		image = append(image, 0)
	}
	image = append(image, 0)
	writeHeader(image)
	return image, nil
}
