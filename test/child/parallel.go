package child

import (
	"flag"
	"fmt"
)

// Parallel lets n tests run at once, unless the command line says how many: tests
// of processes wait more than they work, so more of them than there are cores. It
// is for a TestMain.
func Parallel(n int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", fmt.Sprint(n))
	}
}
