// Command subscriber prints every message on a subject until Ctrl-C.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"
)

func main() {
	log.SetFlags(0)
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: subscriber SUBJECT")
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := subscribe(ctx, flag.Arg(0)); err != nil {
		log.Fatal(err)
	}
}

func subscribe(ctx context.Context, subject string) error {
	closed := make(chan struct{})
	nc, err := nats.Connect(serverURL(), nats.Name("go-subscriber"),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	_, err = nc.Subscribe(subject, func(msg *nats.Msg) {
		fmt.Printf("%s: %s\n", msg.Subject, msg.Data)
	})
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	// The server has answered, so it knows the subscription: now nothing is missed.
	if err := nc.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	fmt.Printf("Listening on %s\n", subject)

	<-ctx.Done()
	if err := nc.Drain(); err != nil { // Drain starts here and ends in the closed handler.
		return fmt.Errorf("drain: %w", err)
	}
	<-closed
	fmt.Println("Drained")
	return nil
}

func serverURL() string {
	if url := os.Getenv("NATS_URL"); url != "" {
		return url
	}
	return "nats://127.0.0.1:4222"
}
