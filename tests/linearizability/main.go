// Command linearizability checks a history that natsload recorded (an operation a line, as JSON) with porcupine: each key must
// behave as one register with versions.
//
//	linearizability HISTORY.jsonl
//
// It prints what it found as JSON. Exit codes: 0 linearizable, 1 not linearizable, 2 the history can't be read, 3 no answer in time.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

const patience = 5 * time.Minute

// operation is a line of a history. Values are numbers, each written once: negative for a delete marker, 0 for no value.
type operation struct {
	Key        int    `json:"key"`
	Generation int    `json:"generation"`
	Client     uint64 `json:"client"`
	Call       int64  `json:"call"`
	End        int64  `json:"end"`
	Kind       string `json:"kind"`
	Expected   uint64 `json:"expected"`
	Value      int64  `json:"value"`
	Outcome    string `json:"outcome"`
	Revision   uint64 `json:"revision"`
	// Told says whether a refusal names the key's revision.
	Told bool `json:"told"`
}

// register is the state of a key. A key is unknown before its first read in a generation.
type register struct {
	known    bool
	revision uint64
	value    int64
}

func step(state, input, _ interface{}) (bool, interface{}) {
	now, op := state.(register), input.(operation)
	next := register{true, op.Revision, op.Value}
	switch {
	case op.Kind == "get":
		return !now.known || now == next, next
	case op.Outcome == "refused":
		return now.known && now.revision == op.Revision && op.Expected != op.Revision, now
	case op.Kind == "put":
		return op.Revision > now.revision, next
	default: // update and delete
		return now.known && now.revision == op.Expected && op.Revision > now.revision, next
	}
}

// parts splits a history by key and generation. A kill ends every operation, and every key is read before and after its next
// generation, so what holds for the parts holds for the whole.
func parts(file io.Reader) (map[[2]int][]porcupine.Operation, int, error) {
	found, count := map[[2]int][]porcupine.Operation{}, 0
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var op operation
		if err := json.Unmarshal(lines.Bytes(), &op); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", count+1, err)
		}
		count++
		switch op.Outcome {
		case "done", "refused":
		default:
			return nil, 0, fmt.Errorf("line %d: outcome %q", count, op.Outcome)
		}
		if op.Outcome == "refused" && !op.Told {
			continue
		}
		part := [2]int{op.Key, op.Generation}
		client := int(op.Client % (math.MaxInt32))
		found[part] = append(found[part], porcupine.Operation{ClientId: client, Input: op, Call: op.Call, Return: op.End})
	}
	for part, history := range found {
		found[part] = reduced(history)
	}
	return found, count, lines.Err()
}

// reduced leaves out reads that say nothing new. A refusal reads the revision that it names. Reads of the same revision and value
// have to lie between the write that made it and the next one; that holds for all of them if it holds for the one that ended
// first and the one that began last. Without this a search among 20 clients that mostly read takes hours.
func reduced(history []porcupine.Operation) []porcupine.Operation {
	type seen struct {
		revision uint64
		value    int64
		refused  bool
	}
	first, last := map[seen]int{}, map[seen]int{}
	var kept []porcupine.Operation
	for i, entry := range history {
		op := entry.Input.(operation)
		if op.Outcome == "refused" && op.Expected == op.Revision {
			kept = append(kept, entry) // never right
			continue
		}
		if op.Kind != "get" && op.Outcome != "refused" {
			kept = append(kept, entry)
			continue
		}
		read := seen{op.Revision, op.Value, op.Outcome == "refused"}
		if read.refused {
			read.value = 0
		}
		if at, ok := first[read]; !ok || entry.Return < history[at].Return {
			first[read] = i
		}
		if at, ok := last[read]; !ok || entry.Call > history[at].Call {
			last[read] = i
		}
	}
	for read, at := range first {
		kept = append(kept, history[at])
		if last[read] != at {
			kept = append(kept, history[last[read]])
		}
	}
	return kept
}

func check(path string) (int, map[string]any, error) {
	file, err := os.Open(path)
	if err != nil {
		return 2, nil, err
	}
	defer file.Close()
	histories, count, err := parts(file)
	if err != nil {
		return 2, nil, err
	}
	began, bad, late := time.Now(), [][2]int{}, [][2]int{}
	for part, history := range histories {
		model := porcupine.Model{
			Init: func() interface{} { return register{known: part[1] == 0} },
			Step: step,
		}
		switch porcupine.CheckOperationsTimeout(model, history, patience-time.Since(began)) {
		case porcupine.Illegal:
			bad = append(bad, part)
		case porcupine.Unknown:
			late = append(late, part)
		}
	}
	code := 0
	if len(bad) > 0 {
		code = 1
	} else if len(late) > 0 {
		code = 3
	}
	// Pairs of key and generation.
	return code, map[string]any{"operations": count, "parts": len(histories), "bad": bad, "unanswered": late}, nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: linearizability HISTORY.jsonl")
		os.Exit(2)
	}
	code, told, err := check(os.Args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "linearizability: %s: %v\n", os.Args[1], err)
		os.Exit(2)
	}
	_ = json.NewEncoder(os.Stdout).Encode(told)
	os.Exit(code)
}
