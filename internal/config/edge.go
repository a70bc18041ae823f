package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"time"
)

// The tags of a setting:
//
//	setting  its environment variable; the YAML key is the same in lower case
//	name     its flag, where the field's name doesn't give it already
//	type     how it is read: a kind of kinds.go
//	min,max  what is allowed, in the unit of its kind
//	zero     0 is allowed and means this
//	choices  the words that are allowed
//	secret   this one names the file of that secret
//
// It is `setting` and not kong's own `env`, because kong reads the environment
// before its resolvers (a file would win over the environment) and takes an
// empty variable for a value.

// Listening is where the pod listens, and as what it is known.
type Listening struct {
	Host           string         `setting:"HOST" type:"host" default:"${host=0.0.0.0}" help:"Address of the public listener: an IP address or a host name of this machine."`
	Port           int            `setting:"PORT" type:"port" default:"8080" help:"Port of the public listener, for callers and agents: 1 to 65535."`
	AdminAddr      string         `setting:"ADMIN_ADDR" type:"listen" off:"none" default:"${admin=127.0.0.1:9090}" help:"Address of the operator's listener (health, status, metrics, profiles), host:port; none for no such listener. It knows no passwords: keep it off public networks."`
	PublicURL      *url.URL       `setting:"PUBLIC_URL" type:"url" example:"https://edge.example.com" help:"URL under which callers reach this edge, as told to agents. Default http://localhost:{PORT}, https with TLS_CERT_FILE."`
	BaseDomain     string         `setting:"BASE_DOMAIN" type:"domain" example:"tunnels.example.com" help:"Tunnels answer at {slug}.BASE_DOMAIN too. Needs a wildcard DNS record. Default: path mode only."`
	TrustedProxies []netip.Prefix `setting:"TRUSTED_PROXIES" type:"prefixes" example:"10.0.0.0/8,192.0.2.7" help:"Proxies whose X-Forwarded-* headers are believed: CIDRs or single addresses, comma separated. Default: nobody's."`

	TLSCertFile      string `setting:"TLS_CERT_FILE" type:"path" help:"Certificate of the public listener with its chain, PEM; for BASE_DOMAIN a wildcard. The listener then speaks TLS 1.2 and later, with HTTP/2 for callers. Renewed files count within a second."`
	TLSKeyFile       string `setting:"TLS_KEY_FILE" type:"path" help:"Its private key, PEM."`
	RedirectHTTPPort int    `setting:"REDIRECT_HTTP_PORT" type:"count" min:"0" max:"65535" zero:"no such listener" default:"0" help:"Port of a second listener on HOST that redirects HTTP to HTTPS (308) and answers /health/*. Needs TLS_CERT_FILE."`
	ProxyProtocol    bool   `setting:"PROXY_PROTOCOL" type:"bool" default:"false" help:"Every public connection begins with a PROXY header (version 1 or 2) of a TCP load balancer in TRUSTED_PROXIES; others are closed."`
}

// ControlPlane is who says which tunnels there are.
type ControlPlane struct {
	ControlPlaneURL       *url.URL      `setting:"CONTROL_PLANE_URL" type:"url" off:"none" default:"http://localhost:8000" help:"Base URL of the control plane's API; none for no control plane (ephemeral tunnels only)."`
	ControlPlaneToken     Secret        `setting:"CONTROL_PLANE_TOKEN" type:"secret" help:"Bearer token sent to the control plane."`
	ControlPlaneTokenFile string        `setting:"CONTROL_PLANE_TOKEN_FILE" type:"path" secret:"CONTROL_PLANE_TOKEN" help:"File that holds CONTROL_PLANE_TOKEN."`
	TunnelRevalidate      time.Duration `name:"tunnel-revalidate-seconds" setting:"TUNNEL_REVALIDATE_SECONDS" type:"seconds" min:"0.1" max:"86400" default:"60" help:"How often a connected tunnel is asked for again, with jitter."`
	SlugCacheTTL          time.Duration `setting:"SLUG_CACHE_TTL" type:"seconds" min:"0.1" max:"86400" default:"60" help:"How long a slug's tunnel is remembered, and so the longest that a revoked tunnel answers."`
}

// Registry is where the pods tell each other who holds which tunnel.
type Registry struct {
	RegistryKind      string        `name:"registry" setting:"REGISTRY" type:"choice" choices:"redis,memory" default:"redis" help:"Where claims on tunnels are kept: redis, or memory for one pod without Redis."`
	RedisHost         string        `setting:"REDIS_HOST" type:"host" default:"localhost" help:"Host of Redis."`
	RedisPort         int           `setting:"REDIS_PORT" type:"port" default:"6379" help:"Port of Redis: 1 to 65535."`
	RedisSentinel     string        `name:"redis-sentinel-master" setting:"REDIS_SENTINEL_MASTER" type:"word" placeholder:"NAME" help:"Name of the primary to ask a Redis Sentinel for. REDIS_HOST and REDIS_PORT are then the Sentinel's (its usual port is 26379). Without it they are the primary's."`
	RedisDB           int           `setting:"REDIS_DB" type:"count" min:"0" max:"65535" default:"0" help:"Number of the Redis database."`
	RedisUsername     string        `setting:"REDIS_USERNAME" type:"word" help:"User name for Redis (ACL)."`
	RedisPassword     Secret        `setting:"REDIS_PASSWORD" type:"secret" help:"Password for Redis."`
	RedisPasswordFile string        `setting:"REDIS_PASSWORD_FILE" type:"path" secret:"REDIS_PASSWORD" help:"File that holds REDIS_PASSWORD."`
	RedisTLS          bool          `setting:"REDIS_TLS" type:"bool" default:"false" help:"Speak TLS to Redis, verified with the system's certificates."`
	TunnelRegistryTTL time.Duration `setting:"TUNNEL_REGISTRY_TTL" type:"seconds" min:"1" max:"86400" default:"300" help:"Life of a claim on a tunnel; refreshed every third of it."`
	PodLease          time.Duration `name:"pod-lease-seconds" setting:"POD_LEASE_SECONDS" type:"seconds" min:"1" max:"3600" default:"15" help:"Life of a pod's lease; refreshed every third of it. The claims of a pod whose lease has lapsed are free."`
}

// Links is how agents' connections are kept, and how they end.
type Links struct {
	EphemeralTunnels bool          `setting:"EPHEMERAL_TUNNELS" type:"bool" default:"false" help:"Let agents without credentials open tunnels under a random name. Anyone who reaches the listener can."`
	WSPingInterval   time.Duration `name:"ws-ping-interval-seconds" setting:"WS_PING_INTERVAL_SECONDS" type:"seconds" min:"0.1" max:"3600" default:"10" help:"How often a link is asked for a sign of life."`
	WSPongTimeout    time.Duration `name:"ws-pong-timeout-seconds" setting:"WS_PONG_TIMEOUT_SECONDS" type:"seconds" min:"0.1" max:"3600" default:"5" help:"Patience with a JSON agent after that: interval + patience of silence close its tunnel."`
	LinkPingTimeout  time.Duration `name:"link-ping-timeout-seconds" setting:"LINK_PING_TIMEOUT_SECONDS" type:"seconds" min:"0.1" max:"3600" default:"15" help:"The same for a streaming (bindu.h2) agent, longer since a slow link with a full pipe is alive."`
	MaxWSPayload     int64         `name:"max-ws-payload-bytes" setting:"MAX_WS_PAYLOAD_BYTES" type:"bytes" min:"1024" max:"1073741824" default:"65536" help:"Largest message of the JSON protocol either way, as encoded."`
	MaxInflated      int64         `name:"max-inflated-bytes" setting:"MAX_INFLATED_BYTES" type:"bytes" min:"1024" max:"1073741824" default:"10485760" help:"Largest size of a JSON agent's compressed response once unpacked."`
	ReconnectGrace   time.Duration `name:"reconnect-grace-seconds" setting:"RECONNECT_GRACE_SECONDS" type:"seconds" min:"0" max:"300" zero:"off" default:"5" help:"A request for a tunnel whose link was lost this recently waits for its return."`
	DrainDelay       time.Duration `name:"drain-delay-seconds" setting:"DRAIN_DELAY_SECONDS" type:"seconds" min:"0" max:"3600" zero:"none" default:"3" help:"After SIGTERM, how long new requests are still served while load balancers notice. At most DRAIN_TIMEOUT_SECONDS."`
	DrainTimeout     time.Duration `name:"drain-timeout-seconds" setting:"DRAIN_TIMEOUT_SECONDS" type:"seconds" min:"0.1" max:"86400" default:"30" help:"After SIGTERM, the longest until the process ends; and the longest that a tunnel's old link lives on after a move."`
}

// Requests is what a public request may do, and for how long.
type Requests struct {
	RequestTimeout    time.Duration `name:"request-timeout-seconds" setting:"REQUEST_TIMEOUT_SECONDS" type:"seconds" min:"0" max:"86400" zero:"no limit" default:"30" help:"First byte of the response, counted from the last byte of the request handed over."`
	StreamIdleTimeout time.Duration `name:"stream-idle-timeout-seconds" setting:"STREAM_IDLE_TIMEOUT_SECONDS" type:"seconds" min:"0" max:"604800" zero:"no limit" default:"300" help:"Silence in both directions of a running stream."`
	StreamMax         time.Duration `name:"stream-max-seconds" setting:"STREAM_MAX_SECONDS" type:"seconds" min:"0" max:"31536000" zero:"no limit" default:"0" help:"Total life of a stream."`
	UpgradeIdle       time.Duration `name:"upgrade-idle-seconds" setting:"UPGRADE_IDLE_SECONDS" type:"seconds" min:"0" max:"31536000" zero:"no limit" default:"0" help:"Silence in both directions of an upgraded stream (WebSocket)."`
	CallerStall       time.Duration `name:"caller-stall-seconds" setting:"CALLER_STALL_SECONDS" type:"seconds" min:"0" max:"86400" zero:"no limit" default:"30" help:"A caller that takes no byte for this long while data waits is cut."`
	SSEKeepalive      time.Duration `name:"sse-keepalive-seconds" setting:"SSE_KEEPALIVE_SECONDS" type:"seconds" min:"0" max:"86400" zero:"off" default:"15" help:"A comment is sent into an event stream that was silent this long."`
	SlowRequest       time.Duration `name:"slow-request-seconds" setting:"SLOW_REQUEST_SECONDS" type:"seconds" min:"0" max:"86400" zero:"off" default:"10" help:"A request whose first byte took longer is logged as a warning. Time spent waiting for the caller's body does not count."`
	AccessLogSample   float64       `setting:"ACCESS_LOG_SAMPLE" type:"share" min:"0" max:"1" zero:"none" default:"1" help:"Share of the requests that went well (outcome ok, status 2xx or 3xx) whose event is logged. All others always are."`
	ServerTiming      bool          `setting:"SERVER_TIMING" type:"bool" default:"false" help:"Answers tell callers where the time went, in a Server-Timing field: edge, hop and agent. Set it on all pods alike."`
	AllowedMethods    []string      `setting:"ALLOWED_METHODS" type:"methods" default:"GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS" help:"Methods that callers may use, comma separated; others get 405."`
}

// Limits is how much of everything one pod, and one tunnel, may have.
type Limits struct {
	RateLimitRPS         float64        `setting:"RATE_LIMIT_RPS" type:"rate" min:"0" max:"1000000" zero:"no limit" default:"0" help:"Requests a second to one tunnel, decimals allowed."`
	RateLimitBurst       int            `setting:"RATE_LIMIT_BURST" type:"count" min:"0" max:"1000000" zero:"RATE_LIMIT_RPS rounded up" default:"0" help:"Requests to one tunnel that may come at once, on top of the rate."`
	RateLimitCallerRPS   float64        `name:"rate-limit-caller-rps" setting:"RATE_LIMIT_CALLER_RPS" type:"rate" min:"0" max:"1000000" zero:"no limit" default:"0" help:"Requests a second to one tunnel from one address (IPv6: /64), decimals allowed; as many may come at once."`
	RateLimitHeaders     bool           `setting:"RATE_LIMIT_HEADERS" type:"bool" default:"false" help:"Tell callers the rates of their tunnel and what is left of them, in RateLimit-Policy and RateLimit fields."`
	MaxRequestBody       int64          `name:"max-request-body-bytes" setting:"MAX_REQUEST_BODY_BYTES" type:"bytes" min:"0" max:"1099511627776" zero:"no limit" default:"${body=10485760}" help:"Largest request body to a streaming tunnel; JSON tunnels keep MAX_WS_PAYLOAD_BYTES."`
	MaxResponseBody      int64          `name:"max-response-body-bytes" setting:"MAX_RESPONSE_BODY_BYTES" type:"bytes" min:"0" max:"1099511627776" zero:"no limit" default:"0" help:"Largest body of an agent's answer; upgraded streams and event streams have no limit."`
	AllowCIDRs           []netip.Prefix `name:"allow-cidrs" setting:"ALLOW_CIDRS" type:"prefixes" example:"192.0.2.0/24,2001:db8::/32" help:"Addresses that callers of tunnels may come from, for tunnels without a list of their own: CIDRs or single addresses, comma separated. Default: all."`
	DenyCIDRs            []netip.Prefix `name:"deny-cidrs" setting:"DENY_CIDRS" type:"prefixes" example:"203.0.113.0/24" help:"Addresses that callers of tunnels may not come from, whatever a tunnel says."`
	MaxBuffered          int64          `name:"max-buffered-bytes-per-tunnel" setting:"MAX_BUFFERED_BYTES_PER_TUNNEL" type:"bytes" min:"0" max:"1099511627776" zero:"no limit" default:"268435456" help:"What the callers of one tunnel may leave unread at this pod. Over it, the response that was left alone for longest is cut."`
	MaxTunnels           int            `setting:"MAX_TUNNELS" type:"count" min:"0" max:"10000000" zero:"no limit" default:"10000" help:"Tunnels connected to this pod."`
	MaxConnections       int            `setting:"MAX_CONNECTIONS" type:"count" min:"0" max:"10000000" zero:"no limit" default:"20000" help:"Open public TCP connections that are no tunnel."`
	MaxInflightPerTunnel int            `setting:"MAX_INFLIGHT_PER_TUNNEL" type:"count" min:"0" max:"1000000" zero:"no limit" default:"1024" help:"Requests in flight to one tunnel."`
	ConnectRate          int            `name:"connect-rate-per-address" setting:"CONNECT_RATE_PER_ADDRESS" type:"count" min:"0" max:"1000000" zero:"no limit" default:"0" help:"Agents that may connect from one address in a second. Mind that a fleet may share one."`
	MaxEphemeralTunnels  int            `setting:"MAX_EPHEMERAL_TUNNELS" type:"count" min:"1" max:"1000000" default:"100" help:"Ephemeral tunnels connected to this pod."`
}

// Peers is how pods hand requests to the pod that holds a tunnel.
type Peers struct {
	Relay           string `setting:"RELAY" type:"choice" choices:"direct,nats,redis,none" default:"direct" help:"What carries the hop to the pod that holds a tunnel: direct (TCP), nats, redis, or none. Without PEER_SECRET or PEER_TLS_* there is no hop."`
	PeerAddr        string `setting:"PEER_ADDR" type:"listen" default:":7070" help:"Address of the listener for other pods, host:port."`
	PeerAdvertise   string `setting:"PEER_ADVERTISE" type:"dial" example:"10.1.2.3:7070" help:"Address that other pods dial, host or host:port. Default: this host's."`
	PeerSecret      Secret `setting:"PEER_SECRET" type:"secret" minlen:"32" help:"Secret by which pods prove themselves to each other: at least 32 bytes, the same on every pod."`
	PeerSecretFile  string `setting:"PEER_SECRET_FILE" type:"path" secret:"PEER_SECRET" help:"File that holds PEER_SECRET."`
	PeerTLSCertFile string `setting:"PEER_TLS_CERT_FILE" type:"path" help:"Certificate of this pod for mutual TLS between pods instead of a secret, PEM."`
	PeerTLSKeyFile  string `setting:"PEER_TLS_KEY_FILE" type:"path" help:"Its private key, PEM."`
	PeerTLSCAFile   string `name:"peer-tls-ca-file" setting:"PEER_TLS_CA_FILE" type:"path" help:"Authority that the other pods' certificates are verified with, PEM."`
	NATSURL         Secret `name:"nats-url" setting:"NATS_URL" type:"secret" help:"Server of RELAY=nats, nats://user:password@host:4222; several comma separated. Kept secret for its password."`
	NATSURLFile     string `name:"nats-url-file" setting:"NATS_URL_FILE" type:"path" secret:"NATS_URL" help:"File that holds NATS_URL."`
}

// Logging is how much is logged, and in which form.
type Logging struct {
	LogLevel  slog.Level `setting:"LOG_LEVEL" type:"level" default:"INFO" help:"Least level that is logged: DEBUG, INFO, WARNING, ERROR or CRITICAL."`
	LogFormat string     `setting:"LOG_FORMAT" type:"choice" choices:"auto,json,text" default:"auto" help:"Form of the log: json, text, or auto: text on a terminal, else json."`
}
