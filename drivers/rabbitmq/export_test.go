package rabbitmq

import "sync"

var severable sync.Map // *Driver to *[]*conn

// Severable makes Sever work on a driver.
func Severable(d *Driver) *Driver {
	var mu sync.Mutex
	var conns []*conn
	d.opened = func(c *conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
	}
	severable.Store(d, func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.outgoing.socket.Conn.Close()
			_ = c.incoming.socket.Conn.Close()
			<-c.Done()
		}
	})
	return d
}

// Sever cuts the connections that the driver opened, as a network failure would.
func Sever(d *Driver) {
	f, _ := severable.Load(d)
	f.(func())()
}
