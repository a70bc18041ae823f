package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/getbindu/bindu-edge/internal/planeclient"
	"github.com/getbindu/bindu-edge/internal/terminal"
)

// completionCmd is `bindu-edge completion …`: what a shell needs to finish what
// is typed. The scripts ask this program for the words, so they never know
// other commands than it has.
type completionCmd struct {
	Bash  completionShellCmd `cmd:"" help:"Print the script for bash."`
	Zsh   completionShellCmd `cmd:"" help:"Print the script for zsh."`
	Fish  completionShellCmd `cmd:"" help:"Print the script for fish."`
	Words completionWordsCmd `cmd:"" hidden:"" help:"Print the words that may stand at the end of a command line."`
}

// Help is what `completion --help` says beyond the list of commands.
func (completionCmd) Help() string {
	return `Finishes commands, flags, their values, and, where BINDU_API_KEY is set, tunnels.

Examples:

    echo 'source <(bindu-edge completion bash)' >> ~/.bashrc
    echo 'source <(bindu-edge completion zsh)' >> ~/.zshrc     (after compinit)
    bindu-edge completion fish > ~/.config/fish/completions/bindu-edge.fish`
}

// completionShellCmd prints one script.
type completionShellCmd struct{}

// Run prints it.
func (completionShellCmd) Run(k *kong.Context, p *process) error {
	_, err := fmt.Fprint(p.stdout, completionScripts[k.Selected().Name])
	return err
}

// The program prints a line for each word: the word, a tab, what it is. No line
// means that the shell's own completion, of files, has its turn.
var completionScripts = map[string]string{
	"bash": `# bash completion of bindu-edge
_bindu_edge() {
	local line
	COMPREPLY=()
	while IFS= read -r line; do
		COMPREPLY+=("${line%%$'\t'*}")
	done < <(bindu-edge completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _bindu_edge bindu-edge
`,
	"zsh": `#compdef bindu-edge
_bindu-edge() {
	local line
	local -a found
	while IFS= read -r line; do
		line=${line//:/\\:}
		found+=("${line/$'\t'/:}")
	done < <(bindu-edge completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)
	if (( ${#found} )); then
		_describe bindu-edge found
	else
		_files
	fi
}
if [ "${funcstack[1]}" = _bindu-edge ]; then
	_bindu-edge "$@"
else
	compdef _bindu-edge bindu-edge
fi
`,
	"fish": `# fish completion of bindu-edge
function __bindu_edge_words
	set -l tokens (commandline -opc) (commandline -ct)
	bindu-edge completion words -- $tokens[2..-1] 2>/dev/null
end
complete -c bindu-edge -n 'test -n "$(__bindu_edge_words)"' -f
complete -c bindu-edge -a '(__bindu_edge_words)'
`,
}

// completionWordsCmd answers the scripts.
type completionWordsCmd struct {
	Line []string `arg:"" optional:"" help:"The command line without the program, up to the word to finish."`
	reach
}

// patienceOfShell bounds the question for tunnels: somebody waits for a key.
const patienceOfShell = 2 * time.Second

// Run prints the words.
func (c *completionWordsCmd) Run(ctx context.Context, k *kong.Context, p *process) error {
	tunnels := func(prefix string) []word {
		ctx, cancel := context.WithTimeout(ctx, patienceOfShell)
		defer cancel()
		if c.APIKeyFile == "-" {
			return nil // nobody types a key while a shell waits
		}
		at, err := c.open(p)
		if err != nil {
			return nil // without a key there is nothing to offer
		}
		list, _, err := at.ListTunnels(ctx, planeclient.Filter{Search: prefix, Limit: 100})
		if err != nil {
			return nil
		}
		var words []word
		for _, t := range list {
			words = append(words, word{t.Slug, strings.TrimSpace(t.Status + ", " + t.Link.State + " " + t.Name)})
			if prefix != "" && strings.HasPrefix(t.ID, prefix) {
				words = append(words, word{t.ID, t.Slug})
			}
		}
		return words
	}
	for _, w := range complete(k.Model.Node, c.Line, tunnels) {
		if _, err := fmt.Fprintf(p.stdout, "%s\t%s\n", terminal.Clean(w.text), terminal.Clean(w.note)); err != nil {
			return err
		}
	}
	return nil
}

// word is something to type, with a remark for shells that show one.
type word struct{ text, note string }

// complete gives what may stand where the last word of line is. tunnels gives
// those that begin with what is typed.
func complete(node *kong.Node, line []string, tunnels func(prefix string) []word) []word {
	line = slices.DeleteFunc(slices.Clone(line), func(w string) bool { return w == "=" }) // bash makes it a word
	if len(line) == 0 {
		line = []string{""}
	}
	typed := line[len(line)-1]
	positional := 0
	var valueOf *kong.Flag // whose value the next word is
	for _, w := range line[:len(line)-1] {
		if valueOf != nil {
			valueOf = nil
			continue
		}
		if strings.HasPrefix(w, "-") {
			if name, _, whole := strings.Cut(w, "="); !whole {
				if f := flagNamed(node, name); f != nil && !f.IsBool() {
					valueOf = f
				}
			}
			continue
		}
		if i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == w }); i >= 0 {
			node = node.Children[i]
		} else {
			positional++
		}
	}
	name, value, isValue := strings.Cut(typed, "=")
	switch {
	case valueOf != nil:
		return starting(typed, valuesOf(valueOf))
	case strings.HasPrefix(typed, "-") && isValue:
		var words []word
		if f := flagNamed(node, name); f != nil {
			for _, w := range starting(value, valuesOf(f)) {
				words = append(words, word{name + "=" + w.text, w.note})
			}
		}
		return words
	case strings.HasPrefix(typed, "-"):
		return starting(typed, flagsAt(node))
	case len(node.Children) > 0:
		return starting(typed, commandsAt(node))
	case positional < len(node.Positional) && node.Positional[positional].Name == "tunnel":
		return starting(typed, tunnels(typed))
	}
	return nil
}

func starting(prefix string, words []word) []word {
	return slices.DeleteFunc(words, func(w word) bool { return !strings.HasPrefix(w.text, prefix) })
}

func commandsAt(node *kong.Node) []word {
	var words []word
	for _, n := range node.Children {
		if !n.Hidden {
			words = append(words, word{n.Name, n.Help})
		}
	}
	return words
}

func flagsAt(node *kong.Node) []word {
	var words []word
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			note, _, _ := strings.Cut(f.Help, ":")
			words = append(words, word{"--" + f.Name, note})
		}
	}
	return words
}

func flagNamed(node *kong.Node, name string) *kong.Flag {
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			if "--"+f.Name == name || f.Short != 0 && "-"+string(f.Short) == name {
				return f
			}
		}
	}
	return nil
}

// valuesOf are the words that a flag takes, if it takes only certain ones.
func valuesOf(f *kong.Flag) []word {
	var words []word
	if choices := f.Tag.Get("choices"); choices != "" {
		for choice := range strings.SplitSeq(choices, ",") {
			words = append(words, word{choice, ""})
		}
	}
	return words
}
