package keeper

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// port reserves a port of the loopback interface: below those that the system gives
// to connections, so that one of these cannot take it while a broker is stopped, and
// with a lock on a file, so that no other keeper chooses it.
func (k *keeper) port() (int, error) {
	locks := filepath.Join(filepath.Dir(filepath.Dir(k.dir)), "ports")
	if err := os.MkdirAll(locks, 0o700); err != nil {
		return 0, err
	}
	low := 32768
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &low)
	}
	first := 12000
	if low <= first+1000 {
		first, low = 12000, 32768
	}
	for range 200 {
		port := first + rand.IntN(low-first)                                                                            //nolint:gosec // any will do
		f, err := os.OpenFile(filepath.Join(locks, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600) //nolint:gosec // a file of ours
		if err != nil {
			return 0, err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && unused(port) {
			k.ports = append(k.ports, f)
			return port, nil
		}
		_ = f.Close()
	}
	return 0, errors.New("no free port was found on 127.0.0.1")
}

// unused tries to listen.
func unused(port int) bool {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
