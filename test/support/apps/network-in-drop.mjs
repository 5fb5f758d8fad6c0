// Runs in a network and mount namespace of its own, which it takes for a host: one whose FORWARD chain drops, as Docker and ufw leave it,
// with a neighbour behind an interface of its own. It begins without forwarding: a new namespace would take that over from the real host. Says as JSON what a member reaches and what is left of the networks at the end.
import { execFileSync, spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'

const [, , built, directory] = process.argv
const { openNetworks } = await import(`${built}/sandbox/network/open-networks.js`)
const run = (file, ...args) => execFileSync(file, args, { encoding: 'utf8' })
const sh = (script) => run('/bin/sh', '-ec', script)

sh(`mkdir -p /run/netns /run/shiplock-networks && mount -t tmpfs none /run/netns && mount -t tmpfs none /run/shiplock-networks
echo 0 >/proc/sys/net/ipv4/ip_forward
ip link set lo up && ip netns add neighbour && ip link add out0 type veth peer name in0 netns neighbour
ip addr add 192.0.2.1/24 dev out0 && ip link set out0 up && ip route add default via 192.0.2.2
nsenter --net=/run/netns/neighbour sh -c 'ip link set lo up; ip addr add 192.0.2.2/24 dev in0; ip link set in0 up'
iptables -P FORWARD DROP && iptables -A FORWARD -j DROP`)
const serve = "require('http').createServer((q, s) => s.end('from ' + q.socket.remoteAddress)).listen(8000)"
const neighbour = spawn('nsenter', ['--net=/run/netns/neighbour', process.execPath, '-e', serve], { stdio: 'ignore' })
const ask =
  "const go = n => fetch('http://192.0.2.2:8000').then(r => r.text()).then(console.log, () => n ? setTimeout(go, 50, n - 1) : console.log('nothing')); go(100)"

const logger = { info() {}, warn() {}, error() {}, debug() {} }
const networks = await openNetworks({ stateDirectory: directory, mode: 'auto', hostAccess: new Map(), openPorts: [], logger })
const address = await networks.reserve('one', { environment: 'e', project: 'p', alias: 'one', port: 8080 })
const { namespace } = await networks.join('one')
const reached = run('nsenter', `--net=${namespace}`, process.execPath, '-e', ask).trim()
// A neighbour that knows the way to members gets no answer from them.
const back = `ip route add ${address}/32 via 192.0.2.1; exec "$0" -e "require('net').connect(8080, '${address}').setTimeout(1000, () => { console.log('nothing'); process.exit() }).on('connect', () => { console.log('connected'); process.exit() }).on('error', e => console.log(e.code))"`
const past = run('nsenter', '--net=/run/netns/neighbour', '/bin/sh', '-c', back, process.execPath).trim()
await networks.release('one')
await networks.close()
const left = [
  ...readdirSync('/run/netns').filter((name) => name.startsWith('shiplock')),
  ...sh('ip -o link; ip route show table all')
    .split('\n')
    .filter((line) => /\bsl[0-9a-f]{12}|unreachable 10\./.test(line)),
  ...sh('ls /run/shiplock-networks').split('\n').filter(Boolean),
  ...sh('nft list tables')
    .split('\n')
    .filter((line) => line.includes('shiplock')),
  ...sh('iptables -S')
    .split('\n')
    .filter((line) => line.includes('shiplock')),
]
neighbour.kill('SIGKILL')
console.log(JSON.stringify({ reached, past, left, forwards: sh('cat /proc/sys/net/ipv4/conf/out0/forwarding').trim() }))
process.exit()
