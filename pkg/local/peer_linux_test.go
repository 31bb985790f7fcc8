package local

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestOtherUsersAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be another user")
	}
	r := newRig(t, Options{})
	for uid, want := range map[uint32]string{0: "401", 65534: "403"} {
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", askArgument, r.URL()+"/v2/")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Skipf("the test cannot be run as user %d: %v %s", uid, err, out)
		}
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("user %d gets %s, want %s", uid, got, want)
		}
	}
}
