package logs

import (
	"os"

	"github.com/sampan-containers/sampan/logs/compact"
)

// part is one file of a log.
type part struct {
	f      *os.File
	info   os.FileInfo // as of the opening
	number int         // its number is this one or above
	packed bool
	origin compact.Origin // of a packed one: the file that it replaces
}

// end is the present size.
func (p *part) end() (int64, error) {
	info, err := p.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// now describes a part that is not packed, as the file that replaces it does: with
// its size and time, since an earlier file may have had its inode.
func (p *part) now() (compact.Origin, error) {
	info, err := p.f.Stat()
	if err != nil {
		return compact.Origin{}, err
	}
	return compact.OriginOf(info), nil
}

func closeAll(files []*part) {
	for _, p := range files {
		p.f.Close()
	}
}
