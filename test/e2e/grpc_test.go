package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type text = wrapperspb.StringValue

// talk is a gRPC service without generated code: "/test.Talk/Say" answers,
// "/test.Talk/Count" streams, "/test.Talk/Chat" does both at once.
func startTalk(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.Talk",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			in := new(text)
			if err := decode(in); err != nil {
				return nil, err
			}
			md, _ := metadata.FromIncomingContext(ctx)
			_ = grpc.SetHeader(ctx, metadata.Pairs("x-echo", fmt.Sprint(md.Get("x-ask"))))
			_ = grpc.SetTrailer(ctx, metadata.Pairs("x-end", "of it"))
			if in.GetValue() == "" {
				return nil, grpcstatus.Error(codes.FailedPrecondition, "nothing to say: ü % \n")
			}
			return wrapperspb.String("you said " + in.GetValue()), nil
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Count", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			if err := s.RecvMsg(new(text)); err != nil {
				return err
			}
			for i := range 3 {
				if err := s.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
					return err
				}
			}
			return grpcstatus.Error(codes.ResourceExhausted, "three is enough")
		}}, {StreamName: "Chat", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
			for {
				in := new(text)
				if err := s.RecvMsg(in); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				if err := s.SendMsg(wrapperspb.String("re: " + in.GetValue())); err != nil {
					return err
				}
			}
		}}},
	}, nil)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return l.Addr().String()
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	plane := startPlane(t)
	e := startEdge(t, plane, "BASE_DOMAIN=e2e.test")
	cred := plane.create(t, "grpc")
	startAgent(t, e, cred, "h2c://"+startTalk(t))
	conn, err := grpc.NewClient("passthrough:///"+e.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("grpc.e2e.test"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	t.Run("unary", func(t *testing.T) {
		var header, trailer metadata.MD
		out := new(text)
		err := conn.Invoke(metadata.AppendToOutgoingContext(ctx, "x-ask", "a", "x-ask", "b"), "/test.Talk/Say", wrapperspb.String("hello"), out, grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil || out.GetValue() != "you said hello" {
			t.Errorf("got %q, %v", out.GetValue(), err)
		}
		if h, e := header.Get("x-echo"), trailer.Get("x-end"); len(h) != 1 || h[0] != "[a b]" || len(e) != 1 || e[0] != "of it" {
			t.Errorf("header %v, trailer %v", header, trailer)
		}
	})
	t.Run("error status", func(t *testing.T) {
		err := conn.Invoke(ctx, "/test.Talk/Say", wrapperspb.String(""), new(text))
		if s := grpcstatus.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "nothing to say: ü % \n" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("unknown method", func(t *testing.T) {
		if err := conn.Invoke(ctx, "/test.Talk/Shout", wrapperspb.String(""), new(text)); grpcstatus.Code(err) != codes.Unimplemented {
			t.Errorf("got %v", err)
		}
	})
	t.Run("server stream", func(t *testing.T) {
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/test.Talk/Count")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.SendMsg(wrapperspb.String("go")), s.CloseSend()); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			out := new(text)
			if err := s.RecvMsg(out); err != nil || out.GetValue() != fmt.Sprint(i) {
				t.Fatalf("message %d: %q, %v", i, out.GetValue(), err)
			}
		}
		if err := s.RecvMsg(new(text)); grpcstatus.Code(err) != codes.ResourceExhausted {
			t.Errorf("the end: %v", err)
		}
	})
	t.Run("both ways at once", func(t *testing.T) {
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/test.Talk/Chat")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 { // each answer before the next question
			if err := s.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
			out := new(text)
			if err := s.RecvMsg(out); err != nil || out.GetValue() != fmt.Sprint("re: ", i) {
				t.Fatalf("message %d: %q, %v", i, out.GetValue(), err)
			}
		}
		_ = s.CloseSend()
		if err := s.RecvMsg(new(text)); !errors.Is(err, io.EOF) {
			t.Errorf("the end: %v", err)
		}
	})
	t.Run("no such tunnel", func(t *testing.T) {
		other, err := grpc.NewClient("passthrough:///"+e.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority("nobody.e2e.test"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = other.Close() }()
		if err := other.Invoke(ctx, "/test.Talk/Say", wrapperspb.String("x"), new(text)); grpcstatus.Code(err) != codes.Unimplemented {
			t.Errorf("got %v, want what gRPC makes of a 404", err)
		}
	})
}
