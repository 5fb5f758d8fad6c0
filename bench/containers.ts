import { importBaseImage } from '../test/support/base-images.ts'
import { dockerdMissing, privateDockerd, type TestDockerd } from '../test/support/dockerd.ts'
import { startTestServer, type TestServer } from '../test/support/server.ts'
import { firstAnswer } from './app.ts'
import { buildVersion, type LoadReport, type Manners, RolloutLoad } from './container-app.ts'
import { deployOnce, ledger, type Round } from './deploy.ts'
import type { Row, Section } from './report.ts'
import { median } from './statistics.ts'

const NAME = 'containers'
const SERVICE = 'boxed'
const HOST = `${SERVICE}.localhost`
const PUBLISHED_PORT = 8088
const CLIENTS = 16
const PAUSE_MS = 20
/** Until what a rollout leaves behind has ended too, SIGKILL after the ten seconds of Docker included. */
const AFTER_MS = 12_000

interface Rollout {
  readonly manners: Manners
  readonly tookMs: number
  readonly report: LoadReport
}

/** A ready image through us beside `docker run`, and an update under load beside a Swarm service's; all on one private engine. */
export async function benchContainers(rounds: number, rollouts: number): Promise<Section> {
  const skipped = dockerdMissing()
  if (skipped !== null) return { name: NAME, title: 'ready images on a container engine', skipped }
  const dockerd = await privateDockerd()
  let server: TestServer | null = null
  try {
    await importBaseImage(dockerd, 'node')
    const env = { SHIPLOCK_CONTAINER_ENGINE: dockerd.host, SHIPLOCK_CONTAINER_ADDRESS: 'container', SHIPLOCK_SCAN_WITHOUT_SCANNER: 'warn' }
    server = await startTestServer({ env: { ...env, SHIPLOCK_LOG_LEVEL: 'warn' } })
    const figures = { ...(await starts(dockerd, server, rounds)), ...(await updates(dockerd, server, rollouts)) }
    return { name: NAME, title: 'ready images, and their replacement under load, on one Docker engine', rows: rowsOf(figures), figures }
  } finally {
    await server?.dispose()
    await dockerd.remove()
  }
}

type Figures = Awaited<ReturnType<typeof starts>> & Awaited<ReturnType<typeof updates>>

function rowsOf({ bare, published, ours, shiplock, swarm }: Figures): Row[] {
  const took = median(ours.map((round) => round.tookMs))
  return [
    {
      name: 'ready image: trigger → first answer',
      value: took,
      unit: 'ms',
      beside: { what: 'docker run, asked at its address', value: median(bare) },
      budget: { of: 'ratio', atMost: 1.3 },
      note: ledger(ours),
    },
    {
      name: 'the same',
      value: took,
      unit: 'ms',
      beside: { what: 'docker run -p, asked at the port', value: median(published) },
    },
    {
      name: 'update under load: order → first answer of the new',
      value: median(shiplock.map(({ tookMs }) => tookMs)),
      unit: 'ms',
      beside: { what: 'Swarm, start-first', value: median(swarm.map(({ tookMs }) => tookMs)) },
    },
    lostRow('orderly', shiplock, swarm),
    lostRow('deaf', shiplock, swarm),
  ]
}

function lostRow(manners: Manners, shiplock: readonly Rollout[], swarm: readonly Rollout[]): Row {
  const [ours, theirs] = [shiplock, swarm].map((rollouts) => {
    const reports = rollouts.filter((rollout) => rollout.manners === manners).map(({ report }) => report)
    const sum = (of: 'lost' | 'requests') => reports.reduce((total, report) => total + report[of], 0)
    return { lost: sum('lost'), requests: sum('requests'), first: reports.find(({ lost }) => lost > 0)?.firstLost ?? null }
  })
  const firsts = [ours?.first, theirs?.first].filter((first) => typeof first === 'string')
  return {
    name: `lost of ${ours?.requests ?? 0}, app ${manners === 'orderly' ? 'that ends in order' : 'that ignores SIGTERM'}`,
    value: ours?.lost ?? 0,
    unit: '',
    beside: { what: `of ${theirs?.requests ?? 0} Swarm, start-first`, value: theirs?.lost ?? 0 },
    budget: { atMost: 0 },
    ...(firsts.length === 0 ? {} : { note: `first: ${firsts.join('; ')}` }),
  }
}

async function starts(dockerd: TestDockerd, server: TestServer, rounds: number) {
  await dockerd.dockerText('network', 'create', '--subnet', subnetOf(dockerd), 'bare')
  const [bare, published, ours]: [number[], number[], Round[]] = [[], [], []]
  await deployImage(server, await buildVersion(dockerd, 's0'))
  for (let round = 1; round <= rounds; round++) {
    const image = await buildVersion(dockerd, `s${round}`)
    const address = addressIn(dockerd)
    bare.push(await dockerRun(dockerd, image, ['--network', 'bare', '--ip', address], { address, port: 8080 }))
    const port = `${dockerd.network.innerAddress}:${PUBLISHED_PORT}:8080`
    published.push(await dockerRun(dockerd, image, ['--publish', port], { address: dockerd.network.innerAddress, port: PUBLISHED_PORT }))
    ours.push(await deployImage(server, image))
  }
  return { bare, published, ours }
}

function deployImage(server: TestServer, image: string): Promise<Round> {
  const request = { service: SERVICE, source: { kind: 'image', reference: image } }
  return deployOnce(server, HOST, request, (body) => body === image.split(':')[1])
}

/** `docker run`, then a question every 5 ms. Resolves with ms until the first answer. */
async function dockerRun(
  dockerd: TestDockerd,
  image: string,
  args: readonly string[],
  at: { readonly address: string; readonly port: number },
): Promise<number> {
  const from = performance.now()
  const id = await dockerd.dockerText('run', '--detach', ...args, image)
  // Not before: a question to an address that is not there yet is repeated by the kernel only after a second.
  const { tookMs } = await firstAnswer({ ...at, host: HOST, from, pauseMs: 5 }, (body) => body === image.split(':')[1])
  await dockerd.dockerText('rm', '--force', id)
  return tookMs
}

async function updates(dockerd: TestDockerd, server: TestServer, rollouts: number) {
  const service = await SwarmService.create(dockerd, await buildVersion(dockerd, 'u0'))
  try {
    await deployImage(server, await buildVersion(dockerd, 'u0'))
    const [shiplock, swarm]: [Rollout[], Rollout[]] = [[], []]
    // The one that is replaced shows its manners: a change of them takes effect with the update after.
    const order: readonly Manners[] = [...Array<Manners>(rollouts).fill('orderly'), ...Array<Manners>(rollouts).fill('deaf')]
    for (const [round, manners] of order.entries()) {
      const image = await buildVersion(dockerd, `u${round + 1}`, order[round + 1] ?? manners)
      const ours = await RolloutLoad.onHost(['127.0.0.1', server.edgePort, HOST, CLIENTS, PAUSE_MS])
      shiplock.push({ manners, ...(await underLoad(ours, image, async () => void (await deployImage(server, image)))) })
      const theirs = await RolloutLoad.inNetwork(dockerd, MESH, [SWARM, 8080, SWARM, CLIENTS, PAUSE_MS])
      swarm.push({ manners, ...(await underLoad(theirs, image, () => service.update(image))) })
    }
    return { shiplock, swarm }
  } finally {
    await service.remove()
  }
}

async function underLoad(load: RolloutLoad, image: string, update: () => Promise<void>): Promise<Omit<Rollout, 'manners'>> {
  try {
    const from = Date.now()
    await update()
    await new Promise((resolve) => setTimeout(resolve, AFTER_MS))
    const report = await load.finish()
    const seen = report.firstSeen[image.split(':')[1] ?? '']
    if (seen === undefined) throw new Error(`${image} has never answered`)
    return { tookMs: seen - from, report }
  } finally {
    await load.stop()
  }
}

const MESH = 'mesh'
const SWARM = 'swarmed'

/** One replica behind the names of its overlay network: DNS round robin, since the virtual addresses of Swarm need IPVS in the kernel. */
class SwarmService {
  readonly #dockerd: TestDockerd

  private constructor(dockerd: TestDockerd) {
    this.#dockerd = dockerd
  }

  static async create(dockerd: TestDockerd, image: string): Promise<SwarmService> {
    const address = dockerd.network.innerAddress
    const pool = ['--default-addr-pool', `10.215.${dockerd.network.number}.0/24`, '--default-addr-pool-mask-length', '28']
    await dockerd.dockerText('swarm', 'init', '--advertise-addr', address, ...pool)
    await dockerd.dockerText('network', 'create', '--driver', 'overlay', '--attachable', MESH)
    const options = ['--network', MESH, '--endpoint-mode', 'dnsrr', '--update-order', 'start-first', '--no-resolve-image', '--quiet']
    await dockerd.dockerText('service', 'create', '--name', SWARM, ...options, '--detach=false', image)
    return new SwarmService(dockerd)
  }

  async update(image: string): Promise<void> {
    const options = ['--update-order', 'start-first', '--detach=false', '--no-resolve-image', '--quiet']
    await this.#dockerd.dockerText('service', 'update', ...options, '--image', image, SWARM)
  }

  async remove(): Promise<void> {
    await this.#dockerd.docker(['service', 'rm', SWARM])
    await this.#dockerd.docker(['swarm', 'leave', '--force'])
  }
}

/** The last part of the engine's addresses, which it gives to nobody by itself before all others are used. */
function subnetOf({ network }: TestDockerd): string {
  return network.containerSubnet.replace('.0/24', '.240/28')
}

function addressIn({ network }: TestDockerd): string {
  return network.containerSubnet.replace('.0/24', '.250')
}
