package request

import (
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/sampan-containers/sampan/fault"
)

const (
	namePattern = "[a-zA-Z0-9][a-zA-Z0-9_.-]"
	// maxName keeps a name below what a file name may hold on every file system.
	maxName = 250
	// ShortID is the length of an abbreviated id.
	ShortID = 12
)

var validName = regexp.MustCompile(`^/?` + namePattern + `+$`)

// CheckName refuses names that cannot be a container's, with Docker's words.
func CheckName(name string) error {
	if !validName.MatchString(name) || len(name) > maxName {
		return fault.New(fault.Invalid, "Invalid container name (%s), only %s are allowed", name, namePattern)
	}
	return nil
}

// NewID returns 64 hexadecimal digits whose short form is not a number: such an
// id could be taken for one where ids and numbers are both allowed.
func NewID() string {
	for {
		var b [32]byte
		rand.Read(b[:])
		id := hex.EncodeToString(b[:])
		if _, err := strconv.ParseUint(id[:ShortID], 10, 64); err != nil {
			return id
		}
	}
}

// InventName makes a name such as quiet_lugger; attempt > 0 adds digits.
func InventName(attempt int) string {
	name := pick(nameMoods) + "_" + pick(nameCrafts)
	if attempt > 0 {
		name += strconv.Itoa(randomInt(10 * attempt * attempt * attempt))
	}
	return name
}

func pick(list string) string {
	words := strings.Fields(list)
	return words[randomInt(len(words))]
}

func randomInt(n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil { // crypto/rand never fails on Linux ≥ 3.17
		return 0
	}
	return int(i.Int64())
}

const nameMoods = `able agile airy ample awake bold brave breezy bright brisk broad calm candid careful
	cheerful clean clear clever cool cosy crisp daring deft eager early earnest easy even fair famous fast fearless
	fine firm fleet fond free fresh gentle glad golden good grand happy hardy hearty honest humble jolly keen kind
	late lean light lively loyal lucky lunar mellow merry mighty mild modest neat nimble noble open patient placid
	plain polite proud quick quiet ready rosy round royal salty serene sharp shiny silent silver simple sleek smart
	smooth snug sober solar solid spry stable steady still stout sturdy sunny sure swift tall tame tidy tiny tough
	trim true trusty upbeat useful vast vivid warm wise witty young zesty`

const nameCrafts = `argosy ark bark barge bateau bilander boat brig brigantine buoy canoe caravel carrack catamaran
	clipper coaster cog coracle corsair corvette currach cutter dhow dinghy dory dragger drifter droger felucca ferry
	fishing flatboat flotilla frigate galleon galley gondola gozzo hoy hulk hydrofoil icebreaker jangada jolly junk
	kayak keelboat ketch knarr launch liner longboat lorcha lugger mistico nao outrigger packet pilot pinnace pirogue
	pontoon pram proa prow punt raft randan sampan schooner scow scull shallop skiff skipjack sloop smack snow
	steamer tanker tartane tender tjalk trader trawler trimaran trireme tug umiak vaka vessel wherry whaler xebec
	yacht yawl yole zebec`
