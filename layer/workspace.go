package layer

import (
	"github.com/klauspost/compress/zstd"

	"github.com/sampan-containers/sampan/layer/inflate"
)

// workspace is the memory of one extraction, 5 MB. An image of many small layers
// would otherwise spend a third of its time on getting that for each of them.
type workspace struct {
	blocks  [blocks]block
	gzip    inflate.Reader
	zstd    *zstd.Decoder // its window can be larger than all the rest
	copy    [copyBuffer]byte
	encoder *zstd.Encoder // of the recipe
}
