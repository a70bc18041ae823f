package telemetry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/net/http/httpguts"
)

// VariableError is an environment variable that makes no sense. It never shows
// the value of one that may hold a secret.
type VariableError struct{ Name, Msg string }

func (e *VariableError) Error() string { return e.Name + ": " + e.Msg }

// The values of OTEL_TRACES_EXPORTER.
const (
	exporterNone    = "none"
	exporterOTLP    = "otlp"
	exporterConsole = "console"
)

// tracingSettings are what is not left to the library to read. The rest is looked
// at before: the library would use a default in place of what it can't read.
type tracingSettings struct {
	exporter string
	grpc     bool
	plain    bool // the collector is the one on this machine, which has no certificate
	sampler  sampling
	queue    int // spans that may wait for the collector
}

func variable(name string) string { return strings.TrimSpace(os.Getenv(name)) }

// exporterKind says whether to trace at all.
func exporterKind() (string, error) {
	if disabled := variable("OTEL_SDK_DISABLED"); strings.EqualFold(disabled, "true") {
		return exporterNone, nil
	} else if disabled != "" {
		if err := checkBool(disabled); err != nil {
			return "", &VariableError{"OTEL_SDK_DISABLED", err.Error()}
		}
	}
	switch kind := variable("OTEL_TRACES_EXPORTER"); kind {
	case exporterNone, exporterOTLP, exporterConsole:
		return kind, nil
	case "":
		// The specification's own default sends to a collector on this machine.
		// Whoever has none would pay for nothing.
		if variable("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
			return exporterNone, nil
		}
		return exporterOTLP, nil
	default:
		return "", &VariableError{"OTEL_TRACES_EXPORTER", fmt.Sprintf("%q is not known: use otlp, console or none", kind)}
	}
}

// readTracing reads and checks everything else.
func readTracing(kind string) (tracingSettings, error) {
	s := tracingSettings{exporter: kind}
	var err error
	if s.sampler, err = readSampler(); err != nil {
		return s, err
	}
	if p := variable("OTEL_PROPAGATORS"); p != "" && p != "tracecontext" {
		for name := range strings.SplitSeq(p, ",") {
			if name = strings.TrimSpace(name); name != "tracecontext" {
				return s, &VariableError{"OTEL_PROPAGATORS", fmt.Sprintf("%q is not supported: only tracecontext is. The fields of others pass as they come", name)}
			}
		}
	}
	for _, c := range checked {
		for _, name := range c.names {
			value := variable(name)
			if value == "" || kind != exporterOTLP && strings.HasPrefix(name, "OTEL_EXPORTER_") {
				continue
			}
			if err := c.check(value); err != nil {
				return s, &VariableError{name, err.Error()}
			}
		}
	}
	s.queue = sdktrace.DefaultMaxQueueSize
	if n, err := strconv.Atoi(variable("OTEL_BSP_MAX_QUEUE_SIZE")); err == nil { // else it is not set
		s.queue = n
	}
	if kind != exporterOTLP {
		return s, nil
	}
	s.plain = true // the specification's default; the library's is TLS
	for _, name := range slices.Concat(both("ENDPOINT"), both("INSECURE"), both("CERTIFICATE"), both("CLIENT_CERTIFICATE")) {
		s.plain = s.plain && variable(name) == ""
	}
	for _, prefix := range []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_TRACES_"} {
		switch protocol := variable(prefix + "PROTOCOL"); protocol {
		case "":
		case "http/protobuf":
			s.grpc = false
		case "grpc":
			s.grpc = true
		default:
			return s, &VariableError{prefix + "PROTOCOL", fmt.Sprintf("%q is not supported: use http/protobuf or grpc", protocol)}
		}
		cert, key := variable(prefix+"CLIENT_CERTIFICATE"), variable(prefix+"CLIENT_KEY")
		if (cert == "") != (key == "") {
			return s, &VariableError{prefix + "CLIENT_CERTIFICATE", "it goes together with " + prefix + "CLIENT_KEY"}
		}
		if cert != "" {
			if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
				return s, &VariableError{prefix + "CLIENT_CERTIFICATE", err.Error()}
			}
		}
	}
	return s, nil
}

func readSampler() (sampling, error) {
	const name, argName = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	kind := strings.ToLower(variable(name))
	if kind == "" {
		kind = "parentbased_always_on"
	}
	root, parentBased := strings.CutPrefix(kind, "parentbased_")
	s := sampling{parentBased: parentBased}
	switch root {
	case "always_on":
		s.root = sdktrace.AlwaysSample()
	case "always_off":
		s.root, s.off = sdktrace.NeverSample(), !parentBased
	case "traceidratio":
		ratio := 1.0
		if arg := variable(argName); arg != "" {
			var err error
			if ratio, err = strconv.ParseFloat(arg, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
				return s, &VariableError{argName, fmt.Sprintf("%q is no number from 0 to 1", arg)}
			}
		}
		s.root = sdktrace.TraceIDRatioBased(ratio)
	default:
		return s, &VariableError{name, fmt.Sprintf("%q is not known: use always_on, always_off, traceidratio, or one of them after parentbased_", kind)}
	}
	return s, nil
}

// checked are the variables that the library reads by itself.
var checked = []struct {
	names []string
	check func(string) error
}{
	{both("ENDPOINT"), checkEndpoint},
	{both("HEADERS"), checkHeaders},
	{both("COMPRESSION"), oneOf("gzip", "none")},
	{both("INSECURE"), checkBool},
	{both("TIMEOUT"), whole(1, 10*60*1000)},
	{both("CERTIFICATE"), checkAuthority},
	{[]string{"OTEL_RESOURCE_ATTRIBUTES"}, checkAttributes},
	{[]string{"OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT"}, whole(1, 10*60*1000)},
	{[]string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"}, whole(1, 1<<16)},
	{[]string{
		"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT",
		"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT",
		"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
	}, whole(0, 1<<20)},
}

// both are the variable for all signals and the one for traces.
func both(name string) []string {
	return []string{"OTEL_EXPORTER_OTLP_" + name, "OTEL_EXPORTER_OTLP_TRACES_" + name}
}

func checkEndpoint(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return errors.New("it is no URL of a collector: use one like http://localhost:4318")
	case u.User != nil:
		return errors.New("it holds a user: credentials go into OTEL_EXPORTER_OTLP_HEADERS")
	}
	return nil
}

func checkHeaders(value string) error {
	for pair := range strings.SplitSeq(value, ",") {
		name, text, found := strings.Cut(pair, "=")
		text, err := url.PathUnescape(text)
		if !found || err != nil || !httpguts.ValidHeaderFieldName(strings.TrimSpace(name)) || !httpguts.ValidHeaderFieldValue(text) {
			return errors.New("it is no list of name=value with commas between them, and % escapes in the values")
		}
	}
	return nil
}

func checkAuthority(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		return fmt.Errorf("%s holds no certificate in PEM form", path)
	}
	return nil
}

func checkBool(value string) error {
	if !strings.EqualFold(value, "true") && !strings.EqualFold(value, "false") {
		return fmt.Errorf("%q is neither true nor false", value)
	}
	return nil
}

func checkAttributes(value string) error {
	for pair := range strings.SplitSeq(value, ",") {
		name, text, found := strings.Cut(pair, "=")
		if _, err := url.PathUnescape(text); !found || err != nil || strings.TrimSpace(name) == "" {
			return fmt.Errorf("%q is no name=value, with %% escapes in the value", pair)
		}
	}
	return nil
}

func oneOf(words ...string) func(string) error {
	return func(value string) error {
		for _, w := range words {
			if value == w {
				return nil
			}
		}
		return fmt.Errorf("%q is not known: use %s", value, strings.Join(words, " or "))
	}
}

func whole(least, most int) func(string) error {
	return func(value string) error {
		if n, err := strconv.Atoi(value); err != nil || n < least || n > most {
			return fmt.Errorf("%q is no whole number from %d to %d", value, least, most)
		}
		return nil
	}
}
