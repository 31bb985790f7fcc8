package debian

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	_ "embed" // the archive's keyring
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// archiveKeys is the keyring of the Debian package debian-archive-keyring
// 2023.3+deb12u2: the keys that sign bullseye, bookworm and trixie, the last of
// which expires in 2035.
//
//go:embed keyring/debian-archive-keyring.gpg
var archiveKeys []byte

// Keyring is a set of OpenPGP public keys: one or more keyrings, each binary or
// armored.
type Keyring [][]byte

// ArchiveKeyring returns the keys that sign the Debian archive, which are part
// of this program.
func ArchiveKeyring() Keyring { return Keyring{archiveKeys} }

// Digest identifies the keyring's content.
func (k Keyring) Digest() string {
	h := sha256.New()
	for _, keys := range k {
		fmt.Fprintf(h, "%d\n", len(keys))
		h.Write(keys)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (k Keyring) entities() (openpgp.EntityList, error) {
	var all openpgp.EntityList
	for _, keys := range k {
		read := openpgp.ReadKeyRing
		if bytes.HasPrefix(bytes.TrimLeft(keys, " \t\r\n"), []byte("-----BEGIN")) {
			read = openpgp.ReadArmoredKeyRing
		}
		list, err := read(bytes.NewReader(keys))
		if err != nil {
			return nil, fmt.Errorf("read keyring: %w", err)
		}
		all = append(all, list...)
	}
	if len(all) == 0 {
		return nil, errors.New("read keyring: it has no keys")
	}
	return all, nil
}

// errNotSigned reports text that is not one clear-signed message.
var errNotSigned = errors.New("it is not one clear-signed message and nothing else")

// open returns the text of a clear-signed message (RFC 9580, 7) that one of the
// keys has signed. Text before or after the message would be outside the
// signature, and is an error. The archive signs with several keys at a time;
// one that is known and valid is enough, as for apt.
func (k Keyring) open(message []byte, now time.Time) ([]byte, error) {
	keys, err := k.entities()
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(message, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, errNotSigned
	}
	block, rest := clearsign.Decode(message)
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errNotSigned
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	// SHA-1 and MD5 are not among them: no Debian archive has needed them for years.
	hashes := []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}
	failure := error(errors.New("it has no signature"))
	signatures := packet.NewOpaqueReader(block.ArmoredSignature.Body)
	for {
		p, err := signatures.Next()
		if errors.Is(err, io.EOF) {
			return nil, failure
		}
		if err != nil {
			return nil, fmt.Errorf("read its signature: %w", err)
		}
		var one bytes.Buffer
		if err := p.Serialize(&one); err != nil {
			return nil, err
		}
		_, _, err = openpgp.VerifyDetachedSignatureAndHash(keys, bytes.NewReader(block.Bytes), &one, hashes, config)
		if err == nil {
			return block.Plaintext, nil
		}
		failure = err
	}
}
