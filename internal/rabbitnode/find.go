//go:build unix

package rabbitnode

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNotInstalled is returned by Start and Find where the machine has no RabbitMQ server or no Erlang port mapper.
var ErrNotInstalled = errors.New("RabbitMQ is not installed: no rabbitmq-server, or no epmd, found")

// installation is where the programs are.
type installation struct {
	bin  string // the directory of rabbitmq-server and rabbitmqctl
	epmd string
}

// Installed says whether this machine has what Start needs.
func Installed() bool {
	_, err := find()
	return err == nil
}

// find looks where Debian, Fedora and Homebrew put RabbitMQ, then in PATH. Debian's /usr/sbin/rabbitmq-server is none of
// these: it is a wrapper that changes user and directory.
func find() (installation, error) {
	var found installation
	for _, dir := range []string{"/usr/lib/rabbitmq/bin", "/opt/homebrew/sbin", "/usr/local/sbin", "/opt/rabbitmq/sbin"} {
		if executable(filepath.Join(dir, "rabbitmq-server")) {
			found.bin = dir
			break
		}
	}
	if found.bin == "" {
		path, err := exec.LookPath("rabbitmq-server")
		if err != nil || path == "/usr/sbin/rabbitmq-server" {
			return installation{}, ErrNotInstalled
		}
		found.bin = filepath.Dir(path)
	}
	if path, err := exec.LookPath("epmd"); err == nil {
		found.epmd = path
		return found, nil
	}
	// Not every package puts it in PATH; each Erlang runtime has one.
	paths, _ := filepath.Glob("/usr/lib*/erlang/erts-*/bin/epmd") // The pattern is well-formed.
	for _, path := range paths {
		if executable(path) {
			found.epmd = path
			return found, nil
		}
	}
	return installation{}, ErrNotInstalled
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
