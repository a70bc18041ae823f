package arch

// This file is the table; check_test.go holds the tree to it. A new package
// needs a row, which is the moment to ask where in the walk of a request it
// stands: ingress → resolve → route → hub → admission → link → agent.

// mayImport is one row: the packages that match from may import those that
// match one of allowed, of everything in this module. Patterns are paths below
// the module's root: "x" is x alone, "x/*" what lies directly below it, "x/..."
// both and everything deeper. The first row that matches a package is its row.
type mayImport struct {
	from    string
	allowed []string
	reason  string
}

var (
	// Words that every package may speak, and the constants of the wire.
	words = []string{"internal/tunnel", "internal/fault", "internal/wire"}
	// What decisions ask: the errors and types of the adapters' families. The
	// adapters themselves (registry/memory, relay/nats, …) are the wiring's.
	vocabulary = with(words, "internal/controlclient", "internal/registry", "internal/relay", "internal/span")
	decisions  = []string{"internal/resolve", "internal/route", "internal/hub", "internal/admission"}
	doors      = []string{"internal/ingress", "internal/attach", "internal/ops"}
)

var imports = []mayImport{
	{"cmd/...", []string{
		"cmd/...", "agent", "internal/edge", "internal/config", "internal/telemetry",
		"internal/control/...", "internal/controlclient", "internal/demo", "internal/planeclient", "internal/podstatus", "internal/terminal",
		"internal/tunnel", "internal/wire",
	}, "a command parses, makes Options and runs; what stands behind the doors is internal/edge's to wire"},
	{"agent/...", []string{"agent/...", "internal/wsconn", "internal/gather", "internal/given", "internal/socket", "internal/stack", "internal/traceparent", "internal/upgrade", "internal/wire"},
		"the agent is a library in other people's programs: it brings nothing of the edge with it"},

	{"internal/edge", with(vocabulary, concat(doors, decisions, []string{
		"internal/link/...", "internal/h2", "internal/socket", "internal/wsconn", "internal/config", "internal/telemetry",
		"internal/registry/*", "internal/relay/*",
		"internal/flood", "internal/certs", "internal/proxyproto", "internal/pressure", "internal/podstatus",
	})...), "the wiring knows everything below it, and neither the commands nor the control plane's inside"},

	{"internal/ingress", with(vocabulary, with(decisions, "internal/gather", "internal/interim", "internal/link", "internal/socket", "internal/traceparent", "internal/wsconn")...),
		"a door asks decisions; it knows no other door, no adapter, no setting and not who wired it"},
	{"internal/attach", with(vocabulary, with(decisions, "internal/link", "internal/wsconn")...),
		"a door asks decisions; it knows no other door, no adapter, no setting and not who wired it"},
	{"internal/ops", with(vocabulary, with(decisions, "internal/link", "internal/podstatus", "internal/wsconn")...),
		"a door asks decisions; it knows no other door, no adapter, no setting and not who wired it"},

	{"internal/resolve", with(vocabulary, "internal/link"), decisionsApart},
	{"internal/route", with(vocabulary, "internal/link"), decisionsApart},
	{"internal/hub", with(vocabulary, "internal/link"), decisionsApart},
	{"internal/admission", with(vocabulary, "internal/credential", "internal/link"), decisionsApart},

	{"internal/link/...", with(words, "internal/link/...", "internal/h2", "internal/span", "internal/wsconn"),
		"a link carries requests; it knows neither whose they are nor who sent them"},
	{"internal/h2", with(words, "internal/upgrade"),
		"an HTTP/2 connection over bytes that somebody else has connected: it knows nobody at either end"},
	{"internal/upgrade", []string{"internal/wire"},
		"an upgraded stream, used on both sides: it is part of the agent's library"},
	{"internal/given", nil, "a listener for connections that came by other means, used on both sides: it is part of the agent's library"},
	{"internal/gather", nil, "when an answer is flushed, used on both sides: it is part of the agent's library"},
	{"internal/interim", []string{"internal/wire"}, "answers before the answer, passed on by whoever stands between two connections"},
	{"internal/span", []string{"internal/fault", "internal/traceparent"}, "how a step of a request tells of itself, below every step"},
	{"internal/traceparent", nil, "a header field, read and written on both sides: it is part of the agent's library"},
	{"internal/stack", nil, "the goroutine of a request on either side of a link: it is part of the agent's library"},
	{"internal/socket", nil, "what the kernel knows of a connection, used below everything and by the agent's library"},
	{"internal/coalesce", nil, "bytes on their way, used below everything that streams"},
	{"internal/wsconn", []string{"internal/coalesce", "internal/wire"},
		"a connection of bytes, used on both sides: it knows nothing of tunnels"},

	{"internal/registry", words, "the family's words are below its members"},
	{"internal/registry/redis", with(words, "internal/registry", "internal/redisclient"), adaptersApart},
	{"internal/registry/*", with(words, "internal/registry"), adaptersApart},
	{"internal/relay", with(words, "internal/certs", "internal/coalesce", "internal/gather", "internal/h2", "internal/interim", "internal/socket", "internal/span", "internal/stack", "internal/traceparent", "internal/upgrade"),
		"a hop is HTTP/2 over whatever its members carry; it knows none of them"},
	{"internal/relay/relaytest", with(words, "internal/relay", "internal/given", "internal/h2", "internal/upgrade"),
		"the suite of the carriers has agents of its own, which speak as on a link"},
	{"internal/relay/bus", words, "connections over a message bus, whichever bus it is and whatever they carry"},
	{"internal/relay/bus/bustest", with(words, "internal/relay/bus"), "the suite of the buses is below its members"},
	{"internal/relay/nats", with(words, "internal/relay", "internal/relay/bus"), adaptersApart},
	{"internal/relay/redis", with(words, "internal/relay", "internal/relay/bus", "internal/redisclient"), adaptersApart},
	{"internal/relay/*", with(words, "internal/relay"), adaptersApart},
	{"internal/controlclient", with(words, "internal/credential"), adaptersApart},
	{"internal/planeclient", nil, "it speaks the control plane's API and shares no code with either end of it"},
	{"internal/control/store", with(words, "internal/control"), "one set of queries for every database; which one it is, its members know"},
	{"internal/control/store/*", with(words, "internal/control", "internal/control/store"), adaptersApart},
	{"internal/control/guesses", []string{"internal/flood"}, "wrong keys, counted for whichever door of the control plane asks"},
	{"internal/control/api", with(words, "internal/control", "internal/control/guesses"), "the API asks the control plane, whatever keeps its data"},
	{"internal/control/web", with(words, "internal/control", "internal/control/guesses"), "the page is one view of the API"},
	{"internal/control", with(words, "internal/credential"),
		"the control plane stands on its own: it knows no edge, and its store only as an interface"},

	{"internal/config", words, "settings are read by cmd and edge; they know nobody"},
	{"internal/telemetry", words, "logs and metrics come in through Options; they know nobody"},
	{"internal/terminal", nil, "a screen shows what it is told, and is told by cmd"},
	{"internal/demo", nil, "the demo site is an origin like any other"},

	{"internal/flood", words, "what addresses do too often, counted for whichever door asks"},
	{"internal/certs", nil, "certificates in files, for whoever listens or dials"},
	{"internal/proxyproto", nil, "a header on a connection, before anybody knows what the connection is for"},
	{"internal/pressure", nil, "how much memory is left, for whoever lets work in"},
	{"internal/redisclient", nil, "how the primary of a Redis is reached, for whichever adapter asks it something"},
	{"internal/podstatus", nil, "a document, written by the edge and read by the command: it knows neither"},
	{"internal/credential", nil, "how a caller's secret is kept, used by the control plane and by the edge: it knows neither"},
	{"internal/tunnel", nil, "the words at the bottom import nothing"},
	{"internal/fault", nil, "the words at the bottom import nothing"},
	{"internal/wire", nil, "the words at the bottom import nothing"},

	{"tools/...", nil, "tools work on the tree, not with it"},
	{"test/...", []string{"..."}, "a test may look everywhere"},
	{"bench/...", []string{"..."}, "a measurement may look everywhere"},
}

const (
	decisionsApart = "decisions are small interfaces to each other, owned by the one that asks; only internal/edge knows what stands behind them"
	adaptersApart  = "an adapter sees the types it must satisfy, and no other adapter"
)

// mustNotImport forbids what the first table can't see: packages of other
// modules and of the standard library, and what comes in by way of others.
type mustNotImport struct {
	from       string
	forbidden  []string // import paths; "/..." as above, "std" and "not std" for all of them
	transitive bool     // whatever the chain that brings it in
	reason     string
}

var bans = []mustNotImport{
	{
		from: "agent/...", transitive: true,
		forbidden: []string{
			"database/sql/...", "modernc.org/...", "github.com/jackc/...", "github.com/mattn/go-sqlite3/...",
			"github.com/lib/pq/...", "github.com/go-sql-driver/...", "github.com/pressly/goose/...",
			"github.com/redis/...", "github.com/go-redis/...", "github.com/gomodule/redigo/...",
			"github.com/nats-io/...",
		},
		reason: "the agent is a library in other people's programs: no Redis, NATS or SQL driver comes with it",
	},
	{
		from: "agent/...", transitive: true,
		forbidden: []string{"github.com/alecthomas/kong/...", "charm.land/...", "github.com/prometheus/..."},
		reason:    "the agent is a library in other people's programs: command line, screen and metrics are theirs",
	},
	{
		from: "agent/...", transitive: true,
		forbidden: []string{"go.opentelemetry.io/otel/sdk/...", "go.opentelemetry.io/otel/exporters/..."},
		reason:    "the agent is a library in other people's programs: what becomes of its spans is theirs, it speaks the API alone",
	},
	{
		from: "cmd/...", transitive: true,
		forbidden: []string{"testing/..."},
		reason:    "what ships carries no test's code: conformance suites are for tests alone",
	},
	{
		from:      "internal/tunnel",
		forbidden: []string{"not std"},
		reason:    "every package imports the words, so whatever they import is everywhere",
	},
	{
		from:      "internal/wire",
		forbidden: []string{"not std"},
		reason:    "the constants of the wire are part of the agent's library",
	},
	{
		from:      "...",
		forbidden: []string{"golang.org/x/net/http2"},
		reason:    "its server and transport are deprecated: net/http speaks HTTP/2 on both sides",
	},
	{
		from:      "internal/...",
		forbidden: []string{"expvar"},
		reason:    "it publishes on http.DefaultServeMux, which nobody here serves on purpose",
	},
}

// bannedNames say nothing about what a package or a file is for.
var bannedNames = []string{"util", "common", "helper", "manager", "service", "base", "impl", "misc"}

// Lines after which a file surely has more than one topic.
const (
	maxLines     = 450
	maxTestLines = 800
)

func with(list []string, more ...string) []string { return concat(list, more) }

func concat(lists ...[]string) []string {
	var all []string
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}
