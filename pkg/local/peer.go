package local

import (
	"bufio"
	"context"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// peer is who is at the other end of a loopback connection.
type peer struct {
	known bool // the kernel's table could be read
	uid   int  // -1: no such connection in it
}

type peerKey struct{}

// withPeer notes who opened a connection. Loopback is shared by all users of a
// machine, and by the tasks themselves; whoever may use the API may run programs
// as the user of the cloud.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, peerOf(conn))
}

// allowed says whether the peer is root or the user of this process. Where the
// kernel does not tell, everyone on loopback is.
func (p peer) allowed() bool {
	return !p.known || p.uid == 0 || p.uid == os.Geteuid()
}

// peerOf looks up the owner of the other end's socket in the kernel's tables of TCP
// sockets (proc(5), /proc/net/tcp).
func peerOf(conn net.Conn) peer {
	theirs, ok1 := conn.RemoteAddr().(*net.TCPAddr)
	ours, ok2 := conn.LocalAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return peer{}
	}
	p := peer{uid: -1}
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		p.known = true
		uid, found := socketOwner(f, theirs.AddrPort(), ours.AddrPort())
		f.Close()
		if found {
			p.uid = uid
			break
		}
	}
	return p
}

// socketOwner finds the user of the established connection local → remote in a
// table. A socket that is no longer established has lost its owner and would be
// shown as root's.
func socketOwner(table io.Reader, local, remote netip.AddrPort) (uid int, found bool) {
	const established = "01"
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[3] != established {
			continue
		}
		if a, ok := tableAddress(f[1]); !ok || a != unmapped(local) {
			continue
		}
		if a, ok := tableAddress(f[2]); !ok || a != unmapped(remote) {
			continue
		}
		uid, err := strconv.Atoi(f[7])
		return uid, err == nil
	}
	return 0, false
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// tableAddress reads "0100007F:13BA": 32-bit words in the machine's byte order, which
// is little-endian on all that this runs on, and the port in hexadecimal.
func tableAddress(s string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	addr, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), true
}
