// An agent of Bindu Edge: it puts the server at localhost:PORT behind a tunnel.
//   npm ci && EDGE=https://edge.example.com TUNNEL_ID=… TUNNEL_TOKEN=… PORT=3000 node agent.mjs
import { randomUUID } from 'node:crypto'
import http from 'node:http'
import http2 from 'node:http2'
import WebSocket, { createWebSocketStream } from 'ws'

const { EDGE, TUNNEL_ID, TUNNEL_TOKEN, PORT } = process.env
const instance = randomUUID() // of this process: its new link may take over from its old one
const settings = { maxConcurrentStreams: 1040, initialWindowSize: 1 << 20, maxFrameSize: 65536, maxHeaderListSize: 1 << 18 }
const limits = { maxSessionMemory: 1024, maxHeaderListPairs: 4096, streamResetBurst: 1e6, streamResetRate: 1e6 }

let current, connecting, leaving, bound = 1000
function connect() {
  if (connecting || leaving) return
  connecting = true
  let opened, retryAfter = 0
  const ws = new WebSocket(`${EDGE}/ws/${TUNNEL_ID}`, 'bindu.h2', {
    headers: { 'X-Tunnel-Token': TUNNEL_TOKEN, 'Bindu-Agent-Instance': instance },
    perMessageDeflate: false, maxPayload: 16 << 20, handshakeTimeout: 20_000,
  })
  ws.on('open', () => {
    ws.on('close', () => bytes.destroy()) // before the stream itself hears of it: the session must not write on
    const bytes = createWebSocketStream(ws)
    let streams = 0, left
    const endIfDone = () => setImmediate(() => { if (left && !streams) ws.close(1000) })
    http2.createServer({ settings, ...limits }).on('stream', (stream, fields) => {
      streams++
      stream.on('close', () => { streams--; endIfDone() })
      serve(stream, fields)
    }).on('session', session => {
      session.setLocalWindowSize(2 ** 30)
      const heartbeat = setInterval(() => {
        const late = setTimeout(() => ws.terminate(), 15_000)
        session.ping(() => clearTimeout(late))
      }, 10_000)
      ws.on('close', () => clearInterval(heartbeat))
      current?.leave()
      current = { ws, leave: () => { session.goaway(); left = true; endIfDone() } }
    }).emit('connection', bytes)
    connecting = false
    opened = Date.now()
    console.log(`linked to ${EDGE}`)
  })
  ws.on('unexpected-response', (_, res) => {
    const code = res.headers['bindu-edge-error']
    console.error(`refused: ${res.statusCode} ${code}`)
    if (code && [401, 403, 404, 410].includes(res.statusCode)) process.exit(1)
    retryAfter = 1000 * (parseInt(res.headers['retry-after']) || 0)
    ws.terminate()
  })
  ws.on('error', err => console.error(err.message))
  ws.on('close', (code, reason) => {
    if (opened) {
      if (current?.ws !== ws) return // another link has taken over
      current = undefined
      console.error(`the link ended: ${code} ${reason}`)
      if (connecting || leaving) return
      if (Date.now() - opened > 60_000) bound = 1000
    }
    connecting = true
    setTimeout(() => { connecting = false; connect() }, Math.max(retryAfter, Math.random() * bound))
    bound = Math.min(2 * bound, 30_000)
  })
}

connect()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => { leaving = true; current ? current.leave() : process.exit() })

// Fields of one connection stay behind (RFC 9113, section 8.2.2), and so do those of the protocol.
const ofLink = /^(:.*|bindu-.*|host|connection|keep-alive|proxy-connection|transfer-encoding|upgrade|http2-settings)$/
const passOn = fields => Object.fromEntries(Object.entries(fields).filter(([name]) => !ofLink.test(name)))

function serve(stream, fields) {
  const { ':method': method, ':path': path, ':authority': authority, 'bindu-upgrade': upgrade } = fields
  const answer = (status, more) => stream.respond({ ':status': status, ...more }, { endStream: true })
  if (authority === 'link.bindu.internal') {
    if (path === '/goaway') connect()
    return answer(path === '/ping' || path === '/goaway' ? 204 : 404)
  }
  const headers = passOn(fields)
  if (upgrade) Object.assign(headers, { connection: 'Upgrade', upgrade })
  else if (!stream.endAfterHeaders && !headers['content-length']) headers['transfer-encoding'] = 'chunked'
  const req = http.request({ host: 'localhost', port: PORT, method: upgrade ? 'GET' : method, path, headers })
  const fail = () => {
    req.destroy()
    if (stream.destroyed) return
    if (stream.headersSent) stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
    else answer(502, { 'bindu-agent-error': 'local_service_unreachable' })
  }
  stream.on('trailers', trailers => req.addTrailers(passOn(trailers))).on('error', fail).on('close', () => req.destroy())
  req.on('error', fail).on('information', res => stream.additionalHeaders({ ':status': res.statusCode, ...passOn(res.headers) }))
  req.on('response', res => {
    stream.respond({ ':status': res.statusCode, ...passOn(res.headers) }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers(passOn(res.trailers)))
    res.on('error', fail).pipe(stream)
  })
  req.on('upgrade', (res, socket, head) => {
    stream.respond({ ':status': 200, ...passOn(res.headers), 'bindu-upgrade': upgrade })
    stream.on('close', () => socket.destroy())
    socket.on('error', fail).unshift(head)
    stream.pipe(socket).pipe(stream)
  })
  upgrade ? req.end() : stream.pipe(req)
}
