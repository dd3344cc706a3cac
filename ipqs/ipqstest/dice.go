package ipqstest

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"strings"

	"opencti-ipqs-worker/ipqs"
)

// dice throws what a value's answer consists of: the same value, the same throws.
type dice struct{ *rand.Rand }

func diceOf(kind ipqs.Kind, value string) dice {
	seed := hash("answer", string(kind), value)
	return dice{rand.New(rand.NewPCG(seed, seed))} // predictable, as it shall be
}

// score throws one of the four bands, then a score in it.
func (d dice) score() int {
	switch d.IntN(4) {
	case 0:
		return d.between(0, 25)
	case 1:
		return d.between(26, 50)
	case 2:
		return d.between(51, 75)
	default:
		return d.between(76, 100)
	}
}

func (d dice) between(low, high int) int { return low + d.IntN(high-low+1) }

func (d dice) oneIn(n int) bool { return d.IntN(n) == 0 }

func pick[T any](d dice, choices ...T) T { return choices[d.IntN(len(choices))] }

// level is the word for a score where IPQS uses words.
func level(score int) string {
	switch {
	case score > 75:
		return "high"
	case score > 50:
		return "medium"
	case score > 25:
		return "low"
	default:
		return "none"
	}
}

func hash(parts ...string) uint64 {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return binary.BigEndian.Uint64(sum[:])
}

// share maps a hash to 0 ≤ x < 1.
func share(h uint64) float64 { return float64(h>>11) / (1 << 53) }

func requestID(q ipqs.Query, n int) string {
	id := strconv.FormatUint(hash("request", string(q.Kind), q.Value, strconv.Itoa(n)), 36)
	return id[:min(len(id), 10)]
}
