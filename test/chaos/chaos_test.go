// Package chaos runs three pods of the built binary with everything they need,
// fifty agents and a steady stream of requests, breaks one thing after another in
// an order that a seed decides, and then holds each single request to the
// contract: whose answer it got, how often it was delivered, and whether what
// became of it may be laid to what was broken at the time.
//
// It decides what may fail and for how long; it never retries, and believes
// nothing but what callers and agents have seen.
package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var (
	seedFlag    = flag.Uint64("seed", 0, "repeat the run with this seed (0: a new one)")
	forFlag     = flag.Duration("for", 0, "go on breaking things for this long (0: each thing once)")
	carrierFlag = flag.String("carrier", "", "RELAY of the pods (empty: the seed decides)")
	raceFlag    = flag.Bool("race-pods", false, "build the pods with the race detector")
	binaryFlag  = flag.String("binary", "", "run the pods of this binary instead of building it")
	leastFlag   = flag.Int("least", fullRate, "go on with so few requests a second if the machine carries no more")
	onlyFlag    = flag.String("fault", "", "break nothing but this")
)

var binary string // the program under test

func TestMain(m *testing.M) {
	flag.Parse()
	if binary = *binaryFlag; binary != "" {
		os.Exit(m.Run())
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "bindu-edge-chaos-bin")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "bindu-edge")
		build := exec.Command("go", "build", "-o", binary, fmt.Sprint("-race=", *raceFlag), "../../cmd/bindu-edge")
		if text, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, text)
			return 1
		}
		return m.Run()
	}())
}

func TestChaos(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64N(1_000_000) + 1
	}
	random := rand.New(rand.NewPCG(seed, 0))
	carrier := []string{"direct", "nats", "redis"}[random.IntN(3)]
	if *carrierFlag != "" {
		carrier = *carrierFlag
	}
	r := start(t, seed, random, carrier)
	faults := r.faults()
	for pass := 0; pass == 0 || time.Since(r.began) < *forFlag; pass++ {
		for _, i := range random.Perm(len(faults)) {
			if f := faults[i]; *onlyFlag == "" || f.name == *onlyFlag {
				r.breakOne(f)
			}
			if t.Failed() || pass > 0 && time.Since(r.began) > *forFlag {
				break
			}
		}
		if t.Failed() {
			break
		}
	}
	r.finish()
}
