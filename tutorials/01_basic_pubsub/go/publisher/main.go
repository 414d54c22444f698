// Command publisher publishes each of its texts as one message.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/nats-io/nats.go"
)

func main() {
	log.SetFlags(0)
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: publisher SUBJECT TEXT...")
	}
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	if err := publish(flag.Arg(0), flag.Args()[1:]); err != nil {
		log.Fatal(err)
	}
}

func publish(subject string, texts []string) error {
	nc, err := nats.Connect(serverURL(), nats.Name("go-publisher"))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	for _, text := range texts {
		if err := nc.Publish(subject, []byte(text)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	// Publish only writes to a buffer. Flush returns when the server has all of it.
	if err := nc.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	fmt.Printf("Published %d to %s\n", len(texts), subject)
	return nil
}

func serverURL() string {
	if url := os.Getenv("NATS_URL"); url != "" {
		return url
	}
	return "nats://127.0.0.1:4222"
}
