package build

import "errors"

// RefuseSandbox makes builds find that no command can be run on this machine, or
// takes that back.
func (b *Builder) RefuseSandbox(refuse bool) {
	b.noSandbox = nil
	if refuse {
		b.noSandbox = &guestError{reason: "no command can be run", err: errors.New("refused by the test")}
	}
}
