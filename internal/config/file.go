package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the settings file in bytes.
const maxFile = 1 << 20

// file is a settings file that was read: one flat map.
type file struct {
	name  string
	lines map[string]line // by key
}

type line struct {
	number int
	text   string
}

// readFile reads a YAML file whose keys are all in known; known[key] says that
// a list is allowed there. Errors about one line are *SettingError.
func readFile(name string, known map[string]bool) (*file, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes: that is no settings file", show(name), maxFile)
	}
	return parseFile(name, data, known)
}

func parseFile(name string, data []byte, known map[string]bool) (*file, error) {
	out := &file{name: show(name), lines: map[string]line{}}
	at := func(n *yaml.Node, format string, args ...any) error {
		return &SettingError{fmt.Sprintf("%s:%d", out.name, n.Line), fmt.Sprintf(format, args...)}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return out, nil // nothing but comments
	} else if err != nil {
		return nil, fmt.Errorf("%s is not YAML: %s", out.name, oneLine(err))
	}
	if err := dec.Decode(&second); err == nil {
		return nil, at(&second, "a second document: use one")
	} else if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is not YAML: %s", out.name, oneLine(err))
	}
	root := doc.Content[0]
	if isNull(root) {
		return out, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, at(root, "not a map: write lines such as port: 8080")
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return nil, at(key, "not the name of a setting: write lines such as port: 8080")
		}
		k := key.Value
		list, ok := known[k]
		if !ok {
			if value.Kind == yaml.MappingNode {
				return nil, at(key, "%s: is a map: settings are flat, write such as redis_host: localhost", show(k))
			}
			return nil, at(key, "%s: no such setting%s", show(k), didYouMean(k, known))
		}
		if first, twice := seen[k]; twice {
			return nil, at(key, "%s: given twice, first in line %d: leave one", k, first)
		}
		seen[k] = key.Line
		text, set, err := scalar(value, list)
		if err != nil {
			return nil, at(value, "%s: %s", k, err)
		}
		if set {
			out.lines[k] = line{value.Line, text}
		}
	}
	return out, nil
}

// scalar gives the value as it was written, not as YAML understands it, so that
// a setting means the same in the file as in the environment. Null and the
// empty text count as unset, as an empty variable does.
func scalar(n *yaml.Node, list bool) (text string, set bool, err error) {
	switch {
	case isNull(n):
		return "", false, nil
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!binary":
		return "", false, errors.New("is binary: write it as text")
	case n.Kind == yaml.ScalarNode:
		return n.Value, n.Value != "", nil
	case n.Kind == yaml.AliasNode:
		return "", false, errors.New("is an alias: write the value itself")
	case n.Kind == yaml.MappingNode:
		return "", false, errors.New("is a map: write one value")
	case !list:
		return "", false, errors.New("is a list: write one value")
	}
	items := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode || isNull(item) {
			return "", false, errors.New("holds something that is no text: write a list of plain values")
		}
		items = append(items, item.Value)
	}
	return strings.Join(items, ","), len(items) > 0, nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// oneLine joins a YAML error that came in several, without its own prefix.
func oneLine(err error) string {
	return strings.TrimPrefix(strings.Join(strings.Fields(err.Error()), " "), "yaml: ")
}

// didYouMean names the known key closest to a wrong one, if one is close.
func didYouMean(key string, known map[string]bool) string {
	// REDIS_HOST and redis-host are how the same setting is written elsewhere.
	same := strings.ToLower(strings.ReplaceAll(key, "-", "_"))
	best, least := "", 1+len(key)/3
	for k := range known {
		if d := distance(same, k); d < least || d == least && best != "" && k < best {
			best, least = k, d
		}
	}
	if best == "" {
		return ": the settings are listed by bindu-edge serve --help"
	}
	return ": did you mean " + best + "?"
}

// distance counts the insertions, deletions and changes of bytes between a and
// b (Levenshtein).
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b)) // no setting is that long
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
