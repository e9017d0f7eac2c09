package gcppubsub_test

import (
	"context"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// A relay stands before Google's emulator and ends in good order what a client's lost
// connection broke. The emulator never forgets a stream that was broken or cancelled:
// it goes on giving messages to it, as Google does not.
type relay struct {
	upstream *grpc.ClientConn
	life     context.Context //nolint:containedctx // of what was sent on: it outlives its client
}

// newRelay returns the address of a relay.
func newRelay(t testing.TB, emulator string) string {
	t.Helper()
	upstream, err := grpc.NewClient("passthrough:///"+emulator,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(untouched{}), grpc.MaxCallRecvMsgSize(64<<20)))
	must(t, err)
	life, end := context.WithCancel(context.Background())
	r := &relay{upstream, life}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := grpc.NewServer(grpc.UnknownServiceHandler(r.serve), grpc.ForceServerCodec(untouched{}), grpc.MaxRecvMsgSize(64<<20))
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		end()
		server.Stop() // waits for what is served
		<-over
		must(t, upstream.Close())
	})
	return l.Addr().String()
}

// serve carries one call.
func (r *relay) serve(_ any, down grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(down)
	header, _ := metadata.FromIncomingContext(down.Context())
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(r.life, header))
	defer cancel()
	up, err := r.upstream.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go func() {
		var request []byte
		for down.RecvMsg(&request) == nil && up.SendMsg(&request) == nil {
			continue
		}
		_ = up.CloseSend() // the client has ended its side, or is gone
	}()
	for {
		var answer []byte
		if err := up.RecvMsg(&answer); err != nil {
			down.SetTrailer(up.Trailer())
			if err == io.EOF { //nolint:errorlint // RecvMsg returns it as it is
				return nil
			}
			return err
		}
		_ = down.SendMsg(&answer) // if the client is gone, the rest is still read
	}
}

// untouched is a codec of messages that stay as they are.
type untouched struct{}

func (untouched) Name() string { return "proto" }

func (untouched) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

func (untouched) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
